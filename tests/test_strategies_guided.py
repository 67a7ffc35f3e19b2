"""The Gaussian process of `guided`: it is scikit-learn's, grows without being fitted anew, and bears dead networks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel
from studies_stand_ins import SPACE, Known

from searchspaces import Budget, Task, UserError, load_space
from strategies import Outcome, gaussian_process, make_strategy
from strategies.gaussian_process import GaussianProcess, Kernel, Warp
from strategies.rungs import Rungs
from studies import Study
from studies.settings import Settings


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


def test_running_trials_are_believed_where_they_were_also_below_the_fence(observed):
    features, accuracies, others = observed
    accuracies = np.where(features[:, 2] > 0.8, 0.01, accuracies)
    kernel = Kernel(features, accuracies)
    process = GaussianProcess(kernel, features, accuracies)
    dead = np.where(np.arange(6) == 2, 1.2, others)
    before = process.mean(dead)
    assert (before < kernel.warp.fence).any()  # else this tells nothing
    assert process.given(dead).mean(dead) == pytest.approx(before, abs=1e-4)


def test_a_warp_is_undone():
    warp, accuracies = Warp(0.6, 0.05), np.array([0.01, 0.3, 0.59, 0.6, 0.61, 0.9])
    warped = warp(accuracies)
    assert (np.diff(warped) > 0).all()
    assert (warped[3:] == accuracies[3:]).all()
    assert warped[0] > 0.4
    assert warp.back(warped) == pytest.approx(accuracies, abs=1e-12)


def test_features_do_not_depend_on_there_being_a_budget():
    task, space = Task(32, 3, 10), load_space("mbconv")
    bounded = space.under(Budget.parse("1T"), task)  # which all fit
    rng = np.random.default_rng(0)
    told = [space.sample(rng) for _ in range(12)]
    columns = []
    for strategy in (
        make_strategy("guided", bounded, 100, startup=10),
        make_strategy("guided", space, 100, startup=10, task=str(task)),
        Study.create(None, Settings(space=space, task=task, strategy="guided", estimator=Known()))._strategy(),
        Study.create(
            None, Settings(space=space, task=task, budget=Budget.parse("1T"), strategy="guided", estimator=Known())
        )._strategy(),
    ):
        for place, architecture in enumerate(told):
            strategy.tell(architecture, Outcome("complete", 0.5 + place / 100))
        columns.append(strategy._columns.of(told))
    macs = [np.log(architecture.cost(task).macs) for architecture in told]
    assert columns[0][:, -2] == pytest.approx(macs)
    assert all((each == columns[0]).all() for each in columns[1:])


def test_the_task_of_costs_is_that_of_the_budget_where_there_is_one():
    bounded = load_space("mbconv").under(Budget.parse("1T"), Task(32, 3, 10))
    assert make_strategy("guided", bounded, 100, task="32x32x3:10").settings["task"] == "32x32x3:10"
    with pytest.raises(UserError, match="the task of the budget, 32x32x3:10, not on 28x28x1:10"):
        make_strategy("guided", bounded, 100, task="28x28x1:10")


def test_noise_of_an_observation_s_own_is_scikit_learn_s_alpha(observed):
    features, accuracies, others = observed
    variances = np.where(np.arange(60) % 3, 0.0, 0.005**2)
    kernel = Kernel(features, accuracies, variances)
    process = GaussianProcess(kernel, features, accuracies, variances)
    same = (
        ConstantKernel(kernel.trend) * DotProduct(0.0, "fixed")
        + ConstantKernel(kernel.height) * Matern(kernel.length, nu=2.5)
        + WhiteKernel(kernel.noise)
    )
    alpha = variances / accuracies.std() ** 2
    reference = GaussianProcessRegressor(same, alpha=alpha, optimizer=None, normalize_y=True)
    reference.fit(kernel.scaled(features), accuracies)
    assert process.mean(others) == pytest.approx(reference.predict(kernel.scaled(others)), abs=1e-9)
    assert process.mean_of_observed() == pytest.approx(process.mean(features), abs=1e-12)
    grown = GaussianProcess(kernel, features[:40], accuracies[:40], variances[:40])
    for row in range(40, 60):
        grown.add(features[row : row + 1], accuracies[row : row + 1], variances[row : row + 1])
    assert grown.mean(others) == pytest.approx(process.mean(others), abs=1e-12)


def test_an_accuracy_at_a_step_is_mapped_to_the_end_by_the_complete_trials():
    rng = np.random.default_rng(0)
    early = rng.uniform(0.4, 0.6, 40)
    final = 0.5 + 0.8 * early + 0.01 * rng.normal(size=40)
    rungs = Rungs(({2: e}, f) for e, f in zip(early, final, strict=True))
    inside, outside = rungs.at_end(2, 0.5), rungs.at_end(2, 0.2)
    assert inside[0] == pytest.approx(0.9, abs=0.01)
    assert inside[1] == pytest.approx(0.01**2, rel=0.5)  # that of the noise around the line
    assert outside[0] == pytest.approx(0.66, abs=0.05)
    assert outside[1] > 1.5 * inside[1]
    assert rungs.at_end(1, 0.5) is None
    assert Rungs(({2: e}, f) for e, f in zip(early[:4], final, strict=False)).at_end(2, 0.5) is None


def told(pruned, reports):
    """`guided` after twelve complete trials, whose accuracy rises with their MACs, and after pruned ones, which are
    told to have been bad early; and the pruned ones."""
    space, task = load_space("mbconv"), Task(32, 3, 10)
    rng = np.random.default_rng(0)
    strategy = make_strategy("guided", space.under(Budget.parse("1T"), task), 60)
    found = []
    for number in range(12 + pruned):
        architecture = strategy._space.sample(rng)
        early = 0.3 + 0.02 * np.log(architecture.cost(task).macs)
        if number < 12:
            curve = ((1, early), (2, early + 0.2 + 0.001 * number)) if reports else ()
            strategy.tell(architecture, Outcome("complete", early + 0.2 + 0.001 * number, reports=curve))
        else:
            found.append(architecture)
            strategy.tell(
                architecture, Outcome("pruned", early - 0.03, reports=((1, early - 0.03),) if reports else ())
            )
    return strategy, found


def test_pruned_trials_teach():
    knows, pruned = told(8, reports=True)
    does_not, same = told(8, reports=False)
    assert pruned == same
    assert knows.believed(pruned).mean() < does_not.believed(pruned).mean() - 0.005


def test_where_nothing_was_pruned_curves_change_nothing():
    proposals = [told(0, reports)[0].ask(np.random.default_rng(5)) for reports in (True, False)]
    assert proposals[0] == proposals[1]
    others = told(4, reports=False)[1]
    beliefs = [told(0, reports)[0].believed(others) for reports in (True, False)]
    assert (beliefs[0] == beliefs[1]).all()


def test_a_score_that_tells_the_truth_finds_more_than_one_that_is_noise():
    found = {}
    truth = {each: float(np.random.default_rng(place).normal()) for place, each in enumerate(SPACE.enumerate())}
    noise = {each: float(np.random.default_rng([place, 1]).normal()) for place, each in enumerate(truth)}
    for way, score in (("true", truth), ("noise", noise)):
        for seed in range(3):
            strategy = make_strategy("guided", SPACE, 30, score=way)
            strategy.score_by(score.__getitem__)
            best = -9.0
            for number in range(30):
                asked = strategy.ask(np.random.default_rng([seed, number]))
                strategy.tell(asked, Outcome("complete", 0.5 + truth[asked] / 20))
                best = max(best, truth[asked])
            found.setdefault(way, []).append(best)
    assert np.mean(found["true"]) > np.mean(found["noise"])
    with pytest.raises(UserError, match="score=naswot is computed by a study"):
        make_strategy("guided", SPACE, 30, score="naswot").ask(np.random.default_rng(0))
