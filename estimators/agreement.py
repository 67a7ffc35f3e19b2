"""How well a proxy ranks networks: rank correlations, their intervals, the ceiling that noise leaves, and regret.

Kendall's τ is tau-b (Kendall 1945), which allows ties. The truth is usually the mean of few long trainings and noisy
itself, so even an exact proxy would not reach τ = 1; `ceiling` says what it would reach, from how far replicas agree
with one another, and `corrected` what a proxy's τ would be against the truth without noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Values = Sequence[float] | Floats
Statistic = Callable[[Values, Values], float]

RESAMPLES: Final = 2000
"""Bootstrap samples of an interval."""


def kendall(proxy: Values, truth: Values) -> float:
    """Kendall's tau-b of two series of numbers; NaN if one of them is constant.

    >>> round(kendall([1, 2, 3, 4], [1, 3, 2, 4]), 3)  # five of six pairs agree: (5 - 1) / 6
    0.667
    """
    return float(_kendalls(proxy, truth, np.ones((1, len(proxy))))[0])


def spearman(proxy: Values, truth: Values) -> float:
    """Spearman's ρ, the correlation of ranks; NaN if a series is constant.

    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 4]), 3)  # 1 - 6 * 2 / (4 * 15)
    0.8
    """
    return float(_spearmans(proxy, truth, np.ones((1, len(proxy))))[0])


def interval(
    statistic: Statistic, proxy: Values, truth: Values, level: float = 0.9, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over networks (Efron 1979).

    Samples in which the statistic is undefined, as all their networks are one, are left out.

    Args:
        statistic: `kendall` or `spearman`.
        proxy, truth: (networks,).
        level: probability of the interval.
        seed: of the resampling.
    """
    in_samples: dict[Statistic, Callable[[Values, Values, Floats], Floats]]
    in_samples = {kendall: _kendalls, spearman: _spearmans}
    return _middle(in_samples[statistic](proxy, truth, _resampled(len(proxy), seed)), level)


