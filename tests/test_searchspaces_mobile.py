"""What is special of inverted residuals: decisions per block, MobileNetV3's rounding, activations that cost nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from searchspaces import (
    Budget,
    Scale,
    Space,
    Stage,
    Task,
    choice,
    classic,
    conv_head,
    conv_stem,
    mbconv,
    per_block,
    space_named,
)
from searchspaces.errors import UserError
from searchspaces.layers import Act, Chain, Conv, leaves

SMALL = Task(32, 3, 10)
OPEN = ("relu", "relu6", "silu", "hard_swish", "mish", "elu", "leaky_relu", "gelu")


def blocks() -> Space:
    """Like `mbconv-blocks`, but small enough to enumerate: 2 * (1 + 4 + 16) * (2 * 9) * 2 = 1,512 networks."""
    return Space(
        "blocks",
        stem=Stage(conv_stem, width=choice(8, 16), stride=2),
        stages=[
            Stage(mbconv, depth=choice(0, 1, 2), width=16, kernel=per_block(3, 5), expansion=per_block(1, 3)),
            Stage(mbconv, depth=1, width=choice(16, 24), kernel=per_block(3, 5, 7), expansion=per_block(1, 3, 6),
                  always_expand=True, stride=2),
        ],
        head=Stage(conv_head, width=choice(32, 64)),
    )  # fmt: skip


BLOCKS = blocks()


@pytest.fixture(scope="module")
def members():
    return {member: member.cost(SMALL) for member in BLOCKS.enumerate()}


def test_all_networks_of_a_space_decided_by_block_are_there_once_and_differ(members):
    assert BLOCKS.size == len(members) == 2 * (1 + 4 + 16) * 2 * 9 * 2
    assert len({member.network(SMALL) for member in members}) == len(members)


@pytest.mark.parametrize("text", ["500K", "700K", "1M", "600K..800K", "params=8K", "macs=900K,params=9K", "50%"])
def test_what_fits_is_what_brute_force_finds(members, text):
    feasible = BLOCKS.under(Budget.parse(text), SMALL)
    fits = {member for member, cost in members.items() if feasible.budget.admits(cost)}
    assert fits == set(feasible.enumerate())
    assert (feasible.count.low, feasible.count.high) == (len(fits), len(fits))
    rough = feasible.counted(500)
    assert rough.low <= len(fits) <= rough.high
    rng, seen = np.random.default_rng(0), set()
    for _ in range(6 * len(fits)):  # each is missed with probability exp(-6) = 0.25 %
        seen.add(feasible.sample(rng))
    assert seen <= fits
    assert len(seen) >= 0.99 * len(fits)


@pytest.mark.parametrize("name", ["mbconv-blocks", "mobilenetv3", "efficientnetv2"])
@pytest.mark.parametrize("scale", [Scale(), Scale(0.5, 0.5), Scale(1.2, 1.4)], ids=str)
def test_costs_remembered_block_by_block_are_those_of_the_tree(name, scale):
    space, rng = space_named(name), np.random.default_rng(5)
    for _ in range(5):
        architecture = space.sample(rng)
        assert architecture.cost(SMALL, scale) == architecture.network(SMALL, scale).cost(SMALL.shape)


def test_the_rounded_expansions_of_mobilenetv3_stay_apart():
    """Else two architectures would be one network; the widths that can come into each stage are those before it."""
    coming: tuple = (16,)
    options = {decision.name: decision.options for decision in space_named("mobilenetv3").decisions}
    for stage in range(2, 7):
        here = options[f"stage{stage}.width"]
        for c_in in {*coming, *here}:
            bodies = {mbconv(c_in, 8, 1, expansion=each) for each in options[f"stage{stage}.block1.expansion"]}
            assert len(bodies) == len(options[f"stage{stage}.block1.expansion"]), (stage, c_in)
        coming = here


def test_mobilenetv3_excites_a_quarter_of_the_inside_rounded_to_8():
    # 1905.02244, table 1: the first block with squeeze-excite has 72 channels inside; 72 / 4 = 18 becomes 24, as 16
    # would lose more than a tenth.
    network = classic("mobilenetv3_large_100").network()
    reduced = [node.reduced for node, _ in leaves(network, (3, 224, 224)) if hasattr(node, "reduced")]
    assert reduced == [24, 32, 32, 120, 168, 168, 240, 240]


def test_a_separable_convolution_takes_672_multiplications_where_a_full_one_takes_2160():
    # 5 filters of 3x3 on 6x6x3 without padding: 4 * 4 * 5 * 27; separable 4 * 4 * (27 + 3 * 5).
    assert Conv(5, 3, padding=0).cost((3, 6, 6)).macs == 2160
    assert Chain(Conv(3, 3, groups=3, padding=0), Conv(5)).cost((3, 6, 6)).macs == 672


def with_activations(shared, first, second) -> Space:
    return Space(
        "acts",
        act=shared,
        stem=Stage(conv_stem, width=8, stride=2),
        stages=[
            Stage(mbconv, width=8, expansion=2, **({"act": first} if first else {})),
            Stage(mbconv, width=16, depth=2, stride=2, expansion=2, se=0.25, **({"act": second} if second else {})),
        ],
        head=Stage(conv_head, width=16),
    )


@pytest.mark.parametrize(
    ("shared", "first", "second", "size"),
    [
        (choice(*OPEN), None, None, 8),
        ("relu", choice(*OPEN), None, 8),
        ("relu", choice(*OPEN), choice(*OPEN), 64),
        ("relu", None, per_block(*OPEN), 64),
        (choice(*OPEN), None, per_block("relu", "mish"), 32),
    ],
    ids=["shared", "a stage", "two stages", "blocks", "shared and blocks"],
)
def test_activations_can_be_open_anywhere_and_cost_nothing(shared, first, second, size):
    space = with_activations(shared, first, second)
    everything = list(space.enumerate())
    assert space.size == len(everything) == len({each.network(SMALL) for each in everything}) == size
    (cost,) = {each.cost(SMALL) for each in everything}
    feasible = space.under(Budget.parse(f"{cost.macs}..{cost.macs}"), SMALL)
    assert (feasible.count.low, feasible.count.high) == (size, size)
    parent = feasible.sample(np.random.default_rng(0))
    assert feasible.mutate(parent, np.random.default_rng(0)) in feasible
    kinds = {
        node.kind
        for each in everything
        for node, _ in leaves(each.network(SMALL), SMALL.shape)
        if isinstance(node, Act)
    }
    assert kinds >= set(OPEN if second is None or len(second.options) > 2 else ("relu", "mish"))


def test_a_shared_choice_that_every_stage_overrides_is_refused():
    fixed = [Stage(conv_stem, width=8, act="relu"), Stage(conv_head, width=16, act="relu")]
    with pytest.raises(UserError, match="every stage sets it"):
        Space("idle", stages=fixed[:1], head=fixed[1], act=choice("relu", "silu"))


def test_activations_are_what_is_built_and_counted():
    import torch

    from searchspaces.counting import traced_cost

    space = with_activations("relu", None, per_block(*OPEN))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for first, second in itertools.pairwise(OPEN):
            member = space.architecture({"stage2.block1.act": first, "stage2.block2.act": second})
            module = member.build(SMALL)
            counted, ours = traced_cost(module, SMALL), member.cost(SMALL)
            assert (ours.macs, ours.params, ours.activations) == (counted.macs, counted.params, counted.activations)
            module(torch.randn(2, 3, 32, 32)).square().sum().backward()
            assert all(torch.isfinite(each.grad).all() for each in module.parameters())
