"""What a study itself costs, beside the training: little, and no more for the thousandth trial than for the first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from studies_stand_ins import SPACE, begin, noise

from estimators import Estimate, TrialContext
from searchspaces import Architecture, Space, Stage, Task, choice, conv_head, conv_stem
from searchspaces.layers import Chain, Conv, Identity, Node
from studies import Study
from studies.settings import Settings


class Instant:
    """Accuracy in no time."""

    def describe(self) -> dict[str, Any]:
        return {"name": "instant"}

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        return Estimate(noise(context.seed), 0.0)


def test_a_study_in_memory_manages_thousands_of_trials_in_a_second() -> None:
    study = begin(budget=None, strategy="random", estimator=Instant(), trials=1700)
    assert SPACE.size == 1728  # few are left in the end, and found
    began = time.process_time()
    study.run()
    took = time.process_time() - began
    assert len(study.trials) == 1700
    assert took < 3.4  # 0.35 s alone on a core of 2024; ten times that for whatever else a machine does


def test_trees_of_layers_are_made_only_where_costs_are_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Architecture] = []
    network = Architecture.network

    def counted(self: Architecture, *arguments: Any, **named: Any) -> Any:
        made.append(self)
        return network(self, *arguments, **named)

    monkeypatch.setattr(Architecture, "network", counted)
    study = begin(budget=None, strategy="random", estimator=Instant(), trials=300)
    study.run()
    costs = [trial.cost for trial in study.trials]
    again = [trial.architecture for trial in study.trials if costs.count(trial.cost) > 1]
    assert len(again) < 300
    assert set(made) == set(again)


def plain(c_in: int, width: int, stride: int, side: int = 3) -> Node:
    return Conv(width, side, stride=stride)


def twin(c_in: int, width: int, stride: int, side: int = 3) -> Node:
    """The same network by another name."""
    return plain(c_in, width, stride, side)


def slower(c_in: int, width: int, stride: int, side: int = 3) -> Node:
    """Another network at the same cost."""
    return Chain(Identity(), Conv(width, side, stride=stride))


@pytest.mark.parametrize("resumed", [False, True])
def test_networks_of_equal_cost_are_told_apart_by_their_layers(resumed: bool, tmp_path: Path) -> None:
    space = Space(
        "twins",
        stem=Stage(conv_stem, width=8),
        stages=[Stage(choice(plain, twin, slower), width=choice(8, 16))],
        head=Stage(conv_head, width=16),
    )
    task = Task(8, 3, 2)
    study = Study.create(
        tmp_path / "run" if resumed else None,
        Settings(space=space, task=task, strategy="random", estimator=Instant(), trials=1),
    )
    study.run()
    (first,) = study.trials
    if resumed:
        study = Study.open(tmp_path / "run", space=space, estimator=Instant())
    tried = first.architecture.network(task)
    refused = [study.refusal(member) for member in space.enumerate() if member.network(task) == tried]
    assert len(refused) in (1, 2)
    assert all(why and "has already been tried" in why for why in refused)
    others = [member for member in space.enumerate() if member.network(task) != tried]
    assert any(member.cost(task) == first.cost for member in others)
    assert not any(map(study.refusal, others))
