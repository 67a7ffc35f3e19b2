"""What a study found: one order of trials, confirmed means, the front, and the tables made of them.

There is one order, `by_merit`, and everything that says which network is best uses it, with accuracies as they are
`believed`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from estimators.estimator import binomial_error
from searchspaces import COSTS
from studies.belief import beliefs, believed, standard_error
from studies.pareto import hypervolumes
from studies.trial import RANKS

if TYPE_CHECKING:
    from searchspaces import Budget, SearchSpace, Task
    from studies.trial import Trial

Merit = tuple[float, int, int]
INTERRUPTED: Final = "interrupted"
"""The state of a trial that is running in the ledger and that nobody runs any more."""
STATES: Final = ("complete", "pruned", "failed", "running", INTERRUPTED)


def merit(accuracy: float, macs: int, number: int) -> Merit:
    """The order of networks, best first: the higher accuracy, then the fewer MACs, then the earlier trial."""
    return -accuracy, macs, number


def by_merit(trial: Trial) -> Merit:
    """`merit` of a complete trial."""
    return merit(accuracy_of(trial), trial.cost.macs, trial.number)


def accuracy_of(trial: Trial) -> float:
    """The accuracy of a complete trial, in [0, 1]."""
    assert trial.accuracy is not None
    return trial.accuracy


def weighed(trial: Trial, objectives: Iterable[str]) -> list[float]:
    """The objectives of a complete trial, larger is better: accuracy, and costs below 0."""
    return [accuracy_of(trial) if name == "accuracy" else -float(getattr(trial.cost, name)) for name in objectives]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A leading network that was trained again with fresh seeds.

    Attributes:
        trial: the one that proposed it.
        accuracies: of its first training and of the fresh ones, in [0, 1], as observed; of the fresh ones alone where
            trials start from the weights of others, since these do not.
        mean: over these trainings, the first as it is believed, since it was chosen for being high.
        standard_error: of the mean, by the variance between trainings of one network, pooled over all that are
            confirmed, as one network has too few to tell its own; NaN where none was trained twice.
    """

    trial: Trial
    accuracies: tuple[float, ...]
    mean: float
    standard_error: float


def confirmed(trials: Sequence[Trial]) -> list[Confirmed]:
    """Networks that were trained again to the end, in the order of their trials.

    Args:
        trials: all of a study, by number.
    """
    found: dict[int, list[int]] = {}
    alone, first = inherited(trials), believed(trials)
    for trial in trials:
        if trial.confirms is not None and trial.state == "complete":
            found.setdefault(trial.confirms, [] if alone else [trial.confirms]).append(trial.number)
    accuracies = {number: tuple(accuracy_of(trials[each]) for each in several) for number, several in found.items()}
    variance = pooled_variance(accuracies.values())
    return [
        Confirmed(
            trials[number],
            accuracies[number],
            sum(accuracy_of(first[each]) for each in several) / len(several),
            math.sqrt(variance / len(several)),
        )
        for number, several in sorted(found.items())
    ]


def pooled_variance(groups: Iterable[Sequence[float]]) -> float:
    """The variance within groups of numbers, each weighted by its degrees of freedom; NaN where no group has two.

    >>> pooled_variance([(0.8, 0.9, 1.0), (0.5,), (0.7, 0.7)])  # 0.02 of squares by 3 degrees of freedom
    0.006666666666666664
    """
    squares = freedom = 0.0
    for group in groups:
        middle = sum(group) / len(group)
        squares, freedom = squares + sum((each - middle) ** 2 for each in group), freedom + len(group) - 1
    return squares / freedom if freedom else math.nan


def inherited(trials: Sequence[Trial]) -> bool:
    """Whether trials started from the weights of others, so that their accuracies are not those of confirmations."""
    return any(trial.parent is not None for trial in trials)


def standard_errors(trials: Sequence[Trial], images: int | None) -> dict[int, float]:
    """The standard error of the accuracy of each complete proposal, by number; without those of which it is unknown.

    Over its trainings, of a confirmed network; of one that was trained once, that of its belief or, where there is
    none, that of its validation images alone, which is less than what another seed would change. So too, by their
    number, of confirmed ones whose trainings all agree.

    Args:
        trials: all of a study, by number.
        images: on which accuracies are estimated; None where nobody knows.
    """
    again = confirmed(trials)
    found = {each.trial.number: each.standard_error for each in again if each.standard_error > 0}
    trainings = {each.trial.number: len(each.accuracies) for each in again}
    once = beliefs(trials)
    for trial in complete(trials):
        if trial.number not in trainings:
            found[trial.number] = standard_error(trial, once.get(trial.number), images)
        elif images:
            by_images = binomial_error(accuracy_of(trial), images) / math.sqrt(trainings[trial.number])
            found.setdefault(trial.number, by_images)
    return {number: error for number, error in found.items() if not math.isnan(error)}


