"""Regularized evolution is Algorithm 1 of arXiv:1802.01548, and what it adds is as its docstring says."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from searchspaces import Architecture, Budget, Space, Stage, Task, choice, conv_head, mbconv
from strategies import Outcome, RegularizedEvolution, make_strategy

TASK = Task(image_size=32, channels=3, classes=10)
LOWEST = {"width": 8, "depth": 1, "kernel": 3, "expansion": 3}
SPACE = Space(
    "wide",
    stages=[
        Stage(
            mbconv,
            width=choice(8, 16, 24, 32),
            depth=choice(1, 2, 3),
            kernel=choice(3, 5, 7),
            expansion=choice(3, 4, 6),
        )
        for _ in range(3)
    ],
    head=Stage(conv_head, width=16),
    references={"thin": {f"stage{i}.{key}": low for i in (1, 2, 3) for key, low in LOWEST.items()}},
)


def accuracy(architecture: Architecture) -> float:
    return float(np.random.default_rng(architecture.cost(TASK).macs).random())


def rng(number: int) -> np.random.Generator:
    return np.random.default_rng([11, number])


def complete(strategy: RegularizedEvolution, architecture: Architecture, value: float | None = None) -> None:
    strategy.tell(architecture, Outcome("complete", accuracy(architecture) if value is None else value))


def distance(a: Architecture, b: Architecture) -> int:
    return sum(a.choices[name] != b.choices[name] for name in a.choices)


def members(count: int) -> list[Architecture]:
    draw = np.random.default_rng(3)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        found[SPACE.sample(draw)] = None
    return list(found)


def test_one_trial_at_a_time_is_algorithm_1() -> None:
    strategy = RegularizedEvolution(SPACE, population=10, tournament=4, startup=10)
    population: deque[tuple[Architecture, float]] = deque()  # the paper's queue: new on the right, dead off the left
    history: list[Architecture] = []
    for cycle in range(60):
        generator = rng(cycle)
        if len(population) < 10:
            model = SPACE.sample(generator)
        else:
            while True:
                sample = [population[i] for i in generator.integers(10, size=4)]
                parent, _ = max(sample, key=lambda pair: pair[1])
                model = SPACE.mutate(parent, generator)
                if model not in history:
                    break
        assert strategy.ask(rng(cycle)) == model
        complete(strategy, model)
        population.append((model, accuracy(model)))
        history.append(model)
        if len(population) > 10:
            population.popleft()
        assert strategy.alive == tuple(architecture for architecture, _ in population)


def test_the_oldest_dies_even_if_it_is_the_best() -> None:
    strategy = RegularizedEvolution(SPACE, population=4, tournament=4)
    first, *rest = members(5)
    complete(strategy, first, 1.0)
    for architecture in rest:
        complete(strategy, architecture, 0.1)
    assert strategy.alive == tuple(rest)
    assert all(distance(strategy.ask(rng(seed)), first) > 1 for seed in range(20))


def test_age_counts_from_when_the_outcome_is_told() -> None:
    strategy = RegularizedEvolution(SPACE, population=3, tournament=2)
    a, b, c, d = members(4)
    for architecture in (a, b, c, d):
        strategy.tell(architecture, Outcome("running"))
    for architecture in (c, d, b):  # `a` started first and ends last, so it is the youngest
        complete(strategy, architecture)
    assert strategy.alive == (c, d, b)
    complete(strategy, a)
    assert strategy.alive == (d, b, a)


def test_a_failed_trial_never_joins_and_a_pruned_one_does_if_it_has_an_accuracy() -> None:
    strategy = RegularizedEvolution(SPACE, population=3, tournament=2)
    a, b, c, d = members(4)
    strategy.tell(a, Outcome("failed"))
    strategy.tell(b, Outcome("pruned", 0.2))
    strategy.tell(c, Outcome("pruned"))
    complete(strategy, d)
    assert strategy.alive == (b, d)


def test_proposals_are_random_until_the_population_is_under_way_and_a_tournament_is_known() -> None:
    strategy = RegularizedEvolution(SPACE, population=6, tournament=3)
    started = members(6)
    for architecture in started[:5]:
        strategy.tell(architecture, Outcome("running"))
    assert strategy.ask(rng(0)) == SPACE.sample(rng(0))  # five of six are under way
    strategy.tell(started[5], Outcome("running"))
    for architecture in started[:2]:
        complete(strategy, architecture)
        assert strategy.ask(rng(1)) == SPACE.sample(rng(1))  # too few outcomes for a tournament
    complete(strategy, started[2])
    for seed in range(20):
        assert min(distance(strategy.ask(rng(seed)), parent) for parent in started[:3]) == 1


def test_a_failure_in_the_first_population_is_replaced_by_a_random_architecture() -> None:
    strategy = RegularizedEvolution(SPACE, population=4, tournament=2)
    first, *rest = members(4)
    for architecture in rest:
        complete(strategy, architecture)
    strategy.tell(first, Outcome("running"))
    assert strategy.ask(rng(0)) != SPACE.sample(rng(0))
    strategy.tell(first, Outcome("failed"))
    assert strategy.ask(rng(0)) == SPACE.sample(rng(0))


@pytest.mark.parametrize(("tournament", "expected"), [(1, 0.1), (3, 0.271), (10, 0.651)])
def test_the_tournament_draws_with_replacement(tournament: int, expected: float) -> None:
    # The best of ten takes part, and wins, with chance 1 - 0.9 ** tournament; identity makes the winner seen.
    strategy = RegularizedEvolution(SPACE, population=10, tournament=tournament, identity=1.0)
    for architecture in (found := members(10)):
        complete(strategy, architecture, 0.9 if architecture == found[4] else 0.5)
    won = sum(strategy.ask(rng(seed)) == found[4] for seed in range(1000))
    # deviation sqrt(1000 p (1 - p)) is at most 15.1; the band is 5 of those
    assert abs(won - 1000 * expected) < 76


def test_the_identity_mutation_has_its_share() -> None:
    strategy = RegularizedEvolution(SPACE, population=10, tournament=3, identity=0.3)
    for architecture in (found := members(10)):
        complete(strategy, architecture)
    again = sum(strategy.ask(rng(seed)) in found for seed in range(1000))
    assert abs(again - 300) < 73  # deviation sqrt(1000 * 0.3 * 0.7) = 14.5; 5 of those


def test_seeds_are_proposed_first_in_order_and_once() -> None:
    other = members(1)[0]
    strategy = make_strategy("evolution", SPACE, 50, start_from=["thin", other.to_json()])
    for number, expected in enumerate([SPACE.references["thin"], other]):
        assert strategy.ask(rng(number)) == expected
        strategy.tell(expected, Outcome("running"))
    assert strategy.ask(rng(2)) == SPACE.sample(rng(2))


def test_a_seed_over_the_budget_is_refused() -> None:
    over = max(members(50), key=lambda architecture: architecture.cost(TASK).macs)
    with pytest.raises(Exception, match="does not fit"):
        make_strategy("evolution", SPACE.under(Budget.parse("10%"), TASK), 50, start_from=over.to_json())


@pytest.mark.parametrize(
    ("trials", "population", "tournament"),
    [(1, 30, 25), (25, 30, 25), (100, 30, 25), (200, 40, 25), (500, 100, 25), (20000, 100, 25)],
)
def test_defaults_follow_from_the_number_of_trials(trials: int, population: int, tournament: int) -> None:
    settings = make_strategy("evolution", SPACE, trials).settings
    assert (settings["population"], settings["tournament"]) == (population, tournament)
    assert settings["startup"] == (100 if population == 100 else 7)


def test_a_population_that_begins_small_grows_before_anyone_leaves_it() -> None:
    strategy = RegularizedEvolution(SPACE, population=6, tournament=6, startup=3)
    for number in range(8):
        alive = strategy.alive
        child = strategy.ask(rng(number))
        if number < 3:
            assert child == SPACE.sample(rng(number))
        else:
            assert min(distance(child, parent) for parent in alive) == 1
        complete(strategy, child)
        assert strategy.alive == (*alive, child)[-6:]


def test_a_used_up_neighbourhood_is_left_for_farther_mutants() -> None:
    strategy = RegularizedEvolution(SPACE, population=2, tournament=1)
    a, b = members(2)
    complete(strategy, a)
    complete(strategy, b)
    tried = {a, b}
    draw = np.random.default_rng(0)
    for parent in (a, b):
        for _ in range(600):  # 25 neighbours each; 600 draws leave one out with chance 25 * 0.96 ** 600 < 1e-9
            tried.add(SPACE.mutate(parent, draw))
    for architecture in tried - {a, b}:
        strategy.tell(architecture, Outcome("failed"))
    for seed in range(10):
        child = strategy.ask(rng(seed))
        assert child not in tried
        assert 2 <= min(distance(child, a), distance(child, b)) <= 4
