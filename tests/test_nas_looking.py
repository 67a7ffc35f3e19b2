"""Looking at runs: the list of them, every trial of one, a trial in place of the best; lists of spaces and classics."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_nas_bad_input import INSTANT

from estimators import load_data
from estimators.checkpoint import state_in
from estimators.recipe import make_recipe
from estimators.trained import CHECKPOINT
from estimators.training import train
from nas.references import named
from searchspaces import SPACES, Budget, Task, space_named
from searchspaces.catalog import RANGES
from studies.lock import locked

MY_SPACE = Path(__file__).parents[1] / "examples" / "my_space.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run of six trials that trains nothing, and a training of two epochs."""
    from nas import search

    folder = tmp_path_factory.mktemp("made")
    (folder / "instant.py").write_text(INSTANT)
    search("mbconv", "400M", estimator=f"{folder / 'instant.py'}:estimator", trials=6, name="demo", out=folder / "runs")
    recipe = make_recipe("sgd", epochs=2, batch=64, data_fraction=0.2)
    train(named("resnet20"), load_data("digits"), recipe, folder / "runs" / "trained", 0, "cpu")
    return folder


@pytest.fixture
def run(made):
    return str(made / "runs" / "demo")


def test_runs_are_listed_with_their_best_and_their_state(nas_cli, made):
    (made / "runs" / "something else").mkdir(exist_ok=True)
    document = nas_cli("runs", made / "runs", "--json").json()
    rows = {Path(one["run"]).name: one for one in document["runs"]}
    assert rows.keys() == {"demo", "trained"}
    found = nas_cli("show", made / "runs" / "demo", "--json").json()
    assert rows["demo"]["accuracy"] == found["best"]["accuracy"]
    assert (rows["demo"]["trials"], rows["demo"]["state"]) == (6, "done")
    assert (rows["trained"]["kind"], rows["trained"]["state"], rows["trained"]["epochs"]) == ("training", "done", 2)
    assert (rows["demo"]["data"], rows["trained"]["data"]) == ("instant", "digits")  # an estimator that trains nothing
    told = json.loads((made / "runs" / "trained" / "training.json").read_text())
    assert rows["trained"]["accuracy"] == told["test_accuracy"]
    with locked(made / "runs" / "demo"):
        running = nas_cli("runs", made / "runs", "--json").json()["runs"]
    assert [one["state"] for one in running if one["run"].endswith("demo")] == ["running"]
    assert "400M MACs" in nas_cli("runs", made / "runs").out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_long_name_leaves_room_for_the_rest_of_a_run(columns):
    from rich.console import Console

    from nas.commands.looking import show_runs

    name = "runs/a-rather-long-name-of-a-search-of-mbconv-on-many-photographs"
    run = {"run": name, "kind": "search", "what": "mbconv", "budget": "macs=360M..400M", "data": "photos",
           "state": "unfinished", "trials": 30, "planned": 60, "accuracy": 0.91, "standard_error": 0.01,
           "images": "validation", "macs": 385_000_000, "changed": "2026-01-01T10:00:00+00:00"}  # fmt: skip
    screen = Console(width=columns, file=io.StringIO(), record=True)
    show_runs({"runs": [run], "folder": "runs", "now": "2026-01-01T11:00:00+00:00"}, screen)
    lines = screen.export_text().splitlines()
    shown = " ".join(" ".join(lines).split())
    assert all(text in shown for text in ("mbconv,", "385M MACs", "unfinished", "1h ago", "photos"))
    start = lines[1].index("what")
    assert "".join(line[:start].strip() for line in lines[3:-1]) == name


