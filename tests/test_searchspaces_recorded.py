"""Spaces that are what a table holds, and costs that a table recorded."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from studies_stand_ins import SPACE, TASK

from searchspaces import Architecture, Budget, UserError, architecture_from_json, rows_of
from searchspaces.recorded import RecordedSpace
from searchspaces.recorded_costs import RecordedCosts
from strategies import STRATEGIES, Outcome, make_strategy

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
CELLS = [f"|{a}~0|+|{b}~0|{c}~1|" for a, b, c in itertools.product(OPERATIONS, repeat=3)]
PART = [key for place, key in enumerate(CELLS) if place % 3 != 1]  # 83 of 125
KINDS = {
    "cells": CELLS,
    "a part of the cells": PART,
    "digits": ["".join(digits) for digits in itertools.product("012", repeat=4)],
    "text forms": [each.to_json() for each in itertools.islice(SPACE.enumerate(), 0, None, 9)],
    "of several lengths": ["-".join(widths) for n in (1, 2, 3) for widths in itertools.product("248", repeat=n)],
}


@pytest.fixture(params=KINDS)
def space(request: Any) -> RecordedSpace:
    return RecordedSpace(KINDS[request.param])


def with_costs(space: RecordedSpace) -> RecordedCosts:
    """With MACs that are drawn at random, and known by the key alone."""
    rng, keys = np.random.default_rng(0), map(space.key, space.enumerate())
    return RecordedCosts(space, {key: {"macs": int(rng.integers(1, 10**6))} for key in keys}, space.key)


def test_the_members_are_the_keys_each_once(space: RecordedSpace, request: Any) -> None:
    keys = KINDS[request.node.callspec.params["space"]]
    members = list(space.enumerate())
    assert [space.key(each) for each in members] == keys
    assert len(set(members)) == len({each.network(TASK) for each in members}) == space.size == len(keys)


def test_what_is_drawn_mutated_completed_and_decoded_is_in_the_table(space: RecordedSpace) -> None:
    rng = np.random.default_rng(1)
    for held in (space, with_costs(space).under(Budget.parse("60%"))):
        for _ in range(30):
            parent = held.sample(rng)
            child = held.mutate(parent, rng)
            assert parent in held
            assert child in held
            assert child != parent
            assert held.decode(held.encode(child)) == child
            assert architecture_from_json(child.to_json(), held.whole) == child
            taken: dict[str, Any] = {}
            while (decision := held.next_decision(taken)) is not None:
                taken[decision.name] = decision.options[rng.integers(len(decision.options))]
            assert held.architecture(taken) in held
        rows = rows_of(held)
        assert all(rows.member(row) in held for row in rows.mutated(rows.sampled(20, rng), rng))


def test_a_mutation_leads_to_one_of_the_members_that_differ_in_the_fewest_fields(space: RecordedSpace) -> None:
    rng, members = np.random.default_rng(2), list(space.enumerate())
    rows = np.stack([space.encode(each) for each in members])
    for place in range(0, len(members), 7):
        differing = np.delete((rows != rows[place]).sum(1), place)
        found = {space.mutate(members[place], rng) for _ in range(200)}
        assert {int((space.encode(each) != rows[place]).sum()) for each in found} == {differing.min()}
        assert len(found) <= (differing == differing.min()).sum()


def test_every_completion_of_the_open_options_is_reached_and_is_a_member(space: RecordedSpace) -> None:
    def completed(taken: dict[str, Any]) -> list[Architecture]:
        decision = space.next_decision(taken)
        if decision is None:
            return [space.architecture(taken)]
        return [found for each in decision.options for found in completed({**taken, decision.name: each})]

    assert sorted(map(space.key, completed({}))) == sorted(map(space.key, space.enumerate()))


@pytest.mark.parametrize("budget", [None, "50%"])
@pytest.mark.parametrize("name", [*STRATEGIES, "optuna:RandomSampler"])
def test_every_strategy_proposes_what_the_table_holds_and_never_twice(name: str, budget: str | None) -> None:
    whole = with_costs(RecordedSpace(PART))
    held = whole if budget is None else whole.under(Budget.parse(budget))
    strategy, proposed = make_strategy(name, held, 40), []
    fits = [each for each in whole.enumerate() if each in held]
    for number in range(min(40, len(fits))):
        proposed.append(strategy.ask(np.random.default_rng([0, number])))
        accuracy = proposed[-1].cost(TASK).macs / 1e6
        for outcome in (Outcome("running"), Outcome("complete", accuracy, proposed[-1].cost(TASK))):
            strategy.tell(proposed[-1], outcome)
    assert len(set(proposed)) == len(proposed)
    assert set(proposed) <= set(fits)


def test_a_budget_is_held_against_what_was_recorded_and_not_against_what_is_counted() -> None:
    reversed_macs = {each.to_json(): {"macs": 10**9 - each.cost(TASK).macs} for each in SPACE.enumerate()}
    space = RecordedCosts(SPACE, reversed_macs, lambda each: each.to_json())
    limit = sorted(each["macs"] for each in reversed_macs.values())[len(reversed_macs) // 2]
    fits = space.under(Budget.parse(str(limit)), TASK)
    counted = {each.to_json() for each in SPACE.enumerate() if 10**9 - each.cost(TASK).macs <= limit}
    assert {each.to_json() for each in fits.enumerate()} == counted
    assert fits.count.low == fits.count.high == len(counted)
    member = fits.sample(np.random.default_rng(0))
    plain = SPACE.architecture(member.choices).cost(TASK)
    assert (member.cost(TASK).macs, member.cost(TASK).params) == (10**9 - plain.macs, plain.params)


def test_recorded_costs_that_are_the_counted_ones_change_neither_draws_nor_mutations() -> None:
    counted = {each.to_json(): {"macs": each.cost(TASK).macs} for each in SPACE.enumerate()}
    space = RecordedCosts(SPACE, counted, lambda each: each.to_json())
    ours, theirs = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        one, other = space.sample(ours), SPACE.sample(theirs)
        assert one.choices == other.choices
        assert space.mutate(one, ours).choices == SPACE.mutate(other, theirs).choices
        assert one.cost(TASK) == other.cost(TASK)


def test_a_recorded_latency_is_a_cost_without_a_latency_table() -> None:
    space = RecordedSpace(PART)
    keys = list(map(space.key, space.enumerate()))
    timed = RecordedCosts(space, {key: {"latency_ms": 1000 * n} for n, key in enumerate(keys, 1)}, space.key)
    for text, number in (("8ms", 8), ("latency_ms=10%", 8), ("5..8ms", 4)):  # 83 networks of 1 to 83 ms
        assert timed.under(Budget.parse(text)).count.low == number


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["one"], "needs two networks or more, and the table has 1"),
        (["a-b", "a+b"], "'a-b' and 'a[+]b' of the table have equal fields"),
    ],
)
def test_keys_that_are_no_space_are_refused(keys: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        RecordedSpace(keys)


def test_what_is_not_known_is_refused() -> None:
    space = RecordedSpace(PART)
    member = next(space.enumerate())
    for call, said in (
        (lambda: space.under(Budget.parse("1M")), "macs is not among the recorded costs of table: .*--cost macs=FIELD"),
        (lambda: with_costs(space).under(Budget.parse("params=1M")), "params is not among the recorded costs"),
        (lambda: make_strategy("pareto", space, 10), "macs is not among the recorded costs"),
        (lambda: make_strategy("pareto", with_costs(space), 10, objectives="accuracy,params"), "params is not among"),
        (lambda: member.build(TASK), "is known only by its key in a table, and cannot be built"),
        (lambda: RecordedCosts(space, {"x": {"macs": 1}}, space.key).sample(np.random.default_rng(0)).cost(TASK),
         "the table has no entry .* which would give its macs"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            call()


def test_choices_that_the_table_does_not_have_together_are_refused() -> None:
    space = RecordedSpace(["0-0", "0-1", "1-0"])
    with pytest.raises(UserError, match="the table has no network of field1=1, field2=1"):
        space.architecture({"field1": 1, "field2": 1})


def test_numbers_are_options_in_their_order_and_a_missing_field_is_an_option() -> None:
    space = RecordedSpace(["8-0.5", "16-0.25", "4"])
    assert [each.options for each in space.decisions] == [(4, 8, 16), (0.5, 0.25, "")]
    described = json.loads(json.dumps(space.describe()))
    assert described["networks"] == 3
    assert described != RecordedSpace(["8-0.5", "16-0.25", "3"]).describe()
