"""Accuracies of trials that start from the weights of others, less what the epochs of their ancestors add.

A child's accuracy holds the training of its whole lineage: the same network is more accurate late in a study than
early, by about as much as networks of one budget differ, and a strategy that is told of it follows the age of lineages.
So the first trials are trained from scratch, a line of the accuracy by the logarithm of the epochs in the weights is
fitted to all complete proposals, and each accuracy is told, and believed, as it would be after a single training.
`docs/proxies.md` has what it is worth.

What the search itself gains with time counts as age too, as far as the two go together: the line knows no networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from studies.trial import Trial

FIRST: Final = 8
"""Trials at the start of a study that are trained from scratch: the others are compared with them."""
_DOUBT: Final = 0.1
"""Added to the squared deviations of the logarithms of epochs, so that a few children do not determine the line."""


@final
class Drift:
    """How accuracies rise with the epochs in the weights that they are measured with.

    Args:
        trials: those of them that are complete proposals count.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._ages: list[float] = []
        self._accuracies: list[float] = []
        self._whole = 0  # epochs of a training from scratch
        for each in trials:
            self.add(each)

    def add(self, trial: Trial) -> None:
        """Take one more trial into account."""
        if trial.state != "complete" or trial.confirms is not None or trial.accuracy is None or not trial.curve:
            return
        inherited = _inherited(trial)
        self._ages.append(math.log(inherited + len(trial.curve)))
        self._accuracies.append(trial.accuracy)
        if not inherited:
            self._whole = max(self._whole, len(trial.curve))

    @property
    def slope(self) -> float:
        """Accuracy that a factor of e in epochs adds, at least 0; 0 where none was trained from scratch."""
        if not self._whole:
            return 0.0
        ages, accuracies = np.array(self._ages), np.array(self._accuracies)
        off = ages - ages.mean()
        return max(float(off @ (accuracies - accuracies.mean())) / (float(off @ off) + _DOUBT), 0.0)

    def without(self, trial: Trial) -> Trial:
        """A trial, its accuracy and reports as they would be if its ancestors had not been trained; in [0, 1].

        Rungs are climbed from scratch, and stay.
        """
        inherited = _inherited(trial)
        if trial.accuracy is None or not inherited or not (slope := self.slope):
            return trial
        own = len(trial.curve) or 1
        gained = slope * (math.log(inherited + own) - math.log(self._whole))

        def less(accuracy: float) -> float:
            return min(max(accuracy - gained, 0.0), 1.0)

        reports = tuple((step, less(each) if step > 0 else each) for step, each in trial.reports)
        return replace(trial, accuracy=less(trial.accuracy), reports=reports)


def without_drift(trials: Sequence[Trial]) -> Sequence[Trial]:
    """All trials of a study, those that started from the weights of others as `Drift` has them."""
    if all(each.parent is None for each in trials):
        return trials
    drift = Drift(trials)
    return [drift.without(each) for each in trials]


def _inherited(trial: Trial) -> int:
    """Epochs of training in the weights that a trial started from; 0 where it was trained from scratch."""
    told = trial.details.get("inherited")
    return int(told["epochs"]) if isinstance(told, dict) else 0
