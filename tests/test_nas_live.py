"""The live screen of a search: what it derives from events, and its lines where there is no terminal."""

from __future__ import annotations

import io
import re
import time
from types import SimpleNamespace

import pytest
from photographs import photographs
from rich.console import Console
from terminals import on_terminal, shown, when

from estimators.training import Moment
from nas.commands.live import SearchDisplay, SearchProgress
from nas.commands.training import TrainingDisplay
from studies import StudyEnded, StudyPrepares, StudyStarted, TrialEnded, TrialReported, TrialStarted
from studies.engine import Snapshot


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def trial(number, accuracy=None, state="complete", reason=None, macs=310_000_000):
    cost = SimpleNamespace(macs=macs, params=4_000_000)
    return SimpleNamespace(
        number=number,
        state=state,
        accuracy=accuracy,
        reason=reason,
        cost=cost,
        seconds=8.0,
        confirms=None,
        parent=None,
        details={},
    )


def tell(display):
    """A study of two trials, the second of which fails."""
    display(StudyStarted(ended=0, again=0, trials=3, limit_s=None))
    display(TrialStarted(trial(0, state="running")))
    display(TrialReported(0, step=1, accuracy=0.5, stop=False))
    display(TrialEnded(trial(0, 0.975)))
    display(TrialStarted(trial(1, state="running")))
    display(TrialEnded(trial(1, state="failed", reason="out of memory:\n 2 GB asked")))
    display(StudyEnded("trials", "all 3 trials are done"))


def test_time_left_is_measured_on_the_trials_that_ended():
    clock = Clock()
    progress = SearchProgress(planned=10, clock=clock)
    progress.started(trial(0))
    assert progress.left_s is None
    clock.now = 20.0
    progress.ended(trial(0, 0.9))
    assert progress.left_s == 9 * 20.0
    clock.now = 25.0  # the second is under way for 5 s
    assert progress.left_s == 9 * 20.0 - 5.0


def test_time_left_is_known_after_the_first_epoch_and_from_earlier_runs():
    clock = Clock()
    progress = SearchProgress(planned=10, epochs=6, usual_s=40.0, done=4, clock=clock)
    for number in (4, 5):
        progress.started(trial(number))
    assert progress.left_s == 6 * 40.0 / 2
    clock.now = 10.0
    progress.reported(4, 0.5)
    progress.reported(5, 0.5)
    assert progress.pace_s == 10.0 * 6 / 2
    assert progress.left_s == 6 * 30.0


def test_what_is_made_before_the_first_trial_is_shown_and_its_time_is_no_trial_s():
    clock, lines = Clock(), Console(file=io.StringIO())
    display = SearchDisplay(SearchProgress(planned=2, clock=clock), lines)
    display(StudyStarted(ended=0, again=0, trials=2, limit_s=None))
    for epoch in (1, 2):
        display(StudyPrepares(f"training the supernet: epoch {epoch} of 2"))
    screen = Console(file=io.StringIO())
    screen.print(display.screen())
    assert re.search(r"first +training the supernet: epoch 2 of 2", screen.file.getvalue())
    assert lines.file.getvalue() == "training the supernet: epoch 1 of 2 ...\n"  # once, where nothing is live
    clock.now = 100.0
    display(TrialStarted(trial(0, state="running")))
    clock.now = 103.0
    display(TrialEnded(trial(0, 0.9)))
    assert display.progress.pace_s == 3.0
    screen = Console(file=io.StringIO())
    screen.print(display.screen())
    assert "training the supernet" not in screen.file.getvalue()


def test_an_accuracy_has_the_error_of_its_validation_images_and_a_score_has_none():
    display = SearchDisplay(SearchProgress(planned=3, images=900), Console(file=io.StringIO()))
    assert "90.0% ± 1.0%" in display.line(trial(0, 0.9))
    display.progress.unit = "score, not accuracy"
    assert "±" not in display.line(trial(0, 0.9))


def test_the_best_is_the_one_of_the_highest_mean_once_there_are_confirmations():
    progress = SearchProgress(planned=4, images=900, chosen=lambda: (trial(0, 0.85), 0.02))
    display = SearchDisplay(progress, Console(file=io.StringIO()))
    for each in (trial(0, 0.9), trial(1, 0.8)):
        progress.ended(each)
    assert "best 90.0% ± 1.0%" in display.line(trial(1, 0.8))
    again = trial(2, 0.8)
    again.confirms = 0
    progress.ended(again)
    assert "best 85.0% ± 2.0%" in display.line(again)
    resumed = SearchProgress(planned=4, images=900, chosen=lambda: (trial(0, 0.85), 0.02), confirmed=True)
    assert (resumed.best.accuracy, resumed.best_error) == (0.85, 0.02)


