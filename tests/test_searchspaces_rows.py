"""Rows are architectures: their costs are those of the architectures, and they are drawn as architectures are."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from searchspaces import (
    COSTS,
    SPACES,
    Budget,
    Space,
    Stage,
    Task,
    UserError,
    choice,
    conv_head,
    conv_stem,
    costs_of,
    fused_mbconv,
    mbconv,
    per_block,
    rows_of,
    same_as,
    space_named,
)
from searchspaces.nasnet import NASNetSpace

SMALL = Task(32, 3, 10)
SLOW = ["nasnet", "scaling"]
"""Not chains of stages: each of their networks is costed anew."""
ADDED = [name for name in COSTS if name != "latency_ms"]

TIED = Space(
    "tied",
    stem=Stage(conv_stem, width=choice(8, 16), stride=2),
    stages=[
        Stage(choice(mbconv, fused_mbconv), width=same_as("stem.width"), depth=choice(0, 1, 2), kernel=choice(3, 5)),
        Stage(mbconv, width=choice(8, 24), depth=choice(1, 2), expansion=per_block(1, 3), se=per_block(0, 0.5)),
        Stage(per_block(mbconv, fused_mbconv), width=16, depth=choice(1, 2), se=per_block(0, 0.25)),
    ],
    head=Stage(conv_head, width=32),
    act=choice("relu", "silu"),
)  # fmt: skip
CELLS = {
    "equal pairs": NASNetSpace(
        "equal pairs", pairs=2, operations=("avg3x3",), width=(8,), repeats=(1,), stem_width=(8,)
    ),
    "strided": NASNetSpace(
        "strided", pairs=1, operations=("identity", "1x1", "max3x3"), width=(8, 12), repeats=(1,), stem_width=(8,)
    ),
}
"""In the first many cells have pairs that are equal; in the second two operations are one where they have a stride."""
TINY = Space(
    "tiny",
    stem=Stage(conv_stem, width=8, stride=2),
    stages=[Stage(mbconv, width=choice(8, 16), depth=choice(0, 1, 2), kernel=choice(3, 5, 7))],
    head=Stage(conv_head, width=16),
)


def members(space: Space, count: int) -> list:
    rng = np.random.default_rng(1)
    return [space.sample(rng) for _ in range(count)]


def costs_are_those_of_each(space, task, drawn):
    rows = np.array([space.encode(member) for member in drawn])
    expected = [[member.cost(task).whole(name) for name in ADDED] for member in drawn]
    assert costs_of(space, rows, task, ADDED).tolist() == expected
    assert costs_of(space, rows[::-1], task, ADDED).tolist() == expected[::-1]  # from the tables
    macs_and_params = [[macs, params] for macs, params, *_ in expected]
    assert costs_of(space, rows, task).tolist() == macs_and_params
    assert costs_of(space, rows[:0], task).shape == (0, 2)


@pytest.mark.parametrize("name", SPACES)
def test_costs_of_rows_are_those_of_each_architecture(name):
    space = space_named(name)
    costs_are_those_of_each(space, SMALL, members(space, 10 if name in SLOW else 100))


@pytest.mark.parametrize("task", [Task(), Task(64, 1, 7)], ids=str)
def test_costs_of_rows_are_those_of_each_architecture_where_stages_are_tied(task):
    costs_are_those_of_each(TIED, task, members(TIED, 200))


def test_a_stage_of_too_many_options_to_be_numbered_is_costed_one_by_one():
    many = choice(*range(8, 8 << 14, 8))
    space = Space(
        "many",
        stem=Stage(conv_stem, width=choice(8, 16), stride=2),
        stages=[Stage(mbconv, width=many, depth=choice(*range(1, 9)), kernel=choice(*range(1, 2001, 2)),
                      expansion=choice(*range(1, 1001)), se=choice(*(n / 1000 for n in range(1000))))],
        head=Stage(conv_head, width=16),
    )  # fmt: skip
    assert space.cost_tables(SMALL, ("macs", "params")) is None
    first = space.architecture({decision.name: decision.options[0] for decision in space.decisions})
    costs_are_those_of_each(space, SMALL, [first])


def test_costs_are_the_same_from_the_moves_that_a_budget_has_counted_as_from_those_that_are_met():
    stage = Stage(
        mbconv, width=choice(8, 16, 24), depth=choice(1, 2), kernel=per_block(3, 5, 7), expansion=per_block(1, 2)
    )
    stem, head = Stage(conv_stem, width=8, stride=2), Stage(conv_head, width=16)
    space, twin = (Space("twins", stem=stem, stages=[stage], head=head) for _ in range(2))
    rows = np.array([space.encode(member) for member in members(space, 50)])
    rows_of(space.under(Budget.parse("99%"), SMALL))
    assert (costs_of(space, rows, SMALL) == costs_of(twin, rows, SMALL)).all()


@pytest.mark.parametrize("task", [Task(), SMALL, Task(64, 1, 7)], ids=str)
@pytest.mark.parametrize("name", ["nasnet", *CELLS])
def test_additive_costs_of_rows_of_two_cells_are_those_of_their_trees(name, task):
    space = CELLS.get(name) or space_named(name)
    drawn = [*members(space, 8), *space.extremes, *space.references.values()]
    rows, names = np.array([space.encode(member) for member in drawn]), ["activations", "macs", "params"]
    expected = [[member.cost(task).whole(name) for name in names] for member in drawn]
    assert costs_of(space, rows, task, names).tolist() == expected
    assert costs_of(space, rows[::-1], task, names).tolist() == expected[::-1]  # from the tables
    assert costs_of(space, rows[:0], task, names).shape == (0, 3)


BUDGETS = [
    *((name, None) for name in (*SPACES, *CELLS)),
    ("mbconv", "70%"), ("mobilenetv3", "70%"), ("tied", "70%"), ("nasnet", "15%"), ("nasnet", "5%..25%,params=40%"),
    ("nasnet", "peak_activation_bytes=40%"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "budget"), BUDGETS)
def test_rows_that_are_drawn_or_mutated_are_members_and_mutants_differ(name, budget):
    space = CELLS.get(name) or (TIED if name == "tied" else space_named(name))
    if budget:
        space = space.under(Budget.parse(budget), SMALL)
    rows, rng = rows_of(space), np.random.default_rng(3)
    drawn = rows.sampled(12, rng)
    changed = rows.mutated(drawn, rng)
    assert drawn.shape == changed.shape == (12, len(space.decisions))
    for row, other in zip(drawn, changed, strict=True):
        member, mutant = rows.member(row), rows.member(other)
        assert member in space
        assert mutant in space
        assert member != mutant
        assert (space.encode(member) == row).all()
        assert (space.encode(mutant) == other).all()
    assert rows.sampled(0, rng).shape == rows.mutated(drawn[:0], rng).shape == (0, len(space.decisions))


@pytest.mark.parametrize("budget", [None, "75%", "50%..90%", "80%,params=90%", "peak_activation_bytes=90%"])
def test_rows_are_drawn_uniformly(budget):
    space = TINY if budget is None else TINY.under(Budget.parse(budget), SMALL)
    every = list(space.enumerate())
    rows = rows_of(space)
    drawn = Counter(rows.member(row) for row in rows.sampled(400 * len(every), np.random.default_rng(4)))
    assert chisquare([drawn[member] for member in every]).pvalue > 1e-3  # of a seeded draw


@pytest.mark.parametrize("budget", [None, "75%", "20%..80%"])
def test_rows_are_mutated_as_architectures_are(budget):
    space = TINY if budget is None else TINY.under(Budget.parse(budget), SMALL)
    rows, rng = rows_of(space), np.random.default_rng(5)
    for member in list(space.enumerate())[:3]:
        changed = rows.mutated(np.tile(space.encode(member), (6000, 1)), rng)
        found = Counter(rows.member(row) for row in changed)
        expected = Counter(space.mutate(member, rng) for _ in range(6000))
        assert found.keys() == expected.keys()
        both = np.array([[found[each], expected[each]] for each in found], float)
        share = both.sum(1, keepdims=True) / 2
        assert chisquare(both.ravel(), np.repeat(share, 2, 1).ravel(), ddof=len(found)).pvalue > 1e-3


@pytest.mark.parametrize(("name", "pairs"), [*((name, None) for name in CELLS), ("three pairs", 3)])
def test_rows_of_two_cells_are_drawn_uniformly(name, pairs):
    space = CELLS.get(name) or NASNetSpace(
        name, pairs=pairs, operations=("avg3x3",), width=(8,), repeats=(1,), stem_width=(8,)
    )  # in which a pair may use two others
    drawn = rows_of(space).sampled(20_000 if pairs else 6000, np.random.default_rng(4))
    frame, normal, reduction = np.split(drawn, np.searchsorted(places(space), [1, 2]), axis=1)
    counts = [list(Counter(map(bytes, part)).values()) for part in (frame, normal, reduction)]
    assert math.prod(map(len, counts)) == space.size
    assert all(chisquare(each).pvalue > 1e-3 for each in counts)  # of a seeded draw


def places(space):
    """Of each decision, whether it is of the frame, of the normal or of the reduction cell: 0, 1 or 2."""
    return [("normal", "reduction").index(d.name.split(".")[0]) + 1 if "." in d.name else 0 for d in space.decisions]


@pytest.mark.parametrize("name", CELLS)
def test_rows_of_two_cells_are_mutated_as_architectures_are(name):
    space, rng = CELLS[name], np.random.default_rng(5)
    for member in (space.sample(rng) for _ in range(2)):
        changed = rows_of(space).mutated(np.tile(space.encode(member), (6000, 1)), rng)
        found = Counter(map(bytes, changed))
        expected = Counter(bytes(space.encode(space.mutate(member, rng))) for _ in range(6000))
        assert found.keys() == expected.keys()
        both = np.array([[found[each], expected[each]] for each in found], float)
        share = both.sum(1, keepdims=True) / 2
        assert chisquare(both.ravel(), np.repeat(share, 2, 1).ravel(), ddof=len(found)).pvalue > 1e-3


def test_mutants_in_a_narrow_band_take_few_rounds(monkeypatch):
    """A fifth of the mutations stays in it. One at a time, the last rows took all twenty rounds."""
    rows, rng = rows_of(space_named("mbconv").under(Budget.parse("399.5M..400M"))), np.random.default_rng(7)
    parents, rounds, fits = rows.sampled(200, rng), [], type(rows)._fits
    monkeypatch.setattr(type(rows), "_fits", lambda self, some: rounds.append(len(some)) or fits(self, some))
    rows.mutated(parents, rng)
    assert len(rounds) <= 10
    assert max(rounds) <= 2048


def test_a_single_network_cannot_be_mutated():
    space = Space("one", stages=[Stage(mbconv, width=8)], head=Stage(conv_head, width=16))
    rows = rows_of(space)
    with pytest.raises(UserError, match="single network"):
        rows.mutated(rows.sampled(2, np.random.default_rng(0)), np.random.default_rng(0))
