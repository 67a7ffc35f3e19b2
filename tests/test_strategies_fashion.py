"""The table of short trainings on Fashion-MNIST: whole, and telling networks apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from searchspaces import load_object

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def table() -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((BENCHMARKS / "fashion.json").read_text())
    return found


def test_every_network_under_the_budget_was_trained_three_times(table: dict[str, list[float]]) -> None:
    key = load_object(f"{BENCHMARKS / 'fashion_space.py'}:key")
    space, task, budget = (key.__globals__[name] for name in ("space", "TASK", "BUDGET"))
    members = list(space.under(budget, task).enumerate())
    assert sorted(map(key, members)) == sorted(table)
    assert len(set(map(key, space.enumerate()))) == space.size  # no two networks share a key
    assert all(len(several) == 3 and all(0 < each < 1 for each in several) for several in table.values())
    for member in members[:10]:
        digits = map(int, key(member))
        assert all(
            member.choices[decision.name] == decision.options[digit]
            for decision, digit in zip(space.decisions, digits, strict=True)
        )


def test_networks_differ_by_more_than_trainings_of_one_network(table: dict[str, list[float]]) -> None:
    # The mean of three trainings has 1/3 of their variance from luck; F compares it with the variance of the means.
    accuracies = np.array(list(table.values()))  # (networks, trainings)
    networks, trainings = accuracies.shape
    f = trainings * accuracies.mean(1).var(ddof=1) / accuracies.var(1, ddof=1).mean()
    assert f > 1 + 10 * (2 / networks + 2 / (2 * networks)) ** 0.5  # ten deviations of F where all networks are alike
