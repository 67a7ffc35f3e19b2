"""Accuracies less the luck of their validation images, as the training loss tells it.

An accuracy on n validation images has a binomial noise; on some hundreds of them that is more than networks within one
budget differ by. The loss of the last epoch is a mean over all training images, and varies less from one training to
the next. So each accuracy is put together with what the line through all trials predicts from its training likelihood
exp(-loss): the empirical Bayes estimate of Fay & Herriot 1979, *Estimates of Income for Small Places*, JASA 74, with
the accuracy as the direct estimate of known variance and the line as the regression. What lies off the line by more
than that noise is the network's own, and stays: where the loss does not predict, or where validation images are many,
accuracies stay nearly as they were observed. `docs/proxies.md` has what it is worth.

Departures: the variance of networks about the line is a difference of means (residual less binomial) instead of the
solution of a weighted equation; and the uncertainty of the line counts as part of it, so that few trials are not drawn
to a line that they do not determine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np

if TYPE_CHECKING:
    from studies.trial import Trial

FEWEST: Final = 8
"""Complete trials without which accuracies stay as they are."""


class Training(NamedTuple):
    """What a trial tells of its training.

    Attributes:
        accuracy: in [0, 1] on the validation images.
        likelihood: exp(-loss) of the last epoch, in (0, 1].
        images: to validate on.
    """

    accuracy: float
    likelihood: float
    images: int


@final
class Line:
    """Accuracy by training likelihood, through the trainings of a study.

    Args:
        trainings: at least three, whose likelihoods differ.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        accuracies, likelihoods, images = np.array(trainings).T
        self._count = len(trainings)
        self._centre, self._height = float(likelihoods.mean()), float(accuracies.mean())
        off = likelihoods - self._centre
        self._scatter = float(off @ off)
        self._slope = float(off @ (accuracies - self._height)) / self._scatter
        residuals = accuracies - self._height - self._slope * off
        self._residual = float(residuals @ residuals) / (self._count - 2)
        self._own = max(self._residual - float((accuracies * (1 - accuracies) / images).mean()), 0.0)

    def adjusted(self, training: Training) -> float:
        """The accuracy, moved towards the line by the share of its distance that is noise.

        >>> drawn = [Training(0.5 + each / 100, 0.3 + each / 200, 800) for each in range(16)]
        >>> round(Line(drawn).adjusted(Training(0.60, 0.33, 800)), 2)  # the line is exact, and says 0.56
        0.56
        >>> round(Line(drawn).adjusted(Training(0.60, 0.35, 800)), 2)
        0.6
        """
        expected, kept, _ = self._divided(training)
        return min(max(expected + kept * (training.accuracy - expected), 0.0), 1.0)

    def standard_error(self, training: Training) -> float:
        """Of the adjusted accuracy: what is left of that of its validation images.

        >>> drawn = [Training(0.5 + each / 100, 0.3 + each / 200, 800) for each in range(16)]
        >>> round(Line(drawn).standard_error(Training(0.60, 0.33, 800)), 4)  # the line is exact
        0.0
        """
        _, kept, noise = self._divided(training)
        return math.sqrt(kept * noise)

    def _divided(self, training: Training) -> tuple[float, float, float]:
        """The accuracy that the line says, the share kept of the distance from it, and the noise: a variance."""
        off = training.likelihood - self._centre
        expected = self._height + self._slope * off
        within = min(max(expected, 0.0), 1.0)
        noise = within * (1 - within) / training.images
        own = self._own + self._residual * (1 / self._count + off**2 / self._scatter)
        return expected, own / (own + noise) if own + noise > 0 else 1.0, noise


def line_of(trials: Sequence[Trial]) -> Line | None:
    """The line through the complete proposals; None where there is none, as `adjusted` says.

    Args:
        trials: all of a study, by number.
    """
    proposed = [each for each in trials if each.state == "complete" and each.confirms is None]
    trainings = [found for each in proposed if (found := training_of(each)) is not None]
    if len(proposed) < FEWEST or len(trainings) < len(proposed) or any(each.parent is not None for each in trials):
        return None
    return None if np.ptp([each.likelihood for each in trainings]) < 1e-9 else Line(trainings)


def adjusted(trials: Sequence[Trial]) -> Sequence[Trial]:
    """The trials, complete proposals with their accuracies adjusted by a line through them.

    Confirmations are as they were observed: leaders are trained again for having been high, and these trainings were
    chosen for nothing. All are as they are where fewer than `FEWEST` proposals are complete, where one of them says
    nothing of its training (`train_loss` and `val_images` in its details), or where trials start from the weights of
    others: their losses hold the training of their ancestors too.

    Args:
        trials: all of a study, by number.
    """
    line = line_of(trials)
    if line is None:
        return trials
    return [
        each
        if each.state != "complete" or each.confirms is not None or (found := training_of(each)) is None
        else replace(each, accuracy=line.adjusted(found))
        for each in trials
    ]


def training_of(trial: Trial) -> Training | None:
    """What a complete trial tells of its training; None where it does not."""
    loss, images = trial.details.get("train_loss"), trial.details.get("val_images")
    if not isinstance(loss, float) or not math.isfinite(loss) or not isinstance(images, int) or images < 1:
        return None
    if trial.accuracy is None or not trial.is_accuracy:
        return None
    return Training(trial.accuracy, math.exp(-max(loss, 0.0)), images)
