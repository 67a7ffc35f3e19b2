"""Spaces from outside: a person's own class, cells of any output width, and values that are tied to others."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchspaces import (
    Architecture,
    Budget,
    Decision,
    Feasible,
    Space,
    Stage,
    Task,
    UserError,
    architecture_from_json,
    choice,
    conv_head,
    conv_stem,
    load_space,
    mbconv,
    per_block,
    same_as,
)
from searchspaces.layers import Act, Chain, Concat, Conv, Flatten, GlobalPool, Identity, Linear, Node, Norm, Sum

SMALL = Task(16, 3, 5)


def counted(architecture: Architecture, task: Task) -> None:
    """The costs are what fvcore counts on the built module, which runs."""
    import torch

    from searchspaces.counting import traced_cost

    with torch.random.fork_rng():
        module = architecture.build(task).eval()
        assert module(torch.zeros(2, *task.shape)).shape == (2, task.classes)
    ours, theirs = architecture.cost(task), traced_cost(module, task)
    assert (ours.macs, ours.params, ours.activations) == (theirs.macs, theirs.params, theirs.activations)
    whole = architecture.network(task).cost(task.shape)
    assert (ours.macs, ours.params, ours.activations) == (whole.macs, whole.params, whole.activations)


# A class that implements the protocol, and inherits nothing.


class Rows:
    """Some convolutions in a row: how many, and the width of each."""

    name = "rows"
    doc = "convolutions in a row"
    references: ClassVar[dict[str, Architecture]] = {}
    of = budget = task = largest = None
    widths = (4, 8, 12)
    most = 4

    @property
    def whole(self) -> Rows:
        return self

    @functools.cached_property
    def decisions(self) -> tuple[Decision, ...]:
        rows = (Decision(f"row{index}.width", self.widths) for index in range(1, self.most + 1))
        return (Decision("rows", tuple(range(1, self.most + 1))), *rows)

    @property
    def size(self) -> int:
        return sum(len(self.widths) ** rows for rows in range(1, self.most + 1))

    def next_decision(self, prefix):
        open_to = self.decisions[: 1 + prefix.get("rows", 0)]
        return next((each for each in open_to if each.name not in prefix), None)

    def architecture(self, choices):
        taken: dict[str, Any] = {}
        for name in choices:
            if name not in {each.name for each in self.decisions}:
                raise UserError(f"unknown decision {name!r}")
        while (decision := self.next_decision(taken)) is not None:
            if choices.get(decision.name) not in decision.options:
                raise UserError(f"{decision.name} cannot be {choices.get(decision.name)!r}")
            taken[decision.name] = choices[decision.name]
        return Architecture(self, (tuple(taken.items()),))

    def network(self, architecture, task, scale=None):
        widths = [value for name, value in architecture.choices.items() if name != "rows"]
        return Chain(*(Conv(width, 3, 2) for width in widths), GlobalPool(), Flatten(), Linear(task.classes))

    def cost(self, architecture, task, scale=None):
        return self.network(architecture, task).cost(task.shape)

    def words(self, architecture):
        return " ".join(str(value) for value in architecture.choices.values())

    def enumerate(self):
        for rows in range(1, self.most + 1):
            for widths in itertools.product(self.widths, repeat=rows):
                yield self.architecture({"rows": rows, **{f"row{i}.width": w for i, w in enumerate(widths, 1)}})

    @functools.cached_property
    def members(self):
        return list(self.enumerate())

    def sample(self, rng):
        return self.members[rng.integers(len(self.members))]

    def mutate(self, architecture, rng):
        near = [
            each
            for each in self.members
            if sum(each.choices.get(d.name) != architecture.choices.get(d.name) for d in self.decisions) == 1
        ]
        return near[rng.integers(len(near))]

    def encode(self, architecture):
        chosen = architecture.choices
        return np.array([d.options.index(chosen[d.name]) if d.name in chosen else -1 for d in self.decisions], np.int16)

    def decode(self, vector):
        pairs = zip(self.decisions, vector.tolist(), strict=True)
        return self.architecture({d.name: d.options[index] for d, index in pairs if index >= 0})

    def under(self, budget, task=SMALL):
        return Feasible(self, budget, task)

    def describe(self):
        return {"name": self.name, "widths": self.widths, "most": self.most}

    def __contains__(self, architecture):
        return isinstance(architecture, Architecture) and architecture.space is self


ROWS: Any = Rows()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_class_of_ones_own_keeps_the_laws_with_and_without_a_budget(seed):
    rng = np.random.default_rng(seed)
    assert load_space(ROWS) is ROWS
    for space in (ROWS, ROWS.under(Budget.parse("60%"), SMALL)):
        parent = space.sample(rng)
        child = space.mutate(parent, rng)
        assert parent in space and child in space and child != parent  # noqa: PT018
        assert space.decode(space.encode(child)) == child
        assert architecture_from_json(child.to_json(), ROWS) == child
        taken: dict = {}
        while (decision := space.next_decision(taken)) is not None:
            taken[decision.name] = decision.options[rng.integers(len(decision.options))]
        assert space.architecture(taken) in space
    fits = [each for each in ROWS.enumerate() if each in space]
    assert space.count.low == space.count.high == len(fits) < ROWS.size == 120


def test_costs_of_a_class_of_ones_own_are_what_fvcore_counts():
    counted(ROWS.sample(np.random.default_rng(3)), SMALL)


@pytest.mark.parametrize("strategy", ["random", "evolution", "pareto", "rl", "tpe", "guided", "grid"])
def test_a_study_searches_a_class_of_ones_own(tmp_path, strategy):
    import nas
    from nas.documents import space_document
    from tests.test_behaviour import Hashed

    study = nas.search(
        ROWS, "70%", "digits", task=str(SMALL), trials=14, strategy=strategy, estimator=Hashed(), seed=1, out=tmp_path,
        name="one",
    )  # fmt: skip
    assert len({trial.architecture for trial in study.trials}) == len(study.trials) == 14
    assert all(trial.architecture in study.feasible for trial in study.trials)
    again = nas.open_study(tmp_path / "one", space=ROWS)
    assert [trial.architecture for trial in again.trials] == [trial.architecture for trial in study.trials]
    document = space_document(ROWS, SMALL, Budget.parse("70%"))
    assert document["fits"]["low"] == document["fits"]["high"] == study.feasible.size
    assert json.loads(json.dumps(document))["decisions"][0] == {"name": "rows", "options": [1, 2, 3, 4]}


def test_a_file_with_a_class_of_ones_own_is_a_space_and_one_that_lacks_a_part_is_not(tmp_path):
    file = tmp_path / "rows.py"
    file.write_text("from tests.test_searchspaces_outside import Rows\nspace = Rows()\nhalf = object()\n")
    assert load_space(f"{file}:space").size == 120
    with pytest.raises(UserError, match=r"half is a object, not a search space .*it has no name, doc, decisions"):
        load_space(f"{file}:half")


# Cells whose output has other channels than the width of their stage.


def grown(c_in: int, width: int, stride: int, *, growth: int = 4, act: str = "relu") -> Node:
    """Its input beside a convolution of it, as in DenseNet; the width has no effect."""
    if stride > 1:
        return Chain(Conv(c_in + growth, 3, stride), Norm(), Act(act))
    return Concat(Identity(), Chain(Conv(growth, 3), Norm()))


def doubled(c_in: int, width: int, stride: int, *, kernel: int = 3, groups: int = 1) -> Node:
    """Two convolutions of the width side by side, grouped by what comes in."""
    groups = groups if c_in % groups == 0 and width % groups == 0 else 1
    return Concat(Conv(width, kernel, stride, groups=groups), Conv(width, 1, stride))


CELLS = {
    grown: {"growth": st.sampled_from([(2, 5), (3, 7)])},
    doubled: {"kernel": st.sampled_from([(1, 3), (3, 5)]), "groups": st.sampled_from([(1, 2), (1, 4)])},
    mbconv: {"kernel": st.sampled_from([(3, 5)]), "expansion": st.sampled_from([(1, 2), (2, 3)])},
}


@st.composite
def stages(draw) -> Stage:
    cell = draw(st.sampled_from(list(CELLS)))
    opened = draw(st.sampled_from([choice, per_block]))
    params = {name: opened(*draw(options)) for name, options in CELLS[cell].items()}
    width, depth = choice(*draw(st.sampled_from([(4, 8), (8, 12)]))), choice(1, draw(st.integers(2, 3)))
    return Stage(cell, width=width, depth=depth, stride=draw(st.sampled_from([1, 2])), **params)


@given(several=st.lists(stages(), min_size=1, max_size=3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_a_cell_may_return_other_channels_than_the_width_of_its_stage(several, seed):
    space = Space("any", stem=Stage(conv_stem, width=8), stages=several, head=Stage(conv_head, width=16))
    rng = np.random.default_rng(seed)
    counted(space.sample(rng), SMALL)
    every = space.under(Budget.parse("100%"), SMALL)
    half = (every.smallest.macs + every.largest.macs) // 2  # of some, the smallest has more than 60 % of the largest
    counted(space.under(Budget.parse(str(half)), SMALL).sample(rng), SMALL)


def mismatched(c_in: int, width: int, stride: int, *, kernel: int = 3) -> Node:
    """Its shortcut has as many channels as its input: wrong where the width changes."""
    return Sum(Conv(width, kernel, stride), Identity())


def test_a_cell_whose_shapes_do_not_fit_is_named_with_its_stage_and_choices():
    stage = Stage(mismatched, width=choice(8, 12), depth=1, kernel=choice(3, 5))
    space = Space("mine", stem=Stage(conv_stem, width=8), stages=[stage], head=Stage(conv_head, width=16))
    with pytest.raises(UserError, match=r"space mine, stage1 \(width=12 kernel=3\): branches of a sum differ in shape"):
        space.under(Budget.parse("60%"), SMALL)


# Values tied to other decisions.


def tied(**more: Any) -> Space:
    return Space(
        "tied",
        act=choice("relu", "silu"),
        stem=Stage(conv_stem, width=choice(8, 16)),
        stages=[
            Stage(mbconv, width=same_as("stem.width"), depth=choice(1, 2), kernel=choice(3, 5), expansion=2),
            Stage(mbconv, width=choice(8, 24), depth=same_as("stage1.depth"), kernel=same_as("stage1.kernel"), stride=2,
                  expansion=choice(1, 2)),
            Stage(mbconv, width=same_as("stage1.width"), depth=choice(1, 2), kernel=per_block(3, 5),
                  expansion=same_as("stage2.expansion")),
        ],
        head=Stage(conv_head, width=same_as("stage2.width")),
        **more,
    )  # fmt: skip


TIED = tied()


def test_a_tied_value_is_no_decision_and_counts_no_architectures():
    assert [each.name for each in TIED.decisions] == [
        "act", "stem.width", "stage1.depth", "stage1.kernel", "stage2.width", "stage2.expansion", "stage3.depth",
        "stage3.block1.kernel", "stage3.block2.kernel",
    ]  # fmt: skip
    assert TIED.size == 2**6 * (2 + 4) == len({each.network(SMALL) for each in TIED.enumerate()})


def test_a_tied_value_is_that_of_the_decision_it_is_tied_to():
    for member in itertools.islice(TIED.enumerate(), 0, None, 7):
        chosen, network = member.choices, member.network(SMALL)
        shapes = [node.shape(given) for node, given in network.steps(SMALL.shape)]
        _, first, second, _, head = network.children()
        assert shapes[1][0] == shapes[3][0] == chosen["stem.width"]
        assert len(first.children()) == len(second.children()) == chosen["stage1.depth"]
        assert f"kernel={chosen['stage1.kernel']}" in repr(second.children()[0])
        assert f"Conv(width={chosen['stage2.width']}," in repr(head)
        assert member.cost(SMALL).macs == network.cost(SMALL.shape).macs
    counted(TIED.sample(np.random.default_rng(0)), SMALL)


@pytest.mark.parametrize("text", ["50%", "40%..70%", "params=60%", "macs=60%,params=70%", "peak_activation_bytes=90%"])
def test_a_space_with_tied_values_is_counted_and_sampled_under_a_budget(text):
    fits = TIED.under(Budget.parse(text), SMALL)
    brute = {each for each in TIED.enumerate() if fits.budget.admits(each.cost(SMALL))}
    assert (fits.count.low, fits.count.high) == (len(brute), len(brute))
    rough = fits.counted(50)
    assert rough.low <= len(brute) <= rough.high
    assert set(fits.enumerate()) == brute
    rng = np.random.default_rng(2)
    for _ in range(20):
        parent = fits.sample(rng)
        child = fits.mutate(parent, rng)
        assert {parent, child} <= brute
        assert TIED.decode(TIED.encode(child)) == child
        assert architecture_from_json(child.to_json(), TIED) == child
    for name, largest in fits.largest.told().items():
        assert largest == max(each.cost(SMALL).told()[name] for each in TIED.enumerate())


def test_a_tie_is_part_of_what_a_space_is():
    described = TIED.describe()["fixed"]
    assert described["stage1"]["width"] == {"same_as": "stem.width"}
    assert described["stage3"]["width"] == {"same_as": "stem.width"}
    assert tied() == TIED
    assert tied(smallest_map=2) != TIED


def test_a_value_tied_to_a_fixed_one_is_fixed():
    space = Space(
        "fixed", stem=Stage(conv_stem, width=8), stages=[Stage(mbconv, width=same_as("stem.width"), kernel=3)]
    )
    assert space.size == 1
    assert space.describe()["fixed"]["stage1"]["width"] == 8


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (lambda: Stage(mbconv, width=same_as("stem.widht")), "did you mean 'stem.width'"),
        (lambda: Stage(mbconv, width=same_as("head.width")), "no such decision before it"),
        (lambda: Stage(mbconv, width=same_as("act")), "at least 1 is needed"),
        (lambda: Stage(mbconv, width=8, kernel=same_as("stage1.kernel")), "decided for each block"),
        (lambda: Stage(mbconv, width=same_as("stage1.width")), "no effect where its stage is left out"),
        (lambda: Stage(mbconv, width=8, depth=same_as("stage1.depth")), "at least 1 is needed"),
        (lambda: Stage(mbconv, width=8, depth=same_as("stem.depth"), kernel=per_block(3, 5)), "per block"),
        (lambda: Stage(same_as("stage1.cell"), width=8), "its cell cannot be the same"),
    ],
)
def test_a_tie_that_cannot_be_is_refused(stage, said):
    with pytest.raises(UserError, match=said):
        Space(
            "wrong",
            act=choice("relu", "silu"),
            stem=Stage(conv_stem, width=choice(8, 16)),
            stages=[Stage(mbconv, width=choice(8, 16), depth=choice(0, 1), kernel=per_block(3, 5)), stage()],
            head=Stage(conv_head, width=16),
        )
