"""A person's own file may import what lies beside it, runs once, and shadows nothing."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchspaces import Task, UserError, load_object, load_space, own_code
from searchspaces.latency import command

NAMES = (f"beside{number}" for number in itertools.count())


@pytest.fixture
def beside() -> Iterator[str]:
    """A name that no other module has; it is forgotten afterwards."""
    name = next(NAMES)
    yield name
    for each in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[each]


def test_a_file_imports_the_module_and_the_package_beside_it_also_later(tmp_path: Path, beside: str) -> None:
    (tmp_path / f"{beside}.py").write_text(f"import {beside}_late.inner\nVALUE = {beside}_late.inner.VALUE")
    package = tmp_path / f"{beside}_late"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner")
    (package / "inner.py").write_text("VALUE = 7")
    (tmp_path / "own.py").write_text(
        f"import {beside}\nnow = {beside}.VALUE\n"
        f"def later():\n    from {beside}_late.inner import VALUE\n    return VALUE\n"
    )
    assert load_object(f"{tmp_path}/own.py:now") == 7
    assert load_object(f"{tmp_path}/own.py:later")() == 7
    assert str(tmp_path) not in sys.path


def test_a_file_runs_once_for_all_options_that_name_it_and_again_after_an_edit(tmp_path: Path, beside: str) -> None:
    (tmp_path / f"{beside}.py").write_text("VALUE = 1")
    own = tmp_path / "own.py"
    own.write_text(f"import {beside}\nvalue = [{beside}.VALUE]\nother = 3")
    first = load_object(f"{own}:value")
    assert load_object(f"{own}:value") is first
    assert load_object(f"{own.parent}/../{own.parent.name}/own.py:other") == 3
    (tmp_path / f"{beside}.py").write_text("VALUE = 2")
    assert load_object(f"{own}:value") == [2]
    own.write_text("value = 5")
    assert load_object(f"{own}:value") == 5


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "twin.py").write_text(f"class Own:\n    number = {number}")
    one, two = (load_object(f"{tmp_path}/{number}/twin.py:Own") for number in (1, 2))
    assert (one.number, two.number) == (1, 2)
    assert all(sys.modules[each.__module__].Own is each for each in (one, two))


def test_neither_the_standard_library_nor_packages_nor_ours_are_shadowed(tmp_path: Path) -> None:
    for name in ("json", "colorsys", "numpy", "searchspaces"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this one was imported')")
    sys.modules.pop("colorsys", None)  # found anew, as what nobody has imported yet
    (tmp_path / "own.py").write_text(
        "import json, colorsys, numpy\nfrom searchspaces import Space\nfound = json.dumps, colorsys, numpy, Space"
    )
    found = load_object(f"{tmp_path}/own.py:found")
    assert found[0] is json.dumps
    assert str(tmp_path) not in found[1].__file__
    assert set(own_code.sources()) >= {"nas_user_own"}
    assert not {"json", "colorsys", "numpy", "searchspaces"} & set(own_code.sources())


def test_modules_of_one_name_in_two_folders_are_refused(tmp_path: Path, beside: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{beside}.py").write_text(f"VALUE = {folder!r}")
        (tmp_path / folder / f"own_{folder}.py").write_text(f"import {beside}\nvalue = {beside}.VALUE")
    assert load_object(f"{tmp_path}/a/own_a.py:value") == "a"
    with pytest.raises(UserError, match=f"imports '{beside}', but .*a/{beside}.py already has that name: rename"):
        load_object(f"{tmp_path}/b/own_b.py:value")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "own.py fails: ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "own.py fails: ZeroDivisionError: division by zero"),
        ("value = (", "own.py fails: SyntaxError: '\\(' was never closed"),
        ("other = 1", "no 'value' in .*own.py; known: other"),
        (b"\xff\xfe\xff", "own.py' is not a Python file"),
    ],
)
def test_what_fails_is_said_in_one_line_and_runs_again_next_time(tmp_path: Path, text: Any, message: str) -> None:
    own = tmp_path / "own.py"
    own.write_bytes(text if isinstance(text, bytes) else text.encode())
    for _ in "12":
        with pytest.raises(UserError, match=message) as caught:
            load_object(f"{own}:value")
        assert "\n" not in str(caught.value)
    own.write_text("value = 1")
    assert load_object(f"{own}:value") == 1


def test_another_process_can_read_what_the_file_and_its_neighbours_define(tmp_path: Path, beside: str) -> None:
    (tmp_path / f"{beside}.py").write_text("class Part:\n    def late(self):\n        return 7")
    (tmp_path / "own.py").write_text(
        f"from {beside} import Part\nclass Whole:\n    part = Part()\nwhole = Whole(), Part()"
    )
    whole = load_object(f"{tmp_path}/own.py:whole")
    for file in tmp_path.iterdir():
        file.unlink()  # as on another machine
    with multiprocessing.get_context("spawn").Pool(1, own_code.install, (own_code.sources(),)) as pool:
        assert pool.map(called, [whole]) == [(7, 7)]


def called(whole: Any) -> tuple[int, int]:
    return whole[0].part.late(), whole[1].late()


MAKERS = {
    "factory": "needs arguments .*'n'.*: name a space, or a function without arguments that makes one",
    "conv_stem": "needs arguments .*'c_in'",
    "broken": "fails: ValueError: nope",
    "empty": "is a NoneType, not a search space",
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_function_that_makes_no_space_is_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "makers_of_spaces.py"
    file.write_text(
        "from searchspaces import conv_stem\n\ndef factory(n):\n    return n\n\n"
        "def broken():\n    raise ValueError('nope')\n\ndef empty():\n    return None\n"
    )
    with pytest.raises(UserError, match=MAKERS[name]) as caught:
        load_space(f"{file}:{name}")
    assert f"{file}:{name}" in str(caught.value)


@pytest.mark.parametrize("typed", ["space", "space@published", "make", "make@published"])
def test_the_command_that_measures_ones_own_space_names_what_was_typed(tmp_path: Path, typed: str) -> None:
    file = tmp_path / "typed.py"
    file.write_text(
        "from searchspaces import Space, Stage, choice, conv_head, mbconv\n\ndef make(name='made'):\n"
        "    stages = [Stage(mbconv, width=choice(8, 16), stride=2)]\n"
        "    return Space(name, stages=stages, head=Stage(conv_head, width=8), smallest_map=4)\n\n"
        "space = make('typed')\n"
    )
    given = f"{file}:{typed}"
    words = shlex.split(command(load_space(given).name, Task(32, 3, 10)))
    assert words[words.index("--space") + 1] == given
    assert load_space(given).name == load_space(words[words.index("--space") + 1]).name
