"""A person's mistake is one line on stderr and exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from searchspaces import UserError

INSTANT = '''
"""An estimator that trains nothing: more MACs, more accuracy."""
from estimators import Estimate

class Instant:
    def describe(self):
        return {"name": "instant"}
    def estimate(self, architecture, context):
        from searchspaces import Task
        accuracy = min(architecture.cost(Task()).macs / 1e9, 1.0)
        context.report(1, accuracy)
        return Estimate(accuracy, 0.01, (accuracy,))

estimator = Instant()
'''


def search(at: Path, **options: object) -> list[str]:
    """A search that is right but for the options given."""
    words = {"space": "mbconv", "budget": "400M", "trials": 2, "name": "run", "out": at / "runs", **options}
    return ["search", *(word for name, value in words.items() for word in (f"--{name}", str(value)))]


def one_class(at: Path) -> Path:
    (at / "photos" / "cat").mkdir(parents=True)
    image(at / "photos" / "cat" / "1.png")
    return at / "photos"


def image(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


def not_an_image(at: Path) -> Path:
    for name in ("cat", "dog"):
        (at / "photos" / name).mkdir(parents=True)
        for number in range(3):
            image(at / "photos" / name / f"{number}.png")
    (at / "photos" / "dog" / "2.png").write_bytes(b"this is no image")
    return at / "photos"


def table(at: Path) -> Path:
    (at / "table.json").write_text('{"any": [0.5]}')
    return at / "table.json"


def labels_that_do_not_fit(at: Path) -> Path:
    file = at / "images.npz"
    np.savez(file, train_images=np.zeros((9, 8, 8, 3), np.uint8), train_labels=np.zeros(8, np.int64))
    return file


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A run folder of two trials, to be copied."""
    from nas.cli import main

    at = tmp_path_factory.mktemp("once")
    (at / "instant.py").write_text(INSTANT)
    with pytest.raises(SystemExit) as ended:
        main([*search(at, estimator=f"{at / 'instant.py'}:estimator"), "--quiet"])
    assert ended.value.code == 0
    return at


