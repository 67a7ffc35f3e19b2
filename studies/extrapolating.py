"""What the learning curves of a study's complete trials say: how far extrapolation holds on them, and what its
pruned trials would have come to.

Whatever the pruner. A pruner lets trials end by their first reports, and what is extrapolated is the final accuracy
given the first reports, so that this choice does not bias it; but a pruned trial that began below all complete ones is
judged by lines through these. How far intervals hold is known of complete trials alone.

Left out: confirmations, whose networks were chosen for being high; adjusted accuracies, since a pruned trial has no
training loss of its last epoch: what is extrapolated is the accuracy as it would have been observed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studies.curves import FEWEST, SHARE, Checked, Extrapolation, Finished, Fitted, checked

if TYPE_CHECKING:
    from studies.trial import Trial

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

    By the curves of the complete proposals. Without those pruned at a rung, before their first epoch, and those whose
    steps are not the first ones of at least `curves.FEWEST` complete ones.

    Args:
        trials: all of a study.
    """
    finished, fitted = finished_of(trials), dict[int, Fitted]()
    found: dict[int, Extrapolation] = {}
    if len(finished.finals) < FEWEST:
        return found
    for trial in trials:
        curve = _curve(trial)
        if trial.state != "pruned" or trial.confirms is not None or not finished.begin(tuple(curve)):
            continue
        known = len(curve)
        if known not in fitted:
            fitted[known] = Fitted.of(finished.curves, finished.finals, known)
        found[trial.number] = fitted[known].at(list(curve.values()))
    return found


def may_exceed(trials: Sequence[Trial], best: float) -> list[Expected]:
    """Pruned proposals that may have ended above an accuracy, the likeliest first, then by number.

    Args:
        trials: all of a study.
        best: the accuracy to exceed, in [0, 1].
    """
    several = (Expected(number, final, final.chance_above(best)) for number, final in expected_finals(trials).items())
    return sorted((each for each in several if each.chance >= NAMED), key=lambda each: (-each.chance, each.number))


def finished_of(trials: Iterable[Trial]) -> Finished:
    """The curves of the complete proposals, with final accuracies as they were observed."""
    ended = [each for each in trials if each.state == "complete" and each.confirms is None]
    return Finished.of([(_curve(each), each.accuracy or 0.0) for each in ended])


def _curve(trial: Trial) -> Mapping[int, float]:
    """The accuracy at each step, first to last, without those at rungs."""
    return {step: accuracy for step, accuracy in sorted(trial.reports) if step > 0}
