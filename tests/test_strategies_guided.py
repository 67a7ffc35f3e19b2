"""The Gaussian process of `guided`: it is scikit-learn's, grows without being fitted anew, and bears dead networks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from searchspaces import Budget, Task, load_space
from strategies import Outcome, gaussian_process, make_strategy
from strategies.gaussian_process import GaussianProcess, Kernel, Warp


@pytest.fixture
def observed():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 6))
    truth = 0.9 + 0.02 * features[:, 0] + 0.01 * np.sin(2 * features[:, 1])
    return features, truth + 0.002 * rng.normal(size=60), rng.normal(size=(9, 6))


def test_it_is_the_posterior_of_scikit_learn(observed):
    features, accuracies, others = observed
    kernel = Kernel(features, accuracies)
    assert kernel.warp == Warp()  # nothing is below the fence
    process = GaussianProcess(kernel, features, accuracies)
    same = (
        ConstantKernel(kernel.trend) * DotProduct(0.0, "fixed")
        + ConstantKernel(kernel.height) * Matern(kernel.length, nu=2.5)
        + WhiteKernel(kernel.noise)
    )
    reference = GaussianProcessRegressor(same, optimizer=None, normalize_y=True)
    reference.fit(kernel.scaled(features), accuracies)
    mean, deviation = reference.predict(kernel.scaled(others), return_std=True)
    assert process.mean(others) == pytest.approx(mean, abs=1e-9)
    assert process.mean_of_observed() == pytest.approx(process.mean(features), abs=1e-12)
    noiseless = np.sqrt(deviation**2 - kernel.noise * accuracies.std() ** 2)
    z = (mean - 0.93) / noiseless
    from scipy.stats import norm

    gain = noiseless * (z * norm.cdf(z) + norm.pdf(z))
    assert process.expected_improvement(others, 0.93) == pytest.approx(gain, rel=1e-5, abs=1e-15)


def test_observations_that_are_added_are_as_if_they_had_been_there(observed):
    features, accuracies, others = observed
    kernel = Kernel(features[:40], accuracies[:40])
    whole = GaussianProcess(kernel, features, accuracies)
    grown = GaussianProcess(kernel, features[:40], accuracies[:40])
    for row in range(40, 60):
        grown.add(features[row : row + 1], accuracies[row : row + 1])
    assert len(grown) == 60
    assert grown.mean(others) == pytest.approx(whole.mean(others), abs=1e-12)
    assert grown.expected_improvement(others, 0.9) == pytest.approx(whole.expected_improvement(others, 0.9), abs=1e-9)
    believed = grown.given(others)
    assert believed.mean(others) == pytest.approx(grown.mean(others), abs=1e-4)  # their mean moves the prior's
    assert believed.expected_improvement(others, 0.9).sum() < grown.expected_improvement(others, 0.9).sum()
    assert len(grown) == 60


def test_networks_that_train_to_nothing_do_not_bend_it(observed, monkeypatch):
    features, accuracies, _ = observed
    dead = features[:, 2] > 0.8
    accuracies = np.where(dead, 0.01, accuracies)
    errors = []
    for warps in (gaussian_process._warps, lambda accuracies: [Warp()]):
        monkeypatch.setattr(gaussian_process, "_warps", warps)
        kernel = Kernel(features, accuracies)
        process = GaussianProcess(kernel, features, accuracies)
        alive = np.random.default_rng(1).normal(size=(200, 6))
        alive = alive[alive[:, 2] < 0.5]
        truth = 0.9 + 0.02 * alive[:, 0] + 0.01 * np.sin(2 * alive[:, 1])
        errors.append(np.abs(process.mean(alive) - truth).mean())
    assert errors[0] < errors[1] / 3


def test_a_warp_is_undone():
    warp, accuracies = Warp(0.6, 0.05), np.array([0.01, 0.3, 0.59, 0.6, 0.61, 0.9])
    warped = warp(accuracies)
    assert (np.diff(warped) > 0).all()
    assert (warped[3:] == accuracies[3:]).all()
    assert warped[0] > 0.4
    assert warp.back(warped) == pytest.approx(accuracies, abs=1e-12)


def test_costs_are_seen_without_a_budget_too():
    task, space = Task(32, 3, 10), load_space("mbconv")
    bounded = space.under(Budget.parse("1T"), task)
    rng = np.random.default_rng(0)
    told = [space.sample(rng) for _ in range(12)]
    found = []
    for each in (space, bounded):
        strategy = make_strategy("guided", each, 100, startup=10)
        for place, architecture in enumerate(told):
            strategy.tell(each.architecture(architecture.choices), Outcome("complete", 0.5 + place / 100))
        found.append(strategy._columns.of([each.architecture(told[0].choices)]))
    assert found[0].shape == found[1].shape
    assert found[0][0, -2] > 10  # the logarithm of its MACs