def test_choosing_the_best_takes_a_twentieth_of_the_time_in_a_study_of_any_length():
    clock, chosen = Clock(), list[float]()

    def choose():
        chosen.append(clock.now)
        clock.now += 1.0  # of ten thousand trials
        return trial(0, 0.85), 0.02

    progress = SearchProgress(planned=None, chosen=choose, confirmed=True, clock=clock)
    for _ in range(100):
        clock.now += 1.0
        progress.ended(trial(1, 0.8))
    assert len(chosen) <= 1 + clock.now / 20
    assert chosen[-1] > clock.now - 21


def test_time_left_of_a_training_is_that_of_its_steps_and_not_of_its_start():
    clock = Clock()
    display = TrainingDisplay(2, Console(file=io.StringIO()), clock=clock)
    clock.now = 70.0  # workers start
    display(Moment(1, 20, ()))
    assert display.left_s is None
    clock.now = 72.0
    display(Moment(5, 20, ()))
    assert display.left_s == 15 * 0.5


def test_time_left_ends_with_the_time_limit():
    clock = Clock()
    progress = SearchProgress(planned=1000, limit_s=60.0, clock=clock)
    clock.now = 20.0
    progress.ended(trial(0, 0.9))
    assert progress.left_s == 40.0
    assert progress.share == pytest.approx(1 / 3)


def test_what_is_prepared_counts_for_the_time_limit_and_not_for_the_pace():
    clock = Clock()
    display = SearchDisplay(SearchProgress(planned=None, clock=clock), Console(file=io.StringIO()))
    display(StudyStarted(ended=0, again=0, trials=None, limit_s=60.0))
    display(StudyPrepares("training the supernet: epoch 1 of 1"))
    clock.now = 30.0
    display(TrialStarted(trial(0, state="running")))
    clock.now = 33.0
    display(TrialEnded(trial(0, 0.9)))
    assert (display.progress.pace_s, display.progress.left_s) == (3.0, 27.0)
    assert display.progress.share == pytest.approx(33 / 60)


@pytest.mark.parametrize(("exact", "ended"), [(False, 0), (True, 0), (False, 1)])
def test_only_a_new_search_that_is_not_deterministic_is_told_how_it_would_be_one(exact, ended):
    out, engine = io.StringIO(), SimpleNamespace(note="2 trials at once", exact_by="--workers 1 reproduces a seed")
    display = SearchDisplay(SearchProgress(planned=2, done=ended), Console(file=out), engine=engine, exact=exact)
    display(TrialStarted(trial(ended, state="running")))
    told = "2 trials at once" + ("" if exact or ended else "; --workers 1 reproduces a seed")
    assert out.getvalue() == f"{told}\n"


def test_trials_of_earlier_runs_count_as_done_but_not_for_the_pace():
    clock = Clock()
    progress = SearchProgress(planned=10, done=6, clock=clock)
    clock.now = 7.0
    progress.ended(trial(6, 0.9))
    assert (progress.done, progress.pace_s, progress.left_s) == (7, 7.0, 21.0)


def test_the_best_is_the_most_accurate_complete_trial():
    progress = SearchProgress(planned=10)
    for number, accuracy, state in [
        (0, 0.8, "complete"),
        (1, 0.9, "complete"),
        (2, 0.95, "pruned"),
        (3, None, "failed"),
    ]:
        progress.ended(trial(number, accuracy, state))
    assert progress.best.number == 1


def test_of_equal_accuracies_the_fewest_macs_are_best_as_in_the_results():
    progress = SearchProgress(planned=10)
    for number, macs in enumerate([300_000_000, 200_000_000, 200_000_000]):
        progress.ended(trial(number, 0.9, macs=macs))
    assert progress.best.number == 1


def test_without_a_terminal_each_trial_is_one_line():
    out = io.StringIO()
    console = Console(file=out, width=40)
    with SearchDisplay(SearchProgress(planned=3), console, preflight=lambda: console.print("ready")) as display:
        tell(display)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "ready"
    assert lines[1].startswith("1/3  trial 0  97.5%  310M MACs")
    assert "failed: out of memory: 2 GB asked" in lines[2]
    assert "best 97.5%" in lines[2]
    assert display.ended.kind == "trials"


@pytest.mark.parametrize("width", [80, 100])
def test_the_live_screen_shows_everything_within_the_width(width):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    clock = Clock()
    progress = SearchProgress(planned=60, clock=clock)
    display = SearchDisplay(progress, console)
    clock.now = 8.0
    progress.ended(trial(0, 0.975))
    progress.ended(trial(1, state="failed", reason="out of memory: " + "very " * 40 + "long"))
    for number in range(2, 9):
        progress.started(trial(number))
    for accuracy in (0.1, 0.5, 0.9):
        progress.reported(2, accuracy)
    console.print(display.screen())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for said in ("2 of 60", "97.5%", "trial 2", "▁▅█", "epoch 3", "and 3 more", "1 x out of memory", "left"):
        assert said in text


