"""When a running trial is stopped early: Optuna's pruners, shown the reports that count.

Optuna's pruners count resources from 1, so of a trial with K rungs before its first epoch (steps up to 0, see
`estimators.rungs`) they are shown the rungs at 1, 2, 4, ... and epoch N at N * 2**K: halving by two, they judge at each
rung, and then after epochs 1, 2, 4, ... as ever. `curves` reads the steps themselves.

A pruner sees a copy of the trials in memory. It holds what the ledger holds of trials that ended, and of running ones
only what they reported in this attempt: what a trial reported before its process died takes no part, since it is run
again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from searchspaces import UserError, nearest

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

    from studies.trial import Trial


@dataclass(frozen=True, slots=True)
class Aim:
    """What a study is after, for a pruner that judges by it.

    Attributes:
        costs: that are weighed against accuracy, names in `COSTS`; none is accuracy alone.
        leaders: how many of the most accurate networks are wanted, at least 1.
    """

    costs: tuple[str, ...] = ()
    leaders: int = 1


def _asha(aim: Aim) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)  # rungs after epochs 1, 2, 4, 8, ...


def _median(aim: Aim) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=5, n_warmup_steps=1)


def _curves(aim: Aim) -> BasePruner:
    from studies.curve_pruning import CurvesPruner

    return CurvesPruner(aim.costs, aim.leaders)


PRUNERS: Final[dict[str, Callable[[Aim], BasePruner] | None]] = {
    "none": None,
    "asha": _asha,
    "median": _median,
    "curves": _curves,
}
"""By the names people type. `asha`: asynchronous successive halving (Li et al. 2020, arXiv:1810.05934, Algorithm 2;
Optuna's has no promotion of paused trials), the better half goes on after each rung and after 1, 2, 4, ... epochs.
`median`: stops what is below the median of the complete trials at the same rung or epoch, from the sixth trial on.
`curves`: stops what has little chance of becoming the best, or of entering the front of a strategy that has one, by
extrapolation; from the ninth trial on."""


def check_pruner(name: str) -> None:
    """Refuse a name that is not in `PRUNERS`.

    Raises:
        UserError: there is no such pruner; the nearest is named.
    """
    if name not in PRUNERS:
        raise UserError(f"unknown pruner {name!r}{nearest(name, PRUNERS)}")


class Pruning:
    """Whether running trials go on.

    Args:
        name: a name in `PRUNERS`.
        aim: what the study is after.
        waves: judge each trial by itself and by those that were known when `reveal` was last called.

    Raises:
        UserError: there is no such pruner.
    """

    def __init__(self, name: str, aim: Aim, waves: bool = False) -> None:
        check_pruner(name)
        make = PRUNERS[name]
        self._pruner = make(aim) if make else None
        self._by_resource = name != "curves"
        if self._pruner is not None:
            import optuna

            from studies.ledger.database import quiet

            self._storage = _partly_hidden()
            with quiet():
                study_id = self._storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "pruning")
                self._study = optuna.load_study(study_name="pruning", storage=self._storage)
            self._study_id = study_id
        self._waves = waves
        self._ids: dict[int, int] = {}  # of running trials, by their number
        self._rungs: dict[int, int] = {}  # that they have climbed

    def started(self, trial: Trial) -> None:
        """A trial begins, or begins again."""
        if self._pruner is not None:
            self._ids[trial.number] = self._storage.create_new_trial(
                self._study_id, self._frozen(replace(trial, reports=()))
            )
            self._rungs[trial.number] = 0
            self._hide(self._ids[trial.number])

    def goes_on(self, number: int, step: int, accuracy: float) -> bool:
        """Learn of a report, and judge by it."""
        if self._pruner is None:
            return True
        trial_id = self._ids[number]
        self._rungs[number] = max(self._rungs[number], 1 - step)  # as the first report of all tells
        resource, first = (self._shown(each, self._rungs[number]) for each in (step, 1))
        self._storage.set_trial_intermediate_value(trial_id, resource, accuracy)
        judged = copy.copy(self._storage.get_trial(trial_id))  # which knows itself
        least = first if step > 0 else resource  # the best so far is that of one training
        judged.intermediate_values = {at: each for at, each in judged.intermediate_values.items() if at >= least}
        return not self._pruner.prune(self._study, judged)

    def ended(self, trial: Trial) -> dict[str, Any]:
        """A trial ended: what the pruner noted of it, for the ledger."""
        if self._pruner is None:
            return {}
        trial_id = self._ids.pop(trial.number)
        del self._rungs[trial.number]
        ended = self._frozen(trial)
        for step, accuracy in ended.intermediate_values.items():  # of an estimator that gave a curve and no reports
            self._storage.set_trial_intermediate_value(trial_id, step, accuracy)
        self._storage.set_trial_state_values(trial_id, ended.state, ended.values)
        return dict(self._storage.get_trial(trial_id).system_attrs)

    def remember(self, trial: Trial, notes: Mapping[str, Any]) -> None:
        """A trial of an earlier run that ended, with what `ended` gave for it."""
        if self._pruner is not None:
            self._hide(self._storage.create_new_trial(self._study_id, self._frozen(trial, notes)))

    def reveal(self) -> None:
        """A wave is over: judge by all that is known."""
        if self._pruner is not None:
            self._storage.hidden.clear()

    def _shown(self, step: int, rungs: int) -> int:
        """A step as the pruner is shown it."""
        if not self._by_resource:
            return step
        return int(step * 2**rungs if step > 0 else 2 ** (step + rungs - 1))

    def _frozen(self, trial: Trial, notes: Mapping[str, Any] | None = None) -> FrozenTrial:
        rungs = max((1 - step for step, _ in trial.reports), default=0)
        reports = {self._shown(step, rungs): accuracy for step, accuracy in trial.reports}
        return _frozen(trial, reports, notes)

    def _hide(self, trial_id: int) -> None:
        if self._waves:
            self._storage.hidden.add(trial_id)


def _partly_hidden() -> Any:
    """Optuna's storage in memory, but that some of its trials are not listed."""
    from optuna.storages import InMemoryStorage

    class PartlyHidden(InMemoryStorage):
        def __init__(self) -> None:
            super().__init__()
            self.hidden: set[int] = set()

        def get_all_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
            return [each for each in super().get_all_trials(*arguments, **options) if each._trial_id not in self.hidden]

    return PartlyHidden()


def _frozen(trial: Trial, reports: dict[int, float], notes: Mapping[str, Any] | None) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state={
            "running": TrialState.RUNNING,
            "complete": TrialState.COMPLETE,
            "pruned": TrialState.PRUNED,
            "failed": TrialState.FAIL,
        }[trial.state],
        value=trial.accuracy,
        intermediate_values=reports,
        user_attrs={"number": trial.number, **trial.cost.told()},
        system_attrs=dict(notes or {}),
    )
