"""The lectures, item by item: figures are what the code says, commands are taken, nothing is open without a reason."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from benchmarks.lectures import LECTURES
from benchmarks.literature import Figure, page
from estimators.recipe import make_recipe
from nas.commands import app
from nas.parsing import parse_values
from searchspaces import CLASSICS, layers, mbconv
from searchspaces.node import Node

ROOT = Path(__file__).parents[1]
ITEMS = [item for lecture in LECTURES for item in lecture.items]
COMMANDS = list(dict.fromkeys(item.command for item in ITEMS if item.command))


def test_the_page_is_what_the_code_says_today():
    assert (ROOT / "docs" / "literature.md").read_text(encoding="utf-8") == page(LECTURES)


def test_no_item_is_open_without_a_reason():
    assert len(LECTURES) == 5
    assert len(ITEMS) > 150
    for item in ITEMS:
        assert item.why or not item.off, item.what
        assert item.why or item.command, item.what
        assert item.why or item.here or item.figures, item.what


@pytest.fixture(scope="module")
def group():
    return typer.main.get_command(app.make_app(app.COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_one_that_nas_takes_or_whose_file_there_is(group, command):
    if command.startswith("nas "):
        name, *rest = shlex.split(command)[1:]
        given = group.commands[name].make_context(name, rest).params
        if name in ("cost", "show", "train", "scale"):
            network = given.get("network") or given.get("what")
            assert network in {*CLASSICS, "runs/first", "TRAINED"}
        if name == "train":
            assert make_recipe(given["recipe"], 5_000, **parse_values(given["settings"] or []))
    elif command.startswith("python "):
        file = re.search(r"\S+\.py|(?<=-m )benchmarks\.\w+", command)[0]
        assert (ROOT / (file if file.endswith(".py") else f"{file.replace('.', '/')}.py")).is_file()
    else:
        assert isinstance(eval(command, {**vars(layers), "mbconv": mbconv}), Node)


def test_a_figure_is_as_printed_if_it_rounds_to_what_is_printed():
    assert Figure("parameters", 4_231_976, "4.2M").as_printed
    assert Figure("", 2160, "2160").as_printed
    assert not Figure("MACs", 290_680_000, "290M").as_printed
    assert Figure("MACs", 11_500_000, "10M").difference == "MACs +15.0 %"
    assert Figure("MACs", 4_867_300_000, "4866M").difference == "MACs +0.027 %"
