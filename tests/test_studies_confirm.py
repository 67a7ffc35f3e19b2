"""Confirmation: the leaders are trained again with fresh seeds, and the best is chosen on the mean."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from studies_stand_ins import Known, Shuffled, begin, story

from searchspaces import Space, Stage, UserError, choice, conv_head, mbconv
from studies import Event, LocalEngine, TrialEnded

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
    assert best.standard_error == pytest.approx(np.std(best.accuracies, ddof=1) / 2)  # of four trainings
    assert not {trial.number for trial in study.pareto()} & {trial.number for trial in again}


@pytest.mark.parametrize(("strategy", "cut"), [("guided", 20), ("evolution", 17), ("evolution", 18), ("evolution", 23)])
def test_a_study_cut_among_its_confirmations_and_resumed_equals_the_unbroken_one(
    tmp_path: Path, strategy: str, cut: int
) -> None:
    whole = begin(strategy=strategy, trials=24, confirm=2)  # 18 proposals and 6 confirmations
    whole.run()
    folder = tmp_path / "run"
    ends = 0

    def cut_it(event: Event) -> None:
        nonlocal ends
        ends += isinstance(event, TrialEnded)
        if ends == cut:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        begin(folder, strategy=strategy, trials=24, confirm=2).run(on_event=cut_it)
    resumed = begin(folder, strategy=strategy, trials=24, confirm=2)
    assert sum(trial.state == "complete" for trial in resumed.trials) == cut
    resumed.run()
    assert story(resumed) == story(whole)


def test_a_small_space_that_is_exhausted_is_confirmed_all_the_same() -> None:
    stages = [Stage(mbconv, width=choice(8, 16), kernel=choice(3, 5))]
    few = Space("few", stages=stages, head=Stage(conv_head, width=8))
    study = begin(space=few, budget=None, strategy="random", trials=40, confirm=2)
    assert study.run().kind == "exhausted"
    assert len(study.trials) == 4 + 2 * 3


@pytest.mark.parametrize("trials", [None, 11])
def test_confirmations_that_take_more_than_half_of_the_trials_are_refused(trials: int | None) -> None:
    with pytest.raises(UserError, match="at most half"):
        begin(trials=trials, confirm=2)
