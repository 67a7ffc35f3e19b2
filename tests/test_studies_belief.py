"""What a study believes: nearer to the truth than single trainings, and as observed where nothing is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import begin

from benchmarks import belief_later
from estimators import Estimate, TrialContext
from searchspaces import Architecture, Space, Stage, Task, choice, conv_head, conv_stem, mbconv
from studies import Study, Trial, belief, results
from studies.adjusting import adjusted
from studies.belief import FEWEST, REMEMBERED, Seen, _remembered, beliefs, believed, posterior
from studies.pages.report import progress_figure

SPACE = Space(
    "smooth",
    stem=Stage(conv_stem, width=8),
    stages=[
        Stage(mbconv, width=choice(8, 16, 24, 32), kernel=choice(3, 5, 7), depth=choice(1, 2, 3)) for _ in range(3)
    ],
    head=Stage(conv_head, width=16),
)
TASK = Task(8, 1, 4)


def truth(architecture: Architecture) -> float:
    """Of a mean of about 0.55: each option adds or takes about a point, alike in every stage."""
    return 0.55 + 0.015 * float(np.sin(1 + 2 * np.array(SPACE.encode(architecture), float)).sum())


@dataclass
class Trained:
    """Accuracies on 400 images.

    Args:
        tells: what of a training details say.
        truth: the accuracy of a network on infinitely many.
    """

    tells: tuple[str, ...] = ("val_images",)
    truth: Callable[[Architecture], float] = truth
    noisy: bool = True

    def describe(self) -> dict[str, Any]:
        return {"name": "trained", "val_images": 400}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        accuracy = float(np.random.default_rng(context.seed).binomial(400, self.truth(architecture)) / 400)
        told = {"val_images": 400, "train_loss": -math.log(0.5)}
        return Estimate(accuracy, 0.1, (accuracy,), {name: told[name] for name in self.tells})


def run(folder: Any = None, trained: Trained | None = None, **changes: Any) -> Study:
    given = {
        "estimator": trained or Trained(),
        "space": SPACE,
        "task": TASK,
        "strategy": "random",
        "confirm": 0,
        "budget": None,
    }
    study = begin(folder, **{**given, "trials": 60, **changes})
    study.run()
    return study


@pytest.fixture(scope="module")
def study() -> Study:
    return run()


def test_beliefs_are_computed_once_however_many_confirmations_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them asks for the beliefs of all proposals before it, and so does each step of a report."""
    counted: list[int] = []

    def watched(trials: Sequence[Trial]) -> Sequence[Trial]:
        counted.append(len(trials))
        return adjusted(trials)

    monkeypatch.setattr(belief, "adjusted", watched)
    study = run(trials=48, confirm="auto")
    assert sum(trial.confirms is not None for trial in study.trials) == 6
    assert study.standard_errors
    assert progress_figure(study).data
    assert counted == [42]


def test_beliefs_are_nearer_to_the_truth_than_what_was_observed_and_say_how_near(study: Study) -> None:
    found = beliefs(study.trials)
    assert [*found] == [each.number for each in study.trials]
    true = np.array([truth(each.architecture) for each in study.trials])
    seen = np.array([results.accuracy_of(each) for each in study.trials])
    means, errors = np.array([found[each.number] for each in study.trials]).T
    assert np.square(means - true).mean() < 0.7 * np.square(seen - true).mean()
    assert 0.5 < np.square((means - true) / errors).mean() ** 0.5 < 1.5
    luckiest = int(seen.argmax())
    assert abs(means[luckiest] - true[luckiest]) < abs(seen[luckiest] - true[luckiest])
    assert study.adjusted == {number: belief.mean for number, belief in found.items()}
    assert study.standard_errors == pytest.approx({number: belief.standard_error for number, belief in found.items()})


@pytest.mark.parametrize("trials", [20, 40])
def test_errors_say_how_near_beliefs_are_however_few_the_trials(trials: int) -> None:
    """Also where a fit to so few finds less noise than the validation images alone make."""
    ratios = []
    for seed in range(8):
        study = run(seed=seed, trials=trials)
        for number, (mean, error) in beliefs(study.trials).items():
            ratios.append((mean - truth(study.trials[number].architecture)) / error)
    assert 0.7 < np.square(ratios).mean() ** 0.5 < 1.7