def complete(trials: Sequence[Trial]) -> list[Trial]:
    """Complete proposals with their accuracies as `believed`; a confirmed one has the mean over its trainings."""
    means = {each.trial.number: each.mean for each in confirmed(trials)}
    proposed = [trial for trial in believed(trials) if trial.state == "complete" and trial.confirms is None]
    return [replace(each, accuracy=means[each.number]) if each.number in means else each for each in proposed]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The best complete trial; None if no trial is complete.

    Once there are confirmations, the best of the networks that were confirmed, by the mean over their trainings.
    """
    chosen = [replace(each.trial, accuracy=each.mean) for each in confirmed(trials)] or complete(trials)
    return min(chosen, key=by_merit, default=None)


def dominated_share(
    trials: Sequence[Trial], objectives: Iterable[str], budget: Budget | None, space: SearchSpace
) -> list[float]:
    """The hypervolume after each trial, as a share of what could be had, in [0, 1]; one a trial, by number.

    In the objectives' space: accuracy from 0, and each cost as its distance from the most that the budget allows
    (that the space has, where it is not bounded). A confirmed network counts with its mean.
    """
    objectives = tuple(objectives)
    limits = {name: _limit(name, trials, budget, space) for name in objectives if name in COSTS}
    done = {trial.number: trial for trial in complete(trials)}

    def point(trial: Trial) -> list[float]:
        return [
            1 - min(getattr(trial.cost, name) / limits[name], 1.0) if name in limits else accuracy_of(trial)
            for name in objectives
        ]

    return hypervolumes(point(done[trial.number]) if trial.number in done else None for trial in trials)


def _limit(cost: str, trials: Sequence[Trial], budget: Budget | None, space: SearchSpace) -> float:
    """The most of a cost that there can be; among the trials, where neither a budget nor the space says it."""
    for bound in budget.bounds if budget else ():
        if bound.cost == cost:
            return float(bound.upper)
    known = [trial.cost for trial in trials] if space.largest is None else [space.largest]
    return max((float(getattr(each, cost)) for each in known), default=0.0) or 1.0


def state_of(trial: Trial, at_work: bool) -> str:
    """The state of a trial as it is told: `interrupted` where the ledger has it running and nobody runs it any more.

    Args:
        trial: of a study.
        at_work: whether a process runs the study, as of `Study.is_running`.
    """
    return trial.state if at_work or trial.state != "running" else INTERRUPTED


def counted(number: int, state: str) -> str:
    """So many trials in a state, and what becomes of them, where that is to be said.

    >>> counted(3, "complete"), counted(1, "interrupted")
    ('3 complete', '1 interrupted, run again on resume')
    """
    return f"{number} {state}{', run again on resume' if state == INTERRUPTED else ''}"


_FIRST: Final = ("number", "state", "accuracy", "adjusted")
_THEN: Final = ("seconds", "started", "ended", "confirms", "reason", "hypervolume", "words")


def columns(space: SearchSpace, task: Task) -> list[str]:
    """Of `rows`: what became of a trial, its costs, and each decision of the space."""
    return [*_FIRST, *task.costs, *_THEN, *(_column(decision.name) for decision in space.decisions)]


def _column(decision: str) -> str:
    """Of a decision, which a person may have given the name of another column.

    >>> _column("kernel"), _column("state")
    ('kernel', 'decision state')
    """
    return f"decision {decision}" if decision in (*_FIRST, *COSTS, *_THEN) else decision


def rows(trials: Sequence[Trial], shares: Sequence[float], at_work: bool) -> Iterator[dict[str, Any]]:
    """One row a trial; a decision without effect is left out.

    Args:
        trials: by number.
        shares: the hypervolume after each.
        at_work: whether a process runs the study.
    """
    for trial, also, share in zip(trials, believed(trials), shares, strict=True):
        yield {
            "number": trial.number,
            "state": state_of(trial, at_work),
            "accuracy": trial.accuracy,
            "adjusted": None if also is trial else also.accuracy,
            **trial.cost.told(),
            **{name: getattr(trial, name) for name in ("seconds", "started", "ended", "confirms", "reason")},
            "hypervolume": share,
            "words": trial.architecture.words(),
            **{_column(name): option for name, option in trial.architecture.choices.items()},
        }


def table(trials: Sequence[Trial], shares: Sequence[float], space: SearchSpace, task: Task, at_work: bool) -> str:
    """`rows` as CSV, with a header."""
    text = io.StringIO()
    written = csv.DictWriter(text, columns(space, task))
    written.writeheader()
    written.writerows(rows(trials, shares, at_work))
    return text.getvalue()


def best_network(trials: Sequence[Trial], task: str) -> str:
    """The text form of the best network, with its trial, its accuracy (or score or likelihood, where that is what
    was estimated; where it is a belief, also as observed in its own training) and its costs.

    Args:
        trials: all of a study, one of them complete.
        task: the deployment task, as text.
    """
    chosen = best(trials)
    assert chosen is not None
    found: dict[str, Any] = {
        "trial": chosen.number,
        "accuracy": chosen.accuracy,
        "costs": chosen.cost.told(),
        "task": task,
    }
    if chosen.number in beliefs(trials):
        found["observed"] = trials[chosen.number].accuracy
    if not chosen.is_accuracy:
        found |= {name: chosen.details[name] for name in (*RANKS, "val_accuracy") if name in chosen.details}
        del found["accuracy"]
    for each in confirmed(trials):
        if each.trial.number == chosen.number:
            error = None if math.isnan(each.standard_error) else each.standard_error
            found |= {"standard_error": error, "trainings": len(each.accuracies)}
    return json.dumps({**json.loads(chosen.architecture.to_json()), **found}, indent=2) + "\n"
