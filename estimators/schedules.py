"""Learning rates over a training, relative to their peak, and what follows from its learning curve: when one that no
longer helps ends it, and the epoch whose weights are kept.

    cosine       Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts
    step         divided by 10 at half and at three quarters of the steps: He et al. 2016, arXiv:1512.03385, sec. 4.2
                 (at 32,000 and 48,000 of 64,000)
    exponential  times 0.97 every 2.4 epochs: Tan & Le 2019, arXiv:1905.11946, sec. 5.2
    plateau      divided by 10 where the validation accuracy has not risen for `patience` epochs: He et al. 2016, sec.
                 3.4
    constant     the peak

All rise linearly to the peak in the first steps (warmup). What depends on the validation accuracy follows from the
learning curve alone, so a training that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from estimators.estimator import binomial_error
from estimators.steps import learning_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEDULES: Final = ("cosine", "step", "exponential", "plateau", "constant")

DROP: Final = 0.1
DECAY: Final = 0.97
DECAY_EPOCHS: Final = 2.4


def rates(schedule: str, steps: int, epoch_steps: int, warmup: float) -> NDArray[np.float64]:
    """Learning rates (steps,) relative to their peak; of `plateau`, before any drop.

    Args:
        schedule: in `SCHEDULES`.
        steps: in all.
        epoch_steps: of one epoch.
        warmup: share of the steps in which the rate rises.

    >>> rates("step", 8, 2, 0).round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if schedule == "cosine":
        return learning_rates(steps, warmup)
    step, rising = np.arange(steps), round(warmup * steps)
    falling = np.ones(steps)
    if schedule == "step":
        falling = np.power(DROP, 1.0 * (step >= 0.5 * steps) + (step >= 0.75 * steps))
    elif schedule == "exponential":
        falling = np.power(DECAY, step // (DECAY_EPOCHS * epoch_steps))
    return np.where(step < rising, (step + 1) / max(rising, 1), falling)


def drops(curve: Sequence[Mapping[str, Any]], patience: int) -> int:
    """How often `plateau` has divided the rate: once for each `patience` epochs without a better validation accuracy.

    >>> drops([{"val_accuracy": each} for each in (0.5, 0.6, 0.6, 0.5, 0.7, 0.7, 0.7)], 2)
    2
    """
    found, best, since = 0, -1.0, 0
    for each in curve:
        since = 0 if each["val_accuracy"] > best else since + 1
        best = max(best, each["val_accuracy"])
        if since == patience:
            found, since = found + 1, 0
    return found


def ends_early(curve: Sequence[Mapping[str, Any]], epochs: int) -> bool:
    """Whether the validation accuracy has not risen for so many epochs; 0 never ends early.

    >>> ends_early([{"val_accuracy": each} for each in (0.5, 0.6, 0.6, 0.5)], 2)
    True
    """
    if not epochs or len(curve) <= epochs:
        return False
    before = max(each["val_accuracy"] for each in curve[:-epochs])
    return all(each["val_accuracy"] <= before for each in curve[-epochs:])


def kept(curve: Sequence[Mapping[str, Any]], images: int) -> int:
    """The place in a curve of the epoch whose weights are kept: the last that validated within one standard error of
    the best (Breiman et al. 1984, *Classification and Regression Trees*, sec. 3.4.3).

    The best of many epochs on few images is best by luck, and often early, where the learning rate is still high. With
    thousands of images the error is small, and the epoch kept is the best or as good.

    Args:
        curve: with the `val_accuracy` of each epoch, in [0, 1].
        images: that it was validated on.

    >>> curve = [{"val_accuracy": each} for each in (0.5, 0.96, 0.88, 0.92, 0.87)]
    >>> kept(curve, 24), kept(curve, 2000)
    (3, 1)
    """
    best = max(each["val_accuracy"] for each in curve)
    enough = best - binomial_error(best, images)
    return max(place for place, each in enumerate(curve) if each["val_accuracy"] >= enough)