def test_quiet_says_nothing():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True)
    with SearchDisplay(
        SearchProgress(planned=3), console, preflight=lambda: console.print("ready"), quiet=True
    ) as display:
        tell(display)
    assert out.getvalue() == ""


def test_a_network_trained_again_is_no_new_best_and_says_whose_it_is():
    progress = SearchProgress(planned=4)
    progress.ended(trial(0, 0.7))
    again = SimpleNamespace(**{**vars(trial(1, 0.9)), "confirms": 0})
    progress.ended(again)
    assert (progress.best.number, progress.done) == (0, 2)
    assert "confirms trial 0" in SearchDisplay(progress, Console(file=io.StringIO())).line(again)


def test_on_a_cluster_it_says_which_trial_is_where_and_what_is_in_use():
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=140, force_terminal=True, color_system=None)
    places = {2: "left", 3: "left", 4: "right", 5: "a", 6: "b", 7: "c"}
    now = Snapshot(places, used={"CPU": 12.0, "GPU": 1.5}, there={"CPU": 48.0, "GPU": 2.0}, nodes=6)
    display = SearchDisplay(SearchProgress(planned=60, clock=clock), console, engine=SimpleNamespace(now=now))
    clock.now = 8.0
    for number, reason in enumerate(["worker died: End of file (tried 3 times)", "worker died: its pipe broke"]):
        display.progress.ended(trial(number, state="failed", reason=reason))
    for number in (2, 8, 3, 4, 5, 6, 7):
        display.progress.started(trial(number))
    display.progress.reported(2, 0.9)
    console.print(display.screen())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 140
    for said in (
        "trial 2  █  90.0%  epoch 1, 310M MACs, on left",
        "trial 8  waiting for a worker, 310M MACs",
        "trial 3  training, 310M MACs, on left",
        "where    2 on left, 1 on a, 1 on b, 1 on c, 1 elsewhere, 1 waiting;",
        "6 nodes: 1.5 of 2 GPUs and 12 of 48 cores in use",
        "15 trials per minute",
        "2 x worker died",
    ):
        assert any(said in line for line in lines), said
    assert "  8.0s on right  " in display.line(trial(4, 0.9))


