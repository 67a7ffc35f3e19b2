"""A study on three Ray nodes of one machine loses nothing when a node and then its driver are killed.

Run as a script, `python test_studies_ray_cluster.py FOLDER TRIALS ADDRESS SECONDS`, it is the driver: it says what
happens. SECONDS are those before each report of a trial.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
from studies_stand_ins import SPACE, Known, begin

from benchmarks.ray_nodes import Nodes
from studies import Study, TrialEnded, TrialReported, TrialStarted
from studies.ray.engine import RayEngine

TRIALS = 24


def driver(folder: str, trials: str, address: str, seconds: str) -> None:
    """Run the study to its end; one line for each event."""

    def say(event: Any) -> None:
        if isinstance(event, TrialStarted | TrialEnded):
            print(type(event).__name__, event.trial.number, event.trial.state, flush=True)
        elif isinstance(event, TrialReported):
            print(type(event).__name__, event.number, event.step, flush=True)

    study = begin(folder, trials=int(trials), estimator=Known(seconds=float(seconds)))
    print(study.run(engine=RayEngine(address), on_event=say).kind, flush=True)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path / "nodes.log", Path(__file__).parent) as several:
        yield several


def lines_until(said: IO[str], stop: Callable[[list[list[str]]], bool]) -> list[list[str]]:
    """Words of the lines up to the one at which it is to stop."""
    found: list[list[str]] = []
    for line in said:
        found.append(line.split())
        if stop(found):
            break
    return found


def ended(lines: list[list[str]]) -> list[int]:
    return [int(words[1]) for words in lines if words[0] == "TrialEnded"]


@pytest.mark.cluster
def test_a_node_and_then_the_driver_are_killed_and_no_trial_is_lost_or_run_twice(nodes: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("ray.tune", reason="needs Ray Tune: pip install 'ray[tune]'")
    nodes.head()
    first, _ = nodes.worker("first"), nodes.worker("second")

    nodes.environment["TMPDIR"] = str(tmp_path)  # of the driver, which is killed and cannot tidy up

    def drive(seconds: float) -> subprocess.Popen[str]:
        words = [str(tmp_path / "run"), str(TRIALS), nodes.address, str(seconds)]
        command = [sys.executable, "-W", "ignore", __file__, *words]
        with (tmp_path / "driver.log").open("a") as log:
            return subprocess.Popen(command, env=nodes.environment, stdout=subprocess.PIPE, stderr=log, text=True)

    with (
        ThreadPoolExecutor(1) as beside,
        drive(0.5) as running,
    ):  # long enough that the kills come while a trial is under way
        assert running.stdout is not None
        lines = lines_until(running.stdout, lambda found: len(ended(found)) == 3)
        lines += lines_until(running.stdout, lambda found: found[-1][0] == "TrialReported")
        nodes.kill(first)  # both workers have a trial each: some trial ends on another node than it began
        third = beside.submit(nodes.worker, "third")  # on a busy machine all trials may have ended before it is up
        lines += lines_until(running.stdout, lambda found: len(ended(found)) == 3)
        lines += lines_until(running.stdout, lambda found: found[-1][0] == "TrialReported")
        running.kill()
        lines += lines_until(running.stdout, lambda found: False)
        third.result()
    under_way = Study.open(tmp_path / "run", space=SPACE)
    finished = {trial.number: trial for trial in under_way.trials if trial.state != "running"}
    under_way.close()
    assert set(ended(lines)) <= set(finished)
    assert 6 <= len(finished) < TRIALS
    with drive(0.05) as running:
        assert running.stdout is not None
        again = lines_until(running.stdout, lambda found: False)
    assert again[-1] == ["trials"], (tmp_path / "driver.log").read_text()[-2000:]
    assert sorted([*finished, *ended(again)]) == list(range(TRIALS))  # each to its end once
    study = Study.open(tmp_path / "run", space=SPACE)
    assert [trial.state for trial in study.trials] == ["complete"] * TRIALS
    assert {number: study.trials[number] for number in finished} == finished
    assert len({trial.architecture for trial in study.trials}) == TRIALS
    assert {words[0] for words in lines + again} == {"TrialStarted", "TrialReported", "TrialEnded", "trials"}  # no Ray
    alone = Known()
    for trial in study.trials:  # what each is worth does not depend on what happened around it
        context = type("Context", (), {"seed": study.seed_of(trial.number), "report": staticmethod(lambda *_: True)})
        assert trial.accuracy == alone.estimate(trial.architecture, context()).accuracy  # type: ignore[arg-type]
    study.close()


if __name__ == "__main__":
    driver(*sys.argv[1:])
