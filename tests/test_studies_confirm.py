"""Confirmation: the leaders are trained again with fresh seeds, and the best is chosen on the mean."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import Known, Shuffled, begin, noise, story
from test_studies_resume import Cut, cut_at

from estimators import Estimate, TrialContext
from estimators.estimator import binomial_error
from searchspaces import Architecture, Space, Stage, UserError, choice, conv_head, mbconv
from studies import Event, LocalEngine, Study, StudyEnded, TrialEnded, results
from studies.confirming import Confirm, Trained, confirmations, contested, in_turn, next_confirmed
from studies.pages.pareto import pareto_notes
from studies.results import by_merit
from studies.settings import Settings

ENGINES = {"local": LocalEngine(), "three ahead": Shuffled(3)}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_leaders_are_trained_again_with_fresh_seeds_and_the_best_is_chosen_on_the_mean(engine: str) -> None:
    estimator = Known()
    study = begin(strategy="guided", estimator=estimator, trials=40, confirm=3)
    assert study.run(engine=ENGINES[engine]).kind == "trials"
    proposed = [trial for trial in study.trials if trial.confirms is None]
    again = [trial for trial in study.trials if trial.confirms is not None]
    assert (len(proposed), len(again)) == (31, 9)  # three fresh trainings of each of three leaders
    assert len({trial.architecture for trial in proposed}) == 31
    assert len({study.seed_of(trial.number) for trial in study.trials}) == 40
    for each in study.confirmed:
        fresh = [trial.accuracy for trial in again if trial.confirms == each.trial.number]
        assert each.accuracies == (each.trial.accuracy, *fresh)
        assert all(
            trial.architecture == each.trial.architecture for trial in again if trial.confirms == each.trial.number
        )
    best = max(study.confirmed, key=lambda each: each.mean)
    assert (study.best.number, study.best.accuracy) == (best.trial.number, best.mean)
    pooled = np.sqrt(np.mean([np.var(each.accuracies, ddof=1) for each in study.confirmed]))  # of four trainings each
    assert best.standard_error == pytest.approx(pooled / 2)
    error, reached = best.standard_error, {each.number: each.accuracy for each in results.complete(study.trials)}
    near = {number for number, accuracy in reached.items() if abs(accuracy - best.mean) <= error}
    assert {best.trial.number, *(trial.number for trial in study.near_best)} == near
    assert not {trial.number for trial in study.pareto()} & {trial.number for trial in again}


def test_trainings_that_happen_to_agree_are_not_known_exactly() -> None:
    class Same(Known):
        def describe(self) -> dict[str, Any]:
            return {"name": "same", "val_images": 100}

        def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
            accuracy = 0.5 + round(0.4 * noise(architecture.to_json()), 2)
            return Estimate(accuracy, 0.1, (accuracy,))

    study = begin(trials=12, confirm=2, estimator=Same(), strategy="random")
    study.run()
    assert {each.standard_error for each in study.confirmed} == {0.0}
    for each in study.confirmed:
        assert study.standard_errors[each.trial.number] == pytest.approx(binomial_error(each.mean, 100) / 2)


def test_where_fresh_trainings_alone_count_auto_goes_by_them() -> None:
    """The first began from weights of parents: better by them the one, better by fresh trainings the other."""
    study = begin(trials=4, strategy="random")
    study.run()
    one, other, last = (replace(study.trials[index], accuracy=each) for index, each in enumerate((0.95, 0.90, 0.5)))
    again = [
        replace(study.trials[3], number=number, confirms=leader.number, accuracy=accuracy)
        for number, (leader, accuracy) in enumerate(
            [(one, 0.84), (one, 0.84), (other, 0.88), (other, 0.88), (last, 0.86)], start=4
        )
    ]
    assert next_confirmed("auto", [one, other, last], again, 99) == other  # of 0.877, 0.887 and 0.68
    assert next_confirmed("auto", [one, other, last], again, 99, alone=True) == last  # of 0.84, 0.88 and 0.86


def test_a_run_of_fewer_trials_than_planned_proposes_what_the_whole_one_does() -> None:
    whole = begin(trials=40, confirm=3)
    whole.run()
    cut = begin(trials=40, confirm=3)
    for trials in (8, 35):
        assert str(cut.run(trials)) == str(StudyEnded("trials", f"all {trials} trials are done"))
        assert len(cut.trials) == trials
    cut.run()
    assert [trial.confirms for trial in cut.trials] == [trial.confirms for trial in whole.trials]
    assert [trial.architecture for trial in cut.trials] == [trial.architecture for trial in whole.trials]


def test_a_page_says_why_networks_are_drawn_above_the_best_where_some_are() -> None:
    seen = set()
    for seed in range(8):
        study = begin(strategy="random", trials=16, confirm=2, seed=seed)
        study.run()
        above = any(trial.accuracy > study.best.accuracy for trial in results.complete(study.trials))
        assert any("trained only once" in note for note in pareto_notes(study)) == above
        seen.add(above)
    assert seen == {True, False}


@functools.cache
def unbroken(strategy: str, trials: int, confirm: Confirm) -> list[Mapping[str, Any]]:
    """The story of a study, which is told for several cuts."""
    study = begin(strategy=strategy, trials=trials, confirm=confirm)  # 6 or 5 of them confirmations
    study.run()
    return story(study)


@pytest.mark.parametrize(
    ("strategy", "cut", "confirm", "trials"),
    [
        *(("guided", 20, 2, 24), ("evolution", 17, 2, 24), ("evolution", 18, 2, 24), ("evolution", 23, 2, 24)),
        *(("guided", 35, "auto", 40), ("evolution", 36, "auto", 40), ("evolution", 38, "auto", 40)),
    ],
)
def test_a_study_cut_among_its_confirmations_and_resumed_equals_the_unbroken_one(
    tmp_path: Path, strategy: str, cut: int, confirm: Confirm, trials: int
) -> None:
    folder = tmp_path / "run"
    ends = 0

    def cut_it(event: Event) -> None:
        nonlocal ends
        ends += isinstance(event, TrialEnded)
        if ends == cut:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        begin(folder, strategy=strategy, trials=trials, confirm=confirm).run(on_event=cut_it)
    resumed = begin(folder, strategy=strategy, trials=trials, confirm=confirm)
    assert sum(trial.state == "complete" for trial in resumed.trials) == cut
    resumed.run()
    assert story(resumed) == unbroken(strategy, trials, confirm)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("wave", [None, 4])
@pytest.mark.parametrize(
    ("confirm", "first", "second"), [(2, 14, 17), (2, 14, 32), (1, 9, 12), ("auto", 18, 40), ("auto", 18, 19)]
)
def test_a_study_goes_on_after_its_confirmations(
    confirm: Confirm, first: int, second: int, wave: int | None, engine: str
) -> None:
    """It has as many trials as it was asked for, and cut anywhere in them it equals the unbroken one."""

    def begun() -> Study:
        study = begin(strategy_settings={"population": 8}, trials=first, confirm=confirm, wave=wave)
        study.run(engine=ENGINES[engine])
        return study

    whole = begun()
    before = [trial.confirms for trial in whole.trials]
    assert str(whole.run(second, engine=ENGINES[engine])) == str(whole.run(engine=ENGINES[engine]))
    again = [trial.confirms for trial in whole.trials]
    assert (len(again), again[:first]) == (second, before)
    assert None in again[first:]  # new networks
    had, now = (sum(each is not None for each in several) for several in (before, again))
    assert now <= confirmations(confirm, second) + (had if confirm != "auto" else 0)
    for cut in {1, (second - first) // 2, second - first - 1} - {0}:
        broken = begun()
        with pytest.raises(Cut):
            broken.run(second, engine=ENGINES[engine], on_event=cut_at(TrialEnded, cut))
        broken.run(engine=ENGINES[engine])
        assert story(broken) == story(whole), cut


def test_leaders_found_later_are_confirmed_and_those_that_were_are_not_again() -> None:
    study = begin(strategy="random", trials=16, confirm=2)
    study.run()
    before = {each.trial.number for each in study.confirmed}
    study.run(60)
    leaders = sorted((trial for trial in study.trials if trial.confirms is None), key=by_merit)[:2]
    again = Counter(trial.confirms for trial in study.trials if trial.confirms is not None)
    assert set(again) == before | {leader.number for leader in leaders} > before
    assert set(again.values()) == {3}


@pytest.mark.parametrize("confirm", [3, "auto"])
def test_where_too_few_can_be_confirmed_the_trials_propose(confirm: Confirm) -> None:
    def fails(architecture: Architecture, seed: int) -> None:
        if len(estimator.estimated) > 1:
            raise RuntimeError(f"{len(estimator.estimated) % 3} of them")

    estimator = Known(fails=fails)
    study = begin(strategy="random", trials=24, confirm=confirm, estimator=estimator)
    assert str(study.run()) == str(StudyEnded("trials", "all 24 trials are done"))
    assert sum(trial.confirms is not None for trial in study.trials) == (0 if confirm == "auto" else 3)


@pytest.mark.parametrize(("confirm", "again"), [(2, 6), ("auto", 5)])
def test_a_small_space_that_is_exhausted_is_confirmed_all_the_same(confirm: Confirm, again: int) -> None:
    stages = [Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5))]
    few = Space("few", stages=stages, head=Stage(conv_head, width=8))
    study = begin(space=few, budget=None, strategy="random", trials=40, confirm=confirm)
    assert study.run().kind == "exhausted"
    assert len(study.trials) == 4 + again


@pytest.mark.parametrize("engine", ENGINES)
def test_auto_divides_an_eighth_of_the_trials_by_what_they_tell(engine: str) -> None:
    study = begin(strategy="evolution", trials=80, confirm="auto")
    assert study.run(engine=ENGINES[engine]).kind == "trials"
    proposed = [trial for trial in study.trials if trial.confirms is None]
    assert len(proposed) == 70
    leaders = {each.number for each in sorted(proposed, key=by_merit)[:10]}
    assert {each.trial.number for each in study.confirmed} <= leaders
    assert sum(len(each.accuracies) - 1 for each in study.confirmed) == 10
    assert study.best.number == max(study.confirmed, key=lambda each: each.mean).trial.number


def test_of_two_that_are_told_apart_less_than_a_third_the_one_with_fewer_trainings_is_next() -> None:
    clear = Trained((0.5, 0.5), 2)
    assert contested([Trained((0.91, 0.89), 2), Trained((0.89,), 1), clear]) == 1  # 0.90 and 0.89
    assert contested([Trained((0.91, 0.89), 2), Trained((0.89,), 3), clear]) == 0  # two of it are under way
    assert contested([clear, Trained((0.89, 0.89), 2), Trained((0.90,), 1)]) == 2
    assert contested([clear]) is None  # nothing to be told apart
    # as far below the best in accuracy, but with more trainings: further below in standard errors
    assert contested([Trained((0.9,) * 3, 3), Trained((0.88,) * 2, 2), Trained((0.88,), 1)]) == 2


def test_auto_finds_the_better_of_two_more_often_than_leaders_in_turn_with_as_many_trainings() -> None:
    """Ten networks whose means are half a deviation of a training apart; 24 trainings after the first of each."""
    truth, draw, right = np.arange(10) * -0.5, np.random.default_rng(7), {"auto": 0, "in turn": 0}
    for _ in range(400):
        first = truth + draw.normal(size=10)
        for way in right:
            several = [Trained((float(each),), 1) for each in first]
            chosen = list(np.argsort(-first)[:8]) if way == "in turn" else list(range(10))
            for _ in range(24):
                some = [several[index] for index in chosen]
                index = chosen[(contested(some) if way == "auto" else in_turn(some)) or 0]
                known = (*several[index].accuracies, float(truth[index] + draw.normal()))
                several[index] = Trained(known, len(known))
            again = [index for index in chosen if several[index].trainings > 1]
            right[way] += max(again, key=lambda index: several[index].mean) == 0
    assert right["auto"] > right["in turn"]


def test_auto_does_not_go_on_with_a_network_whose_trainings_fail() -> None:
    def fails(architecture: Architecture, seed: int) -> None:
        if architecture in seen:
            raise RuntimeError("out of luck")
        seen.add(architecture)

    seen: set[Architecture] = set()
    study = begin(strategy="random", trials=80, confirm="auto", estimator=Known(fails=fails))
    assert study.run().kind == "trials"
    again = Counter(trial.confirms for trial in study.trials if trial.confirms is not None)
    assert (again.total(), study.confirmed) == (10, [])
    assert len(again) > 1  # not the first leader ten times


@pytest.mark.parametrize("complete", [1, 2, 4])
def test_guided_is_confirmed_where_most_trials_failed(complete: int) -> None:
    """It has a `believed`, and has not fitted anything before as many trials are complete as its startup has."""

    def fails(architecture: Architecture, seed: int) -> None:
        if len(estimator.estimated) > complete:
            raise RuntimeError(f"{len(estimator.estimated) % 3} of them")

    estimator = Known(fails=fails)
    study = begin(strategy="guided", trials=16, confirm=1, estimator=estimator)
    assert study.run().kind == "trials"
    assert sum(trial.confirms is not None for trial in study.trials) == 3


@pytest.mark.parametrize("trials", [None, 7])
def test_auto_needs_eight_trials(trials: int | None) -> None:
    with pytest.raises(UserError, match="at least 8"):
        begin(trials=trials, confirm="auto")


@pytest.mark.parametrize("confirm", ["all", "-1", -1, 1.5, True])
def test_what_is_neither_a_number_nor_auto_is_refused(confirm: object) -> None:
    with pytest.raises(UserError, match="whole number of at least 0, or auto"):
        begin(confirm=confirm)


@pytest.mark.parametrize("trials", [None, 11])
def test_confirmations_that_take_more_than_half_of_the_trials_are_refused(trials: int | None) -> None:
    with pytest.raises(UserError, match="at most half"):
        begin(trials=trials, confirm=2)


class Noisy(Known):
    noisy = True


@pytest.mark.parametrize(
    ("changes", "confirm"),
    [
        ({}, "auto"),
        ({"trials": 49}, 0),
        ({"trials": None}, 0),  # time is the only limit, so that no trial is known to be among the last
        ({"estimator": "zero-cost", "estimator_settings": {"score": "naswot"}}, 0),  # the same each time
        ({"estimator": Known()}, 0),  # how noisy an estimator of one's own is, nobody knows
        ({"estimator": Noisy()}, "auto"),
        ({"strategy": "pareto"}, 0),
        ({"pruner": "curves"}, 0),
        ({"confirm": 0}, 0),
        ({"confirm": 2}, 2),
    ],
)
def test_leaders_are_trained_again_unless_told_otherwise_where_estimates_are_noisy_and_trials_many(
    changes: dict[str, Any], confirm: Confirm
) -> None:
    settings = {"space": "mbconv", "data": "digits", "trials": 50, **changes}
    assert Study.create(None, Settings(**settings)).manifest.confirm == confirm


def test_a_study_that_is_there_goes_on_as_it_began(tmp_path: Path) -> None:
    begun = Settings(space="mbconv", data="digits", trials=50, confirm=0)
    Study.create(tmp_path / "run", begun).close()
    assert Study.create(tmp_path / "run", replace(begun, confirm=None)).manifest.confirm == 0
    with pytest.raises(UserError, match="confirm"):
        Study.create(tmp_path / "run", replace(begun, confirm="auto"))