def test_errors_are_those_of_a_mean_where_networks_do_not_differ() -> None:
    """As where all of them guess: a fit that finds no differences between them has their mean to go by, and no more."""
    ratios, errors = [], []
    for seed in range(8):
        study = run(seed=seed, trials=20, trained=Trained(truth=lambda architecture: 0.25))
        for mean, error in beliefs(study.trials).values():
            ratios.append((mean - 0.25) / error)
            errors.append(error)
    assert 0.6 < np.square(ratios).mean() ** 0.5 < 1.5
    assert min(errors) > 0.8 * math.sqrt(0.25 * 0.75 / 400 / 20)


def failing(architecture: Architecture) -> float:
    """One network in nine trains to next to nothing."""
    choices = architecture.choices
    fails = (choices["stage1.kernel"], choices["stage2.depth"]) == (7, 3)
    return 0.1 + 0.01 * choices["stage3.depth"] if fails else 0.2 + truth(architecture)


@pytest.mark.parametrize("tells", [("val_images",), ("val_images", "train_loss")])
def test_networks_that_train_to_nothing_are_not_believed_better(tells: tuple[str, ...]) -> None:
    ratios = []
    for seed in range(4):
        study = run(seed=seed, trained=Trained(tells, failing))
        for number, (mean, error) in beliefs(study.trials).items():
            true = failing(study.trials[number].architecture)
            if true < 0.2:
                assert mean < 0.2
                ratios.append((mean - true) / error)
    assert 0.5 < np.square(ratios).mean() ** 0.5 < 1.6


@pytest.mark.parametrize("strategy", ["random", "evolution"])  # guided goes by a predictor anyway
def test_what_is_believed_best_is_better_than_what_was_observed_best(strategy: str) -> None:
    gained = []
    for seed in range(8):
        trials = run(strategy=strategy, seed=seed, trials=40).trials
        by = [results.complete(trials), trials]
        best = [min((each for each in some), key=results.by_merit) for some in by]
        gained.append(truth(best[0].architecture) - truth(best[1].architecture))
    assert np.mean(gained) > 0


def test_where_noise_is_nothing_the_belief_is_what_was_observed() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(60):
        member = SPACE.sample(rng)
        cost = member.cost(TASK)
        seen.append(Seen(member, cost.macs, cost.params, truth(member), 0.0))
    found = posterior(tuple(seen))
    assert np.abs([belief.mean - each.accuracy for belief, each in zip(found, seen, strict=True)]).max() < 0.003
    observed = posterior(tuple(seen), luck=0.0)
    assert [each.mean for each in observed] == pytest.approx([each.accuracy for each in seen], abs=1e-9)


@pytest.mark.parametrize("change", ["few", "silent", "likelihood"])
def test_accuracies_are_as_observed_where_beliefs_are_not(study: Study, change: str) -> None:
    trials = study.trials
    if change == "few":
        trials = trials[: FEWEST - 1]
    elif change == "silent":
        trials = [*trials[:-1], replace(trials[-1], details={})]
    else:
        trials = [replace(each, details={**each.details, "likelihood": 0.5}) for each in trials]
    assert beliefs(trials) == {}
    assert [*believed(trials)] == trials


def test_trials_that_were_stopped_teach_and_those_that_failed_do_not(study: Study) -> None:
    def cut(trial: Trial, state: Any) -> Trial:
        return replace(trial, state=state, accuracy=results.accuracy_of(trial), reports=((1, trial.accuracy or 0.0),))

    half = len(study.trials) // 2
    first = [
        replace(each, reports=((1, each.accuracy or 0.0), (2, each.accuracy or 0.0))) for each in study.trials[:half]
    ]
    by_state = {state: [*first, *(cut(each, state) for each in study.trials[half:])] for state in ("pruned", "failed")}
    alone, pruned, failed = (beliefs(trials) for trials in (first, by_state["pruned"], by_state["failed"]))
    assert failed == alone
    assert pruned.keys() == alone.keys()
    true = np.array([truth(study.trials[number].architecture) for number in alone])
    near = [np.square(np.array([each.mean for each in found.values()]) - true).mean() for found in (alone, pruned)]
    assert near[1] < near[0]


def test_beliefs_follow_from_the_trials_alone(study: Study) -> None:
    trials = study.trials
    again = beliefs([replace(each) for each in trials])
    posterior.cache_clear()
    assert beliefs(trials) == again
    assert beliefs([*trials, replace(trials[0], number=len(trials), state="running", rank=None)]) == again


