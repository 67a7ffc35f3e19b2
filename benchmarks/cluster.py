"""A search on three Ray nodes of this machine that loses a node, its driver and its head, and no trial.

    python -m benchmarks.cluster [--trials N] [--epochs N] [--json]

The head runs no trials, two workers run one each. While trials are being trained: the first worker is killed and
another one joins; the driver is killed and the study resumed; the head is killed, all nodes are started anew, and the
study is resumed. All kills are SIGKILL. The law: all trials complete, none is lost, and none trained to its end twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ray_nodes import Nodes, wait_for
from studies import Study

PATIENCE_S = 300.0
"""Seconds in which the next thing must have happened."""


def drive(folder: Path, address: str, trials: int, epochs: int) -> None:
    """Begin the study or go on with it; one line of JSON for each event."""
    import nas
    from studies.ray.engine import RayEngine

    engine = RayEngine(address)

    def say(event: Any) -> None:
        trial = getattr(event, "trial", None)
        said = {
            "event": type(event).__name__,
            "trial": getattr(event, "number", None) if trial is None else trial.number,
            "step": getattr(event, "step", None),
            "places": {} if engine.now is None else dict(engine.now.places),
        }
        print(json.dumps(said), flush=True)

    nas.search(
        budget="400M", data="digits", trials=trials, name=folder.name, out=folder.parent, engine=engine, on_event=say,
        estimator_settings={"epochs": epochs, "data_fraction": 0.5},
    )  # fmt: skip


class Story:
    """What happened, when, and how many trials had ended by then."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.rows: list[tuple[float, str, int]] = []
        self.ended: list[int] = []
        self.attempts: dict[int, list[tuple[int, str]]] = {}  # driver and node
        self.started: list[set[int]] = []  # by each driver

    def happened(self, what: str) -> None:
        """One more row."""
        self.rows.append((time.monotonic() - self.began, what, len(self.ended)))
        print(f"{self.rows[-1][0]:6.0f} s   {what:<78}{self.rows[-1][2]:>8}", flush=True)


class Driver:
    """A driver in a process of its own, heard by a thread."""

    def __init__(self, nodes: Nodes, story: Story, folder: Path, given: argparse.Namespace) -> None:
        self.last: dict[str, Any] = {}
        self._story = story
        story.started.append(set())
        settings = ["--trials", str(given.trials), "--epochs", str(given.epochs)]
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.cluster", "--drive", str(folder), nodes.address]
        self._log = (folder.parent / f"driver-{len(story.started)}.log").open("w+")
        self.process = subprocess.Popen(
            [*command, *settings], env=nodes.environment, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        number = len(self._story.started)
        for line in self.process.stdout:
            if not line.startswith("{"):
                print(f"{'':>8}   driver {number} says: {line.rstrip()}", flush=True)
                continue
            said = json.loads(line)
            for trial, place in said["places"].items():
                attempts = self._story.attempts.setdefault(int(trial), [])
                if (number, place) not in attempts:
                    attempts.append((number, place))
            if said["event"] == "TrialStarted":
                self._story.started[-1].add(said["trial"])
            elif said["event"] == "TrialEnded":
                self._story.ended.append(said["trial"])
            self.last = said

    def wait_until(self, what: Callable[[dict[str, Any]], bool], ended: int) -> dict[str, Any]:
        """The event at which it is so, after so many ends."""

        def so() -> bool:
            assert self.process.poll() is None, f"the driver ended too early:\n{self.said()}"
            return len(self._story.ended) >= ended and what(self.last)

        wait_for(so, PATIENCE_S)
        return self.last

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._ear.join()
        return code

    def said(self) -> str:
        """The end of its standard error."""
        self._log.seek(0)
        return self._log.read()[-2000:]


def finished(folder: Path) -> set[int]:
    """Trials that have ended, as the ledger has it."""
    study = Study.open(folder)
    found = {trial.number for trial in study.trials if trial.state != "running"}
    study.close()
    return found


def reports(event: dict[str, Any]) -> bool:
    """Whether a trial is in the middle of its training."""
    return event.get("event") == "TrialReported" and event["step"] == 1


def tell(place: Path, given: argparse.Namespace, story: Story) -> list[str]:
    """Let it all happen; what went against the law."""
    folder, wrong, part = place / "run", [], given.trials // 5
    with Nodes(place / "nodes.log") as nodes:
        head = nodes.head()
        first, _ = nodes.worker("one"), nodes.worker("two")
        story.happened("a head without cores and the workers one and two are up")
        driver = Driver(nodes, story, folder, given)

        event = driver.wait_until(lambda last: reports(last) and last["places"].get(str(last["trial"])) == "one", part)
        nodes.kill(first)
        story.happened(f"worker one killed, trial {event['trial']} on it had trained 1 of {given.epochs} epochs")
        nodes.worker("three")
        story.happened("worker three joined")

        event = driver.wait_until(reports, 2 * part)
        driver.process.kill()
        driver.end()
        kept = finished(folder)
        story.happened(f"driver killed, trial {event['trial']} had trained 1 of {given.epochs} epochs; resumed")
        driver = Driver(nodes, story, folder, given)

        event = driver.wait_until(reports, 3 * part)
        nodes.kill(head)
        story.happened(f"head killed, trial {event['trial']} had trained 1 of {given.epochs} epochs")
        code = driver.end()
        story.happened(f"driver ended with exit code {code}")
        wrong += [f"driver 2 trained trials {kept & story.started[1]} again"] if kept & story.started[1] else []
        kept = finished(folder)

        nodes.kill_all()
        nodes.head()
        _ = nodes.worker("four"), nodes.worker("five")
        story.happened("a new head and the workers four and five are up; resumed")
        driver = Driver(nodes, story, folder, given)
        code = driver.end()
        wrong += [f"driver 3 trained trials {kept & story.started[2]} again"] if kept & story.started[2] else []
        story.happened(f"the study is done, exit code {code}")
        wrong += [f"the last driver failed:\n{driver.said()}"] if code else []
    study = Study.open(folder)
    states = [trial.state for trial in study.trials]
    if states != ["complete"] * given.trials:
        wrong.append(f"trials are {states}")
    if len({trial.architecture for trial in study.trials}) != given.trials:
        wrong.append("a network was tried twice")
    if len(story.ended) != len(set(story.ended)):
        wrong.append("a trial ended twice")
    study.close()
    return wrong


def main() -> None:
    """Let it happen, print what did, and exit with 1 if the law does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--drive", nargs=2, metavar=("FOLDER", "ADDRESS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        return drive(Path(given.drive[0]), given.drive[1], given.trials, given.epochs)
    story = Story()
    with tempfile.TemporaryDirectory() as place:
        print(f"{'time':>8}   {'what happened':<78}{'finished':>8}")
        wrong = tell(Path(place), given, story)
    several = {number: tries for number, tries in sorted(story.attempts.items()) if len(tries) > 1}
    if given.json:
        print(json.dumps({"rows": story.rows, "attempts": story.attempts, "wrong": wrong}, indent=2))
    else:
        print(f"\n{'trial':>8}{'attempts':>10}   driver and node of each")
        for number, tries in several.items():
            print(f"{number:>8}{len(tries):>10}   {', '.join(f'{driver} {node}' for driver, node in tries)}")
        print(f"  others{1:>10}")
        print(f"\n{given.trials} trials complete, none lost, none trained to its end twice: {'NO' if wrong else 'yes'}")
        print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
