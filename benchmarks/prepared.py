"""What it brings on a real Ray that a study prepares its next proposal while every worker is busy.

    python -m benchmarks.prepared [--strategies guided tpe] [--trials 600] [--workers 8] [--seconds 0.5] [--rounds 2]

Short trials of a fixed length (the workers sleep), kept in SQLite: the driver's thinking is what they wait for. As many
rounds with preparation as without, in turns. Of the second half of each study's trials: the share of its time that a
worker trains, trials a second, and how many were prepared. What workers wait for beyond the thinking is the ledger and
Ray. What preparation costs in regret is what one more trial at once does:
`python -m benchmarks.regret --only guided --at-once 8 9`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread, as a busy machine leaves us

import argparse
import itertools
import tempfile
import time
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from estimators import Estimate, TrialContext
from searchspaces import Architecture, Budget, Task, space_named
from studies import Study
from studies.ray.cluster import connected, settings_of_ray
from studies.ray.engine import RayEngine
from studies.run import WORTH
from studies.settings import Settings


class Sleeps:
    """Takes so many seconds of no core's time; accuracies are the architecture's, and mean nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def describe(self) -> dict[str, Any]:
        """As in `Estimator`."""
        return {"name": "sleeps", "seconds": self._seconds}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """As in `Estimator`."""
        time.sleep(self._seconds)
        return Estimate(0.5 + zlib.crc32(architecture.to_json().encode()) / 2**33, self._seconds)


def measured(strategy: str, folder: Path, given: argparse.Namespace) -> tuple[float, float, int]:
    """Share of the workers' time in which they train, trials a second, and how many were prepared."""
    study = Study.create(
        folder / f"{strategy}-{time.time_ns()}",
        Settings(
            space=space_named("mbconv"), task=Task(224, 3, 1000), budget=Budget.parse("400M"), strategy=strategy,
            estimator=Sleeps(given.seconds), trials=given.trials,
        ),
    )  # fmt: skip
    study.run(engine=RayEngine(workers=given.workers, cpus_per_trial=0.1))
    spans = [(trial.started, trial.ended, trial.told) for trial in study.trials if trial.started and trial.ended]
    late = spans[len(spans) // 2 :]
    took: timedelta = max(ended for _, ended, _ in late) - min(started for started, _, _ in late)
    prepared = sum(told < sum(end <= started for _, end, _ in spans) for started, _, told in late)
    rate = len(late) / took.total_seconds()
    return rate * given.seconds / given.workers, rate, prepared


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=["guided", "tpe"])
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a trial")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    print(f"{given.workers} workers, trials of {given.seconds:g} s, the second half of {given.trials}")
    print("strategy    proposals    workers train   trials/s   prepared", flush=True)
    with settings_of_ray(), connected(None), tempfile.TemporaryDirectory() as folder:
        for strategy, _, prepares in itertools.product(given.strategies, range(given.rounds), (False, True)):
            with mock.patch("studies.run.WORTH", WORTH if prepares else float("inf")):
                share, rate, prepared = measured(strategy, Path(folder), given)
            how = "prepared" if prepares else "asked"
            print(f"{strategy:10}  {how:10} {share:15.1%} {rate:10.1f} {prepared:10}", flush=True)


if __name__ == "__main__":
    main()
