"""What a study believes of its networks: a predictor fitted to all that it saw, beside what each training observed.

The network with the best observation is the luckiest of many. So whatever the strategy, accuracies are put together
with those of all other networks of the study: a Gaussian process over choices and costs (the predictor of `guided`,
`strategies.gaussian_process`) takes the accuracies as `adjusted`, and those that stopped trials would have come to
(`strategies.rungs`), and a network's belief is its posterior mean, with the posterior's deviation.

What the process calls noise is both: what another seed would change, and what is the network's own and its choices do
not tell (a nugget). One training of each does not say how it divides. Half of it is taken to be luck, or as much as the
number of validation images says if that is more: all of it draws the best networks to a fit that smooths what was
exact, none of it is the observation. Where no training loss adjusts accuracies, the noise of the validation images is
given to the process, and half of what it finds beyond that is luck. `docs/proxies.md` has what each costs on tables
with no, little and much noise, and how far beliefs are from trainings that came later.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from estimators.estimator import binomial_error
from strategies.features import Options
from studies.adjusting import Line, adjusted, line_of, training_of
from studies.lineage import without_drift

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchspaces import Architecture
    from strategies.gaussian_process import Kernel, Matrix
    from studies.trial import Trial

FEWEST: Final = 16
"""Complete trials without which there is no predictor, and accuracies are as `adjusted` has them."""
LUCK: Final = 0.5
"""The share of the process's noise that another seed would change."""
FITTED: Final = 150
"""Trials that hyperparameters are fitted to, at most: the latest."""
REMEMBERED: Final = 1_000
"""Trials that the process is conditioned on, at most: half of them the best, half the latest of the others."""
_GROWTH: Final = 1.25
"""Hyperparameters are fitted anew after so many times as many trials, so that a study that goes on need not wait."""


class Belief(NamedTuple):
    """Of a network's accuracy, by its own training and those of all others.

    Attributes:
        mean: in [0, 1].
        standard_error: of the mean; NaN where it is unknown.
    """

    mean: float
    standard_error: float


class Seen(NamedTuple):
    """What a trial that ended tells of its network: the accuracy at its end, or what it would have come to.

    Attributes:
        accuracy: as `adjusted`, in [0, 1].
        variance: beyond that of a complete trial.
    """

    architecture: Architecture
    macs: int
    params: int
    accuracy: float
    variance: float


class _Same:
    """Trials as a key of a cache, which are the same if they are the same objects: trials never change."""

    def __init__(self, trials: Iterable[Trial]) -> None:
        self.trials = tuple(trials)

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.trials)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Same)
            and len(self.trials) == len(other.trials)
            and all(map(operator.is_, self.trials, other.trials))
        )


def beliefs(trials: Sequence[Trial]) -> Mapping[int, Belief]:
    """The belief of each complete proposal, by number; empty where accuracies are what was observed.

    They are so where it is not told on how many images each was estimated (`val_images` in its details), as of tables
    and of estimators that give the same each time. Where trials start from the weights of others the belief is at
    least what is left `without_drift`.

    Args:
        trials: all of a study, by number.
    """
    return _beliefs(_Same(each for each in trials if each.confirms is None))


@functools.lru_cache(maxsize=4)
def _beliefs(those: _Same) -> Mapping[int, Belief]:
    """Of proposals: confirmations, which come one after another at the end of a study, change nothing."""
    proposed, inherits = without_drift(those.trials), any(each.parent is not None for each in those.trials)
    complete = [each for each in proposed if each.state == "complete"]
    if not complete or not all(map(_on_images, complete)):
        return {each.number: Belief(each.accuracy or 0.0, math.nan) for each in complete} if inherits else {}
    line, observed = line_of(proposed), {each.number: each for each in adjusted(proposed)}
    if len(complete) < FEWEST:
        if line is None and not inherits:
            return {}
        return {
            number: Belief(observed[number].accuracy or 0.0, error) for number, error in _errors(complete, line).items()
        }
    stopped, errors = tuple(_stopped(proposed, observed)), _errors(complete, line)
    certain = sum(error**2 for error in errors.values()) / len(errors)
    if line is None:  # known noise is not fitted; and is the same for all, as luck at 100 % would else weigh most
        seen = tuple(_seen(each, each.accuracy or 0.0, certain) for each in complete)
        return {each.number: belief for each, belief in zip(complete, posterior(seen, stopped), strict=True)}
    seen = tuple(_seen(each, observed[each.number].accuracy or 0.0) for each in complete)
    means = posterior(seen, stopped, known_luck=certain)
    found = {each.number: belief for each, belief in zip(complete, means, strict=True)}
    return {number: Belief(mean, math.hypot(error, errors[number])) for number, (mean, error) in found.items()}