def lines_of(text):
    """What a terminal showed, without the wheel that turns."""
    return [line.lstrip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ") for line in text.splitlines() if line.strip()]


def test_a_terminal_shows_what_is_loaded_from_the_first_moment_and_one_line_of_it(tmp_path):
    data = photographs(tmp_path / ("a long name " * 20) / "set", each=9)
    words = ["search", "--budget", "1", "--data", data, "--image-size", "32"]
    code, text = on_terminal(words, tmp_path, columns=80)
    assert code == 2
    assert max(map(len, text.partition("nas: ")[0].splitlines())) <= 80
    seen = lines_of(text)
    assert seen[0] == "loading"
    first = {each.split()[0] for each in seen[:-1]}  # what a terminal that is refreshed now and then has time to show
    assert first <= {"loading", "reading", "decoding", "counting"}
    assert seen[-1].startswith("nas: budget 1 MACs: no architecture of mbconv fits")


@pytest.fixture
def terminal(monkeypatch):
    """What commands in this process write on a terminal."""
    written = io.StringIO()
    made = Console(force_terminal=True, file=written, width=80)
    # not `console`, which modules that are imported meanwhile would keep
    monkeypatch.setattr("nas.commands.console.Screen", lambda **given: made)
    return written


@pytest.mark.parametrize(
    "words", ["compare nothing", "report nothing", "export nothing", "measure nothing", "proxy --budget 1"]
)
def test_every_command_that_takes_long_says_so_from_the_first_moment(nas_cli, terminal, words):
    said = nas_cli(*words.split())
    assert lines_of(shown(terminal.getvalue().encode()))[0] == "loading"
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("nas: ")


@pytest.mark.parametrize("words", [[], ["--quiet"], ["--json"]])
def test_nothing_of_it_is_written_where_there_is_no_terminal(nas_cli, tmp_path, words):
    photographs(tmp_path / "set", each=9)
    said = nas_cli("search", "--budget", "1", "--data", tmp_path / "set", "--image-size", "32", *words)
    assert (said.out, len(said.err.splitlines())) == ("", 1)


@pytest.mark.parametrize("quiet", ["--quiet", "--json"])
def test_quiet_and_json_show_no_line_on_a_terminal_either(nas_cli, terminal, quiet):
    said = nas_cli("search", "--budget", "1", "--image-size", "32", quiet)
    assert (terminal.getvalue(), said.out) == ("", "")
    assert said.err.startswith("nas: budget")


SLOWLY = """
import time
from pathlib import Path
from estimators import sources
from nas.cli import main

decoded = sources.decoded_bytes

def slowly(*given):
    time.sleep(0.2)
    with Path("decoded").open("a") as file:
        file.write(".")
    return decoded(*given)

sources.decoded_bytes = slowly
main()
"""


def test_ctrl_c_while_images_are_loaded_ends_at_once_and_says_so(tmp_path):
    (tmp_path / "slowly.py").write_text(SLOWLY)
    photographs(tmp_path / "set", each=32)
    words = ["search", "--data", "set", "--budget", "5M"]
    code, text = on_terminal(words, tmp_path, when("decoding [0-9]+ of 64"), program=["slowly.py"])
    assert code == 130, text
    assert text.rstrip().endswith("nas: interrupted")
    assert len((tmp_path / "decoded").read_text()) < 64  # what has begun ends, and no more begins
    assert not (tmp_path / "runs").exists()


def test_the_images_that_are_decoded_are_counted(monkeypatch, tmp_path):
    from estimators import load_data
    from searchspaces import progress

    photographs(tmp_path / "set", each=9)
    told = []
    monkeypatch.setattr(progress, "OFTEN_S", -1.0)
    with progress.watched(told.append):
        load_data(str(tmp_path / "set"), 16)
    assert told[1:] == [f"decoding {number} of 18 images" for number in range(19)]
    load_data(str(tmp_path / "set"), 16)
    assert len(told) == 20  # nobody watches any more


def test_an_interrupt_between_two_images_decodes_no_more_of_them(monkeypatch, tmp_path):
    from estimators import load_data, sources
    from searchspaces import progress

    def interrupt(words):
        if words.startswith("decoding"):
            raise KeyboardInterrupt

    photographs(tmp_path / "set", each=32)
    decode, decoded = sources.decoded_bytes, list[object]()
    monkeypatch.setattr(sources, "decoded_bytes", lambda *given: decoded.append(time.sleep(0.02)) or decode(*given))
    with progress.watched(interrupt), pytest.raises(KeyboardInterrupt):
        load_data(str(tmp_path / "set"), 16)
    assert len(decoded) < 64


SLOW = """
import time
from estimators import Estimate

class Slow:
    threads = 1

    def describe(self):
        return {"name": "slow"}

    def estimate(self, architecture, context):
        time.sleep(0.5)
        return Estimate(0.5, 0.5, (0.5,))

def estimator():
    return Slow()
"""


@pytest.mark.parametrize(("workers", "waits"), [(1, "writing the results"), (2, "waiting for the workers")])
def test_ctrl_c_is_answered_at_once_on_the_live_screen(tmp_path, workers, waits):
    (tmp_path / "slow.py").write_text(SLOW)
    words = f"search --budget 400M --estimator slow.py:estimator --trials 500 --workers {workers} --name cut".split()
    code, text = on_terminal(words, tmp_path, when("[2-9] of 500"))
    assert code == 130, text
    before, answer, after = text.partition(f"stopping… {waits}; press Ctrl-C again to quit immediately")
    assert answer
    assert re.search("[2-9] of 500", before)
    assert "nas: interrupted; resume with: nas resume" in after
    assert "Traceback" not in text


def test_ctrl_c_on_ray_keeps_the_checkpoint_of_a_training_and_says_how_to_go_on(tmp_path):
    few = "--set data_fraction=0.2 --epochs 99"  # short epochs, of which many are left
    words = f"train resnet20 --data digits --image-size 8 {few} --ray --workers 2 --out cut"
    code, text = on_terminal(words.split(), tmp_path, when(r"epoch ([2-9]|\d\d) of 99"))
    assert code == 130, text
    assert "stopping… waiting for the checkpoint; press Ctrl-C again to quit immediately" in text
    assert f"resume with: nas {words}" in " ".join(text.split())
    assert "Traceback" not in text
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists()


STUCK = """
import time
from estimators.core import Core
from nas.cli import main

step, done = Core.step, []

def stuck(self):
    if done:
        time.sleep(1000)
    done.append(step(self))

Core.step = stuck
main()
"""


def test_a_second_ctrl_c_ends_a_training_within_its_step(tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    words = ["train", "resnet20", "--data", "digits", "--image-size", "16", "--epochs", "2", "--out", "cut"]
    presses = when("step 1 of", "stopping…")
    code, text = on_terminal(words, tmp_path, presses, program=["stuck.py"])
    assert code == 130, text
    assert "stopping… waiting for the checkpoint; press Ctrl-C again to quit immediately" in text
    assert "nas: interrupted; resume with: nas train resnet20" in text
