"""Mutation within a narrow band: what rejection would find, without rejecting."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from searchspaces import Budget, Space, Stage, Task, choice, conv_head, conv_stem, mbconv, per_block, same_as
from searchspaces.resnet import basic

TASK = Task(32, 3, 10)
SPACE = Space(
    "shared, tied and conditional",
    act=choice("relu", "silu"),
    stem=Stage(conv_stem, width=choice(8, 16)),
    stages=[
        Stage(choice(mbconv, basic), width=same_as("stem.width"), depth=choice(0, 1, 2), kernel=choice(3, 5)),
        Stage(mbconv, width=choice(16, 24, 32), depth=choice(1, 2), expansion=choice(2, 4), stride=2),
        Stage(mbconv, width=choice(32, 48), depth=choice(0, 1), se=choice(0, 0.25)),
    ],
    head=Stage(conv_head, width=choice(32, 64)),
)
BUDGETS = ["7M..9M", "params=18K..25K,macs=10M", "macs=6M..10M,peak_activation_bytes=300K..500K"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_mutants_in_a_band_have_the_chances_that_rejection_gives_them(budget):
    feasible, rng = SPACE.under(Budget.parse(budget), TASK), np.random.default_rng(5)
    parent = feasible.sample(rng)
    found = Counter(feasible.mutate(parent, rng) for _ in range(2000))
    tried = (SPACE.mutate(parent, rng) for _ in range(4000))
    rejected = Counter(child for child in tried if feasible.budget.admits(child.cost(TASK)))
    total, kinds = sum(rejected.values()), found.keys() | rejected.keys()
    assert total > 400
    assert all(child in feasible for child in found)
    shares = [(found[child] / 2000, rejected[child] / total) for child in kinds]
    # chi-square of two samples: its mean is the number of children less 1, its deviation the root of twice that
    statistic = sum((a - b) ** 2 / ((a * 2000 + b * total) / (2000 + total)) for a, b in shares)
    free = len(kinds) - 1
    assert statistic / (1 / 2000 + 1 / total) < free + 6 * (2 * free) ** 0.5


@pytest.mark.parametrize("budget", BUDGETS)
def test_neighbours_are_all_mutants_that_fit(budget):
    feasible, rng = SPACE.under(Budget.parse(budget), TASK), np.random.default_rng(6)
    parent = feasible.sample(rng)
    neighbours = feasible.contents.neighbours(parent)
    listed = {neighbours.draw(np.random.default_rng(seed)) for seed in range(1000)}
    tried = {SPACE.mutate(parent, rng) for _ in range(2000)}
    assert listed == {child for child in tried if child in feasible}
    assert len(listed) == len(neighbours.changes)


def test_blocks_that_decide_for_themselves_are_mutated_by_trying():
    space = Space(
        "blocks",
        stages=[Stage(mbconv, width=choice(8, 16), depth=choice(1, 2, 3), kernel=per_block(3, 5))],
        head=Stage(conv_head, width=16),
    )
    feasible, rng = space.under(Budget.parse("20%..60%"), TASK), np.random.default_rng(0)
    parent = feasible.sample(rng)
    assert feasible.contents.neighbours(parent) is None
    assert feasible.mutate(parent, rng) in feasible
