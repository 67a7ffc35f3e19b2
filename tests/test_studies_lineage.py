"""What ancestors' epochs add to accuracies is found, and taken off what strategies are told and what is believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import SPACE, TASK, begin

from estimators import Estimate, TrialContext
from estimators.checkpoint import load, save
from searchspaces import Architecture
from strategies import Outcome
from strategies.evolution import RegularizedEvolution
from studies import Study, Trial
from studies.inheritance import BYTES
from studies.lineage import FIRST, Drift, without_drift

SLOPE = 0.06
"""Of accuracies that rise with lineages."""


def truth(architecture: Architecture) -> float:
    """The accuracy of a network after one training."""
    return 0.4 + 0.02 * float(np.sin(1 + 2 * np.array(SPACE.encode(architecture), float)).sum())


class Aging:
    """Three epochs from scratch and two for a child; accuracies rise with the epochs in the weights."""

    inherits = True

    def describe(self) -> dict[str, Any]:
        return {"name": "aging", "val_images": 400}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        found = None if context.parent is None else load(context.parent)
        before = 0 if found is None else int(found[1]["epochs"])
        own = 2 if before else 3
        mean = truth(architecture) + SLOPE * float(np.log((before + own) / 3))
        accuracy = float(np.random.default_rng(context.seed).binomial(400, mean) / 400)
        told: dict[str, Any] = {"val_images": 400, **({"inherited": {"epochs": before}} if before else {})}
        if context.weights is not None:
            save(context.weights, {}, {"epochs": before + own})
            told[BYTES] = 1
        return Estimate(accuracy, 0.1, (accuracy,) * own, told)


def study_of(place: Path, **changes: Any) -> Study:
    given = {"estimator": Aging(), "inherit": True, "checkpoints": str(place), "budget": None, "trials": 60}
    return begin(**{**given, "confirm": 0, "strategy": "random", **changes})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_of(tmp_path_factory.mktemp("weights"))
    study.run()
    return study


def ages(trials: Sequence[Trial]) -> list[int]:
    return [trial.details.get("inherited", {"epochs": 0})["epochs"] for trial in trials]


def test_the_first_trials_are_trained_from_scratch_and_the_others_are_not(study: Study) -> None:
    assert [trial.parent is None for trial in study.trials] == [True] * FIRST + [False] * (60 - FIRST)


def test_what_a_lineage_adds_is_found_and_taken_off(study: Study) -> None:
    assert max(ages(study.trials)) > 10
    drift = Drift(study.trials)
    assert drift.slope == pytest.approx(SLOPE, abs=0.03)  # 0.02 of it is noise: of 400 images, by 52 children
    truths = [truth(trial.architecture) for trial in study.trials]
    before = np.array([trial.accuracy for trial in study.trials]) - truths
    after = np.array([trial.accuracy for trial in without_drift(study.trials)]) - truths
    assert before[FIRST:].mean() > 0.05
    assert abs(after[FIRST:].mean()) < 0.02


def test_reports_move_with_the_accuracy_and_trials_from_scratch_not_at_all(study: Study) -> None:
    for trial, found in zip(study.trials, without_drift(study.trials), strict=True):
        if trial.parent is None:
            assert found == trial
        else:
            assert found == replace(trial, accuracy=found.accuracy, reports=found.reports)
            assert [accuracy for _, accuracy in found.reports] == [found.accuracy] * 2
            assert found.accuracy is not None
            assert trial.accuracy is not None
            assert 0 < found.accuracy < trial.accuracy


def test_rungs_are_climbed_from_scratch_and_stay(study: Study) -> None:
    last = study.trials[-1]
    climbed = replace(last, reports=((0, 0.3), *last.reports))
    assert Drift(study.trials).without(climbed).reports[0] == (0, 0.3)


def test_the_drift_does_not_depend_on_the_order_of_the_trials(study: Study) -> None:
    assert Drift(study.trials[::-1]).slope == pytest.approx(Drift(study.trials).slope, abs=1e-12)


def test_one_child_does_not_determine_the_line(study: Study) -> None:
    lucky = replace(study.trials[FIRST], accuracy=0.9)
    others = [trial.accuracy or 0.0 for trial in study.trials[:FIRST]]
    slope = (0.9 - sum(others) / FIRST) / math.log(5 / 3)
    assert 0.5 * slope < Drift([*study.trials[:FIRST], lucky]).slope < 0.8 * slope


@pytest.mark.parametrize("left", ["none from scratch", "only from scratch", "falling"])
def test_nothing_is_taken_off_where_nothing_is_known_to_rise(study: Study, left: str) -> None:
    trials = list(study.trials)
    if left == "none from scratch":
        trials = trials[FIRST:]
    elif left == "only from scratch":
        trials = trials[:FIRST]
    else:
        trials = [
            replace(trial, accuracy=0.9 - age / 100) for trial, age in zip(trials, ages(study.trials), strict=True)
        ]
    assert Drift(trials).slope == 0
    assert [*without_drift(trials)] == trials


def test_the_strategy_is_told_accuracies_without_drift_and_beliefs_are_of_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Architecture, float]] = []
    tell = RegularizedEvolution.tell

    def watched(strategy: RegularizedEvolution, architecture: Architecture, outcome: Outcome) -> None:
        if outcome.accuracy is not None:
            told.append((architecture, outcome.accuracy))
        tell(strategy, architecture, outcome)

    monkeypatch.setattr(RegularizedEvolution, "tell", watched)
    study = study_of(tmp_path, strategy="evolution")
    study.run()
    assert len(told) == 60
    for number, (architecture, accuracy) in enumerate(told):
        known = study.trials[: number + 1]
        assert (architecture, accuracy) == (known[-1].architecture, without_drift(known)[-1].accuracy)
    late = [trial for trial in study.trials if trial.parent is not None]
    off = [study.adjusted[trial.number] - truth(trial.architecture) for trial in late]
    assert abs(float(np.mean(off))) < 0.02
    assert float(np.mean([(trial.accuracy or 0.0) - truth(trial.architecture) for trial in late])) > 0.05
    assert sum(trial.parent is None for trial in study.trials) == FIRST
    assert study.best.accuracy == max(study.adjusted.values())
    assert all(trial.cost == trial.architecture.cost(TASK) for trial in study.trials)