def test_a_training_under_way_is_listed_with_its_epochs(nas_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cut = tmp_path / "cut"

    def stop(moment):
        if len(moment.curve) == 2:
            raise KeyboardInterrupt

    recipe = make_recipe("sgd", epochs=5, batch=64, data_fraction=0.2)
    with pytest.raises(KeyboardInterrupt):
        train(named("resnet20"), load_data("digits"), recipe, cut, 0, "cpu", on_moment=stop)
    with locked(cut):
        (row,) = nas_cli("runs", tmp_path, "--json").json()["runs"]
        shown = nas_cli("runs", ".").out
    assert (row["state"], row["epochs"], row["planned"], row["images"]) == ("running", 2, 5, "validation")
    assert row["accuracy"] == max(one["val_accuracy"] for one in state_in(cut / CHECKPOINT)["curve"])
    assert "2 of 5 epochs, running" in shown
    assert "s ago" in shown
    (cut / CHECKPOINT).write_bytes(b"{" * 100)  # damaged: only the epochs are unknown
    assert nas_cli("runs", tmp_path, "--json").json()["runs"][0]["epochs"] == 0


def test_a_file_that_is_gone_before_it_is_looked_at_is_left_out_of_the_list(nas_cli, made, monkeypatch):
    folder = made / "runs" / "trained"
    before = nas_cli("runs", made / "runs", "--json").json()["runs"]
    part, link, is_file = folder / "training.json.0123abcd.part", folder / "gone", Path.is_file
    part.touch()
    link.symlink_to(folder / "nowhere")

    def moved(self):
        found = is_file(self)
        if self == part:
            part.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", moved)
    said = nas_cli("runs", made / "runs", "--json")
    part.unlink(missing_ok=True)
    link.unlink()
    assert [row["run"] for row in said.json()["runs"]] == [row["run"] for row in before]


@pytest.mark.parametrize("trials", [4, 24])  # the best is by belief from 16 on, which asks a space for its decisions
def test_a_search_of_a_space_of_ones_own_is_listed_without_its_code(nas_cli, made, tmp_path, trials):
    (tmp_path / "own.py").write_text(MY_SPACE.read_text())
    space, estimator = f"{tmp_path / 'own.py'}:space", f"{made / 'instant.py'}:estimator"
    words = ["--space", space, "--task", "32x32x3:10", "--budget", "20M", "--estimator", estimator, "--trials", trials]
    words += ["--confirm", "0", "--out", tmp_path / "runs", "--name", "own", "--quiet", "--json"]
    found = nas_cli("search", *words).json()
    (tmp_path / "own.py").unlink()
    (row,) = nas_cli("runs", tmp_path / "runs", "--json").json()["runs"]
    assert (row["state"], row["trials"], row["what"]) == ("done", trials, "three-stages")
    assert row["macs"] == found["best"]["macs"]
    near = pytest.approx(found["best"]["accuracy"], abs=1e-3)  # an option that was never chosen is unknown here
    assert row["accuracy"] == (near if trials > 16 else found["best"]["accuracy"])
    assert row["standard_error"] == found["best"]["standard_error"]


def test_all_screens_agree_on_how_far_a_search_is_to_go(nas_cli, tmp_path, made):
    """Also of one that goes on for longer than planned, and of one whose space is used up."""
    own = ["--estimator", f"{made / 'instant.py'}:estimator"]
    words = [
        "--budget",
        "400M",
        *own,
        "--trials",
        4,
        "--confirm",
        "0",
        "--out",
        tmp_path,
        "--name",
        "longer",
        "--quiet",
    ]
    nas_cli("search", *words)
    nas_cli("resume", tmp_path / "longer", *own, "--trials", 6, "--quiet")
    (tmp_path / "few.py").write_text(
        "from searchspaces import Space, Stage, choice, conv_head, mbconv\n"
        "space = Space('few', stages=Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5)), "
        "head=Stage(conv_head, width=16))\n"
    )
    few = ["--space", f"{tmp_path / 'few.py'}:space"]
    words = ["--task", "32x32x3:10", "--budget", "90%", "--strategy", "grid", "--trials", 9, "--name", "few"]
    ended = nas_cli("search", *few, *words, *own, "--out", tmp_path, "--quiet", "--json").json()
    rows = {Path(row["run"]).name: row for row in nas_cli("runs", tmp_path, "--json").json()["runs"]}
    assert {(row["state"], row["trials"], row["planned"]) for row in rows.values()} == {
        ("done", 6, 6), ("done", sum(ended["trials"].values()), 9),
    }  # fmt: skip
    assert "6 of 6 trials, done" in nas_cli("runs", tmp_path).out
    extended, used_up = (
        nas_cli("show", tmp_path / name, *given, "--json").json() for name, given in (("longer", []), ("few", few))
    )
    assert (extended["planned"], used_up["more"]) == (6, None)
    assert extended["more"].startswith(f"nas resume {tmp_path / 'longer'} --trials 12")


def test_a_run_that_cannot_be_opened_is_listed_with_the_reason(nas_cli, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text("{")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "training.json").write_text('{"format": 1}')
    rows = nas_cli("runs", tmp_path, "--json").json()["runs"]
    assert {one["state"] for one in rows} == {"unreadable"}
    assert all(one["reason"] for one in rows)
    assert nas_cli("runs", tmp_path).code == 0
    assert nas_cli("runs", tmp_path / "none").code == 2


def test_a_folder_that_nobody_may_look_into_is_in_the_way_of_nothing(nas_cli, tmp_path, monkeypatch):
    (tmp_path / "private").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.json").write_text("{")
    stat = os.stat

    def refused(path, *arguments, **named):
        if "private" in Path(os.fsdecode(path)).parts[:-1]:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", refused)
    (row,) = nas_cli("runs", tmp_path, "--json").json()["runs"]
    assert row["run"] == str(tmp_path / "damaged")


def test_every_trial_is_listed_in_the_order_that_is_asked_for(nas_cli, run):
    document = nas_cli("show", run, "--all", "--json").json()
    assert [one["number"] for one in document["trials"]] == list(range(6))
    for order, key, sign in (("accuracy", "accuracy", -1), ("macs", "macs", 1), ("time", "seconds", 1)):
        several = nas_cli("show", run, "--all", "--sort", order, "--json").json()["trials"]
        assert several == sorted(several, key=lambda one: sign * one[key])
    assert nas_cli("show", run, "--all", "--sort", "speed").code == 2
    assert f"nas show {run} --trial N" in nas_cli("show", run, "--all").out.replace("\n", "")
    assert nas_cli("show", run, "--sort", "macs").err == "nas: --sort needs --all\n"
    for option, value in (("--trial", "1"), ("--svg", "a.svg"), ("--task", "32x32x3:10"), ("--filters", "a.png")):
        refused = nas_cli("show", run, "--all", option, value)
        assert (refused.code, refused.err) == (2, f"nas: --all lists every trial; leave out {option}\n")


def test_a_trial_takes_the_place_of_the_best_network(nas_cli, run, made, monkeypatch):
    monkeypatch.chdir(made)
    trial = nas_cli("show", run, "--trial", "2", "--json").json()
    assert nas_cli("show", f"{run}:2", "--json").json() == trial
    assert nas_cli("show", f"{run}:2", "--trial", "2", "--json").json() == trial
    for words in ([run, "--trial", "2"], [f"{run}:2"]):
        assert nas_cli("cost", *words, "--json").json()["macs"] == trial["macs"]
    document = nas_cli("export", run, "--trial", "2", "--to", "python", "--json").json()
    assert document["macs"] == trial["macs"]
    assert document["out"] == f"{run}/export-trial-2"
    scaled = nas_cli("scale", run, "--trial", "2", "--coefficients", "1.2,1.1,1.15", "--phi", "1", "--json").json()
    assert scaled["family"]["members"][0]["macs"] == trial["macs"]
    words = ["train", run, "--trial", "2", "--data", "digits", "--image-size", "8", "--epochs", "1", "--quiet"]
    trained = nas_cli(*words, "--set", "data_fraction=0.1", "--json").json()
    assert trained["folder"] == f"{run}-trial-2-trained"
    assert trained["found"]["trial"] == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["cost", "resnet18", "--trial", "1"], "--trial is for a run folder, and resnet18 is a network"),
        (["cost", "RUN", "--trial", "9"], "has no trial 9; it has 6, numbered from 0"),
        (["measure", "RUN", "resnet18", "--trial", "1"], "--trial is for a single run folder"),
        *(
            ([command, "RUN:0", "--trial", "1", *more], "--trial 1: RUN:0 is trial 0 of RUN; give one of the two")
            for command, *more in (
                ("cost",),
                ("show",),
                ("export",),
                ("measure",),
                ("train", "--data", "digits"),
                ("tune-recipe", "--data", "digits"),
                ("scale", "--coefficients", "1.2,1.1,1.15", "--phi", "1"),
            )
        ),
        (["show", "RUN:0", "--all"], "--all lists every trial; RUN:0 is one: give RUN"),
    ],
)
def test_a_trial_that_is_not_there_is_one_line(nas_cli, run, words, why):
    said = nas_cli(*(word.replace("RUN", run) for word in words))
    assert said.code == 2
    assert why.replace("RUN", run) in said.err


