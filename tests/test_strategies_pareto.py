"""NSGA-II's order is by definition, and the front that it finds is better than that of random search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import integers, tuples

from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, mbconv, per_block
from strategies import Outcome, ParetoEvolution, Strategy, make_strategy
from strategies.pareto import crowded_order

TASK = Task(image_size=32, channels=3, classes=10)
SPACE = Space(
    "conditional",
    stages=[
        Stage(mbconv, width=choice(8, 16, 24, 32), depth=choice(1, 2, 3), kernel=choice(3, 5, 7), stride=2),
        Stage(mbconv, width=24, depth=choice(0, 1, 2), kernel=per_block(3, 5), expansion=per_block(3, 6)),
        Stage(mbconv, width=choice(32, 48, 64), depth=choice(1, 2, 3), se=choice(0, 0.25), stride=2),
    ],
    head=Stage(conv_head, width=64),
)
FEASIBLE = SPACE.under(Budget.parse("60%"), TASK)
MOST = FEASIBLE.largest.macs


def accuracy(architecture: Architecture) -> float:
    """A sum of effects of single options: what a larger network gains depends on where it is larger."""
    effects = np.random.default_rng(5).uniform(0, 1 / 24, (len(SPACE.decisions), 5)).cumsum(axis=1)
    return float(sum(effects[i, j] for i, j in enumerate(SPACE.encode(architecture)) if j >= 0))


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a >= b).all() and (a > b).any())


@settings(deadline=None, max_examples=60)
@given(arrays(float, tuples(integers(1, 12), integers(2, 3)), elements=integers(0, 5)))
def test_the_order_is_by_rank_as_in_the_paper(values: np.ndarray) -> None:
    left, rank_of, rank = set(range(len(values))), {}, 0
    while left:  # the paper's definition: a front is what is dominated by nothing that is left
        front = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        rank_of |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    order = crowded_order(values)
    assert sorted(order.tolist()) == list(range(len(values)))
    ranks = [rank_of[int(i)] for i in order]
    assert ranks == sorted(ranks)


def test_within_a_front_the_crowded_come_last() -> None:
    # By hand, both ranges being 4: the ends are infinitely far; of the others (1, 3) has 2/4 + 2.5/4 between its
    # neighbours, (2, 1.5) has 1.1/4 + 2.9/4, and (2.1, 0.1) has 2/4 + 1.5/4.
    values = np.array([[2.1, 0.1], [0.0, 4.0], [2.0, 1.5], [1.0, 3.0], [4.0, 0.0]])
    assert crowded_order(values).tolist() == [1, 4, 3, 2, 0]


def hypervolume(points: list[tuple[float, float]]) -> float:
    """Area dominated within [0, 1]**2, both coordinates to be maximized."""
    area, best = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > best:
            area, best = area + x * (y - best), y
    return area


def front(strategy: Strategy, seed: int, trials: int) -> float:
    points = []
    for number in range(trials):
        architecture = strategy.ask(np.random.default_rng([seed, number]))
        cost = architecture.cost(TASK)
        strategy.tell(architecture, Outcome("complete", accuracy(architecture), cost))
        points.append((accuracy(architecture), 1 - cost.macs / MOST))
    return hypervolume(points)


def test_the_front_is_better_than_that_of_random_search() -> None:
    ours, theirs = (
        np.array([front(make_strategy(name, FEASIBLE, 100), seed, 100) for seed in range(8)])
        for name in ("pareto", "random")
    )
    # The areas of 8 runs each: the difference of their means is over 4 of its standard errors.
    error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 8)
    assert ours.mean() - theirs.mean() > 4 * error


def test_who_is_dominated_leaves_the_population() -> None:
    draw = np.random.default_rng(0)
    found = sorted({FEASIBLE.sample(draw) for _ in range(20)}, key=lambda architecture: architecture.cost(TASK).macs)
    a, b, c, d = found[:4]
    strategy = ParetoEvolution(FEASIBLE, population=3)
    for architecture, value in ((a, 0.2), (c, 0.1), (b, 0.5), (d, 0.7)):  # `c` costs more than `a` and is less accurate
        strategy.tell(architecture, Outcome("complete", value, architecture.cost(TASK)))
    assert set(strategy.alive) == {a, b, d}


def test_without_a_cost_it_is_counted_on_the_budgets_task() -> None:
    draw = np.random.default_rng(0)
    told, counted = (ParetoEvolution(FEASIBLE, population=10) for _ in range(2))
    for _ in range(20):
        architecture, value = FEASIBLE.sample(draw), float(draw.random())
        told.tell(architecture, Outcome("complete", value, architecture.cost(TASK)))
        counted.tell(architecture, Outcome("complete", value))
    assert told.alive == counted.alive


@pytest.mark.parametrize("objectives", [["accuracy", "macs", "params"], ["params", "accuracy"]])
def test_any_costs_can_be_objectives(objectives: list[str]) -> None:
    for spelled in (objectives, ",".join(objectives)):
        assert make_strategy("pareto", FEASIBLE, 20, objectives=spelled).settings["objectives"] == objectives
