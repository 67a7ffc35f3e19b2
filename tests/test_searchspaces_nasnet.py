"""Cells with free wiring: how many there are, which are equal, how they mutate, and what a budget leaves of them."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_searchspaces_laws import deviation

from searchspaces import Budget, Task, space_named
from searchspaces.budgeted import feasible as feasible_spaces
from searchspaces.errors import UserError
from searchspaces.nasnet import NASNetSpace
from searchspaces.wiring import OPERATIONS, Wiring, Wirings
from strategies import Outcome, make_strategy

SMALL = Task(32, 3, 10)
SEEDS = st.integers(0, 2**32 - 1)


def every(pairs: int, operations: tuple[str, ...], input_operations: tuple[str, ...]) -> set[Wiring]:
    """All cells, written in every way and made canonical."""
    found = set()

    def grow(written: tuple) -> None:
        if len(written) < pairs:
            states = range(len(written) + 2)
            halves = [(state, op) for state in states for op in (input_operations if state < 2 else operations)]
            for pair in itertools.combinations_with_replacement(halves, 2):
                grow((*written, pair))
            return
        used = sorted(Wiring(written).used)
        for size in range(len(used) + 1):
            found.update(Wiring(written, kept).canonical() for kept in itertools.combinations(used, size))

    grow(())
    return found


SIZES = [(1, "ab", "ab"), (2, "ab", "ab"), (2, "abc", "a"), (3, "a", "a"), (3, "ab", "a")]


@pytest.mark.parametrize(("pairs", "operations", "input_operations"), SIZES)
def test_cells_are_as_many_as_enumeration_finds(pairs, operations, input_operations):
    arguments = pairs, tuple(operations), tuple(input_operations)
    assert Wirings(*arguments).count == len(every(*arguments))


def cells_drawn(draws: int) -> float:
    """`deviation` of draws over all cells of three pairs; twins, and pairs of twins, are among the 908."""
    cells, wirings, rng = every(3, ("a",), ("a",)), Wirings(3, ("a",), ("a",)), np.random.default_rng(0)
    return deviation(list(cells), lambda: wirings.draw(rng), len(cells), draws)


def test_cells_are_drawn_uniformly():
    # 11 draws of each of 908 cells; beyond 5 standard deviations once in 650,000 seeds. 100,000: `benchmarks.proofs`.
    assert abs(cells_drawn(10_000)) < 5


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_order_of_pairs_and_of_halves_makes_no_difference(seed):
    rng = np.random.default_rng(seed)
    cell = Wirings(5, OPERATIONS[:2], OPERATIONS[:2]).draw(rng)  # two operations: twins are frequent
    order = rng.permutation(5).tolist()
    new = {0: 0, 1: 1} | {old + 2: place + 2 for place, old in enumerate(order)}
    pairs = [tuple((new[state], op) for state, op in cell.pairs[old]) for old in order]
    shuffled = tuple((b, a) if rng.integers(2) else (a, b) for a, b in pairs)
    assert Wiring(shuffled, tuple(new[state] for state in cell.kept)).canonical() == cell


def tiny() -> NASNetSpace:
    operations = ("identity", "1x1", "sep3x3")
    return NASNetSpace("tiny", pairs=1, operations=operations, width=(8,), repeats=(1,), stem_width=(8,))


@pytest.fixture(scope="module")
def macs():
    """Of each member of the tiny space, in the order in which they are enumerated."""
    return {member: member.cost(SMALL).macs for member in tiny().enumerate()}


def test_a_space_holds_as_many_different_networks_as_it_says():
    space = tiny()
    members = list(space.enumerate())
    # A cell with k operations on inputs: k (k + 1) / 2 with twice the same input, times two inputs, that input kept or
    # not; k * k with both, times 4. Here k is 3, and 2 in the reduction cell, where an identity is a strided 1x1.
    assert space.size == 2 * (2 * 2 * 6 + 4 * 9) * (2 * 2 * 3 + 4 * 4) == len(members) == len(set(members))
    some = members[::7]
    assert len({member.network(SMALL) for member in some}) == len(some)


@pytest.mark.parametrize("width", [4, 0, 8.0])
def test_a_width_that_is_too_small_for_large_images_is_refused(width):
    least = NASNetSpace("least", pairs=1, width=(8,), repeats=(0,), stem_width=(8,))
    assert least.sample(np.random.default_rng(0)).cost(Task()).params > 0
    with pytest.raises(UserError, match=f"each width must be a whole number of at least 8, .* got {width!r}"):
        NASNetSpace("least", pairs=1, width=(8, width), repeats=(0,), stem_width=(8,))


def test_operations_that_do_not_exist_and_none_at_all_are_refused():
    with pytest.raises(UserError, match="unknown operation 'sep3x4'; did you mean 'sep3x3'"):
        NASNetSpace("own", operations=("sep3x3", "sep3x4"), width=(8,), repeats=(1,), stem_width=(8,))
    with pytest.raises(UserError, match="own: it needs at least one operation"):
        NASNetSpace("own", operations=(), width=(8,), repeats=(1,), stem_width=(8,))


def test_mutants_change_inputs_operations_outputs_and_the_frame_of_both_cells():
    space, rng = space_named("nasnet"), np.random.default_rng(0)
    parent, changed = space.references["amoebanet_a_mobile"], Counter()
    before, old = space.wirings(parent), dict(parent.parts[0])
    for _ in range(400):
        child = space.mutate(parent, rng)
        assert child in space
        assert child != parent
        after = space.wirings(child)
        cells = [cell for cell in before if before[cell] != after[cell]]
        if dict(child.parts[0]) != old:
            changed["frame"] += 1
            assert not cells
            continue
        (cell,) = cells  # one cell at a time
        ops = [Counter(op for pair in each[cell].pairs for _, op in pair) for each in (before, after)]
        if ops[0] != ops[1]:
            changed[cell, "operation"] += 1
            assert (ops[1] - ops[0]).total() == 1
        else:
            changed[cell, "inputs or outputs"] += 1
    # 0.45 * 400 / 2 = 90 of each kind in each cell, sd 8.3; 0.1 * 400 * 4 / 13 = 12 of the frame, sd 3.5
    for cell in before:
        assert 45 < changed[cell, "operation"] < 135
        assert 45 < changed[cell, "inputs or outputs"] < 150
    assert 0 < changed["frame"] < 30


def test_what_fits_is_estimated_and_says_from_how_many_draws(monkeypatch, macs):
    monkeypatch.setattr(feasible_spaces, "LISTED", 0)  # as if it were too large to be listed
    costs = sorted(macs.values())
    median = costs[len(costs) // 2]
    feasible = tiny().under(Budget.parse(f"{median}"), SMALL)
    assert not feasible.exact
    assert feasible.count.draws == 400
    assert feasible.count.low <= sum(each <= median for each in costs) <= feasible.count.high
    assert costs[0] <= feasible.smallest.macs < costs[20]
    assert costs[-20] < feasible.largest.macs <= costs[-1]


def test_what_fits_of_a_small_space_is_listed(macs):
    median = sorted(macs.values())[len(macs) // 2]
    feasible = tiny().under(Budget.parse(f"{median}"), SMALL)
    fits = {member for member, each in macs.items() if each <= median}
    assert feasible.exact
    assert feasible.count.low == feasible.count.high == len(fits)
    assert set(feasible.enumerate()) == fits
    assert (feasible.smallest.macs, feasible.largest.macs) == (min(macs.values()), max(macs.values()))


def test_a_band_that_nothing_meets_is_given_up(monkeypatch, macs):
    space, costs = tiny(), sorted(set(macs.values()))
    low, high = next((a, b) for a, b in itertools.pairwise(costs) if b - a > 2)
    with pytest.raises(UserError, match="none of the 3,360 architectures of tiny fits"):
        space.under(Budget.parse(f"{low + 1}..{high - 1}"), SMALL)
    monkeypatch.setattr(feasible_spaces, "LISTED", 0)
    with pytest.raises(UserError, match="none of 2,500 draws from tiny fits"):
        space.under(Budget.parse(f"{low + 1}..{high - 1}"), SMALL)
    with pytest.raises(UserError, match=rf"from .*\({costs[0]:,}\)"):
        space.under(Budget.parse(f"{costs[0] - 1}"), SMALL)


def test_no_width_is_closed_in_a_band_that_holds_it():
    feasible, rng = space_named("nasnet").under(Budget.parse("19M..21M"), SMALL), np.random.default_rng(0)
    held = {feasible.sample(rng).choices["width"] for _ in range(20)}
    assert len(held) > 1
    assert held <= set(feasible.next_decision({}).options)
    for number in range((1 << 16) + 2):  # more than are remembered
        feasible.contents._remember(frozenset([("other", number)]), {})
    assert held <= set(feasible.next_decision({}).options)


def test_decisions_under_a_budget_lead_to_what_fits():
    feasible, rng = space_named("nasnet").under(Budget.parse("40M"), SMALL), np.random.default_rng(0)
    taken: dict = {}
    while (decision := feasible.next_decision(taken)) is not None:
        assert decision.options
        taken[decision.name] = decision.options[rng.integers(len(decision.options))]
    assert feasible.architecture(taken) in feasible


FEW_OPERATIONS = NASNetSpace(
    "few operations", pairs=3, operations=("identity", "1x1", "sep3x3", "1x7+7x1", "max3x3"),
    width=(8, 20), repeats=(1, 2), stem_width=(8, 20),
)  # fmt: skip


@pytest.mark.parametrize("space", [space_named("nasnet"), space_named("nasnet").published, FEW_OPERATIONS], ids=repr)
@pytest.mark.parametrize("task", [Task(), SMALL, Task(28, 1, 10), Task(75, 3, 7)], ids=str)
def test_additive_costs_are_those_of_the_tree(space, task):
    rng = np.random.default_rng(6)
    for _ in range(6):
        drawn = space.sample(rng)
        for member in (drawn, space.mutate(drawn, rng)):
            cost = member.cost(task)
            assert space.additive(member, task) == (cost.macs, cost.params, cost.activations)


@pytest.mark.parametrize("budget", ["600M", "300M..600M,params=5M"])
def test_proposals_within_a_budget_on_additive_costs_make_no_trees(budget, monkeypatch):
    """They take milliseconds each, and `guided` looks at two hundred for each trial."""
    space = space_named("nasnet").under(Budget.parse(budget))
    monkeypatch.setattr(NASNetSpace, "network", None)
    strategy, rng = make_strategy("guided", space, 50, candidates=20), np.random.default_rng(0)
    for number in range(8):
        asked = strategy.ask(rng)
        macs, params, _ = space.whole.additive(asked, Task())
        assert macs <= 600e6
        assert "params" not in budget or (macs >= 300e6 and params <= 5e6)
        strategy.tell(asked, Outcome("complete", 0.5 + number / 100))
