"""Runs compared: what is read from a study, the statistics by hand and by a second way, refusals, and the page."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import BUDGET, SPACE, TASK, Known, Shuffled, begin

from searchspaces import Architecture, Budget, Space, Stage, UserError, choice, conv_head, mbconv
from studies import Study
from studies.comparison import Comparison, Run, _conditions, _Images, compare
from studies.contest import contest
from studies.pages.comparison import curves_html
from studies.settings import Settings


def run(strategy: str, seed: int, accuracies: Any, truths: Any = None, **settings: Any) -> Run:
    conditions = {"space": "small", "task": "32x32x3:10", "budget": "macs=400K", "estimator": "known"}
    array = np.fmax.accumulate(np.array(accuracies, dtype=float))
    return Run(
        f"{strategy}-{seed}", seed, strategy, settings, conditions, array, None if truths is None else np.array(truths)
    )


def settings(trials: int) -> Settings:
    return Settings(space=SPACE, task=TASK, budget=BUDGET, estimator=Known(), trials=trials)


def ends(strategy: str, values: Any) -> list[Run]:
    """A run of one trial for each seed, with these accuracies."""
    return [run(strategy, seed, [value]) for seed, value in enumerate(values)]


def test_a_run_is_its_trials_in_the_order_in_which_they_ended() -> None:
    def fails(architecture: Architecture, seed: int) -> None:
        if seed % 4 == 0:
            raise RuntimeError("no")

    study = begin(trials=24, pruner="median", estimator=Known(fails=fails))
    study.run(engine=Shuffled(5))
    taken = Run.of(study, truth=lambda architecture: architecture.cost(TASK).macs / 1e6)
    by_end = sorted(study.trials, key=lambda trial: trial.rank or 0)
    assert [trial.number for trial in by_end] != list(range(24))
    assert {trial.state for trial in by_end} == {"complete", "pruned", "failed"}
    expected = [trial.accuracy if trial.state == "complete" else np.nan for trial in by_end]
    np.testing.assert_array_equal(taken.reached, np.fmax.accumulate(np.array(expected, dtype=float)))
    assert taken.truths is not None
    assert taken.truths[-1] == study.best.cost.macs / 1e6
    for place in range(24):  # what would be chosen after each end has the best accuracy of those before
        done = [trial for trial in by_end[: place + 1] if trial.state == "complete"]
        if done:
            best = max(done, key=lambda trial: trial.accuracy or 0.0)
            assert taken.truths[place] == best.cost.macs / 1e6
        else:
            assert np.isnan(taken.truths[place])


@pytest.mark.parametrize("trials", [13, 15, 20])  # of the 14 proposals, of the 6 confirmations after them, and all
def test_what_a_run_reached_is_its_best_confirmed_or_not(trials: int) -> None:
    study = begin(trials=20, confirm=2)
    study.run()
    study.record.trials = study.record.trials[:trials]  # as it was then
    taken = Run.of(study, truth=lambda architecture: architecture.cost(TASK).macs / 1e6)
    assert taken.truths is not None
    assert (taken.reached[-1], taken.truths[-1]) == (study.best.accuracy, study.best.cost.macs / 1e6)
    assert bool(study.confirmed) == (trials > 14)
    assert taken.settings["confirm"] == 2


def test_curves_by_hand() -> None:
    nan = np.nan
    runs = [run("a", 0, [0.5, nan, 0.7, 0.6]), run("a", 1, [nan, 0.2, 0.1, 0.9, 1.0])]
    found = compare(runs, np.random.default_rng(0))
    (only,) = found.contestants
    assert found.trials == 4  # the shorter one
    assert only.curve.trials == (2, 3, 4)  # after one trial the second seed had found nothing
    np.testing.assert_allclose(only.curve.mean, [(0.5 + 0.2) / 2, (0.7 + 0.2) / 2, (0.7 + 0.9) / 2])
    np.testing.assert_array_equal(only.values, [0.7, 0.9])
    assert only.mean == pytest.approx(0.8)
    assert only.standard_error == pytest.approx(0.1)  # sd 0.1414 over root 2
    assert compare(runs, np.random.default_rng(0), trials=3).contestants[0].mean == pytest.approx(0.45)


def test_regret_is_of_what_would_be_chosen_and_less_is_better() -> None:
    # the lucky one sees 0.95 and has 0.80; the other sees 0.90 and has 0.90, the best there is
    runs = [run("lucky", s, [0.95], [0.80]) for s in range(2)] + [run("sound", s, [0.90], [0.90]) for s in range(2)]
    by_regret = compare(runs, np.random.default_rng(0), best=0.90)
    assert [each.name for each in by_regret.contestants] == ["sound", "lucky"]
    assert [each.mean for each in by_regret.contestants] == pytest.approx([0.0, 0.1])
    assert (by_regret.pairs[0].difference, by_regret.pairs[0].wins) == (pytest.approx(-0.1), 1.0)
    assert by_regret.pairs[0].better == 1.0
    assert [each.name for each in compare(runs, np.random.default_rng(0)).contestants] == ["lucky", "sound"]
    with pytest.raises(UserError, match="true accuracies are not known"):
        compare([run("a", 0, [0.5])], np.random.default_rng(0), best=1.0)


def test_the_bootstrap_is_that_of_all_resamples() -> None:
    # of 4 seeds there are 4**4 = 256 resamples, which can all be listed; the difference has a sure sign in 255 or fewer
    first, second = np.array([0.5, 0.6, 0.4, 0.7]), np.array([0.45, 0.65, 0.3, 0.5])
    ahead = first - second  # 0.05, -0.05, 0.1, 0.2
    means = np.array([ahead[list(drawn)].mean() for drawn in itertools.product(range(4), repeat=4)]).round(12)
    exact = np.mean((means > 0) + 0.5 * (means == 0))
    (pair,) = compare(ends("a", first) + ends("b", second), np.random.default_rng(1)).pairs
    assert (pair.first, pair.second, pair.seeds, pair.wins) == ("a", "b", 4, 0.75)
    assert pair.difference == pytest.approx(0.075)
    # 10,000 draws: sd of the share is at most 0.005; the band is 4 sd
    assert pair.better == pytest.approx(exact, abs=0.02)
    # expanded level: t(3 df, 97.5 %) = 3.182, times sqrt(4/3) = 3.675 sd: 0.00012, less than 1 of 256: the extremes
    assert pair.interval == pytest.approx((-0.05, 0.2))


@pytest.mark.parametrize(("seeds", "least"), [(5, 0.90), (10, 0.92), (40, 0.92)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds: int, least: float) -> None:
    # 500 times: the share of a 95 % interval has an sd of 0.01; plain percentile intervals of 5 seeds hold 0.85
    rng, held = np.random.default_rng(seeds), 0
    for _ in range(500):
        values = np.clip(rng.normal(0.5, 0.1, seeds), 0, 1)
        interval = compare(ends("a", values), rng, resamples=1000).contestants[0].interval
        assert interval is not None
        held += interval[0] <= 0.5 <= interval[1]
    assert least <= held / 500 <= 0.99


def test_pairing_by_seed_takes_out_what_the_seeds_have_in_common() -> None:
    rng = np.random.default_rng(0)
    luck, own = rng.normal(0.5, 0.1, 20), rng.normal(0, 0.002, (2, 20))
    runs = ends("a", luck + own[0] + 0.01) + ends("b", luck + own[1])
    found = compare(runs, np.random.default_rng(0))
    (pair,) = found.pairs
    assert pair.interval is not None
    assert 0.005 < pair.interval[0] < 0.01 < pair.interval[1] < 0.015
    first, second = (each.interval for each in found.contestants)
    assert first is not None
    assert second is not None
    assert first[0] < second[1] - 0.05  # seen apart, they overlap widely


def test_equals_are_even() -> None:
    (pair,) = compare(ends("a", [0.3, 0.1, 0.7]) + ends("b", [0.3, 0.1, 0.7]), np.random.default_rng(0)).pairs
    assert (pair.difference, pair.interval, pair.wins, pair.better) == (0.0, (0.0, 0.0), 0.5, 0.5)


def test_only_shared_seeds_are_paired_and_too_few_have_no_interval() -> None:
    a = [run("a", seed, [0.5 + seed / 100]) for seed in (1, 2, 3)]
    (pair,) = compare([*a, run("b", 3, [0.5]), run("b", 9, [0.1])], np.random.default_rng(0)).pairs
    assert (pair.seeds, pair.difference, pair.interval, pair.better) == (1, pytest.approx(0.03), None, None)
    (pair,) = compare([*a, run("b", 9, [0.1])], np.random.default_rng(0)).pairs
    assert (pair.seeds, pair.difference, pair.wins) == (0, None, None)
    alone = compare([run("a", 0, [0.5])], np.random.default_rng(0)).contestants[0]
    assert (alone.standard_error, alone.interval) == (None, None)


def test_the_generator_is_the_only_randomness() -> None:
    def intervals(seed: int) -> Any:
        values = np.random.default_rng(5).random((2, 6))
        found = compare(ends("a", values[0]) + ends("b", values[1]), np.random.default_rng(seed))
        return [each.interval for each in found.contestants], found.pairs

    np.random.seed(0)
    first = intervals(1)
    np.random.seed(1)
    assert intervals(1) == first
    assert intervals(2) != first


def test_contestants_are_runs_of_the_same_settings_and_are_told_apart_by_what_differs() -> None:
    runs = [run("evolution", seed, [0.5], population=p, pruner="none") for seed in (0, 1) for p in (10, 20)]
    runs += [run("tpe", seed, [0.4], pruner="none") for seed in (0, 1)]
    runs += [run("rl", 0, [0.3], batch=8, hidden=4, clip=1), run("rl", 0, [0.3], batch=8, hidden=9, clip=2)]
    found = compare(runs, np.random.default_rng(0))
    names = [each.name for each in found.contestants]
    assert names == ["evolution population 10", "evolution population 20", "tpe", "rl hidden 4", "rl hidden 9"]
    assert all(each.seeds == (0, 1) for each in found.contestants[:3])
    with pytest.raises(UserError, match="the same evolution with the same seed, 1"):
        compare([*runs, runs[2]], np.random.default_rng(0))


def test_no_contestant_is_lost_to_another_of_the_same_long_name() -> None:
    same = "a name of more than twenty-four letters, and "
    settings = [{"start_from": same + end} for end in "abcd"]
    runs = [replace(run("guided", 0, [0.5], **each), where="runs/one") for each in settings]
    assert len(compare(runs, np.random.default_rng(0)).contestants) == 4


def test_what_cannot_be_compared_is_refused_with_its_reason() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="no run"):
        compare([], rng)
    with pytest.raises(UserError, match="none of its first 2 trials is complete"):
        compare([run("a", 0, [np.nan, np.nan, 0.5]), run("b", 0, [0.5, 0.5])], rng)
    with pytest.raises(UserError, match="cannot compare after 3 trials: a-0 has only 2"):
        compare([run("a", 0, [0.1, 0.2])], rng, trials=3)


class Other(Known):
    def describe(self) -> dict[str, Any]:
        return {"name": "known", "epochs": 4}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"budget": Budget.parse("500K")}, "the budget is 500K MACs there and 400K MACs here"),
        ({"task": TASK.parse("32x32x3:100")}, "the task is 32x32x3:100 there and 32x32x3:10 here"),
        ({"estimator": Other()}, "the estimator's epochs is 4 there and 3 here"),
        ({"space": "mbconv", "budget": None}, "the space is mbconv there and small here; the content of the space is"),
    ],
)
def test_runs_under_other_conditions_are_refused_naming_what_differs(change: dict[str, Any], said: str) -> None:
    runs = [begin(trials=1, seed=0), begin(trials=1, seed=1, **change)]
    for each in runs:
        each.run()
    with pytest.raises(UserError, match=re.escape(said)):
        compare([Run.of(each) for each in runs], np.random.default_rng(0))


def test_a_run_begun_before_spaces_were_described_in_full_is_compared_by_what_it_has() -> None:
    def of(act: str, seed: int, older: bool = False) -> Run:
        space = Space("own", stages=[Stage(mbconv, width=choice(8, 16))], head=Stage(conv_head, width=8), act=act)
        study = begin(space=space, budget=None, trials=1, seed=seed)
        study.run()
        kept = {key: value for key, value in study.manifest.space.items() if key != "content" or not older}
        return replace(Run.of(study), conditions=_conditions(replace(study.manifest, space=kept)))

    rng = np.random.default_rng(0)
    assert compare([of("relu", 0, older=True), of("relu", 1)], rng).trials == 1
    with pytest.raises(UserError, match="the content of the space is"):
        compare([of("relu", 0), of("silu", 1)], rng)
    with pytest.raises(UserError, match="the content of the space is"):  # though both are like the first
        compare([of("relu", 0, older=True), of("relu", 1), of("silu", 2)], rng)
    assert compare([of("relu", 0, older=True), pickle.loads(pickle.dumps(of("relu", 1)))], rng).trials == 1
    assert pickle.loads(pickle.dumps(_Images("ab", "digits"))).name == "digits"


def test_runs_in_batches_are_another_contestant() -> None:
    runs = [begin(trials=4, seed=seed, wave=wave) for seed, wave in enumerate((None, None, 2))]
    for each in runs:
        each.run()
    found = compare([Run.of(each) for each in runs], np.random.default_rng(0))
    assert sorted(len(each.seeds) for each in found.contestants) == [1, 2]


@pytest.fixture(scope="module")
def found() -> Comparison:
    runs = list(contest(settings(20), ["random", "evolution"], [3, 4, 5]))
    return compare(runs, np.random.default_rng(0))


def test_a_contest_is_the_studies_it_stands_for(found: Comparison) -> None:
    for contestant in found.contestants:
        for seed, value in zip(contestant.seeds, contestant.values, strict=True):
            study = begin(strategy=contestant.name, trials=20, seed=seed)
            study.run()
            assert study.best.accuracy == value


def test_a_contest_may_confirm_its_leaders() -> None:
    (run,) = contest(replace(settings(12), confirm=2), ["random"], [3])
    study = begin(strategy="random", trials=12, confirm=2)
    study.run()
    assert (run.settings["confirm"], len(run.reached)) == (2, 12)
    assert run.reached[-1] == study.best.accuracy
    assert study.confirmed


def test_a_contest_that_is_cut_leaves_whole_rounds() -> None:
    begun: list[tuple[str, int]] = []
    runs = contest(
        replace(settings(3), budget=None), ["random", "tpe"], [7, 8], on_begin=lambda *each: begun.append(each)
    )
    done = list(itertools.islice(runs, 3))
    assert begun == [("random", 7), ("tpe", 7), ("random", 8)]
    assert [(each.strategy, each.seed, len(each.reached)) for each in done] == [(*each, 3) for each in begun]


def test_the_page_has_every_seed_and_runs_nothing_of_a_name() -> None:
    evil = "</script><script>alert(1)</script><b>"
    page = curves_html(compare(ends(evil, [0.1, 0.2]) + ends("b", [0.3, 0.4]), np.random.default_rng(0)))
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page  # in the table
    figure, _ = json.JSONDecoder().raw_decode(page, page.index('data-plot="seeds">') + len('data-plot="seeds">'))
    seeds = {trace["name"]: trace["y"] for trace in figure["data"] if trace.get("text")}
    assert seeds["b"] == [0.3, 0.4]


def test_trials_that_still_run_do_not_count() -> None:
    study = begin(trials=3)
    study.run()
    before = Run.of(study).reached
    study.record.start(study.feasible.sample(np.random.default_rng(99)), 3)
    assert isinstance(study, Study)
    np.testing.assert_array_equal(Run.of(study).reached, before)
