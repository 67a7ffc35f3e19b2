"""A study on three Ray nodes of one machine loses nothing when a node and then its driver are killed.

Run as a script, `python test_studies_ray_cluster.py FOLDER TRIALS ADDRESS`, it is the driver: it says what happens.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from studies_stand_ins import SPACE, Known, begin

from studies import Study, TrialEnded, TrialReported, TrialStarted
from studies.ray_engine import RayEngine

TRIALS = 12


def driver(folder: str, trials: str, address: str) -> None:
    """Run the study to its end; one line for each event."""

    def say(event: Any) -> None:
        if isinstance(event, TrialStarted | TrialEnded):
            print(type(event).__name__, event.trial.number, event.trial.state, flush=True)
        elif isinstance(event, TrialReported):
            print(type(event).__name__, event.number, event.step, flush=True)

    study = begin(folder, trials=int(trials), estimator=Known(seconds=0.5))
    print(study.run(engine=RayEngine(address), on_event=say).kind, flush=True)


class Nodes:
    """Ray nodes that are ours, each with its processes in a group of its own, behind a token of our own."""

    def __init__(self, log: Path) -> None:
        root = Path(__file__).parent
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root.parent), str(root)]),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._started: list[subprocess.Popen[bytes]] = []
        self._log = log.open("wb", buffering=0)
        self.folder = tempfile.mkdtemp(prefix="ray-")  # a socket's path must be short

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """A node that is up; a busy machine may need a second try."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
        for _ in range(3):
            before = self._ready()
            node = subprocess.Popen(
                command,
                env=self.environment,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
            self._started.append(node)
            wait_for(lambda: self._ready() > before or node.poll() is not None, 60)  # noqa: B023 - waited for here
            if node.poll() is None:
                return node
            self.kill(node)
        raise AssertionError(f"no node came up; see {self._log.name}")

    def _ready(self) -> int:
        return Path(self._log.name).read_text().count("Ray runtime started")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """SIGKILL to all processes of a node: its machine is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait(10)

    def close(self) -> None:
        for node in self._started:
            self.kill(node)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    several = Nodes(tmp_path / "nodes.log")
    try:
        yield several
    finally:
        several.close()


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)


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
@pytest.mark.timeout(300)
def test_a_node_and_then_the_driver_are_killed_and_no_trial_is_lost_or_run_twice(nodes: Nodes, tmp_path: Path) -> None:
    pytest.importorskip("ray.tune", reason="needs Ray Tune: pip install 'ray[tune]'")
    from ray.util import get_node_ip_address

    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    host = get_node_ip_address()
    nodes.start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={nodes.folder}")
    first, _ = (nodes.start(f"--address={host}:{port}", "--num-cpus=1") for _ in range(2))

    nodes.environment["TMPDIR"] = str(tmp_path)  # of the driver, which is killed and cannot tidy up

    def drive() -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", __file__, str(tmp_path / "run"), str(TRIALS), f"{host}:{port}"]
        with (tmp_path / "driver.log").open("a") as log:
            return subprocess.Popen(command, env=nodes.environment, stdout=subprocess.PIPE, stderr=log, text=True)

    with drive() as running:
        assert running.stdout is not None
        lines = lines_until(running.stdout, lambda found: len(ended(found)) == 3)
        lines += lines_until(running.stdout, lambda found: found[-1][0] == "TrialReported")
        nodes.kill(first)  # both workers have a trial each: some trial ends on another node than it began
        nodes.start(f"--address={host}:{port}", "--num-cpus=1")
        lines += lines_until(running.stdout, lambda found: len(ended(found)) == 3)
        lines += lines_until(running.stdout, lambda found: found[-1][0] == "TrialReported")
        running.kill()
        lines += lines_until(running.stdout, lambda found: False)
    under_way = Study.open(tmp_path / "run", space=SPACE)
    finished = {trial.number: trial for trial in under_way.trials if trial.state != "running"}
    under_way.close()
    assert set(ended(lines)) <= set(finished)
    assert 6 <= len(finished) < TRIALS
    with drive() as running:
        assert running.stdout is not None
        again = lines_until(running.stdout, lambda found: False)
    assert again[-1] == ["trials"], (tmp_path / "driver.log").read_text()[-2000:]
    assert sorted([*finished, *ended(again)]) == list(range(TRIALS))  # each to its end once
    study = Study.open(tmp_path / "run", space=SPACE)
    assert [trial.state for trial in study.trials] == ["complete"] * TRIALS
    assert {number: study.trials[number] for number in finished} == finished
    assert len({trial.architecture for trial in study.trials}) == TRIALS
    alone = Known()
    for trial in study.trials:  # what each is worth does not depend on what happened around it
        context = type("Context", (), {"seed": study.seed_of(trial.number), "report": staticmethod(lambda *_: True)})
        assert trial.accuracy == alone.estimate(trial.architecture, context()).accuracy  # type: ignore[arg-type]
    study.close()


if __name__ == "__main__":
    driver(*sys.argv[1:])