def _errors(complete: Sequence[Trial], line: Line | None) -> dict[int, float]:
    """Standard errors of accuracies for want of more validation images: what the line through losses leaves of them."""
    found = {}
    for each in complete:
        training = training_of(each)
        if line is not None and training is not None:
            found[each.number] = line.standard_error(training)
        else:
            found[each.number] = binomial_error(each.accuracy or 0.0, each.details["val_images"])
    return found


def believed(trials: Sequence[Trial]) -> Sequence[Trial]:
    """The trials, complete proposals with the mean of their `beliefs` for their accuracies.

    Confirmations are as they were observed: leaders are trained again for having been high, and these trainings were
    chosen for nothing.

    Args:
        trials: all of a study, by number.
    """
    found = _believed(_Same(each for each in trials if each.confirms is None))
    return [found.get(each.number, each) for each in trials]


@functools.lru_cache(maxsize=4)
def _believed(those: _Same) -> Mapping[int, Trial]:
    """Of proposals, those that something else is believed of than was observed."""
    found = _beliefs(those)
    return {
        each.number: replace(each, accuracy=found[each.number].mean) for each in those.trials if each.number in found
    }


def standard_error(trial: Trial, belief: Belief | None, images: int | None) -> float:
    """Of the accuracy of a proposal that was trained once; NaN where it is unknown.

    Args:
        images: on which accuracies are estimated; None where nobody knows.
    """
    if belief is not None and belief.standard_error > 0:
        return belief.standard_error
    return binomial_error(trial.accuracy or 0.0, images) if images else math.nan


def _on_images(trial: Trial) -> bool:
    images = trial.details.get("val_images")
    return trial.is_accuracy and isinstance(images, int) and images > 0


def _seen(trial: Trial, accuracy: float, variance: float = 0.0) -> Seen:
    return Seen(trial.architecture, trial.cost.macs, trial.cost.params, accuracy, variance)


def _stopped(proposed: Sequence[Trial], observed: Mapping[int, Trial]) -> list[Seen]:
    """What stopped trials would have come to, by the lines through those that were not."""
    from strategies.rungs import Rungs

    stopped = [each for each in proposed if each.state == "pruned" and each.reports]
    if not stopped:
        return []
    complete = [each for each in proposed if each.state == "complete"]
    rungs = Rungs((dict(each.reports), observed[each.number].accuracy or 0.0) for each in complete)
    found = []
    for each in stopped:
        step, accuracy = max(each.reports)
        if (at_end := rungs.at_end(step, accuracy)) is not None:
            found.append(_seen(each, *at_end))
    return found


@functools.lru_cache(maxsize=16)
def posterior(
    complete: tuple[Seen, ...], stopped: tuple[Seen, ...] = (), luck: float = LUCK, known_luck: float = 0.0
) -> list[Belief]:
    """The belief of each complete one.

    Args:
        complete: by number, so that it does not matter in which order they ended.
        stopped: others that tell of theirs.
        luck: the share of the process's noise that another seed would change, at least.
        known_luck: variance of an accuracy that is luck for certain.
    """
    from strategies.gaussian_process import GaussianProcess

    count = FEWEST
    while (more := int(count * _GROWTH)) <= len(complete):
        count = more
    kernel = _kernel(complete[:count])
    taken = _remembered(complete)
    used = [*(complete[index] for index in taken), *stopped[-REMEMBERED:]]
    process = GaussianProcess(kernel, *_table(used))
    means, deviations = process.without(max(luck * kernel.noise * kernel.spread**2, known_luck))
    found = [Belief(each.accuracy, math.nan) for each in complete]
    for index, mean, deviation in zip(taken, means.tolist(), deviations.tolist(), strict=False):
        found[index] = Belief(min(max(mean, 0.0), 1.0), deviation)
    return found


def _remembered(complete: Sequence[Seen]) -> list[int]:
    """Which of many are kept: the best half and, of the others, the latest."""
    if len(complete) <= REMEMBERED:
        return [*range(len(complete))]
    best = sorted(range(len(complete)), key=lambda index: -complete[index].accuracy)[: REMEMBERED // 2]
    kept = set(best)
    latest = [index for index in range(len(complete)) if index not in kept][-REMEMBERED // 2 :]
    return sorted([*best, *latest])


@functools.lru_cache(maxsize=16)
def _kernel(complete: tuple[Seen, ...]) -> Kernel:
    """Hyperparameters for the latest of some of the first trials."""
    from strategies.gaussian_process import Kernel

    return Kernel(*_table(complete[-FITTED:]))


def _table(seen: Sequence[Seen]) -> tuple[Matrix, Matrix, Matrix]:
    """Features (rows, columns), accuracies (rows,) and variances (rows,)."""
    space = seen[0].architecture.space
    rows = np.array([space.encode(each.architecture) for each in seen])
    costs = np.log(np.maximum([(each.macs, each.params) for each in seen], 1))
    features = np.concatenate([*Options(space.decisions).of(rows), costs], axis=1)
    return features, np.array([each.accuracy for each in seen]), np.array([each.variance for each in seen])
