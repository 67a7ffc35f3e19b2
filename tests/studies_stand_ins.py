"""What the tests of studies are made with: a small space, an estimator that takes no time, an engine out of order.

Run as a script, `python studies_stand_ins.py FOLDER TRIALS`, it starts a process that runs the study for each line that
it reads: others kill it. It says the process's id, the kinds of events as they come, and the signal that ended it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from estimators import Estimate, Estimator, Pruned, TrialContext
from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, conv_stem, mbconv
from studies import Ending, Job, Study
from studies.engine import Report, nothing, run_job
from studies.settings import Settings

TASK = Task(image_size=32, channels=3, classes=10)
BUDGET = Budget.parse("400K")  # MACs; the largest has 1,488,352


def small_space(name: str = "small") -> Space:
    """1,728 architectures in two stages, costed in microseconds."""
    return Space(
        name,
        stem=Stage(conv_stem, width=8, stride=2),
        stages=[
            Stage(
                mbconv, width=choice(8, 16), depth=choice(1, 2), kernel=choice(3, 5), expansion=choice(1, 2), stride=2
            ),
            Stage(
                mbconv, width=choice(16, 24), depth=choice(1, 2, 3), kernel=choice(3, 5, 7), expansion=choice(1, 2, 3)
            ),
        ],
        head=Stage(conv_head, width=choice(32, 48)),
    )


SPACE = small_space()


def noise(*parts: Any) -> float:
    """A number in [0, 1) that is the same for the same parts in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") / 2**64


class Known:
    """Accuracy in three epochs, a function of the architecture and the seed.

    Args:
        fails: raises what it wants to raise, given the architecture and the seed.
        seconds: slept before each report.
    """

    def __init__(self, fails: Callable[[Architecture, int], None] = lambda _, __: None, seconds: float = 0.0) -> None:
        self._fails, self._seconds = fails, seconds
        self.estimated: list[Architecture] = []

    def describe(self) -> dict[str, Any]:
        return {"name": "known", "epochs": 3}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        self.estimated.append(architecture)
        self._fails(architecture, context.seed)
        macs = architecture.cost(TASK).macs
        top = 0.5 + 0.4 * (macs / 1.5e6) ** 0.5 + 0.1 * noise(architecture.to_json(), context.seed)
        curve: list[float] = []
        for step in (1, 2, 3):
            time.sleep(self._seconds)
            curve.append(min(top * (0.4 + 0.2 * step), 1.0))
            if not context.report(step, curve[-1]) and step < 3:
                raise Pruned(tuple(curve), 0.25)
        return Estimate(curve[-1], 0.25, tuple(curve), {"macs": macs})


class Shuffled:
    """Keeps several jobs under way; which ends next depends on which are under way, and is seldom the oldest.

    Args:
        salt: gives another order.
        prepares: as the engine of a cluster does, it has the next job prepared while there is no place for it.
    """

    def __init__(self, width: int, *salt: int, prepares: bool = False) -> None:
        self._width, self._salt, self._prepares = width, salt, prepares

    def run(
        self,
        estimator: Estimator,
        next_job: Callable[[], Job | None],
        report: Report,
        done: Callable[[int, Ending], None],
        prepare: Callable[[], None] = nothing,
    ) -> None:
        running: dict[int, Job] = {}
        while True:
            while len(running) < self._width and (job := next_job()) is not None:
                running[job.number] = job
            if not running:
                return
            if self._prepares:
                prepare()
            number = max(running, key=lambda each: noise(each, *self._salt))
            done(number, run_job(estimator, running.pop(number), report))


TWINS = Space(
    "twins",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[
        Stage(mbconv, width=16, kernel=choice(3, 5), expansion=choice(2, 2.1, 3)),
        Stage(mbconv, width=8, kernel=choice(3, 5), expansion=choice(1, 2)),
    ],
    head=Stage(conv_head, width=16),
)
"""24 architectures and 16 networks: 8 channels times 2 and 2.1 are both 16."""


def begin(folder: Any = None, **changes: Any) -> Study:
    """A study over the small space; `changes` replace any of its settings."""
    settings: dict[str, Any] = {
        "space": SPACE, "task": TASK, "budget": BUDGET, "strategy": "evolution", "estimator": Known(), "seed": 3,
        "trials": 40,
    }  # fmt: skip
    return Study.create(folder, Settings(**{**settings, **changes}))


def story(study: Study) -> list[Mapping[str, Any]]:
    """All that must be equal in two studies that are the same."""
    return [
        {
            **{
                name: getattr(trial, name)
                for name in ("number", "state", "accuracy", "reports", "told", "rank", "reason")
            },
            "architecture": trial.architecture.to_json(),
            "seed": study.seed_of(trial.number),
        }
        for trial in study.trials
    ]


if __name__ == "__main__":
    begin(trials=1).run()  # loads all there is to load, once for all that are to be killed
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            begin(sys.argv[1], estimator=Known(seconds=0.01)).run(
                int(sys.argv[2]), on_event=lambda event: print(type(event).__name__, flush=True)
            )
            os._exit(0)
        print(child, flush=True)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
