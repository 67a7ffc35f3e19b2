"""The final accuracy of a training, extrapolated from its first reports and the finished trainings of its study.

The trainings of a study share their data, length and learning rates, so those that finished show what is gained from an
epoch to the last (Baker et al. 2017, arXiv:1705.10823, regress final accuracies on partial curves too). Five models of
it, each fitted to the finished curves:

- the present accuracy plus the mean gain from here to the end;
- a line from the present accuracy to the final one, and another from the mean of the accuracies so far;
- `a + b * step**-c` and `a + b * exp(-c * step / last)`, of the shapes that Domhan et al. 2015 (IJCAI) combine and
  Viering & Loog 2021 (arXiv:2103.10948) survey: least squares to the curve so far, and a line from where this ends to
  the final accuracy, for three values of `c` each.

The estimate is their mean, weighted by the inverse of their mean squared leave-one-out errors (Bates & Granger 1969,
J. Oper. Res. Soc. 20(4)). The leave-one-out error of this mean is the spread of a Student distribution. Departures from
Domhan et al.: two of their eleven shapes, least squares instead of MCMC, and the study's own curves. Left out: LC-PFN
(arXiv:2310.20447), a trained transformer that has a prior over curves and knows nothing of the study's other trainings
(`docs/proxies.md` has what the posterior under its prior is worth); a spread that depends on the curve; and trials that
were stopped, whose final accuracy is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import stdtr, stdtrit

FEWEST: Final = 4
"""Finished curves that an extrapolation needs."""
SHARE: Final = 0.8
"""Of the probability, inside the interval that is shown."""
LATEST: Final = 256
"""Finished curves that are looked at: the latest, so that a report takes milliseconds in a study of any length."""
_DECAYS: Final = (0.5, 1.0, 2.0)
_RATES: Final = (2.0, 4.0, 8.0)
_LEAST_SPREAD: Final = 1e-3
"""Curves that agree to the last digit do not make the next one certain."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Finished:
    """The curves of finished trainings that reported at the same steps.

    Attributes:
        steps: at which they reported, the first to the last.
        curves: accuracies in [0, 1]; (trainings, steps).
        finals: final accuracies in [0, 1]; (trainings,).
    """

    steps: tuple[int, ...]
    curves: Floats
    finals: Floats

    @classmethod
    def of(cls, trainings: Sequence[tuple[Mapping[int, float], float]]) -> Finished:
        """Those of the commonest steps, the latest `LATEST`; rungs, which are steps up to 0, are no part of a curve.

        Args:
            trainings: the accuracy at each step, and the final one; in the order of the study.
        """
        trainings = [({step: each for step, each in curve.items() if step > 0}, final) for curve, final in trainings]
        steps = Counter(tuple(sorted(curve)) for curve, _ in trainings)
        common = max(steps, key=lambda each: (steps[each], each), default=())
        alike = [each for each in trainings if len(each[0]) == len(common) and all(step in each[0] for step in common)]
        curves = [[curve[step] for step in common] for curve, _ in alike[-LATEST:]]
        finals = np.array([final for _, final in alike[-LATEST:]], float)
        return cls(common, np.array(curves, float).reshape(len(curves), len(common)), finals)

    def begin(self, steps: tuple[int, ...]) -> bool:
        """Whether they reported first at these steps."""
        return bool(steps) and self.steps[: len(steps)] == steps


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """A Student distribution of the final accuracy.

    Attributes:
        mean: in [0, 1].
        spread: its scale, an accuracy.
        freedom: its degrees of freedom.
    """

    mean: float
    spread: float
    freedom: int

    @property
    def interval(self) -> tuple[float, float]:
        """The central interval that holds `SHARE` of the probability, within [0, 1]."""
        half = float(stdtrit(self.freedom, (1 + SHARE) / 2)) * self.spread
        return max(self.mean - half, 0.0), min(self.mean + half, 1.0)

    def chance_above(self, accuracy: float) -> float:
        """The probability that the final accuracy is above this one.

        >>> Extrapolation(0.5, 0.01, 7).chance_above(0.5)
        0.5
        """
        return float(stdtr(self.freedom, (self.mean - accuracy) / self.spread))


