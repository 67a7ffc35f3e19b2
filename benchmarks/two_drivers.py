"""Two `nas resume` on one study in PostgreSQL, with real training, each killed with SIGKILL at a random moment once.

    python -m benchmarks.two_drivers [--trials 60] [--epochs 1] [--share 0.2] [--seed 0] [--ray] [--url URL]

The law: every trial is finished, each network was trained to its end once, no two ends have one place, and what a dead
driver left under way is finished by a living one. The table says who did what.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from postgresql_server import server

from searchspaces import Budget
from studies import Study, Trial
from studies.settings import Settings


@dataclass
class Driver:
    """A process of `nas resume`.

    Attributes:
        left: trials that it had under way when it was killed.
    """

    name: str
    process: subprocess.Popen[bytes]
    began: float
    over: float = 0.0
    how: str = ""
    left: list[int] = field(default_factory=list)

    def is_of(self, trial: Trial) -> bool:
        """Whether a trial is, or was last, this driver's."""
        return (trial.driver or "").split(":")[1:2] == [str(self.process.pid)]


def resume(name: str, folder: Path, url: str, given: argparse.Namespace) -> Driver:
    """Begin a driver, in a group of processes of its own."""
    command = [sys.executable, "-m", "nas", "resume", str(folder), "--ledger", url, "--device", "cpu", "--quiet"]
    command += ["--ray", "--workers", "2"] if given.ray else ["--workers", "1"]
    with (folder.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    return Driver(name, process, time.monotonic())


@contextmanager
def found(url: str | None) -> Iterator[str]:
    """A server that is there, or one of our own."""
    if url is not None:
        yield url
    else:
        with server(durable=True) as own:
            yield own


def main() -> None:
    """Run it, print the table, and exit with 1 if the law does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.2, help="of the images to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--url", help="of a database; else a server is started")
    given = parser.parse_args()
    moment = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as there, found(given.url) as url:
        folder = Path(there) / f"two-drivers-{os.getpid()}"
        settings = Settings(
            budget=Budget.parse("400M"), trials=given.trials, seed=given.seed, device="cpu", ledger=url,
            estimator_settings={"epochs": given.epochs, "data_fraction": given.share},
        )  # fmt: skip
        Study.create(folder, settings).close()
        study = Study.open(folder, device="cpu", ledger=url)
        at = {name: moment.randint(given.trials // 12, given.trials // 4) for name in ("A", "B")}
        drivers = [resume(name, folder, url, given) for name in at]
        began = time.monotonic()
        while any(not each.how for each in drivers):
            time.sleep(0.5)
            study.record.load()
            for each in [each for each in drivers if not each.how]:
                ended = sum(each.is_of(trial) and trial.state != "running" for trial in study.trials)
                if each.process.poll() is not None:
                    each.how, each.over = f"exit code {each.process.returncode}", time.monotonic()
                elif each.name in at and ended >= at[each.name]:
                    time.sleep(moment.uniform(0, 1.5))
                    os.killpg(each.process.pid, signal.SIGKILL)
                    each.process.wait()
                    each.how, each.over = "SIGKILL", time.monotonic()
                    study.record.load()
                    each.left = [n for n, t in enumerate(study.trials) if t.state == "running" and each.is_of(t)]
                    drivers.append(resume(each.name + "'", folder, url, given))
        study.record.load()
        trials = study.trials
        study.close()
        logs = {each.name: (folder.parent / f"{each.name}.log").read_text() for each in drivers}
    print(f"{'driver':8}{'began':>8}{'ended':>8}  {'how':14}{'trials':>7}{'best':>7}  left under way -> finished by")
    for each in drivers:
        own = [trial for trial in trials if each.is_of(trial)]
        best = max((trial.accuracy or 0.0 for trial in own), default=0.0)
        heirs = [f"{n} -> {next(one.name for one in drivers if one.is_of(trials[n]))}" for n in each.left]
        print(
            f"{each.name:8}{max(each.began - began, 0):7.0f}s{each.over - began:7.0f}s  {each.how:14}{len(own):7}"
            f"{100 * best:6.1f}%  {', '.join(heirs)}"
        )
        if each.how not in ("SIGKILL", "exit code 0"):
            print(logs[each.name], file=sys.stderr)
    networks = Counter(trial.architecture.network(study.task) for trial in trials)
    states = Counter(trial.state for trial in trials)
    ranks = sorted(-1 if trial.rank is None else trial.rank for trial in trials)
    in_order = ranks == [*range(len(ranks))]
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    print(f"{len(trials)} trials, {told}, of {len(networks)} networks; each end has its own place: {in_order}")
    holds = len(trials) == len(networks) == given.trials and not states["running"] and in_order
    sys.exit(0 if holds and all(each.how in ("SIGKILL", "exit code 0") for each in drivers) else 1)


if __name__ == "__main__":
    main()
