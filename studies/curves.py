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

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from scipy.special import stdtr, stdtrit

FEWEST: Final = 4
"""Finished curves that an extrapolation needs."""
SHARE: Final = 0.8
"""Of the probability, inside the interval that is shown."""
LATEST: Final = 256
"""Finished curves that are looked at: the latest, so that a report takes milliseconds in a study of any length."""
MOST_CHECKED: Final = 8
"""Steps at which extrapolation is checked, so that a look at a study takes a quarter of a second."""
_DECAYS: Final = (0.5, 1.0, 2.0)
_RATES: Final = (2.0, 4.0, 8.0)
_TOGETHER: Final = 32
"""Trainings that are held out in one pass over arrays: more are no faster."""
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

    @property
    def deviation(self) -> float:
        """The standard deviation: the distribution has heavier tails than a normal one of the spread.

        >>> round(Extrapolation(0.5, 0.01, 8).deviation, 6)  # sqrt(8 / 6) of the spread
        0.011547
        """
        return self.spread * math.sqrt(self.freedom / (self.freedom - 2))

    def chance_above(self, accuracy: float) -> float:
        """The probability that the final accuracy is above this one.

        >>> Extrapolation(0.5, 0.01, 7).chance_above(0.5)
        0.5
        """
        return float(stdtr(self.freedom, (self.mean - accuracy) / self.spread))


@dataclass(frozen=True, slots=True)
class Fitted:
    """The models, fitted to finished curves at their first reports; together they are linear in the curve.

    Attributes:
        intercept: an accuracy.
        coefficients: of each of the first reports; (known,).
        spread: of the extrapolated accuracy, an accuracy.
        freedom: degrees of freedom of the spread.
    """

    intercept: float
    coefficients: Floats
    spread: float
    freedom: int

    @classmethod
    def of(cls, curves: Floats, finals: Floats, known: int) -> Fitted:
        """Fit to the first `known` reports.

        Args:
            curves: of finished trainings, accuracies in [0, 1]; (trainings, steps).
            finals: their final accuracies; (trainings,), at least `FEWEST`.
            known: at least 1, at most all steps.
        """
        count, last = curves.shape
        assert 1 <= known <= last, "a curve is no longer than the finished ones"
        assert count >= FEWEST, "too few finished curves"
        loadings, shares = _features(known, last)
        features = curves[:, :known] @ loadings.T
        weighted, spread = _combined(features, shares, finals)
        intercept = finals.mean() - weighted @ features.mean(0)
        return cls(float(intercept), weighted @ loadings, float(spread), count - 1)

    def at(self, curve: Sequence[float]) -> Extrapolation:
        """What a training ends at, of whose curve the first reports are these."""
        mean = self.intercept + float(self.coefficients @ np.asarray(curve, float))
        return Extrapolation(min(max(mean, 0.0), 1.0), self.spread, self.freedom)


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
    return Fitted.of(curves, finals, len(curve)).at(curve)


def _weights(shares: Floats, squares: Floats) -> Floats:
    """Of the models, by the inverse of their squared errors; (any, models), with sums of 1."""
    weights = shares / squares
    found: Floats = weights / weights.sum(-1, keepdims=True)
    return found


@cache
def _features(known: int, last: int) -> tuple[Floats, Floats]:
    """What the models see of a curve: products with its first reports, (models, known), and their shares, (models,).

    Of a shape, where `a + b * shape`, fitted to the first reports, ends.
    """
    rows, shares = [np.eye(known)[-1], np.eye(known)[-1]], [1.0, 1.0]
    if known > 1:
        step = np.arange(1.0, last + 1)
        powers, exponentials = [step**-c for c in _DECAYS], [np.exp(-c * step / last) for c in _RATES]
        rows.append(np.full(known, 1 / known))
        for shape in (*powers, *exponentials):
            middle = shape[:known].mean()
            centred = shape[:known] - middle
            rows.append(1 / known + centred / (centred @ centred) * (shape[-1] - middle))
        shares += [1.0, *(1 / len(_DECAYS) for _ in _DECAYS), *(1 / len(_RATES) for _ in _RATES)]
    return np.array(rows), np.array(shares)