def extrapolate(curve: Sequence[float], curves: Floats, finals: Floats) -> Extrapolation:
    """What a training will end at.

    Args:
        curve: accuracies in [0, 1] of its first reports, at least one.
        curves: those of finished trainings at the same steps and beyond, to the last; (trainings, steps).
        finals: their final accuracies; (trainings,), at least `FEWEST`.

    >>> steps = np.linspace(0.5, 1.0, 6)
    >>> levels = np.linspace(0.6, 0.8, 9)
    >>> round(extrapolate(0.7 * steps[:3], levels[:, None] * steps, levels).mean, 3)
    0.7
    """
    count, last = curves.shape
    known = len(curve)
    assert 1 <= known <= last, "a curve is no longer than the finished ones"
    assert count >= FEWEST, "too few finished curves"
    every = np.vstack([curves[:, :known], curve])  # the last is the one that is under way
    features, shares = [every[:, -1], every[:, -1]], [1.0, 1.0]
    if known > 1:
        step = np.arange(1.0, last + 1)
        shapes = [*(step**-c for c in _DECAYS), *(np.exp(-c * step / last) for c in _RATES)]
        features += [every.mean(1), *(_ends(every, shape) for shape in shapes)]
        shares += [1.0, *(1 / len(_DECAYS) for _ in _DECAYS), *(1 / len(_RATES) for _ in _RATES)]
    means, errors = _fitted(np.array(features), finals)
    squares = errors**2 + _LEAST_SPREAD**2
    total, prior = squares.sum(1, keepdims=True), np.array(shares)[:, None]
    mean = float(_weights(prior, total)[:, 0] @ means)
    missed = (_weights(prior, total - squares) * errors).sum(0)  # a training's weights do not know its own error
    spread = max(float(np.sqrt(np.mean(missed**2))), _LEAST_SPREAD)
    return Extrapolation(min(max(mean, 0.0), 1.0), spread, count - 1)


def _weights(prior: Floats, squares: Floats) -> Floats:
    """Of the models, by the inverse of their squared errors; (models, any), with sums of 1."""
    weights = prior / squares
    found: Floats = weights / weights.sum(0)
    return found


def _ends(curves: Floats, shape: Floats) -> Floats:
    """Where curves of the form `a + b * shape`, fitted to the first reports, end; (trainings,)."""
    known = curves.shape[1]
    middle = shape[:known].mean()
    centred = shape[:known] - middle
    found: Floats = curves.mean(1) + curves @ centred / (centred @ centred) * (shape[-1] - middle)
    return found


def _fitted(features: Floats, finals: Floats) -> tuple[Floats, Floats]:
    """Lines from features to the final accuracy, by least squares; that of the first has the slope 1.

    Args:
        features: of the finished trainings and, last, of the one that is under way; (models, trainings + 1).
        finals: of the finished ones; (trainings,).

    Returns:
        The final accuracy of the last, (models,), and the leave-one-out errors of the others, (models, trainings).
    """
    middle = features[:, :-1].mean(1, keepdims=True)
    dx, dy = features[:, :-1] - middle, finals - finals.mean()
    joint, own = dx @ dy, (dx * dx).sum(1)
    apart = len(finals) / (len(finals) - 1)  # a point is so many times as far from the mean of the others
    slope = _ratio(joint, own)
    slopes = _ratio(joint[:, None] - apart * dx * dy, own[:, None] - apart * dx * dx)
    slope[0], slopes[0] = 1.0, 1.0
    return finals.mean() + slope * (features[:, -1] - middle[:, 0]), apart * (dy - slopes * dx)


def _ratio(joint: Floats, own: Floats) -> Floats:
    """Slopes; 0 where the feature does not vary."""
    varies = own > 1e-12
    return np.where(varies, joint / np.where(varies, own, 1.0), 0.0)


@dataclass(frozen=True, slots=True)
class Checked:
    """How extrapolation from the middle of the curves did on finished trainings, each predicted by the others.

    Attributes:
        curves: how many.
        step, steps: extrapolated from, of how many.
        error: mean absolute, an accuracy.
        coverage: share of the final accuracies inside the interval for `SHARE`, in [0, 1].
    """

    curves: int
    step: int
    steps: int
    error: float
    coverage: float


def checked(finished: Finished) -> Checked | None:
    """Leave-one-out from the middle of the curves; None where they are too few or too short."""
    count, steps = finished.curves.shape
    if count <= FEWEST or steps < 2:
        return None
    step, errors, inside = steps // 2, [], []
    for index, (curve, final) in enumerate(zip(finished.curves, finished.finals, strict=True)):
        others = np.arange(count) != index
        found = extrapolate(curve[:step], finished.curves[others], finished.finals[others])
        low, high = found.interval
        errors.append(abs(found.mean - final))
        inside.append(low <= final <= high)
    return Checked(count, step, steps, float(np.mean(errors)), float(np.mean(inside)))
