"""What the learning curves of a study's complete trials say: how far extrapolation holds on them, and what its
pruned trials would have come to.

Whatever the pruner. Which trials are complete follows from their reports, and not only from the first ones: of trials
that were alike at an epoch, those are complete that did better later, so lines fitted to these alone expect too much.
But a report decides only what comes after it, so that final accuracies are missing at random given the reports, in a
monotone pattern, and are imputed from the last epoch to the first (Rubin 1987, *Multiple Imputation for Nonresponse in
Surveys*, sec. 5.4): what was pruned at an epoch is expected by all that went on after it, those pruned later with what
was expected of them. One departure: means are imputed, and their variance is added to that of the fit, in place of
several draws. How far intervals hold is known of complete trials alone.

Left out: confirmations, whose networks were chosen for being high; adjusted accuracies, since a pruned trial has no
training loss of its last epoch: what is extrapolated is the accuracy as it would have been observed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from studies.curves import FEWEST, SHARE, Checked, Extrapolation, Finished, Fitted, checked

if TYPE_CHECKING:
    from studies.trial import Trial

ENOUGH: Final = 8
"""Complete curves before a pruned trial is named."""
NAMED: Final = 0.2
"""The chance of having ended above the best at which a pruned trial is named."""


@dataclass(frozen=True, slots=True)
class Extrapolating:
    """How far extrapolated final accuracies hold on complete trials, each predicted by the others.

    Attributes:
        curves: how many trials.
        steps: of the last report; the final accuracy is the one there.
        standard_error: of a coverage, were it `curves.SHARE`, by the number of trials.
        at: from each step from which a trial can be judged, the first to the last but one; at most
            `curves.MOST_CHECKED` of them.
    """

    curves: int
    steps: int
    standard_error: float
    at: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """A pruned trial that may have ended above the best.

    Attributes:
        number: of the trial.
        final: what it would have ended at.
        chance: that this is above the best one's accuracy, in [0, 1].
    """

    number: int
    final: Extrapolation
    chance: float


def checked_on(trials: Iterable[Trial]) -> Extrapolating | None:
    """How far extrapolation holds on the complete proposals among these; None where it cannot be told."""
    finished = finished_of(trials)
    if not (found := checked(finished)):
        return None
    count = len(finished.finals)
    return Extrapolating(count, finished.steps[-1], math.sqrt(SHARE * (1 - SHARE) / count), tuple(found))


def expected_finals(trials: Sequence[Trial]) -> dict[int, Extrapolation]:
    """What each pruned proposal would have ended at, by its number: `mean` and `deviation`, accuracies in [0, 1].

    By the curves of all proposals. Without those pruned at a rung, before their first epoch, and those whose steps are
    not the first ones of at least `curves.FEWEST` complete ones.

    Args:
        trials: all of a study.
    """
    finished = finished_of(trials)
    count, last = finished.curves.shape
    found: dict[int, Extrapolation] = {}
    if count < FEWEST:
        return found
    pruned: dict[int, list[tuple[int, list[float]]]] = {}  # number and curve, by the number of reports
    for trial in trials:
        curve = _curve(trial)
        if trial.state == "pruned" and trial.confirms is None and finished.begin(tuple(curve)):
            pruned.setdefault(len(curve), []).append((trial.number, list(curve.values())))
    curves, finals, variances = finished.curves, finished.finals, np.zeros(count)
    for known, several in sorted(pruned.items(), reverse=True):
        fitted = Fitted.of(curves, finals, known)
        spread = math.sqrt(fitted.spread**2 + variances.mean())
        fitted = replace(fitted, spread=spread, freedom=count - 1)
        ends = [fitted.at(curve) for _, curve in several]
        found |= {number: end for (number, _), end in zip(several, ends, strict=True)}
        begun = np.zeros((len(several), last))  # what is beyond the reports is not looked at from now on
        begun[:, :known] = [curve for _, curve in several]
        curves = np.concatenate([curves, begun])
        finals = np.concatenate([finals, [end.mean for end in ends]])
        variances = np.concatenate([variances, [end.deviation**2 for end in ends]])
    return {number: found[number] for number in sorted(found)}


def may_exceed(trials: Sequence[Trial], best: float) -> list[Expected]:
    """Pruned proposals that may have ended above an accuracy, the likeliest first, then by number.

    None where fewer than `ENOUGH` proposals are complete: with few, chances are several times too high. With more they
    are still high rather than low; `docs/proxies.md` has how many of those named were above.

    Args:
        trials: all of a study.
        best: the accuracy to exceed, in [0, 1].
    """
    if len(finished_of(trials).finals) < ENOUGH:
        return []
    several = (Expected(number, final, final.chance_above(best)) for number, final in expected_finals(trials).items())
    return sorted((each for each in several if each.chance >= NAMED), key=lambda each: (-each.chance, each.number))


def finished_of(trials: Iterable[Trial]) -> Finished:
    """The curves of the complete proposals, with final accuracies as they were observed."""
    ended = [each for each in trials if each.state == "complete" and each.confirms is None]
    return Finished.of([(_curve(each), each.accuracy or 0.0) for each in ended])


def _curve(trial: Trial) -> Mapping[int, float]:
    """The accuracy at each step, first to last, without those at rungs."""
    return {step: accuracy for step, accuracy in sorted(trial.reports) if step > 0}
