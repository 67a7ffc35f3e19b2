"""Agreement of a proxy with the truth: hand cases, scipy, and simulations with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from estimators.agreement import (
    ceiling,
    corrected,
    difference,
    differences,
    interval,
    kendall,
    overlap,
    regret,
    spearman,
)


def test_kendall_is_tau_b_by_its_definition() -> None:
    # (C - D) / sqrt((pairs - ties in x) (pairs - ties in y)), counted pair by pair.
    x, y = [1, 1, 2, 3, 4, 4], [2, 1, 1, 5, 4, 4]
    pairs = [(i, j) for i in range(6) for j in range(i)]
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    expected = sum(a * b for a, b in signs) / math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    assert kendall(x, y) == pytest.approx(expected)


def test_both_are_scipys_also_with_ties() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 5, 40), draw.integers(0, 5, 40)
    assert kendall(x, y) == pytest.approx(float(kendalltau(x, y).statistic))
    assert spearman(x, y) == pytest.approx(float(spearmanr(x, y).statistic))


@pytest.mark.parametrize("statistic", [kendall, spearman])
def test_a_constant_series_has_no_rank_correlation(statistic) -> None:
    assert math.isnan(statistic([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]))


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Correlation 0.5, so tau = 2 / pi asin 0.5 = 1/3. 90 % of 40 intervals: sd 1.9; the band is 3 sd and the
    # percentile bootstrap's known shortfall of a few percent. tau of 40 pairs has a standard deviation of 0.0987 (3,000
    # draws), so a 90 % interval a width of 2 * 1.645 * 0.0987; one of 80 % is a fifth narrower, of 95 % a fifth wider.
    covered, widths = 0, []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=40)
        y = 0.5 * x + math.sqrt(0.75) * draw.normal(size=40)
        low, high = interval(kendall, x, y, seed=seed)
        covered += low <= 1 / 3 <= high
        widths.append(high - low)
    assert covered >= 29
    assert np.mean(widths) == pytest.approx(2 * 1.645 * 0.0987, rel=0.1)


def test_an_interval_is_the_same_again_and_of_a_perfect_proxy_a_point() -> None:
    x = np.arange(12.0)
    assert interval(kendall, x, x) == pytest.approx((1.0, 1.0))
    y = np.random.default_rng(0).permutation(x)
    assert interval(kendall, x, y) == interval(kendall, x, y) != interval(kendall, x, y, seed=1)


def test_an_interval_is_that_of_its_samples_one_by_one() -> None:
    draw = np.random.default_rng(5)
    x, y, z = draw.integers(0, 6, 15), draw.normal(size=15), draw.normal(size=15)
    rows = np.random.default_rng(0).integers(15, size=(2000, 15))
    rhos = [float(spearmanr(x[one], y[one]).statistic) for one in rows]
    taus, others = ([kendall(each[one], y[one]) for one in rows] for each in (x, z))
    assert interval(kendall, x, y) == pytest.approx(tuple(np.quantile(taus, (0.05, 0.95))))
    assert interval(spearman, x, y) == pytest.approx(tuple(np.quantile(rhos, (0.05, 0.95))))
    assert difference(x, z, y) == pytest.approx(tuple(np.quantile(np.subtract(taus, others), (0.05, 0.95))))


def test_differences_hold_at_once_where_those_one_by_one_do_not() -> None:
    """Nine proxies that rank exactly as well as the other one, by luck of their own, on 40 networks.

    One at least is above the other one by its own interval in a fifth of 60 such samples (12, sd 3.1; in 300 it was in
    22 %), and by those that hold at once in at most 5 % of them (3, sd 1.7); the bands are 3 sd.
    """
    alone = together = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        quality = draw.normal(size=40)
        truth = quality + 0.6 * draw.normal(size=40)
        other, *proxies = (0.5 * quality + draw.normal(size=40) for _ in range(10))
        alone += any(difference(each, other, truth, seed=seed)[0] > 0 for each in proxies)
        together += any(low > 0 for low, _ in differences(proxies, other, truth, seed=seed))
    assert alone >= 4
    assert together <= 8
    assert together < alone


def test_differences_are_undefined_where_a_proxy_is_constant_and_nothing_where_it_is_the_other_one() -> None:
    draw = np.random.default_rng(1)
    truth, other, proxy = draw.normal(size=(3, 12))
    undefined, same, usual = differences([np.ones(12), other, proxy], other, truth)
    assert all(map(math.isnan, undefined))
    assert same == (0.0, 0.0)
    assert usual == pytest.approx(differences([proxy], other, truth)[0])  # of one proxy there is no more to widen for
    assert all(math.isnan(end) for pair in differences([np.ones(12)], other, truth) for end in pair)


def test_ceiling_and_correction_are_those_of_a_simulation() -> None:
    # 2,000 networks with noise as large as their differences: two replicas correlate by 1/2.
    draw = np.random.default_rng(0)
    truth = draw.normal(size=2_000)
    replicas = truth + draw.normal(size=(2, len(truth)))
    agree, mean = kendall(*replicas), replicas.mean(0)
    assert agree == pytest.approx(1 / 3, abs=0.03)
    assert ceiling(agree, 2) == pytest.approx(kendall(truth, mean), abs=0.03)
    assert ceiling(agree, 1) == pytest.approx(kendall(truth, replicas[0]), abs=0.03)
    proxy = truth + 2 * draw.normal(size=len(truth))
    assert corrected(kendall(proxy, mean), agree, 2) == pytest.approx(kendall(proxy, truth), abs=0.03)


def test_replicas_that_do_not_agree_leave_nothing_to_find() -> None:
    assert ceiling(-0.1, 2) == 0.0
    assert math.isnan(corrected(0.2, 0.0, 2))
    assert corrected(0.6, 0.1, 2) == 1.0  # above the ceiling of 0.26


def test_regret_is_the_mean_over_what_is_ranked_first() -> None:
    truth = [0.70, 0.80, 0.75]
    assert regret([1, 3, 2], truth) == 0.0
    assert regret([1, 1, 1], truth) == pytest.approx(0.05)  # any of them: the mean is 0.75
    assert regret([9, 1, 9], truth) == pytest.approx(0.075)


def test_overlap_counts_the_common_leaders() -> None:
    assert overlap([5, 4, 3, 2, 1], [1, 2, 3, 4, 5], top=3) == pytest.approx(1 / 3)
    assert overlap([1, 2], [3, 4], top=1) == 1.0
    with pytest.raises(ValueError, match="top must be from 1 to 2"):
        overlap([1, 2], [3, 4], top=3)