@pytest.fixture
def begun(once, tmp_path):
    """A run folder of two trials that a test may spoil, and the estimator that it was made with."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "run", f"{tmp_path / 'instant.py'}:estimator"


def newer(run: Path) -> None:
    manifest = json.loads((run / "study.json").read_text())
    (run / "study.json").write_text(json.dumps({**manifest, "format": manifest["format"] + 1}))


def garbage(run: Path) -> None:
    for file in run.glob("ledger.db*"):
        file.unlink()
    (run / "ledger.db").write_bytes(b"garbage " * 1000)


MISTAKES = {
    "unknown space": (lambda at: search(at, space="mbcnov"), "unknown space 'mbcnov'; did you mean 'mbconv'?"),
    "a file of spaces": (
        lambda at: search(at, space="mine/few.py"),
        "which object of the file is meant: mine/few.py:NAME",
    ),
    "a file of networks": (
        lambda at: ["cost", "mine.py"],
        "no network 'mine.py'; say which object of the file is meant",
    ),
    "unknown strategy": (lambda at: search(at, strategy="evolutoin"), "did you mean 'evolution'?"),
    "unknown estimator": (lambda at: search(at, estimator="short-trainign"), "did you mean 'short-training'?"),
    "unknown pruner": (lambda at: search(at, pruner="ahsa"), "did you mean 'asha'?"),
    "Ray's client": (
        lambda at: [*search(at), "--ray", "ray://head:10001"],
        "ray job submit --address http://HEAD:8265",
    ),
    "a ledger in memory": (
        lambda at: search(at, ledger="memory"),
        "its run folder could never be opened again: use sqlite",
    ),
    "milliseconds of a proxy": (
        lambda at: ["proxy", "--budget", "8ms", "--out", str(at)],
        "budget 8ms: nas proxy takes no latency table",
    ),
    "unknown device": (lambda at: search(at, device="gpu"), "unknown device 'gpu'; did you mean 'cuda'?"),
    "unknown command": (lambda at: ["serach"], "did you mean 'search'?"),
    "unknown option": (lambda at: [*search(at), "--buget", "3"], "unknown option '--buget'; did you mean '--budget'?"),
    "unknown network": (lambda at: ["cost", "efficentnet_b0"], "did you mean 'efficientnet_b0'?"),
    "unknown setting": (lambda at: [*search(at), "--set", "estimator.epoch=3"], "did you mean 'epochs'?"),
    "a key that is no function": (
        lambda at: [*search(at, estimator=f"table:{table(at)}"), "--set", "estimator.key=stage1.width"],
        "table: key must be a function of an architecture or file.py:function, got 'stage1.width'",
    ),
    "a unit that is no text": (
        lambda at: [*search(at, estimator=f"table:{table(at)}"), "--set", "estimator.unit=5"],
        "table: unknown unit 5",
    ),
    "a sampler of numbers": (
        lambda at: search(at, strategy="optuna:CmaEsSampler"),
        "CmaEsSampler samples numbers only",
    ),
    "no budget": (lambda at: ["search", "--space", "mbconv"], "missing option '--budget'"),
    "impossible budget": (lambda at: search(at, budget="1M"), "93.7M"),
    "impossible budget of a space": (lambda at: ["space", "mbconv", "--budget", "1M"], "93.7M"),
    "a budget with commas": (lambda at: search(at, budget="400,000,000"), "did you mean 400M?"),
    "a budget with a hyphen": (lambda at: search(at, budget="360M-400M"), "did you mean 360M..400M?"),
    "a budget without its unit": (lambda at: search(at, budget="400"), "did you mean 400M?"),
    "a budget of one end": (lambda at: search(at, budget="400M.."), "'400M..' lacks an end; give both"),
    "no trained network": (lambda at: ["evaluate", "nope"], "no folder 'nope'"),
    "nothing to export": (lambda at: ["export", "missing"], "no folder or network 'missing'"),
    "unreadable budget": (lambda at: search(at, budget="400Q"), "'400Q' is not a number such as 400M"),
    "endless budget": (lambda at: ["space", "mbconv", "--budget", "9" * 400], "too large"),
    "negative budget": (lambda at: search(at, budget="-5M"), "'-5M' is not a number such as 400M"),
    "unreadable task": (lambda at: search(at, task="224x224"), "does not look like '224x224x3:1000'"),
    "a number without its unit": (
        lambda at: search(at, time="1h30"),
        "'1h30' is not a duration such as",
    ),
    "a unit twice": (lambda at: search(at, time="1h1h"), "each number needs its own unit, largest first"),
    "units out of order": (lambda at: search(at, time="30m1h"), "each number needs its own unit, largest first"),
    "unreadable time": (lambda at: search(at, time="soon"), "is not a duration such as 90s, 30m or 1h30m"),
    "no such data": (lambda at: search(at, data=at / "nowhere"), "no data at '"),
    "one class": (lambda at: search(at, data=one_class(at)), "at least 2 subfolders, one per class, are needed"),
    "not an image": (lambda at: search(at, data=not_an_image(at)), "2.png' cannot be read as an image"),
    "labels that do not fit": (lambda at: search(at, data=labels_that_do_not_fit(at)), "8 labels for 9 images"),
    "no trials": (lambda at: search(at, trials=0), "trials must be a whole number of at least 1, got 0"),
    "not a number of trials": (lambda at: search(at, trials="many"), "search: --trials: 'many' is not a whole number"),
    "negative seed": (lambda at: search(at, seed=-1), "seed must be a whole number of at least 0, got -1"),
    "a name with a slash": (lambda at: search(at, name="../up"), "name '../up' cannot be a folder name"),
    "a name that is not UTF-8": (
        lambda at: search(at, name="caf\udce9"),
        "name 'caf\\udce9' has bytes that are not UTF-8 and cannot be recorded",
    ),
    "checkpoints in a folder that is not UTF-8": (
        lambda at: search(at, checkpoints="caf\udce9"),
        "caf\\udce9' has bytes that are not UTF-8 and cannot be recorded",
    ),
    "no such file of a space": (lambda at: search(at, space=at / "my.py:space"), "no file"),
    "resume what is no run": (lambda at: ["resume", at], "is not a run folder"),
    "show what is no run": (lambda at: ["show", at / "nowhere"], "no run folder"),
    "plot what is no run": (lambda at: ["plot", at], "is not a run folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(nas_cli, tmp_path, mistake):
    arguments, said = MISTAKES[mistake]
    words = arguments(tmp_path)
    before = files(tmp_path)
    answer = nas_cli(*words)
    assert answer.code == 2
    assert answer.err.startswith("nas: ")
    assert answer.err.count("\n") == 1
    assert said in answer.err
    assert answer.out == ""
    assert files(tmp_path) == before


def files(at: Path) -> dict[str, bytes]:
    """All files below, and what is in them; folders too."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in at.rglob("*")}


SPOILT = {
    "newer manifest": (newer, "is from a newer nas"),
    "garbage for a ledger": (garbage, "ledger.db is not a ledger"),
}


