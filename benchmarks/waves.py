"""What `--deterministic` costs: slots that wait for the last trial of a wave.

    python -m benchmarks.waves [--trials N] [--json]

Studies in simulated time: the real study and strategy, trials whose lengths are drawn and not waited for. Lengths are
log-normal; their spread is the standard deviation over the mean. Idle is the share of all slots' time, until the last
trial starts, in which a slot has nothing to do.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.ray_overhead import SPACE, TASK
from estimators import Estimate, Estimator, TrialContext
from searchspaces import Architecture, Budget
from studies import Ending, Job, Study
from studies.engine import Report, nothing, run_job
from studies.settings import Settings

WIDTHS = (2, 4, 8, 16, 64)
SPREADS = (0.0, 0.25, 0.5, 1.0)


class Quick:
    """Takes no time; accuracy follows the MACs."""

    def describe(self) -> dict[str, Any]:
        """As in `Estimator`."""
        return {"name": "quick"}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """As in `Estimator`."""
        return Estimate(min(architecture.cost(TASK).macs / 2e6, 1.0), 0.0)


class Simulated:
    """An engine of so many slots, in a time of its own.

    Args:
        width: slots.
        length: of a trial, by its number.

    Attributes:
        starts: when each trial started.
    """

    def __init__(self, width: int, length: Callable[[int], float]) -> None:
        self._width, self._length = width, length
        self.starts: dict[int, float] = {}

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        """As in `Engine`."""
        now, running = 0.0, list[tuple[float, int, Job]]()
        while True:
            while len(running) < self._width and (job := next_job()) is not None:
                self.starts[job.number] = now
                heapq.heappush(running, (now + self._length(job.number), job.number, job))
            if not running:
                return
            now, number, job = heapq.heappop(running)
            done(number, run_job(estimator, job, report))


def idle(width: int, spread: float, trials: int, waves: bool) -> float:
    """Share of the slots' time in which they wait, until the last trial starts."""
    sigma = math.sqrt(math.log1p(spread**2))
    lengths = np.random.default_rng(0).lognormal(-(sigma**2) / 2, sigma, trials)  # of mean 1
    engine = Simulated(width, lambda number: float(lengths[number]))
    study = Study.create(
        None,
        Settings(
            space=SPACE, task=TASK, budget=Budget.parse("1.5M"), strategy="random", estimator=Quick(), trials=trials,
            wave=width if waves else None, replicas=True,
        ),
    )  # fmt: skip
    study.run(engine=engine)
    until = max(engine.starts.values())
    busy = sum(min(lengths[number], until - start) for number, start in engine.starts.items())
    return 1 - float(busy) / (width * until)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1024)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    widths = [width for width in WIDTHS if width < given.trials]  # else all start at once
    found = [
        {
            "workers": width,
            "spread": spread,
            "idle": idle(width, spread, given.trials, waves=True),
            "idle_without": idle(width, spread, given.trials, waves=False),
        }
        for width in widths
        for spread in SPREADS
    ]
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"share of the slots' time that is idle in waves, {given.trials} trials; lengths vary by (sd / mean)")
    print("workers  " + "".join(f"{spread:>8.0%}" for spread in SPREADS))
    for width in widths:
        print(f"{width:7}  " + "".join(f"{one['idle']:8.1%}" for one in found if one["workers"] == width))
    print(f"without waves: at most {max(one['idle_without'] for one in found):.1%}")


if __name__ == "__main__":
    main()
