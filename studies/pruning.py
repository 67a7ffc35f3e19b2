"""When a running trial is stopped early: Optuna's pruners, shown the reports that count, and our own `curves`.

Optuna's pruners count resources from 1, so of a trial with K rungs before its first epoch (steps up to 0, see
`estimators.rungs`) they are shown the rungs at 1, 2, 4, ... and epoch N at N * 2**K: halving by two, they judge at each
rung, and then after epochs 1, 2, 4, ... as ever.

They see a copy of the trials in memory. It holds what the ledger holds of trials that ended, and of running ones only
what they reported in this attempt: what a trial reported before its process died takes no part, since it is run again.
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


PRUNERS: Final[dict[str, Callable[[Aim], BasePruner] | None]] = {
    "none": None,
    "asha": _asha,
    "median": _median,
    "curves": None,
}
"""By the names people type: Optuna's. `asha`: asynchronous successive halving (Li et al. 2020, arXiv:1810.05934,
Algorithm 2; Optuna's has no promotion of paused trials), the better half goes on after each rung and after 1, 2, 4, ...
epochs. `median`: stops what is below the median of the complete trials at the same rung or epoch, from the sixth trial
on. `curves`: our own, stops what has little chance of becoming the best, or of entering the front of a strategy that
has one, by extrapolation; from the ninth trial on. `curves:0.05` says which chance is little."""


def parse_pruner(text: str) -> tuple[str, float | None]:
    """A name in `PRUNERS`, and the chance below which `curves` stops a trial; None for its default.

    Raises:
        UserError: there is no such pruner, it takes no chance, or the chance is no number in (0, 1).

    >>> parse_pruner("median"), parse_pruner("curves:0.05")
    (('median', None), ('curves', 0.05))
    """
    name, given, chance = str(text).partition(":")
    if name not in PRUNERS:
        raise UserError(f"unknown pruner {text!r}{nearest(name, PRUNERS)}")
    if not given:
        return name, None
    if name != "curves":
        raise UserError(f"pruner {name} takes no number, got {text!r}; only curves does, as in curves:0.05")
    try:
        found = float(chance)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise UserError(f"pruner {text!r}: the chance below which curves stops a trial must be above 0 and below 1")
    return name, found


def pruner_from(text: str) -> str:
    """A pruner as a manifest keeps it: the same text for the same pruner.

    Raises:
        UserError: as of `parse_pruner`.

    >>> pruner_from("curves:0.10"), pruner_from("curves:.05")
    ('curves', 'curves:0.05')
    """
    name, chance = parse_pruner(text)
    if chance is None:
        return name
    from studies.curve_pruning import STOP_BELOW

    return name if chance == STOP_BELOW else f"{name}:{chance!r}"


class Pruning:
    """Whether running trials go on.

    Args:
        name: a name in `PRUNERS`, or `curves:` and a chance.
        aim: what the study is after.
        waves: judge each trial by itself and by those that were known when `reveal` was last called.

    Raises:
        UserError: there is no such pruner.
    """

    def __init__(self, name: str, aim: Aim, waves: bool = False) -> None:
        kind, chance = parse_pruner(name)
        make = PRUNERS[kind]
        self._pruner = make(aim) if make else None
        self._curves = _Curves(aim, chance, waves) if kind == "curves" else None
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
        if self._curves is not None:
            self._curves.started(trial)
        if self._pruner is not None:
            self._ids[trial.number] = self._storage.create_new_trial(
                self._study_id, self._frozen(replace(trial, reports=()))
            )
            self._rungs[trial.number] = 0
            self._hide(self._ids[trial.number])

    def goes_on(self, number: int, step: int, accuracy: float) -> bool:
        """Learn of a report, and judge by it."""
        if self._curves is not None:
            return self._curves.goes_on(number, step, accuracy)
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
        if self._curves is not None:
            return self._curves.ended(trial)
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
        if self._curves is not None:
            self._curves.learn(trial)
        if self._pruner is not None:
            self._hide(self._storage.create_new_trial(self._study_id, self._frozen(trial, notes)))

    def reveal(self) -> None:
        """A wave is over: judge by all that is known."""
        if self._curves is not None:
            self._curves.reveal()
        if self._pruner is not None:
            self._storage.hidden.clear()

    def _shown(self, step: int, rungs: int) -> int:
        """A step as Optuna's pruner is shown it."""
        return int(step * 2**rungs if step > 0 else 2 ** (step + rungs - 1))

    def _frozen(self, trial: Trial, notes: Mapping[str, Any] | None = None) -> FrozenTrial:
        rungs = max((1 - step for step, _ in trial.reports), default=0)
        reports = {self._shown(step, rungs): accuracy for step, accuracy in trial.reports}
        return _frozen(trial, reports, notes)

    def _hide(self, trial_id: int) -> None:
        if self._waves:
            self._storage.hidden.add(trial_id)


class _Curves:
    """`curves` and the trials that it is shown, as of `Pruning`."""

    def __init__(self, aim: Aim, chance: float | None, waves: bool) -> None:
        from studies.curve_pruning import NOTE, STOP_BELOW, CurvesPruner

        self._pruner = CurvesPruner(len(aim.costs), aim.leaders, STOP_BELOW if chance is None else chance)
        self._costs, self._waves, self._key = aim.costs, waves, NOTE
        self._running: dict[int, tuple[list[float], dict[int, float]]] = {}  # costs and reports, by number
        self._notes: dict[int, dict[str, float]] = {}  # of running trials, by number
        self._hidden: list[Trial] = []  # complete in a wave that is not over

    def started(self, trial: Trial) -> None:
        self._running[trial.number] = self._costs_of(trial), {}
        self._notes.pop(trial.number, None)

    def goes_on(self, number: int, step: int, accuracy: float) -> bool:
        costs, reports = self._running[number]
        reports[step] = accuracy
        least = 1 if step > 0 else step  # a rung is a training of its own
        note = self._pruner.judge(costs, {at: each for at, each in reports.items() if at >= least})
        if note is not None:
            self._notes[number] = note
        return note is None

    def ended(self, trial: Trial) -> dict[str, Any]:
        del self._running[trial.number]
        self.learn(trial)
        note = self._notes.pop(trial.number, None)
        return {} if note is None else {self._key: note}

    def learn(self, trial: Trial) -> None:
        if trial.state == "complete":
            self._hidden.append(trial)
        if not self._waves:
            self.reveal()

    def reveal(self) -> None:
        for trial in self._hidden:
            self._pruner.learn(trial.number, self._costs_of(trial), dict(trial.reports), trial.accuracy or 0.0)
        self._hidden.clear()

    def _costs_of(self, trial: Trial) -> list[float]:
        known = trial.cost.told()
        return [float(known[cost]) for cost in self._costs]


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
