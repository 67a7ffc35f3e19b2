"""`nas search` and what follows it: begun, shown, cut, resumed, and the same through the Python API."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from test_nas_bad_input import INSTANT

import nas
from nas.api import open_study
from nas.training import training_job
from studies.lock import locked

SLOW = INSTANT.replace("context.report(1, accuracy)", "__import__('time').sleep(0.1); context.report(1, accuracy)")
TOUR = Path(__file__).parents[1] / "docs" / "tour.md"


@pytest.fixture
def words(tmp_path):
    """A search of six trials that trains nothing."""
    (tmp_path / "instant.py").write_text(INSTANT)
    estimator = ["--estimator", f"{tmp_path / 'instant.py'}:estimator"]
    return [
        "search",
        "--budget",
        "400M",
        "--name",
        "demo",
        "--out",
        str(tmp_path / "runs"),
        "--trials",
        "6",
        *estimator,
    ]


def test_a_search_ends_with_the_pareto_set_the_files_and_what_to_type_next(nas_cli, words, tmp_path):
    said = nas_cli(*words)
    run = tmp_path / "runs" / "demo"
    assert said.code == 0
    for text in (
        "1.83e15 architectures",
        "93.7M to 1.01G",
        "78.8%",
        "6/6",
        "Pareto front of accuracy and MACs",
        "6 complete",
    ):
        assert text in said.out
    flat = re.sub(r"\s", "", said.out)  # long paths are folded
    for text in (f"nasresume{run}", f"nasshow{run}", f"nascost{run}/best.json", "pareto.html", "trials.csv"):
        assert text in flat
    assert (run / "pareto.html").exists()
    assert (run / "study.json").exists()


def test_one_json_object_on_stdout_with_everything_else_on_stderr(nas_cli, words):
    said = nas_cli(*words, "--json")
    document = said.json()
    assert document["trials"] == {"complete": 6, "pruned": 0, "failed": 0, "running": 0, "interrupted": 0}
    assert document["ended"]["kind"] == "trials"
    assert document["best"]["macs"] <= 400e6
    assert document["best"]["accuracy"] == max(one["accuracy"] for one in document["pareto"])
    assert "6/6" in said.err
    assert nas_cli(*words, "--json", "--quiet").err == ""


def test_quiet_shows_the_result_alone(nas_cli, words):
    said = nas_cli(*words, "--quiet")
    assert "Pareto front of accuracy and MACs" in said.out
    assert "1/6" not in said.out
    assert "fits" not in said.out


def test_the_same_name_goes_on(nas_cli, words):
    first = nas_cli(*words, "--json", "--quiet").json()
    assert nas_cli(*words, "--json", "--quiet").json()["trials"] == first["trials"]
    more = nas_cli(*[word if word != "6" else "9" for word in words], "--json", "--quiet").json()
    assert more["trials"]["complete"] == 9


def test_resume_show_and_plot_need_the_folder_and_nothing_else(nas_cli, tmp_path):
    table = tmp_path / "table.json"
    run = tmp_path / "runs" / "demo"
    import numpy as np

    from searchspaces import space_named

    rng, space = np.random.default_rng(0), space_named("mbconv")
    rows = {space.sample(rng).to_json(): [0.5] for _ in range(3)}
    table.write_text(json.dumps(rows))
    words = ["search", "--budget", "1.1G", "--name", "demo", "--out", str(run.parent), "--trials", "2", "--json", "-q"]
    nas_cli(*words, "--estimator", f"table:{table}", "--strategy", "random")
    assert nas_cli("resume", str(run), "--trials", "4", "--json").code == 0
    document = nas_cli("show", str(run), "--json").json()
    assert sum(document["trials"].values()) == 4
    assert nas_cli("plot", str(run), "--json").json() == {"plot": str(run / "pareto.html")}


OWN = """
import sys
from estimators import Estimate

class Odd:
    def describe(self):
        return {"name": "odd"}
    def estimate(self, architecture, context):
        if FAILS:
            FAILS
        details = {"loss": float("nan"), "bounds": [float("-inf"), 1.5], "file": "caf\\udce9.png"}
        return Estimate(0.5, 0.01, (0.5,), details)