@pytest.mark.parametrize("command", ["resume", "show", "plot"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_run_folder_is_refused_and_left_as_it_is(nas_cli, begun, spoilt, command):
    run, estimator = begun
    spoil, said = SPOILT[spoilt]
    spoil(run)
    before = files(run)
    words = [command, str(run)]
    if command == "resume":
        words += ["--estimator", estimator]
    answer = nas_cli(*words)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert said in answer.err
    assert files(run) == before


CHANGES = {"budget": "300M", "seed": 1, "strategy": "random", "task": "32x32x3:10"}


@pytest.mark.parametrize("setting", CHANGES)
def test_a_changed_setting_is_refused_by_its_name(nas_cli, tmp_path, begun, setting):
    run, estimator = begun
    before = files(run)
    answer = nas_cli(*search(tmp_path, estimator=estimator, **{setting: CHANGES[setting]}))
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"{setting} was" in answer.err
    assert files(run) == before


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system in memory; only where that is allowed."""
    at = tmp_path / "disk"
    at.mkdir()

    def mount(options: str) -> Path:
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at]).returncode:
            pytest.skip("mounting needs more rights")
        return at

    yield mount
    subprocess.run(["umount", "--lazy", at], capture_output=True)


def test_a_read_only_folder_is_one_line(nas_cli, tmp_path, mounted):
    disk = mounted("ro,size=1m")
    answer = nas_cli(*search(tmp_path, out=disk / "runs"))
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("nas: cannot create the run folder ")
    assert answer.err.endswith(": Read-only file system\n")


def test_a_full_disk_is_one_line(nas_cli, tmp_path, mounted):
    disk = mounted("size=64k")
    (tmp_path / "instant.py").write_text(INSTANT)
    estimator = f"{tmp_path / 'instant.py'}:estimator"
    answer = nas_cli(*search(tmp_path, out=disk / "runs", estimator=estimator, trials=200), "--quiet")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.err.endswith(": the disk is full\n")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "none", "--confusion", "no/where.html"),
        ("predict", "none", "none.png", "--csv", "no/where.csv"),
        ("predict", "none", "none.png", "--csv", "."),
        ("compare", "none", "--out", "no/where.html"),
        ("report", "none", "--out", "no/where.html"),
        ("export", "none", "--out", "file/where"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_opened(nas_cli, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    answer = nas_cli(*words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    what = "create the folder" if words[0] == "export" else "write to"
    assert answer.err.startswith(f"nas: cannot {what} {words[-1]}: ")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("out", ["no/where.html", "file/where"])
def test_maps_that_cannot_be_written_are_refused_before_images_are_read(tmp_path, out):
    from nas.evaluating import predict

    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot (write to|create the folder)"):
        predict(None, [tmp_path / "none.png"], explain=tmp_path / out)


def test_our_own_mistake_keeps_its_traceback(monkeypatch):
    from nas import documents
    from nas.cli import main

    def fails() -> None:
        raise KeyError("ours")

    monkeypatch.setattr(documents, "spaces_document", fails)
    with pytest.raises(KeyError, match="ours"):
        main(["spaces"])


LONG = 5000 * "x"
LONG_VALUES = {
    "a budget": ["search", "--budget", LONG],
    "a space": ["search", "--budget", "400M", "--space", LONG],
    "a pruner": ["search", "--budget", "400M", "--pruner", LONG],
    "the name of a setting": ["search", "--budget", "400M", "--set", f"strategy.{LONG}=1"],
    "an option": ["search", "--budget", "400M", f"--{LONG}"],
    "a network": ["cost", LONG],
    "a network's text": ["cost", json.dumps({"space": "mbconv", "choices": {LONG: [LONG] * 50}})],
    "a network of many words": ["cost", json.dumps({"space": "x " * 5000})],
    "a file": ["predict", LONG, LONG],
    "a command": [LONG],
}


@pytest.mark.parametrize("what", LONG_VALUES)
def test_a_very_long_value_is_cut_in_the_message_about_it(nas_cli, what):
    said = nas_cli(*LONG_VALUES[what])
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert 80 < len(said.err) < 1000
    assert "… (" in said.err


def test_what_is_not_very_long_is_quoted_whole():
    from searchspaces.errors import LONG, brief

    for text in ("it's a layer's width that isn't the block's; " * 30, f"{'x' * (LONG - 1)!r} is 'unknown'", ""):
        assert brief(text) == text
    assert brief(f"{'x' * LONG!r} is 'unknown'").endswith("…  is 'unknown'".replace("…  ", f"({LONG} characters)' "))
    assert len(brief("word " * 10_000)) < 4000
    once = brief(repr([300 * "x", {"a": 300 * "y"}]))
    assert brief(once) == once
