"""Names of classes, runs and files are text on every screen: no markup, no escape sequence, no HTML."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table
from rich.text import Text
from studies_stand_ins import begin

from benchmarks.one_way import CLASSES, made_network
from nas.cli import main
from nas.commands.console import Screen, say, visible
from nas.commands.tables import Listed, facts, table

NAMES = (
    "<img src=x onerror=alert(1)>", "[bold]cat[/bold]", "[/]", "red\x1b[31m\x1b]0;title\x07", ":smile:", "\x9b2J\u202e",
    "[link=http://x]y",
)  # fmt: skip
"""Each is the name of a class, and, but for slashes, of a run and of a file."""
PLAIN = tuple(name for name in NAMES if name.isprintable())
"""Those that are read from a file of arrays as they are; of the others control characters are replaced."""
FORBIDDEN = "\x07\x9b\u202e"
"""Characters that no terminal may get; beside them, none gets an escape sequence of a name."""


def as_file(name: str) -> str:
    return name.replace("/", "|")


def shown(name: str) -> str:
    """A name as screens have it, without the spaces at which a table may have broken it; rich leaves out the bell."""
    return "".join(visible(name.replace("\x07", "")).split())


def printed(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command prints, on both streams, without spaces."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    assert ended.value.code in (0, None), err
    assert not {"\x1b", *FORBIDDEN} & {*out, *err}
    return "".join((out + err).split())


@pytest.mark.parametrize("width", [40, 80])
def test_a_text_with_control_characters_is_shown_to_its_end(width: int) -> None:
    told = "1 x RuntimeError: \x1b[36mfoo\x1b[39m is missing 128 MB"
    rows = table("name", "what")
    rows.add_row("failed", told)
    for made in (facts(("failed", Text(told))), facts(("failed", Listed([told, told]))), rows, Text(told), told):
        screen = Screen(width=width, file=io.StringIO())
        screen.print(made)
        lines = screen.file.getvalue().splitlines()
        assert "".join(visible(told).split()) in "".join("".join(lines).replace("failed", "").split())
        assert max(map(len, lines)) <= width
        assert width == 40 or isinstance(made, Table) or len(lines) == 1


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network of classes with such names, in a folder with such a name, and photographs of the classes."""
    at = tmp_path_factory.mktemp("evil")
    trained = made_network(at).rename(at / as_file(NAMES[1]))
    facts_file = trained / "training.json"
    held = json.loads(facts_file.read_text())
    held["class_names"] = [*NAMES, *CLASSES[len(NAMES) :]]
    facts_file.write_text(json.dumps(held))
    for label, name in enumerate(NAMES):
        folder = at / "photos" / as_file(name)
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng((label, number)).integers(0, 256, (40, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{as_file(name)}{number}.png")
    arrays = {"train_images": np.zeros((16, 32, 32, 3), np.uint8), "train_labels": np.arange(16) % len(PLAIN)}
    np.savez(at / "named.npz", **arrays, class_names=np.array(PLAIN))
    return at


def test_the_names_of_classes_and_files_are_text_in_predictions(
    evil: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evil)
    text = printed(capfd, "predict", as_file(NAMES[1]), "photos", "--top", len(CLASSES))
    for name in NAMES:
        assert shown(name) in text
        assert not name.isprintable() or shown(f"{as_file(name)}0.png") in text


def test_the_names_of_classes_are_text_in_evaluations(evil: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = printed(capfd, "evaluate", evil / as_file(NAMES[1]), "--data", evil / "named.npz")
    for name in PLAIN:
        assert shown(name) in text


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_run_is_text_wherever_it_is_shown(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # names of runs are folded on narrower screens
    monkeypatch.chdir(tmp_path)
    run = Path("runs", as_file(name))
    study = begin(run, trials=2)
    study.run()
    study.close()
    (tmp_path / "small.py").write_text("from studies_stand_ins import SPACE as space\n")
    for words in (("runs",), ("show", run, "--all", "--space", "small.py:space")):
        assert shown(as_file(name)) in printed(capfd, *words)


def test_the_plan_of_a_training_has_names_as_text(
    evil: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = evil / as_file(NAMES[3])
    data.with_suffix(".npz").write_bytes((evil / "noise.npz").read_bytes())
    out = tmp_path / as_file(NAMES[2])
    words = (evil / "network.json", "--data", data.with_suffix(".npz"), "--epochs", 1, "--out", out)
    text = printed(capfd, "train", *words)
    assert shown(str(out)) in text
    assert "0;title" in text


def test_a_terminal_gets_its_colours_and_none_of_a_name() -> None:
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, width=200, highlight=False, markup=False, emoji=False)
    made = table("class")
    for name in NAMES:
        made.add_row(name, style="green")
    screen.print(made)
    screen.print(facts(*((name, name) for name in NAMES)))
    text = out.getvalue()
    assert "\x1b[32m" in text  # the style of the rows
    assert not {*FORBIDDEN} & {*text}
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    squeezed = "".join(text.split())
    for name in NAMES:
        assert shown(name) in squeezed


def test_a_message_on_standard_error_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    say("cannot read \x1b[2J[bold]x\nand more")
    assert capsys.readouterr().err == "nas: cannot read \u241b[2J[bold]x and more\n"