def _combined(features: Floats, shares: Floats, finals: Floats) -> tuple[Floats, Floats]:
    """The models' slopes times their weights, (..., models), and the spread, (...,); arguments as of `_lines`."""
    slopes, errors = _lines(features, finals)
    squares = errors**2 + _LEAST_SPREAD**2
    total = squares.sum(-2)
    missed = (_weights(shares, total[..., None, :] - squares) * errors).sum(-1)  # weights that do not know the error
    spread = np.maximum(np.sqrt((missed**2).mean(-1)), _LEAST_SPREAD)
    return _weights(shares, total) * slopes, spread


def _lines(features: Floats, finals: Floats) -> tuple[Floats, Floats]:
    """Lines from features to the final accuracy, by least squares; that of the first has the slope 1.

    Args:
        features: of the finished trainings; (..., trainings, models).
        finals: (..., trainings).

    Returns:
        The slopes, (..., models), and the leave-one-out errors, (..., trainings, models).
    """
    dx = features - features.mean(-2, keepdims=True)
    dy = (finals - finals.mean(-1, keepdims=True))[..., None]
    joint, own = (dx * dy).sum(-2), (dx * dx).sum(-2)
    count = finals.shape[-1]
    apart = count / (count - 1)  # a point is so many times as far from the mean of the others
    slope = _ratio(joint, own)
    slopes = _ratio(joint[..., None, :] - apart * dx * dy, own[..., None, :] - apart * dx * dx)
    slope[..., 0], slopes[..., 0] = 1.0, 1.0
    return slope, apart * (dy - slopes * dx)


def _ratio(joint: Floats, own: Floats) -> Floats:
    """Slopes; 0 where the feature does not vary."""
    varies = own > 1e-12
    return np.where(varies, joint / np.where(varies, own, 1.0), 0.0)


@dataclass(frozen=True, slots=True)
class Checked:
    """How extrapolation from the first reports did on finished trainings, each predicted by the others.

    Attributes:
        step: of the last report that is known.
        error: mean absolute error of the final accuracy, an accuracy.
        coverage: share of the final accuracies inside the interval for `SHARE`, in [0, 1].
    """

    step: int
    error: float
    coverage: float


def checked(finished: Finished) -> list[Checked]:
    """Leave-one-out, from each step from which a training can be judged: from the first to the last but one.

    Of more than `MOST_CHECKED` steps, so many, evenly spread, the first and the last among them. Nothing where curves
    are too few or too short.
    """
    count, steps = finished.curves.shape
    if count <= FEWEST or steps < 2:
        return []
    chosen = sorted({round(each) for each in np.linspace(1, steps - 1, min(steps - 1, MOST_CHECKED))})
    return [_checked(finished, known) for known in chosen]


def _checked(finished: Finished, known: int) -> Checked:
    """Leave-one-out, from the first `known` reports."""
    curves, finals = finished.curves[:, :known], finished.finals
    count = len(finals)
    loadings, shares = _features(known, finished.curves.shape[1])
    features = curves @ loadings.T
    errors, inside = [], []
    for held_out in np.array_split(np.arange(count), math.ceil(count / _TOGETHER)):
        others = np.array([np.delete(np.arange(count), each) for each in held_out])
        weighted, spreads = _combined(features[others], shares, finals[others])
        apart = features[held_out] - features[others].mean(1)
        means = finals[others].mean(1) + (weighted * apart).sum(1)
        for mean, spread, final in zip(means, spreads, finals[held_out], strict=True):
            found = Extrapolation(min(max(float(mean), 0.0), 1.0), float(spread), count - 2)
            low, high = found.interval
            errors.append(abs(found.mean - final))
            inside.append(low <= final <= high)
    return Checked(finished.steps[known - 1], float(np.mean(errors)), float(np.mean(inside)))
