"""The pruner `curves`: a trial stops when its extrapolated final accuracy has little chance of entering the front.

At a rung before the first epoch, which is no point of the curve, a line from the accuracies of complete trials at that
rung to their final ones takes the curve's place.

As Domhan et al. 2015 (IJCAI), who stop a training that is improbable to beat the best one so far. Where a strategy
weighs costs against accuracy, that is the best one at no more cost: a small network is judged by small ones.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from studies.curves import LATEST, Finished, Fitted

FIRST: Final = 8
"""Complete curves before a trial is stopped."""
STOP_BELOW: Final = 0.1
"""The chance of entering the front at which a trial is stopped; benchmarks/curves.py has what others save and lose."""
NOTE: Final = "extrapolated"
"""Of a stopped trial, in the ledger: `accuracy`, `low`, `high` and `chance`, each in [0, 1]."""


class CurvesPruner:
    """Judges by the complete trials alone, in the order of their numbers, whatever the order in which they end.

    Models are fitted when a trial is judged at a step for the first time since one was completed; other reports at that
    step cost a few products. `benchmarks/curves.py --speed` measures it.

    Args:
        costs: how many costs a front weighs against accuracy; 0 is accuracy alone.
        leaders: how many of the most accurate networks are wanted: those that will be confirmed, at least 1.
        stop_below: the chance at which a trial is stopped, in [0, 1].
    """

    def __init__(self, costs: int, leaders: int, stop_below: float = STOP_BELOW) -> None:
        self._leaders, self._stop_below = leaders, stop_below
        self._known: np.ndarray[Any, np.dtype[np.float64]] = np.empty((64, costs + 1))  # costs and accuracy; grows
        self._count = 0  # of its rows that are complete trials
        self._recent: list[tuple[int, Mapping[int, float], float]] = []  # by number: reports, final accuracy
        self._finished: Finished | None = None
        self._fitted: dict[int, Fitted | None] = {}  # by the number of reports; at rungs, by the step

    def learn(self, number: int, costs: Sequence[float], reports: Mapping[int, float], accuracy: float) -> None:
        """A trial is complete.

        Args:
            number: of the trial; each once.
            costs: of its network, as many as are weighed.
            reports: step, up to 0 at rungs, and accuracy in [0, 1].
            accuracy: its final one, in [0, 1].
        """
        if self._count == len(self._known):
            self._known = np.concatenate([self._known, np.empty_like(self._known)])
        self._known[self._count] = (*costs, accuracy)
        self._count += 1
        insort(self._recent, (number, reports, accuracy), key=lambda each: each[0])
        del self._recent[: -4 * LATEST]  # to stay quick
        self._finished = None
        self._fitted.clear()

    def judge(self, costs: Sequence[float], reports: Mapping[int, float]) -> dict[str, float] | None:
        """The note on a running trial that is to be stopped, of which `NOTE` has the keys; None if it goes on.

        Args:
            costs: of its network.
            reports: of a training of its own: those of its curve, or that at a rung.
        """
        if self._count < FIRST or (bar := self._bar(costs)) is None:
            return None
        steps = tuple(sorted(step for step in reports if step > 0))
        fitted = self._at_steps(steps) if steps else self._at_rung(max(reports))
        if fitted is None:
            return None
        found = fitted.at([reports[step] for step in steps or (max(reports),)])
        chance = found.chance_above(bar)
        if chance >= self._stop_below:
            return None
        low, high = found.interval
        return {"accuracy": found.mean, "low": low, "high": high, "chance": chance}

    def _bar(self, costs: Sequence[float]) -> float | None:
        """The accuracy to exceed; None where a trial enters the front whatever its accuracy."""
        known = self._known[: self._count]
        rivals = known[(known[:, :-1] <= np.asarray(costs)).all(1), -1]
        return float(np.partition(rivals, -self._leaders)[-self._leaders]) if len(rivals) >= self._leaders else None

    def _at_steps(self, steps: tuple[int, ...]) -> Fitted | None:
        """Models of the curve so far; None where too few of the complete trials reported at its steps."""
        if self._finished is None:
            self._finished = Finished.of([(reports, final) for _, reports, final in self._recent])
        finished = self._finished
        if len(finished.finals) < FIRST or len(steps) >= len(finished.steps) or not finished.begin(steps):
            return None
        if len(steps) not in self._fitted:
            self._fitted[len(steps)] = Fitted.of(finished.curves, finished.finals, len(steps))
        return self._fitted[len(steps)]

    def _at_rung(self, rung: int) -> Fitted | None:
        """A line from the accuracy at a rung; None where too few of the complete trials reported there."""
        if rung not in self._fitted:
            there = [(reports[rung], final) for _, reports, final in self._recent if rung in reports][-LATEST:]
            pairs = np.array(there, float).reshape(len(there), 2)
            self._fitted[rung] = Fitted.of(pairs, pairs[:, 1], 1) if len(there) >= FIRST else None
        return self._fitted[rung]