def test_beliefs_do_not_depend_on_the_order_in_which_trials_ended(study: Study) -> None:
    """In waves the leaders that are trained again are the same however long each trial took."""
    backwards = [replace(each, rank=len(study.trials) - 1 - (each.rank or 0)) for each in study.trials]
    assert beliefs(backwards) == beliefs(study.trials)


def test_the_leaders_that_are_trained_again_are_those_believed_best() -> None:
    study = run(confirm=3, trials=49)
    again = {each.confirms for each in study.trials if each.confirms is not None}
    proposed = [each for each in study.trials if each.confirms is None]
    found = beliefs(study.trials)
    assert again == {*sorted(found, key=lambda number: -found[number].mean)[:3]}
    assert again != {each.number for each in sorted(proposed, key=results.by_merit)[:3]}


def test_the_benchmark_compares_with_trainings_that_no_belief_has_seen() -> None:
    trials = run(confirm=3).trials
    networks = [*belief_later.later(trials)]
    fresh = [results.accuracy_of(each) for each in trials if each.confirms is not None]
    assert sorted(accuracy for each in networks for accuracy in each.accuracies) == sorted(fresh)
    confirmed = dict.fromkeys(each.confirms for each in trials if each.confirms is not None)
    observed = [results.accuracy_of(trials[number]) for number in confirmed]
    assert [each.told["observed"][0] for each in networks] == observed
    moved = [replace(each, accuracy=0.1) if each.confirms is not None else each for each in trials]
    assert [each.told for each in belief_later.later(moved)] == [each.told for each in networks]
    assert "3 networks of 1 run, trained 9 times later" in belief_later.table(belief_later.with_deviation([networks]))


@pytest.mark.parametrize("error", [0.015, 0.01])
def test_its_ratio_is_1_where_errors_are_right_though_networks_that_come_out_low_are_trained_no_more(
    error: float,
) -> None:
    rng, way, runs = np.random.default_rng(0), "believed", []
    for _ in range(100):
        networks = []
        for _ in range(10):
            told, accuracies = 0.5 + 0.015 * rng.normal(), [0.5 + 0.01 * rng.normal()]
            while accuracies[-1] > 0.5 and len(accuracies) < 4:
                accuracies.append(0.5 + 0.01 * rng.normal())
            networks.append(belief_later.Later({way: (told, error)}, tuple(accuracies)))
        runs.append(networks)
    networks = [each for run in belief_later.with_deviation(runs) for each in run]
    # of 1,000 networks: a ratio has a standard error of 1 / sqrt(2,000) = 0.022, a share one of 0.013, a mean one of
    # 1.8 / sqrt(1,000) = 0.057 points; the deviation of a training is 1 point but for 0.05, as its series stop so
    ratio = math.hypot(0.015, 0.01) / math.hypot(error, 0.01)  # 1, and 1.27 where standard errors are too small
    assert belief_later.calibration(networks, way) == pytest.approx(ratio, abs=0.1)
    assert belief_later.coverage(networks, way) == pytest.approx(0.8 if error == 0.015 else 0.685, abs=0.04)
    assert belief_later.mean_off(networks, way) == pytest.approx(0, abs=0.002)


def test_of_many_the_best_and_the_latest_are_kept() -> None:
    member = SPACE.sample(np.random.default_rng(0))
    seen = [Seen(member, 1, 1, accuracy, 0.0) for accuracy in np.random.default_rng(1).permutation(3000).tolist()]
    kept = _remembered(seen)
    assert len(kept) == REMEMBERED
    assert kept == sorted({*kept})
    assert {*sorted(range(3000), key=lambda index: -seen[index].accuracy)[: REMEMBERED // 2]} < {*kept}
    assert 2999 in kept
    assert _remembered(seen[:REMEMBERED]) == [*range(REMEMBERED)]


def test_the_line_of_training_losses_comes_first(study: Study) -> None:
    told = []
    for each in study.trials:
        loss = -math.log(truth(each.architecture) - 0.1)
        told.append(replace(each, details={**each.details, "train_loss": loss}))
    true = np.array([truth(each.architecture) for each in told])
    line = np.array([results.accuracy_of(each) for each in adjusted(told)])
    with_loss = np.array([beliefs(told)[each.number].mean for each in told])
    without = np.array([beliefs(study.trials)[each.number].mean for each in told])
    far = [float(np.square(each - true).mean()) for each in (line, with_loss, without)]
    assert far[1] < far[2]
    assert far[1] < 1.2 * far[0]