def test_a_run_is_scaled_on_its_own_images(nas_cli, tmp_path):
    words = ["--budget", "400M", "--trials", "2", "--out", tmp_path / "runs", "--name", "own", "--quiet"]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", train_images=pixels, train_labels=np.arange(40) % 2)
    fast = ["--set", "estimator.epochs=1"]
    assert nas_cli("search", "--data", tmp_path / "mine.npz", *words, *fast).code == 0
    more = ["--trials", "1", "--out", tmp_path / "runs", "--name", "scaled", "--json", "--quiet", *fast]
    document = nas_cli("scale", tmp_path / "runs" / "own", *more, "--phi", "1").json()
    assert document["study"]["estimator"]["data"]["name"] == "mine.npz"


def test_folders_are_predicted_and_written_as_csv(nas_cli, made, tmp_path):
    for number in range(3):
        file = tmp_path / "photos" / "inside" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), 80 * number, np.uint8)).save(file)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    words = ["predict", made / "runs" / "trained", tmp_path / "photos", "--csv", tmp_path / "classes.csv"]
    document = nas_cli(*words, "--json").json()
    assert len(document["images"]) == 3
    with (tmp_path / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [one["classes"][0]["class"] for one in document["images"]]
    assert [row["file"] for row in rows] == [one["file"] for one in document["images"]]
    (tmp_path / "empty").mkdir()
    assert "has no images" in nas_cli("predict", made / "runs" / "trained", tmp_path / "empty").err


@pytest.mark.parametrize("option", ["--csv", "--explain"])
def test_predictions_overwrite_no_photograph(nas_cli, made, tmp_path, option):
    photo = tmp_path / "photos" / "one.png"
    photo.parent.mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(photo)
    before = photo.read_bytes()
    place = photo if option == "--csv" else photo.parent
    refused = nas_cli("predict", made / "runs" / "trained", photo.parent, option, place)
    assert (refused.code, refused.err.count("\n"), "overw" in refused.err) == (2, 1, True)
    assert [*photo.parent.iterdir()] == [photo]
    assert photo.read_bytes() == before


@pytest.mark.parametrize("words", [("predict", "trained", "--csv"), ("predict", "trained", "--explain"),
                                   ("classics", None, "--plot"),
                                   *((name, "demo", "--out") for name in ("plot", "report", "compare"))])  # fmt: skip
def test_a_path_that_is_no_utf_8_is_written_and_printed(nas_cli, made, tmp_path, words):
    command, folder, option = words
    given = ["resnet"] if folder is None else [made / "runs" / folder]
    if command == "predict":
        given.append(tmp_path / "one.png")
        Image.fromarray(np.full((9, 9), 80, np.uint8)).save(given[1])
    ending = "csv" if option == "--csv" else "html"
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9." + ending.encode())
    said = nas_cli(command, *given, option, path)
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith(f"/caf\ufffd.{ending}\n")
    assert Path(path).stat().st_size


def test_classics_are_listed_within_a_budget_and_in_an_order(nas_cli):
    found = nas_cli("classics", "--budget", "300M..400M", "--sort", "macs", "--json").json()["classics"]
    assert [one["macs"] for one in found] == sorted(one["macs"] for one in found)
    assert all(300e6 <= one["macs"] <= 400e6 for one in found)
    everything = nas_cli("classics", "--json").json()["classics"]
    assert len(found) == sum(300e6 <= one["macs"] <= 400e6 for one in everything)
    small = nas_cli("classics", "mobilenetv2", "--task", "96x96x3:4", "--json").json()["classics"]
    assert {one["task"] for one in small} == {"96x96x3:4"}
    assert nas_cli("classics", "--budget", "50%").code == 2
    assert nas_cli("classics", "--budget", "1K").err == "nas: no network is within macs=1K\n"


@pytest.mark.parametrize("name", ["mbconv", "mbconv-blocks", "mobilenetv3", "scaling"])
def test_the_macs_that_spaces_are_listed_with_are_theirs(name):
    inside = space_named(name).under(Budget.parse("100%"), Task())
    assert RANGES[name] == (inside.smallest.macs, inside.largest.macs)


def test_every_space_has_its_macs():
    """The others take seconds each to count: `python -m benchmarks.proofs "macs of"`."""
    assert RANGES.keys() == SPACES.keys()


def test_every_setting_that_is_listed_is_taken_and_every_one_that_is_taken_is_described(nas_cli):
    from estimators.catalog import make_estimator
    from strategies import make_strategy

    listed = nas_cli("settings", "--json").json()["settings"]
    assert {one["of"] for one in listed} >= {"guided", "evolution", "rl", "tpe", "short-training", "recipe"}
    inside = space_named("scaling")
    for one in listed:
        if one["target"] == "strategy" and one["of"] != "pareto":
            make_strategy(one["of"], inside, 50, **{one["name"]: one["default"]})
        if one["target"] == "estimator" and one["of"] != "table":  # which needs a file
            make_estimator(one["of"], "digits", "cpu", **{one["name"]: one["default"]})
    for estimator in ("short-training", "full-training", "supernet", "zero-cost"):
        assert "image_size" in {one["name"] for one in listed if one["of"] == estimator}
    assert next(one for one in listed if (one["of"], one["name"]) == ("full-training", "settings"))["default"] == {}
    assert "<factory>" not in nas_cli("settings", "full-training").out
    assert not [f"{one['of']}.{one['name']}" for one in listed if not one["doc"]]
    assert nas_cli("settings", "guidd").err == "nas: nothing named 'guidd' has settings; did you mean 'guided'?\n"


def test_all_strategies_and_estimators_are_named_with_their_settings_or_as_having_none(nas_cli):
    from estimators.catalog import ESTIMATORS
    from strategies import STRATEGIES

    listed, lines = nas_cli("settings", "--json").json(), nas_cli("settings").out.splitlines()
    named = {(one["target"], one["of"]) for one in [*listed["settings"], *listed["without_settings"]]}
    makers = {("strategy", each) for each in STRATEGIES} | {("estimator", each) for each in ESTIMATORS}
    assert named == makers | {("recipe", "recipe")}
    for one in listed["without_settings"]:
        said = f"{one['target']} {one['of']} has no settings"
        assert said in lines
        assert nas_cli("settings", one["of"]).out.splitlines() == [said]


def test_where_nothing_fits_spaces_are_named_in_which_something_does(nas_cli):
    said = nas_cli("space", "mbconv", "--budget", "40M")
    assert said.code == 2
    assert "at 224 px these spaces have smaller networks: mobilenetv3 (from 31.3M), resnet (from 25.2M)" in said.err
    assert "these spaces" not in nas_cli("space", "mbconv", "--budget", "2G..3G").err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "resnet20", "--svg", "net.png"), "must end in .svg"),
        (("show", "resnet20", "--svg", "."), "must end in .svg"),
        (("evaluate", "nothing", "--confusion", "matrix.png"), "must end in .html"),
        (("dashboard", "nothing", "--port", "70000"), "--port must be from 1 to 65535, got 70000"),
    ],
)
def test_what_cannot_be_written_or_shown_is_one_line_at_once(nas_cli, words, why):
    said = nas_cli(*words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert why in said.err


def test_the_version_is_printed(nas_cli):
    from importlib.metadata import version

    assert nas_cli("--version").out == f"nas {version('nas-toolkit')}\n"


def test_lists_take_a_line_for_each_on_a_narrow_terminal(nas_cli, monkeypatch):
    from rich.console import Console

    from nas.commands import spaces
    from nas.documents import spaces_document
    from nas.networks import classics_document

    narrow = Console(width=80, file=io.StringIO(), record=True)
    spaces.show_spaces(spaces_document(), narrow)
    lines = narrow.export_text().splitlines()
    assert sum(any(line.strip().startswith(name + " ") for name in SPACES) for line in lines) == len(SPACES)
    assert max(map(len, lines)) <= 80
    spaces.show_classics(classics_document(order="macs"), narrow)
    shown = [line for line in narrow.export_text().splitlines() if line.strip()]
    assert len(shown) == len(classics_document()["classics"]) + 4
