"""The pruner `curves`: a trial stops when its extrapolated final accuracy has little chance of entering the front.

At a rung before the first epoch, which is no point of the curve, a line from the accuracies of complete trials at that
rung to their final ones takes the curve's place.

As Domhan et al. 2015 (IJCAI), who stop a training that is improbable to beat the best one so far. Where a strategy
weighs costs against accuracy, that is the best one at no more cost: a small network is judged by small ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from optuna.pruners import BasePruner
from optuna.trial import TrialState

from studies.curves import LATEST, Extrapolation, Finished, extrapolate

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FIRST: Final = 8
"""Complete curves before a trial is stopped."""
STOP_BELOW: Final = 0.1
"""The chance of entering the front at which a trial is stopped; benchmarks/curves.py has what others save and lose."""
NOTE: Final = "extrapolated"
"""Of a stopped trial, in the ledger: `accuracy`, `low`, `high` and `chance`, each in [0, 1]."""


class CurvesPruner(BasePruner):
    """Judges by the complete trials alone, in the order of their numbers.

    Args:
        costs: what a front weighs against accuracy; none is accuracy alone.
        leaders: how many of the most accurate networks are wanted: those that will be confirmed, at least 1.
        stop_below: the chance at which a trial is stopped, in [0, 1].
    """

    def __init__(self, costs: Sequence[str], leaders: int, stop_below: float = STOP_BELOW) -> None:
        self._costs, self._leaders, self._stop_below = costs, leaders, stop_below

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop, noting the extrapolated accuracy and its interval if so."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(trials) < FIRST or (bar := self._bar(trial, trials)) is None:
            return False
        trials.sort(key=lambda each: int(each.user_attrs["number"]))
        recent = [(each.intermediate_values, each.value or 0.0) for each in trials[-4 * LATEST :]]  # to stay quick
        found = _extrapolated(trial.intermediate_values, recent)
        if found is None:
            return False
        chance = found.chance_above(bar)
        if chance >= self._stop_below:
            return False
        low, high = found.interval
        note = {"accuracy": found.mean, "low": low, "high": high, "chance": chance}
        study._storage.set_trial_system_attr(trial._trial_id, NOTE, note)
        return True

    def _bar(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> float | None:
        """The accuracy to exceed; None where a trial enters the front whatever its accuracy."""
        mine = [trial.user_attrs[cost] for cost in self._costs]
        rivals = [
            each.value or 0.0
            for each in trials
            if all(each.user_attrs[cost] <= most for cost, most in zip(self._costs, mine, strict=True))
        ]
        return sorted(rivals)[-self._leaders] if len(rivals) >= self._leaders else None


def _extrapolated(
    reports: Mapping[int, float], complete: Sequence[tuple[Mapping[int, float], float]]
) -> Extrapolation | None:
    """What a trial will end at, by the complete ones; None where too few of them reported at its steps."""
    latest = max(reports)
    if latest <= 0:  # a rung: known alone, as a curve of one report
        complete = [({1: of[latest], 2: final}, final) for of, final in complete if latest in of]
        reports = {1: reports[latest]}
    finished = Finished.of(complete)
    steps = tuple(sorted(step for step in reports if step > 0))
    if len(finished.finals) < FIRST or len(steps) >= len(finished.steps) or not finished.begin(steps):
        return None
    return extrapolate([reports[step] for step in steps], finished.curves, finished.finals)