def difference(proxy: Values, other: Values, truth: Values, level: float = 0.9, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval, over networks, of the τ of a proxy less that of another one."""
    counts = _resampled(len(truth), seed)
    return _middle(_kendalls(proxy, truth, counts) - _kendalls(other, truth, counts), level)


def differences(
    proxies: Sequence[Values], other: Values, truth: Values, level: float = 0.9, seed: int = 0
) -> list[tuple[float, float]]:
    """Intervals of the τ of each proxy less that of another one, which hold all at once with a probability.

    Of nine proxies that rank as the other one does, one at least is outside its own interval of 90 % in a quarter of
    samples. These are widened until the largest studentized deviation over all proxies is within them: a bootstrap of
    the maximum, over networks (Beran 1988; Romano & Wolf 2005, *Stepwise Multiple Testing as Formalized Data
    Snooping*, Econometrica 73, without the steps). NaN where τ is undefined.

    Args:
        proxies: (networks,) each.
        other, truth: (networks,).
        level: probability that all of them hold.
        seed: of the resampling.
    """
    counts = _resampled(len(truth), seed)
    against, base = kendall(other, truth), _kendalls(other, truth, counts)
    centres = np.array([kendall(each, truth) - against for each in proxies])
    drawn = np.array([_kendalls(each, truth, counts) - base for each in proxies])  # (proxies, resamples)
    known = np.isfinite(centres)
    if not known.any():
        return [(math.nan, math.nan)] * len(proxies)
    kept = drawn[known][:, np.isfinite(drawn[known]).all(0)]
    errors = kept.std(1)
    off = np.abs(kept - centres[known, None])
    studentized = np.divide(off, errors[:, None], out=np.zeros_like(off), where=errors[:, None] > 0)
    reach = np.zeros(len(proxies))
    reach[known] = np.quantile(studentized.max(0), level) * errors
    return [(float(centre - most), float(centre + most)) for centre, most in zip(centres, reach, strict=True)]


def _resampled(networks: int, seed: int) -> Floats:
    """How often each network is in each bootstrap sample; (resamples, networks)."""
    drawn = np.random.default_rng(seed).integers(networks, size=(RESAMPLES, networks))
    return np.stack([np.bincount(rows, minlength=networks) for rows in drawn]).astype(np.float64)


def _kendalls(proxy: Values, truth: Values, counts: Floats) -> Floats:
    """Tau-b in each sample, of which counts (resamples, networks) say how often it has each network; (resamples,)."""
    one, other = _signs(proxy), _signs(truth)
    agree, untied, others = (((counts @ pairs) * counts).sum(1) for pairs in (one * other, one * one, other * other))
    return _ratio(agree, untied * others)  # of whole numbers, so exact


def _spearmans(proxy: Values, truth: Values, counts: Floats) -> Floats:
    """ρ in each sample, as `_kendalls`: twice a rank less the mean rank is how many it is above less how many below."""
    one, other = (counts @ _signs(each).T for each in (proxy, truth))
    alike, own, others = ((counts * product).sum(1) for product in (one * other, one * one, other * other))
    return _ratio(alike, own * others)


def _signs(values: Values) -> Floats:
    """Of the difference of each value from each other; (networks, networks)."""
    signs: Floats = np.sign(np.subtract.outer(values, values))
    return signs


def _ratio(product: Floats, squared: Floats) -> Floats:
    """A product over the root of that of the squares; NaN where that is 0."""
    scale = np.sqrt(squared)
    ratio: Floats = np.divide(product, scale, out=np.full(len(scale), math.nan), where=scale > 0)
    return ratio


def _middle(found: Values, level: float) -> tuple[float, float]:
    """The ends of the middle share of some numbers without those that are NaN; NaN where all are."""
    known = np.asarray(found)[~np.isnan(found)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def ceiling(replicas_tau: float, replicas: int) -> float:
    """τ that an exact proxy would have against the mean of some noisy replicas.

    Of normal variables, correlation and τ determine one another: ρ = sin(πτ/2) (Greiner 1909). The correlation of two
    replicas is the reliability of one; that of their mean follows from Spearman (1910) and Brown (1910), and an exact
    proxy correlates with the mean by its square root (Spearman 1904).

    Args:
        replicas_tau: τ between two replicas, in [0, 1]; below 0 it is noise, and counts as 0.
        replicas: how many the mean is of.

    >>> round(ceiling(0.38, 2), 3), ceiling(1.0, 1)
    (0.645, 1.0)
    """
    return _tau(math.sqrt(_reliability(replicas_tau, replicas)))


def corrected(tau: float, replicas_tau: float, replicas: int) -> float:
    """A proxy's τ against the truth without noise, by Spearman's correction for attenuation; at most 1 in magnitude.

    NaN if the replicas do not agree at all, as there is nothing to correct by.

    >>> round(corrected(0.4, 0.38, 2), 3), corrected(0.3, 1.0, 2)
    (0.487, 0.3)
    """
    reliability = _reliability(replicas_tau, replicas)
    if reliability == 0:
        return math.nan
    return _tau(min(max(_rho(tau) / math.sqrt(reliability), -1.0), 1.0))


def regret(proxy: Values, truth: Values) -> float:
    """How far the network that the proxy ranks first is below the best; with ties, in the mean over those ranked first.

    >>> regret([3, 9, 9], [0.9, 0.8, 0.7])
    0.15
    """
    one, other = np.asarray(proxy), np.asarray(truth)
    return round(float(other.max() - other[one == one.max()].mean()), 12)


def overlap(proxy: Values, truth: Values, top: int) -> float:
    """Share of the proxy's `top` networks that are among the `top` of the truth, in [0, 1]; the earlier of ties.

    >>> overlap([4, 3, 2, 1], [4, 1, 3, 2], top=2)
    0.5
    """
    if not 1 <= top <= len(proxy):
        raise ValueError(f"top must be from 1 to {len(proxy)}, got {top}")
    best = [set(np.argsort(-np.asarray(each), kind="stable")[:top].tolist()) for each in (proxy, truth)]
    return len(best[0] & best[1]) / top


def _rho(tau: float) -> float:
    return math.sin(math.pi * tau / 2)


def _tau(rho: float) -> float:
    return 2 / math.pi * math.asin(rho)


def _reliability(replicas_tau: float, replicas: int) -> float:
    """The squared correlation of the mean of some replicas with the truth."""
    single = max(_rho(replicas_tau), 0.0)
    return replicas * single / (1 + (replicas - 1) * single)
