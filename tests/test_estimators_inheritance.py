"""Weight inheritance: what is copied, what computes the same, and what stays as it was initialized."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_examples import MAP, everything

from estimators.inheritance import inherit
from searchspaces import SPACES, Scale, Task, classic, space_named
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    DropPath,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Norm,
    Pad,
    Pool,
    Shuffle,
    Slice,
    SqueezeExcite,
    Sum,
)
from searchspaces.modules import build
from searchspaces.resnet import bottleneck, res2net

SMALL = Task(32, 3, 10)
SIZE = Scale(0.25, 0.5)
IMAGES = (3, 16, 16)
HEAD = (GlobalPool(), Flatten(), Linear(5))


def trained(node, shape, seed=0):
    """A module with weights, norms and running statistics that are far from fresh ones."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        module = build(node, shape)
        with torch.no_grad():
            for each in module.parameters():
                if each.dim() < 2:
                    each.add_(0.1 * torch.randn(each.shape))
            for each in module.modules():
                if isinstance(each, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                    each.momentum = 1.0
            module.train()(torch.randn(8, *shape))
    return module.eval()


def child_of(parent, module, node, shape, seed=0):
    """A module with the weights of another one, and what it inherited."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed + 1)
        child = build(node, shape)
    return child.eval(), inherit(child, node, shape, module.state_dict(), parent, shape, seed)


def logits(module, shape, kind=torch.float32):
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(5)
        return module.to(kind)(torch.randn(4, *shape, dtype=kind))


def assert_computes_the_same(parent, child, shape):
    """To 1e-5, and in double precision to 1e-6 of the largest: what float32 differs by is rounding."""
    ours, theirs = logits(child, shape), logits(parent, shape)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, float(theirs.abs().max())))
    ours, theirs = logits(child, shape, torch.float64), logits(parent, shape, torch.float64)
    assert float((ours - theirs).abs().max()) <= 1e-6 * float(theirs.abs().max())


def bits(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", SPACES)
def test_the_same_network_inherits_all_and_computes_the_same_to_the_last_bit(name):
    node = space_named(name).sample(np.random.default_rng(3)).network(SMALL, SIZE)
    parent = trained(node, SMALL.shape)
    before = bits(parent)
    child, found = child_of(node, parent, node, SMALL.shape)
    assert (found.inherited, found.preserved) == (found.params, True)
    assert equal(bits(child), before)  # running statistics are among them
    assert torch.equal(logits(child, SMALL.shape), logits(parent, SMALL.shape))
    assert equal(bits(parent), before)


def claims(name: str, draws: int) -> int:
    """How many of so many children claim to compute what their parents do; what fails is an AssertionError."""
    space, rng, claimed = space_named(name), np.random.default_rng(4), 0
    for seed in range(draws):
        architecture = space.sample(rng)
        one, other = (each.network(SMALL, SIZE) for each in (architecture, space.mutate(architecture, rng)))
        parent = trained(one, SMALL.shape, seed)
        before = bits(parent)
        child, found = child_of(one, parent, other, SMALL.shape, seed)
        assert equal(bits(parent), before)
        assert 0 < found.inherited <= found.params
        assert torch.isfinite(logits(child, SMALL.shape)).all()
        if found.preserved:
            assert_computes_the_same(parent, child, SMALL.shape)
        claimed += found.preserved
    return claimed


@pytest.mark.parametrize("name", SPACES)
def test_what_claims_to_compute_the_same_does_and_the_parent_is_left_as_it_was(name):
    claims(name, 2)  # 20 in `benchmarks.proofs`


def residual(width, inside, kernel=3, reduced=4, act="silu"):
    return Sum(
        Identity(),
        Chain(
            Conv(inside), Norm(), Act(act), Conv(inside, kernel, groups=inside), Norm(), Act(act),
            SqueezeExcite(reduced, "silu"), Conv(width), Norm(), DropPath(),
        ),
    )  # fmt: skip


def stem(width, kernel=3, act="relu"):
    return Chain(Conv(width, kernel), Norm(), Act(act))


def twice(width, act="relu"):
    """A block of ResNet."""
    body = Chain(Chain(Conv(width, 3), Norm(), Act(act)), Chain(Conv(width, 3), Norm()), DropPath())
    return Chain(Sum(Identity(), body), Act(act))


def split(width, kernel=3):
    """Half of the channels through a convolution, then all of them shuffled (ShuffleNet V2)."""
    half = width // 2
    steps = (
        GraphStep(Slice(0, half), (0,)),
        GraphStep(Chain(Slice(half, width), Conv(half, kernel, groups=half), Norm()), (0,)),
        GraphStep(Shuffle(2), (1, 2), "concat"),
    )
    return Graph(steps)


PRESERVING = {
    "wider": (Chain(stem(8), residual(8, 24)), Chain(stem(12), residual(12, 24))),
    "twice as wide everywhere": (Chain(stem(8), residual(8, 24)), Chain(stem(16), residual(16, 48, reduced=8))),
    "a wider inside": (Chain(stem(8), residual(8, 24)), Chain(stem(8), residual(8, 40))),
    "a wider squeeze": (Chain(stem(8), residual(8, 24)), Chain(stem(8), residual(8, 24, reduced=6))),
    "a larger kernel": (Chain(stem(8), residual(8, 24)), Chain(stem(8, 5), residual(8, 24, 7))),
    "a larger kernel, wider": (Chain(stem(8), residual(8, 24)), Chain(stem(8, 5), residual(8, 32, 5))),
    "dense instead of dilated": (Conv(8, 3, dilation=2), Conv(8, 5)),
    "a bias": (Conv(8, 3), Conv(8, 3, bias=True)),
    "a new block": (Chain(stem(8), residual(8, 24)), Chain(stem(8), residual(8, 24), residual(8, 24))),
    "new blocks that end in ReLU": (Chain(stem(8), twice(8)), Chain(stem(8), twice(8), twice(8), twice(8))),
    "a new block, wider": (Chain(stem(8), twice(8)), Chain(stem(20), twice(20), twice(20))),
    "wider branches": (
        Chain(stem(8), Concat(stem(4), stem(6, 5), Pool("max", 3, 1)), stem(10)),
        Chain(stem(8), Concat(stem(8), stem(9, 5), Pool("max", 3, 1)), stem(10)),
    ),
    "a wider residual beside a concat": (
        Chain(stem(8), Concat(stem(4), stem(6)), Sum(Identity(), stem(10))),
        Chain(stem(8), Concat(stem(8), stem(9)), Sum(Identity(), stem(17))),
    ),
    "wider groups": (
        Chain(stem(16), bottleneck(16, 32, 1, groups=4, inside=0.5)),
        Chain(stem(16), bottleneck(16, 64, 1, groups=4, inside=0.5)),
    ),
    "fewer groups": (
        Chain(stem(16), bottleneck(16, 32, 1, groups=4)), Chain(stem(16), bottleneck(16, 32, 1, groups=1)),
    ),
    "a wider Res2Net": (
        Chain(stem(32), res2net(32, 64, 1, base=64)), Chain(stem(32), res2net(32, 128, 1, base=64)),
    ),
    "a wider shortcut of zeros": (
        Chain(stem(8), Sum(Pad(12), Conv(12, 3)), Norm()), Chain(stem(12), Sum(Pad(18), Conv(18, 3)), Norm()),
    ),
    "wider halves": (Chain(stem(8), split(8), Norm(), split(8)), Chain(stem(16), split(16), Norm(), split(16, 5))),
    "another shuffle": (Chain(stem(8), Shuffle(2), Conv(8)), Chain(stem(8), Shuffle(4), Conv(8))),
    "layer norm, twice as wide": (
        Chain(Conv(8, 3), Norm("layer"), Conv(8)), Chain(Conv(16, 3), Norm("layer"), Conv(8)),
    ),
    "a wider vector": (
        Chain(stem(4), Pool("avg", 4, 4), Flatten(), Linear(12), Act("gelu")),
        Chain(stem(6), Pool("avg", 4, 4), Flatten(), Linear(20), Act("gelu")),
    ),
}  # fmt: skip
"""Operations that preserve the function: a body of the parent and one of the child."""


@pytest.mark.parametrize("case", PRESERVING)
def test_these_operations_preserve_the_function(case):
    flat = case == "a wider vector"
    one, other = (Chain(body, *(HEAD[2:] if flat else HEAD)) for body in PRESERVING[case])
    parent = trained(one, IMAGES)
    child, found = child_of(one, parent, other, IMAGES)
    assert found.preserved
    assert_computes_the_same(parent, child, IMAGES)


def test_a_deeper_classic_begins_as_the_shallower_one():
    one, other = (classic(name).network(Task(32, 3, 10)) for name in ("resnet20", "resnet32"))
    parent = trained(one, SMALL.shape)
    child, found = child_of(one, parent, other, SMALL.shape)
    assert found.preserved
    assert_computes_the_same(parent, child, SMALL.shape)
    # the others are the six new blocks, two a stage: each with two 3x3 convolutions and the norms behind them
    assert found.params - found.inherited == sum(2 * (2 * 9 * width**2 + 4 * width) for width in (16, 32, 64))


CHANGING = {
    "narrower": (Chain(stem(8), twice(8)), Chain(stem(4), twice(4))),
    "a smaller kernel": (stem(8, 5), stem(8, 3)),
    "an activation": (stem(8), stem(8, act="silu")),
    "a stride": (Conv(8, 3), Conv(8, 3, stride=2)),
    "fewer blocks": (Chain(stem(8), twice(8), twice(8)), Chain(stem(8), twice(8))),
    "a new squeeze-excite": (Chain(stem(8), Conv(8)), Chain(stem(8), SqueezeExcite(2), Conv(8))),
    "a new block of SiLU around its sum": (Chain(stem(8), twice(8)), Chain(stem(8), twice(8), twice(8, "silu"))),
    "layer norm, unevenly wider": (Chain(Conv(8), Norm("layer")), Chain(Conv(12), Norm("layer"))),
    "standardized weights, wider": (Chain(stem(8), Conv(8, 3, standardized=True)),
                                    Chain(stem(16), Conv(8, 3, standardized=True))),
    "local response norm, wider": (Chain(Conv(8), Norm("local_response")), Chain(Conv(16), Norm("local_response"))),
    "more groups": (Chain(stem(8), Conv(8, 3)), Chain(stem(8), Conv(8, 3, groups=4))),
    "a new residual": (Chain(stem(8), Conv(8, 3)), Chain(stem(8), Sum(Identity(), Conv(8, 3)))),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGING)
def test_what_alters_the_function_does_not_claim_to_preserve_it(case):
    one, other = (Chain(body, *HEAD) for body in CHANGING[case])
    parent = trained(one, IMAGES)
    child, found = child_of(one, parent, other, IMAGES)
    assert not found.preserved
    assert found.inherited > 0
    ours, theirs = (logits(each, IMAGES, torch.float64) for each in (child, parent))
    assert float((ours - theirs).abs().max()) > 1e-9 * float(theirs.abs().max())


def test_every_layer_with_every_value_inherits_itself():
    node = everything()
    parent = trained(node, MAP)
    child, found = child_of(node, parent, node, MAP)
    assert equal(bits(child), bits(parent))
    assert (found.inherited, found.preserved) == (found.params, True)


def test_a_narrower_layer_has_channels_spread_evenly_and_a_smaller_kernel_the_centre():
    one, other = Chain(Conv(8, 5), *HEAD), Chain(Conv(4, 3), *HEAD)
    parent = trained(one, IMAGES)
    child, _ = child_of(one, parent, other, IMAGES)
    ours, theirs = child.state_dict()["0.weight"], parent.state_dict()["0.weight"]
    assert torch.equal(ours, theirs[::2, :, 1:4, 1:4])


def test_a_head_for_other_classes_is_fresh():
    one, other = Chain(stem(8), *HEAD), Chain(stem(8), *HEAD[:2], Linear(7))
    parent = trained(one, IMAGES)
    child, found = child_of(one, parent, other, IMAGES)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        fresh = build(other, IMAGES)
    assert torch.equal(child[3].weight, fresh[3].weight)
    assert (found.params - found.inherited, found.preserved) == (7 * 8 + 7, False)


@pytest.mark.parametrize("name", [*SPACES, "squeezenet1_1", "nin", "all_cnn"])  # the last three end in a convolution
def test_logits_are_taken_over_in_the_order_that_is_asked_for_and_the_others_are_fresh(name):
    asked = [3, -1, 0, 9, 1, 2, -1]
    drawn = space_named(name).sample(np.random.default_rng(3)) if name in SPACES else classic(name)
    size = (SIZE,) if name in SPACES else ()
    one, other = (drawn.network(Task(32, 3, classes), *size) for classes in (10, len(asked)))
    parent = trained(one, SMALL.shape)
    child = build(other, SMALL.shape).eval()
    found = inherit(child, other, SMALL.shape, parent.state_dict(), one, SMALL.shape, 0, asked)
    ours, theirs = logits(child, SMALL.shape), logits(parent, SMALL.shape)
    for own, of in enumerate(asked):
        assert of < 0 or torch.allclose(ours[:, own], theirs[:, of], atol=1e-4)
    assert not found.preserved
    head = list(child.state_dict())[-2]
    assert {each.rpartition(".")[0] for each in found.fresh} == {head.rpartition(".")[0]}
    assert found.params - found.inherited == 2 * (child.state_dict()[head].shape[1] + 1)


def test_layers_that_the_parent_has_not_stay_as_they_were_initialized():
    one = Chain(stem(8), Conv(8), *HEAD)
    other = Chain(stem(8), SqueezeExcite(2), Conv(8), *HEAD)
    child, found = child_of(one, trained(one, IMAGES), other, IMAGES)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        fresh = build(other, IMAGES)
    assert equal(bits(child[1]), bits(fresh[1]))
    assert found.params - found.inherited == 2 * 8 * 2 + 2 + 8


def test_the_seed_decides_how_copies_share_a_weight_and_nothing_else_does():
    one, other = Chain(stem(8), Conv(8), *HEAD), Chain(stem(12), Conv(8), *HEAD)
    parent = trained(one, IMAGES)

    def weights(seed):
        torch.manual_seed(7)
        np.random.seed(7)
        child = build(other, IMAGES)
        inherit(child, other, IMAGES, parent.state_dict(), one, IMAGES, seed)
        return bits(child)

    first = weights(1)
    assert equal(first, weights(1))
    assert not equal(first, weights(2))
    # channels 0 and 1 of the wider one are copies, which learn differently only if their shares differ
    shares = first["1.weight"][:, :2] / parent.state_dict()["1.weight"][:, :1]
    assert torch.allclose(shares.sum(1), torch.ones(()))
    assert not torch.allclose(shares[:, 0], shares[:, 1])


@pytest.mark.parametrize("seed", [1, 12])  # cells of several inputs meet pieces of one
def test_any_cell_may_start_from_any_other(seed):
    rng = np.random.default_rng(seed)
    one, other = (space_named("nasnet").sample(rng).network(SMALL, SIZE) for _ in range(2))
    child, found = child_of(one, trained(one, SMALL.shape), other, SMALL.shape)
    assert 0 < found.inherited < found.params
    assert torch.isfinite(logits(child, SMALL.shape)).all()
