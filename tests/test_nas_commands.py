"""The command line: names in the help are those of the tables, and every setting has an option, declared once."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import nas
from estimators import ESTIMATORS, latency
from estimators.recipe import RECIPES
from estimators.short_training import METRICS
from estimators.steps import DEVICES
from estimators.table import UNITS
from estimators.trained import WEIGHTS
from estimators.views import VIEWS
from estimators.zero_cost import SCORES
from nas.commands import app, options, scaling, search
from nas.formats import FORMATS
from nas.parsing import parse_targeted
from nas.peers import catalog
from searchspaces import UserError
from strategies import STRATEGIES
from studies.folder import LEDGERS
from studies.pruning import PRUNERS
from studies.settings import Settings

TABLES = {
    "STRATEGIES": STRATEGIES,
    "ESTIMATORS": ESTIMATORS,
    "PEERS": catalog.names(),
    "PRUNERS": PRUNERS,
    "DEVICES": DEVICES,
    "MEASURED_DEVICES": latency.DEVICES,
    "RUNTIMES": latency.RUNTIMES,
    "RECIPES": RECIPES,
    "FORMATS": FORMATS,
    "UNITS": UNITS,
    "WEIGHTS": WEIGHTS,
    "VIEWS": VIEWS,
    "METRICS": METRICS,
    "LEDGERS": LEDGERS,
    "SCORES": SCORES,
}
"""Where each list of names in `nas/commands/options/words.py` comes from."""
HELPS = [("search", "STRATEGIES"), ("search", "ESTIMATORS"), ("search", "PRUNERS"), ("search", "DEVICES"),
         ("search", "LEDGERS"), ("measure", "RUNTIMES"), ("measure", "MEASURED_DEVICES"), ("train", "RECIPES"),
         ("export", "FORMATS"), ("bench-strategies", "UNITS"), ("bench-strategies", "PEERS"), ("predict", "WEIGHTS"),
         ("evaluate", "VIEWS"), ("search", "METRICS"), ("search", "SCORES")]  # fmt: skip

OTHER_NAMES = {"wave": "deterministic", "strategy_settings": "settings", "estimator_settings": "settings"}
"""Settings that an option of another name stands for."""


def parameters(command) -> list[str]:
    return list(inspect.signature(command).parameters)


@pytest.mark.parametrize("name", TABLES)
def test_names_in_the_help_are_those_of_their_table(name):
    assert sorted(getattr(options, name)) == sorted(TABLES[name])


@pytest.mark.parametrize(("command", "name"), HELPS)
def test_the_help_of_a_command_lists_the_names(nas_cli, command, name):
    said = " ".join(re.sub("│", " ", nas_cli(command, "--help").out).split())
    for each in TABLES[name]:
        assert re.search(rf"\b{each}\b", said), each


def test_the_page_names_the_commands_that_can_be_quiet():
    page = (Path(__file__).parents[1] / "docs" / "how-do-i.md").read_text(encoding="utf-8")
    section = page.partition("## … have less on the screen?")[2].partition("\n## ")[0]
    quiet = {name for name, command in app.COMMANDS.items() if "quiet" in inspect.signature(command).parameters}
    assert set(re.findall(r"`([a-z-]+)`", section)) - {"dashboard", "-q", "--quiet", "--json"} == quiet


def test_every_table_is_in_the_help_of_a_command():
    assert {name for _, name in HELPS} == set(TABLES)


@pytest.mark.parametrize("command", [search.search, scaling.scale])
def test_every_setting_of_a_study_has_an_option(command):
    wanted = {OTHER_NAMES.get(each.name, each.name) for each in fields(Settings)}
    lacking = {"budget"} if command is scaling.scale else set()  # follows from --target and --band
    assert wanted - set(parameters(command)) == lacking


def test_scale_takes_every_option_of_search():
    # of the base's space, whose budget follows from --target and --band
    assert set(parameters(search.search)) - set(parameters(scaling.scale)) == {"budget"}


def test_the_public_function_takes_every_setting():
    assert {each.name for each in fields(Settings)} <= set(parameters(nas.search))


@pytest.mark.parametrize("command", app.COMMANDS)
def test_every_option_is_declared_in_one_folder_and_takes_one_line(command):
    function = app.COMMANDS[command]
    declared = {f"options.{name}" for name in vars(options)}
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation in declared | {"typer.Context"}, parameter
    signature = inspect.getsource(function).partition(") -> None:")[0].splitlines()
    assert len(signature) <= len(parameters(function)) + 1


@pytest.mark.parametrize("command", app.COMMANDS)
def test_every_command_and_every_option_has_a_help_that_is_a_sentence(command):
    function = app.COMMANDS[command]
    assert inspect.getdoc(function).splitlines()[0].endswith(".")
    assert "Example:" in inspect.getdoc(function)
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if name != "context":
            (said,) = parameter.annotation.__metadata__
            assert said.help.endswith("."), name
            assert said.help[0].isupper() or name in ("strategy", "estimator"), name  # these begin with a name


@pytest.mark.parametrize("command", [None, *app.COMMANDS])
def test_nothing_stands_beside_a_flag_in_the_help(nas_cli, command):
    assert "<bool>" not in nas_cli(*([command] if command else []), "--help").out


def hello(space: options.SpaceName, json: options.Json = False) -> None:
    """Say how many architectures a space holds.

    [bold]Example:[/]  nas hello mbconv
    """
    from nas.commands.console import print_json
    from searchspaces import load_space

    found = load_space(space)
    if json:
        return print_json({"space": found.name, "size": found.size})
    print(f"{found.name} holds {found.size} architectures")


def test_a_command_is_a_function_and_a_line_in_a_panel(monkeypatch, nas_cli):
    monkeypatch.setitem(app.PANELS["Spaces and networks"], "hello", hello)
    panel = nas_cli("--help").out.partition("Spaces and networks")[2].partition("Reliability")[0]
    assert "hello" in panel
    assert list(app.COMMANDS) == [name for panel in app.PANELS.values() for name in panel]
    assert nas_cli("hello", "mbconv").out == "mbconv holds 1828079220031488 architectures\n"
    assert nas_cli("hello", "mbconv", "--json").json()["space"] == "mbconv"
    assert "Say how many architectures" in nas_cli("--help").out
    refused = nas_cli("hello", "mbcnov")
    assert (refused.code, refused.err) == (2, "nas: unknown space 'mbcnov'; did you mean 'mbconv'?\n")
    assert nas_cli("helo").err == "nas: unknown command 'helo'; did you mean 'hello'?\n"


def test_a_setting_for_an_unknown_target_is_refused():
    with pytest.raises(
        UserError, match=r"unknown target 'strategi'; use strategy\.NAME=VALUE or estimator\.NAME=VALUE; did you"
    ):
        parse_targeted(["strategi.population=20"])


def test_nothing_but_the_commands_imports_typer_or_rich():
    package = Path(nas.__file__).parent
    for path in package.parent.glob("*/**/*.py"):
        if path.parts[len(package.parent.parts)] in ("nas", "studies", "strategies", "estimators", "searchspaces"):
            inside = package / "commands" in path.parents
            assert inside or not re.search(r"^\s*(import|from) (typer|rich)\b", path.read_text(), re.MULTILINE), path