estimator = Odd()
"""


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("__import__('argparse').ArgumentParser().parse_args(['--what'])", "SystemExit: 2"),
        ("raise ValueError('caf\\udce9 \\ud800')", "ValueError: caf\\udce9 \\ud800"),
    ],
)
def test_a_trial_that_exits_or_says_what_is_no_text_is_a_failed_trial(nas_cli, tmp_path, fails, reason):
    (tmp_path / "own.py").write_text(OWN.replace("if FAILS", "if context.seed % 2").replace("FAILS", fails))
    run, own = tmp_path / "runs" / "odd", f"{tmp_path / 'own.py'}:estimator"
    words = ["--budget", "400M", "--estimator", own, "--trials", "6", "--out", str(run.parent), "--name", "odd"]
    said = nas_cli("search", "--space", "mbconv", *words)
    assert said.code == 0
    assert reason in said.out
    document = nas_cli("show", str(run), "--json").json()
    assert document["trials"]["failed"] == 4
    assert document["trials"]["complete"] == 2
    assert nas_cli("resume", str(run), "--estimator", own, "--trials", "8", "--json").code == 0
    assert reason.encode() in (run / "trials.csv").read_bytes()


def test_json_has_null_for_what_is_no_number(nas_cli, tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace("FAILS", "False"))
    words = ["--budget", "400M", "--estimator", f"{tmp_path / 'own.py'}:estimator", "--trials", "1"]
    nas_cli("search", "--space", "mbconv", *words, "--out", str(tmp_path / "runs"), "--name", "odd")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    said = nas_cli("show", str(tmp_path / "runs" / "odd"), "--trial", "0", "--json")
    document = json.loads(said.out, parse_constant=refuse)
    assert document["details"] == {"loss": None, "bounds": [None, 1.5], "file": "caf\\udce9.png"}


def test_a_table_takes_the_key_of_a_file(nas_cli, tmp_path):
    (tmp_path / "table.json").write_text('{"any": [0.5, 0.7]}')
    (tmp_path / "own.py").write_text("def key(architecture):\n    return 'any'\n")
    words = ["--budget", "400M", "--estimator", f"table:{tmp_path / 'table.json'}", "--trials", "2", "--json", "-q"]
    words += ["--set", f"estimator.key={tmp_path / 'own.py'}:key", "--out", str(tmp_path / "runs"), "--name", "run"]
    document = nas_cli("search", "--space", "mbconv", *words).json()
    assert document["trials"]["complete"] == 2
    more = "resume", str(tmp_path / "runs" / "run"), "--trials", "3", "--json"
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert f"came from {tmp_path / 'own.py'}:key, and opening a run folder never runs code" in nas_cli(*more).err
    assert not (tmp_path / "ran").exists()
    (tmp_path / "own.py").write_text("def key(architecture):\n    return 'any'\n")
    assert nas_cli(*more, "--key", f"{tmp_path / 'own.py'}:key").json()["trials"]["complete"] == 3


def test_a_trial_is_shown_with_all_that_is_known_of_it(nas_cli, words, tmp_path):
    nas_cli(*words, "--quiet")
    run = str(tmp_path / "runs" / "demo")
    document = nas_cli("show", run, "--trial", "3", "--json").json()
    assert document["number"] == 3
    assert document["accuracy"] == pytest.approx(document["macs"] / 1e9)
    said = nas_cli("show", run, "--trial", "3")
    assert f"{document['macs']:,}" in said.out
    assert "stage7" in said.out
    assert nas_cli("show", run, "--trial", "6").err == f"nas: {run} has no trial 6; it has 6, numbered from 0\n"


def test_the_best_network_can_be_costed_from_its_file(nas_cli, words, tmp_path):
    best = nas_cli(*words, "--json", "--quiet").json()["best"]
    costed = nas_cli("cost", str(tmp_path / "runs" / "demo" / "best.json"), "--json").json()
    assert costed["macs"] == best["macs"]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_ctrl_c_and_sigterm_end_cleanly_and_say_how_to_go_on(nas_cli, tmp_path, name, code):
    (tmp_path / "slow.py").write_text(SLOW)
    estimator = f"{tmp_path / 'slow.py'}:estimator"
    words = ["search", "--budget", "400M", "--name", "cut", "--out", str(tmp_path), "--trials", "500"]
    # a test run in the background of a shell ignores Ctrl-C, and so would the child
    run = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from nas.cli import main; main()"
    command = [sys.executable, "-c", run, *words, "--estimator", estimator]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.startswith("3/500"):
            break
    child.send_signal(getattr(signal, name))
    assert child.stderr.readline() == ("nas: stopping… writing the results; press Ctrl-C again to quit immediately\n")
    assert child.poll() is None  # it says so before it ends
    out, err = child.communicate()
    assert child.returncode == code
    assert f"nas resume {tmp_path / 'cut'}" in err
    assert "Traceback" not in out + err
    run = str(tmp_path / "cut")
    assert (tmp_path / "cut" / "pareto.html").exists()  # of what there is
    ended = nas_cli("show", run, "--json").json()["trials"]["complete"]
    assert 3 <= ended < 500
    on = nas_cli("resume", run, "--estimator", estimator, "--trials", str(ended + 2), "--json", "--quiet")
    assert on.json()["trials"]["complete"] == ended + 2


def test_commands_to_type_next_are_whole_lines_and_lines_end_without_blanks(nas_cli, words, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    at = tmp_path / ("a long name " * 6).strip()
    lines = nas_cli(*words, "--out", at).out.splitlines()
    assert any(line.startswith(f"next      nas show '{at / 'demo'}' --trial ") for line in lines)
    assert f"          nas cost '{at / 'demo' / 'best.json'}'" in lines
    assert not [line for line in lines if line.endswith(" ")]
    assert {len(line) for line in lines if line.startswith("│")} == {60}


def test_images_that_moved_are_found_at_their_new_place_from_then_on(nas_cli, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    old, new, other = (tmp_path / f"{name}.npz" for name in ("old", "new", "other"))
    np.savez(old, train_images=pixels, train_labels=[0, 1] * 20)
    np.savez(other, train_images=255 - pixels, train_labels=[0, 1] * 20)
    words = ["--budget", "100%", "--space", "resnet-cifar", "--estimator", "zero-cost", "--strategy", "random"]
    run = str(tmp_path / "mv")
    assert nas_cli("search", *words, "--data", old, "--name", "mv", "--out", tmp_path, "--trials", "1").code == 0
    old.rename(new)
    for command in (["train", run], ["resume", run, "--trials", "2"]):
        said = nas_cli(*command)
        assert said.code == 2
        assert f"no data at '{old}'" in said.err
        assert said.err.endswith("if the images have moved, add --data DATA\n")
    assert "data was" in nas_cli("resume", run, "--trials", "2", "--data", other).err
    assert training_job(run, str(new)).source == str(new)
    said = nas_cli("resume", run, "--trials", "2", "--data", new)
    assert f"--data {new}" in " ".join(said.out.split())  # of `nas proxy`
    assert training_job(run).source == str(new)


def test_an_interrupted_trial_is_not_shown_as_running_and_trials_beyond_those_asked_for_are_counted(nas_cli, tmp_path):
    begins = "    def estimate(self, architecture, context):\n"
    stops = f"{begins}        began.append(1)\n        if len(began) == 3:\n            raise KeyboardInterrupt\n"
    (tmp_path / "stops.py").write_text("began = []\n" + INSTANT.replace(begins, stops))
    estimator = ["--estimator", f"{tmp_path / 'stops.py'}:estimator"]
    run = tmp_path / "cut"
    words = ["search", "--budget", "400M", "--strategy", "random", "--trials", "4", "--name", "cut", "--out", tmp_path]
    assert nas_cli(*words, *estimator).code == 130
    assert "2 complete, 1 interrupted, run again on resume;" in " ".join(nas_cli("show", run).out.split())
    assert _states_of_the_third(nas_cli, run) == {"interrupted"}
    assert [row["state"] for row in csv.DictReader((run / "trials.csv").read_text().splitlines())][2] == "interrupted"
    with locked(run):
        assert "2 complete, 1 running;" in " ".join(nas_cli("show", run).out.split())
        assert _states_of_the_third(nas_cli, run) == {"running"}
    (tmp_path / "stops.py").write_text(INSTANT)
    assert "all 4 trials are done" in nas_cli("resume", run, *estimator).out
    assert "4 trials are done, more than the 1 asked for" in nas_cli("resume", run, *estimator, "--trials", "1").out


FEW = """
from searchspaces import Space, Stage, choice, conv_head, mbconv
space = Space('few', stages=Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5)), head=Stage(conv_head, width=16))
"""


@pytest.mark.parametrize("length", [["--trials", "2"], ["--time", "5m"], ["--trials", "3", "--time", "5m"]])
def test_after_ctrl_c_the_screen_and_the_last_line_have_one_command_which_resumes(nas_cli, tmp_path, length):
    begins = "    def estimate(self, architecture, context):\n"
    stops = f"{begins}        began.append(1)\n        if len(began) == 2:\n            raise KeyboardInterrupt\n"
    (tmp_path / "own.py").write_text("began = []\n" + INSTANT.replace(begins, stops))
    (tmp_path / "few.py").write_text(FEW)
    own = ["--space", f"{tmp_path / 'few.py'}:space", "--estimator", f"{tmp_path / 'own.py'}:estimator"]
    words = ["--budget", "100%", "--task", "32x32x3:10", "--strategy", "random", "--device", "cpu", *length]
    said = nas_cli("search", *own, *words, "--name", "cut", "--out", tmp_path, "--quiet")
    assert said.code == 130
    (again,) = re.findall("resume with: (.*)", said.err)
    assert re.findall("nas resume .*", said.out) == [again]
    assert "--device cpu" in again
    assert ("--time 5m" in again) == ("--time" in length)
    assert "--trials" not in again  # as many as planned
    if "--trials" in length:
        assert nas_cli("show", tmp_path / "cut", *own[:2], "--json").json()["more"] in again
    (tmp_path / "own.py").write_text(INSTANT)
    ended = nas_cli(*shlex.split(again)[1:], "--quiet", "--json").json()
    assert ended["trials"]["complete"] == (int(length[1]) if "--trials" in length else 4)  # of the whole space


def _states_of_the_third(nas_cli, run):
    """What the screens, the documents and the page of a study of three trials say of the one that has not ended."""
    counts = nas_cli("show", run, "--json").json()["trials"]
    of_two = {state for state in ("running", "interrupted") if counts[state]}
    every, one = (nas_cli("show", run, *words).out for words in (("--all",), ("--trial", 2)))
    shown = {state for each in (every, one) for state in re.findall(r"\b(?:running|interrupted)\b", each)}
    told = {nas_cli("show", run, "--all", "--json").json()["trials"][2]["state"]}
    told |= {nas_cli("show", run, "--trial", 2, "--json").json()["state"]}
    assert nas_cli("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    on_page = set(re.findall("No trial failed: 2 complete, 1 (running|interrupted, run again on resume)\\.", page))
    with closing(open_study(run)) as study:
        frame = {study.trials_dataframe()["state"][2]}
    return of_two | shown | told | frame | {state.partition(",")[0] for state in on_page or {"nothing"}}


def test_the_python_example_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", TOUR.read_text(encoding="utf-8"), re.DOTALL)
        if "nas.search(" in block
    ]
    program = example.replace("trials=10", "trials=2, estimator_settings={'epochs': 1, 'data_fraction': 0.1}")
    assert program != example
    names: dict[str, object] = {}
    exec(compile(program, "tour.md", "exec"), names)
    assert (tmp_path / "runs" / "demo" / "study.json").exists()
    assert len(names["study"].trials) == 2


def test_the_api_takes_names_files_and_objects(tmp_path):
    (tmp_path / "instant.py").write_text(INSTANT)
    by_file = f"{tmp_path / 'instant.py'}:estimator"
    from searchspaces import load_object

    settings = {"budget": "400M", "trials": 3, "strategy": "random", "out": tmp_path}
    first = nas.search(space="mbconv", estimator=by_file, name="file", **settings)
    other = nas.search(space=nas.space("mbconv"), estimator=load_object(by_file), name="object", **settings)
    assert [one.architecture for one in first.trials] == [one.architecture for one in other.trials]
    assert nas.open_study(tmp_path / "file", estimator=by_file).best.number == first.best.number


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        (lambda out: nas.search(time=0, out=out), nas.UserError, "time: must be longer than zero, got 0"),
        (lambda out: nas.search(time="0s", out=out), nas.UserError, "time: must be longer than zero, got '0s'"),
        (lambda out: nas.search(data=out / "none", out=out), nas.UserError, "no data at"),
        (lambda out: nas.export(out / "none"), nas.UserError, "no run folder or network"),
        (lambda out: nas.compare_runs(str(out)), nas.UserError, "no run folder"),
        (lambda out: nas.compare_runs([out], trials=0), nas.UserError, "trials must be at least 1, got 0"),
        (lambda out: nas.scale("resnet18", budget="1M", out=out), TypeError, "keyword argument 'budget'"),
    ],
)
def test_a_mistake_in_the_api_says_what_it_is_and_leaves_nothing(mistake, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        mistake(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_to_type_next_names_the_space_of_ones_own(nas_cli, words):
    # a run folder never loads code by itself, so that each command must say where the space is
    own = str(Path(__file__).parents[1] / "examples" / "my_space.py:space")
    document = nas_cli(*words, "--space", own, "--json").json()
    assert [each.split()[:2] for each in document["looks"]] == [["nas", "show"], ["nas", "cost"]]
    for command in document["looks"]:
        _, *rest = shlex.split(command)
        assert nas_cli(*rest).code == 0
        assert rest[-2:] == ["--space", own]
        assert nas_cli(*rest[:-2]).code == 2
