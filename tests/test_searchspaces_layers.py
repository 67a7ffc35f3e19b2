"""Every allowed value of every layer's fields builds, costs exactly and has its source; any other value is refused."""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from layer_examples import (
    CHANNELS,
    EXAMPLES,
    FLAT,
    FLAT_TOO,
    JOINS,
    MAP,
    OBLONG,
    SIDE,
    drawn_chain,
    kinds,
    leaf_examples,
    oblong_examples,
    on_map,
    takes_flat,
)
from test_searchspaces_laws import peak_bytes

from benchmarks.exports import differences, differing_source
from searchspaces import Task, UserError
from searchspaces.calls import CALLS, call_to
from searchspaces.counting import traced_cost
from searchspaces.drawing import svg
from searchspaces.layers import (
    ACTIVATIONS,
    Act,
    Auxiliary,
    Chain,
    Concat,
    Conv,
    Dropout,
    Elementwise,
    Flatten,
    Gate,
    Graph,
    GraphStep,
    GroupNorm,
    Identity,
    Linear,
    Maxout,
    Multiply,
    Norm,
    Pad,
    Pool,
    PReLU,
    Resize,
    ShapeError,
    Shuffle,
    Slice,
    SpatialTransformer,
    SqueezeExcite,
    Sum,
    Zero,
)
from searchspaces.modules import build
from searchspaces.node import Within, layer
from searchspaces.torch_layers import draw_from

TASK = Task(SIDE, CHANNELS, 7)
AVERAGE = functools.partial(torch.nn.functional.avg_pool2d, count_include_pad=False)
CASES = [
    (node, given)
    for name, found in EXAMPLES.items()
    for node in found
    for given in (MAP, FLAT)
    if (given == MAP and name != "Linear") or (given == FLAT and takes_flat(node))
] + [(node, OBLONG) for node in oblong_examples()]


def case_name(value: object) -> str:
    return {FLAT: "flat", MAP: "map", OBLONG: "oblong"}.get(value) or repr(value)[:100]


@pytest.mark.parametrize(("node", "given"), CASES, ids=case_name)
def test_a_layer_builds_costs_what_is_counted_and_has_its_source(node, given):
    network = on_map(node, given)
    with torch.random.fork_rng():
        module = build(network, MAP).eval()
        assert build(node, given)(torch.rand(2, *given)).shape[1:] == node.shape(given)
    cost, counted = network.cost(MAP), traced_cost(module, TASK)
    assert (cost.macs, cost.params, cost.activations) == (counted.macs, counted.params, counted.activations)
    assert node.cost(given).peak_activation_bytes == peak_bytes(node, given)
    assert differing_source(network, TASK) is None
    assert svg(network, TASK)


def test_local_response_normalization_is_the_formula_of_its_paper():
    # Krizhevsky 2012, sec. 3.3: b_i = a_i / (k + alpha * sum of a_j**2 over n neighbours)**beta with k = 2, n = 5,
    # alpha = 1e-4, beta = 0.75
    given = (9, 3, 2)
    values = 100 * torch.rand(2, *given, generator=torch.Generator().manual_seed(0))
    expected = torch.empty_like(values)
    for i in range(9):
        squares = values[:, max(0, i - 2) : min(8, i + 2) + 1].square().sum(1)
        expected[:, i] = values[:, i] / (2 + 1e-4 * squares) ** 0.75
    torch.testing.assert_close(build(Norm("local_response"), given)(values), expected)


def test_drawn_chains_on_maps_of_any_sides_have_the_shapes_and_costs_that_are_counted():
    """Fields together that the examples try one at a time, on maps down to one pixel."""
    draw = random.Random(0)
    chains = list(dict.fromkeys(drawn_chain(draw) for _ in range(80)))
    assert {type(node) for chain in chains for node in chain.nodes} == set(CALLS)
    for chain in chains:
        with torch.random.fork_rng():
            module = build(chain, MAP).eval()
            made = module(torch.rand(2, *MAP))
        assert made.shape[1:] == chain.shape(MAP), chain
        cost, counted = chain.cost(MAP), traced_cost(module, TASK)
        assert (cost.macs, cost.params, cost.activations) == (counted.macs, counted.params, counted.activations), chain
        assert cost.peak_activation_bytes == peak_bytes(chain, MAP), chain


POOLS = [
    Pool(kind, kernel, stride, padding, ceil=True)
    for kind, kernel, stride, padding in itertools.product(("max", "avg"), (1, 2, 3, 4), (2, 3, 4), (0, 1, 2))
    if 2 * padding <= kernel
]


def test_a_pool_in_two_steps_is_the_pool():
    """As `ceil_mode` of torch computes it at once, on each pair of sides."""
    found = 0
    for node, sides in itertools.product(POOLS, itertools.product(range(4, 8), repeat=2)):
        if node.is_in_two_steps((2, *sides)):
            found += 1
            images = torch.randn(1, 2, *sides, generator=torch.Generator().manual_seed(0))
            pool = torch.nn.functional.max_pool2d if node.kind == "max" else AVERAGE
            expected = pool(images, node.kernel, node.stride, node.padding_side, ceil_mode=True)
            torch.testing.assert_close(build(node, (2, *sides))(images), expected)
    assert found > 20


def test_no_layer_and_no_way_to_join_is_without_examples():
    joined = {type(node) for node in JOINS}
    assert kinds() == set(CALLS) | joined
    assert all(EXAMPLES[kind.__name__] for kind in CALLS)
    steps = [step for node in JOINS if isinstance(node, Graph) for step in node.steps]
    assert {step.join for step in steps} == set(get_args(get_type_hints(GraphStep)["join"]))
    assert {step.weights_of is None for step in steps} == {True, False}
    assert {each.name for each in fields(GraphStep)} == {"node", "inputs", "join", "weights_of"}


def test_layers_that_take_maps_only_refuse_flat_vectors():
    for name, found in EXAMPLES.items():
        if name not in ("Linear", "joins", *(kind.__name__ for kind in FLAT_TOO)):
            for node in found:
                with pytest.raises(ShapeError):
                    node.cost(FLAT)
    with pytest.raises(ShapeError):
        Norm("local_response").cost(FLAT)
    with pytest.raises(ShapeError, match="Flatten"):
        Linear(3).cost(MAP)


WRONG: list[tuple[Any, str]] = [
    (lambda: Norm("laier"), "did you mean 'layer'"),
    (lambda: Norm(eps=0), "above 0"),
    (lambda: Norm("local_response", eps=1e-3), "no eps"),
    (lambda: Act("swich"), "Act: kind must be 'relu', .*, got 'swich'"),
    (lambda: Act(scale=float("nan")), "a number"),
    (lambda: Conv(0), "at least 1, got 0"),
    (lambda: Conv(8.0), "whole number"),
    (lambda: Conv(8, kernel=(3, 0)), "kernel must be"),
    (lambda: Conv(8, kernel=(3, 3, 3)), "a tuple of 2"),
    (lambda: Conv(8, stride=0), "stride must be"),
    (lambda: Conv(8, groups=0), "groups must be"),
    (lambda: Conv(8, padding=-1), "padding must be"),
    (lambda: Conv(8, padding="same"), "got 'same'"),
    (lambda: Conv(8, dilation=0), "dilation must be"),
    (lambda: Conv(8, bias=2), "True or False"),
    (lambda: Conv(True), "whole number"),
    (lambda: Linear(0), "width must be"),
    (lambda: Pool("min"), "'max' or 'avg', got 'min'"),
    (lambda: Pool("max", 3, padding=2), "half of the kernel"),
    (lambda: Dropout(1.5), "at most 1"),
    (lambda: SqueezeExcite(0), "reduced must be"),
    (lambda: SqueezeExcite(4, gate="relu"), "gate must be"),
    (lambda: SqueezeExcite(4, act="rely"), "did you mean 'relu'"),
    (lambda: Multiply("2"), "a number"),
    (lambda: Auxiliary(None), "a layer"),
    (lambda: Zero(0), "stride must be"),
    (lambda: Slice(4, 4), "below stop"),
    (lambda: Slice(-1, 4), "start must be"),
    (lambda: Shuffle(0), "groups must be"),
    (lambda: Pad(0), "width must be"),
    (lambda: Resize(0), "above 0"),
    (lambda: Chain(Conv), "joins layers"),
    (lambda: Sum(), "at least one branch"),
    (lambda: Concat(Identity(), 3), "joins layers, got 3"),
    (lambda: Graph(()), "at least one step"),
    (lambda: Graph((GraphStep(Identity(), (0,)),), inputs=0), "inputs must be"),
    (lambda: GraphStep(Identity(), (0,), "add"), "join must be"),
    (lambda: GraphStep(Conv, (0,)), "a layer"),
]


@pytest.mark.parametrize(("make", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_value_that_is_not_allowed_is_refused_when_the_layer_is_made(make, said):
    with pytest.raises(UserError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


def _of_numpy(value):
    if isinstance(value, tuple):
        return tuple(map(_of_numpy, value))
    kinds = {int: np.int64, float: np.float32 if value == 0.5 else np.float64}
    return kinds.get(type(value), lambda value: value)(value)


def test_numbers_of_numpy_are_kept_as_pythons():
    leaves = {node for found in EXAMPLES.values() for node in found if is_dataclass(node)}
    for node in leaves:
        made = type(node)(**{each.name: _of_numpy(getattr(node, each.name)) for each in fields(node)})
        assert (made, repr(made)) == (node, repr(node))  # numpy's numbers have their kind in their text
    assert repr(GraphStep(Identity(), (np.int64(0),)).inputs) == "(0,)"
    assert type(Conv(np.int64(8), 3).cost((3, 8, 8)).macs) is int


def test_a_field_without_an_example_is_noticed(monkeypatch):
    from layer_examples import OPEN

    monkeypatch.setitem(OPEN, Pool, {})
    with pytest.raises(LookupError, match=r"Pool\.kernel has no example"):
        leaf_examples(Pool)


def test_layer_normalization_is_that_of_convnext():
    """Liu 2022, arXiv:2201.03545: over channels, at each pixel by itself; 2 parameters per channel."""
    norm = Norm("layer")
    assert norm.cost((96, 56, 56)).params == 192
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.randn(2, *MAP)
        normed = build(norm, MAP)(images)
    pixel = images[1, :, 2, 3]
    expected = (pixel - pixel.mean()) / (pixel.var(unbiased=False) + 1e-6).sqrt()
    torch.testing.assert_close(normed[1, :, 2, 3], expected)


def seeded(node, given=MAP):
    """The node's module, a batch of images, and what it makes of them in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, images = build(node, given), torch.randn(2, *given)
        return module, images, module.train()(images)


def test_group_normalization_is_that_of_its_paper():
    """Wu & He 2018, arXiv:1803.08494, eqs. 1 to 3: over the pixels and channels of a group, for each image alone."""
    _, images, normed = seeded(GroupNorm(2))
    group = images[1, CHANNELS // 2 :]
    expected = (group - group.mean()) / (group.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(normed[1, CHANNELS // 2 :], expected)
    with pytest.raises(ShapeError, match="8 channels into 3 groups"):
        GroupNorm(3).cost(MAP)
    with pytest.raises(ShapeError, match="more than one value"):
        GroupNorm(8).cost((8, 1, 1))


def test_a_prelu_learns_the_slope_of_each_channel():
    """He 2015, arXiv:1502.01852, eq. 1; 0.25 at first."""
    module, images, made = seeded(PReLU())
    torch.testing.assert_close(made, images.clamp(min=0) + 0.25 * images.clamp(max=0))
    made.sum().backward()
    torch.testing.assert_close(module.weight.grad, images.clamp(max=0).sum((0, 2, 3)))


def test_a_maxout_takes_the_largest_of_its_pieces():
    """Goodfellow 2013, arXiv:1302.4389, sec. 3."""
    _, images, made = seeded(Maxout(4))
    assert made.shape[1:] == Maxout(4).shape(MAP) == (2, SIDE, SIDE)
    torch.testing.assert_close(made[:, 1], images[:, 4:].amax(1))
    with pytest.raises(ShapeError, match="groups of 3"):
        Maxout(3).cost(MAP)


def test_a_highway_layer_is_a_residual_behind_a_gate():
    """Srivastava 2015, arXiv:1505.00387, eq. 3: T * H + (1 - T) * x; a gate far below zero carries x."""
    for shift in (-2.0, -200.0):
        node = Sum(Identity(), Chain(Concat(Sum(Linear(8), Multiply(-1.0)), Linear(8)), Gate(shift)))
        module, x, made = seeded(node, FLAT)
        first, second = module.get_submodule("branches.1.0").branches
        share = torch.sigmoid(second(x) + shift)
        torch.testing.assert_close(made, share * first.branches[0](x) + (1 - share) * x)
        assert torch.equal(made, x) == (shift == -200.0)
        assert node.cost(FLAT).params == 2 * (8 * 8 + 8)
    with pytest.raises(ShapeError, match="halve 7"):
        Gate().cost((7,))


@pytest.mark.parametrize("node", EXAMPLES["SpatialTransformer"], ids=repr)
def test_a_spatial_transformer_begins_as_the_identity_and_learns_in_every_parameter(node):
    module, images, made = seeded(node)
    torch.testing.assert_close(made, images, atol=1e-5, rtol=0)
    with torch.no_grad():
        module.pose.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))  # zero at first, as is what is before
    module(images).square().sum().backward()
    assert all(each.grad.abs().sum() > 0 for each in module.parameters())


def test_a_spatial_transformer_samples_where_its_matrix_points_with_zeros_outside():
    """Jaderberg 2015, arXiv:1506.02025, eqs. 1 and 5: the input's place of each place of the output, bilinearly."""
    module, images, _ = seeded(SpatialTransformer())
    pixel = 2 / SIDE  # of two half sides
    cases = {
        (1, 0, pixel, 0, 1, 0): torch.nn.functional.pad(images[..., 1:], (0, 1)),
        (1, 0, 0, 0, 1, -2 * pixel): torch.nn.functional.pad(images[..., :-2, :], (0, 0, 2, 0)),
        (-1, 0, 0, 0, 1, 0): images.flip(3),
        (0, 1, 0, 1, 0, 0): images.transpose(2, 3),
        (1, 0, pixel / 2, 0, 1, 0): (images + torch.nn.functional.pad(images[..., 1:], (0, 1))) / 2,
    }
    for matrix, expected in cases.items():
        with torch.no_grad():
            module.shift.copy_(torch.tensor([float(each) for each in matrix]))
            torch.testing.assert_close(module(images), expected, atol=1e-5, rtol=0)


def test_a_spatial_transformer_is_exported_and_counted_by_hand():
    network = Chain(SpatialTransformer(16, 4, 3), Conv(4, 3, 2), Act(), Flatten(), Linear(7))
    for name in ("python", "torchscript", "torch-export", "onnx"):
        assert differences(network, TASK, [name])  # raises where logits differ; poses are not those of the identity
    # 5 x 5 and 3 x 3 maps of 4 channels, 16 features, 6 numbers
    macs = 25 * 4 * 8 * 9 + 9 * 4 * 4 * 9 + 36 * 16 + 16 * 6
    assert SpatialTransformer(16, 4, 3).cost(MAP).macs == macs


def test_dropconnect_drops_weights_in_training_only_and_keeps_their_mean():
    """Wan 2013, ICML: single weights, not outputs. The mean of 20,000 sums is within 6 standard errors."""
    module, _, _ = seeded(Linear(5, bias=False, drop_connect=0.25), FLAT)
    ones, times = torch.ones(1, 8), 4000
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        module.weight.fill_(1.0)
        drawn = torch.stack([module(ones)[0] for _ in range(times)])  # (draws, 5): sums of 8 weights of 0 or 4/3
        assert set((drawn * 3 / 4).round().unique().tolist()) <= set(range(9))
        assert (drawn[:, 0] != drawn[:, 1]).any()  # each output has weights of its own
        assert abs(drawn.mean() - 8) < 6 * (8 * 0.25 / 0.75 / (5 * times)) ** 0.5
        assert torch.equal(module.eval()(ones), torch.full((1, 5), 8.0))
        assert not build(Linear(5, bias=False, drop_connect=1), FLAT)(ones).any()


def test_the_weights_that_are_dropped_come_from_the_generator_of_the_training():
    module, images, _ = seeded(Linear(5, drop_connect=0.5), FLAT)
    made = []
    for seed in (3, 3, 4):
        draw_from(module, torch.Generator().manual_seed(seed))
        made.append(module(images))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_zero_is_zero_and_lets_gradients_of_zero_pass():
    images = torch.ones(1, *MAP, requires_grad=True)
    out = build(Zero(2), MAP)(images)
    assert out.shape == (1, *Zero(2).shape(MAP)) == (1, 8, 5, 5)
    assert not out.any()
    out.sum().backward()
    assert images.grad is not None
    assert not images.grad.any()


def test_a_cell_of_nas_bench_201_has_the_zeros_of_its_paper():
    """Dong & Yang 2020, arXiv:2001.00326, sec. 2.1: four nodes, each pair joined by one of five operations."""
    operations = (Zero(), Identity(), Conv(8), Conv(8, 3), Pool("avg", 3, 1))
    cell = Graph(
        (
            *(GraphStep(operations[3], (0,)), GraphStep(operations[0], (0,)), GraphStep(operations[1], (1,))),
            *(GraphStep(Identity(), (2, 3)), GraphStep(operations[0], (0,)), GraphStep(operations[4], (1,))),
            *(GraphStep(operations[2], (4,)), GraphStep(Identity(), (5, 6, 7))),
        )
    )
    cost = cell.cost(MAP)
    assert cost.params == 8 * 8 * 9 + 8 * 8
    assert cost.macs == cost.params * SIDE**2
    assert differing_source(on_map(cell), TASK) is None
    assert "zero" in svg(cell, TASK)


def test_every_activation_that_is_offered_is_an_example():
    assert {node.kind for node in leaf_examples(Act)} == set(ACTIVATIONS)


def test_stochastic_layers_do_nothing_outside_training():
    images = torch.rand(2, *MAP)
    for kind in ("Dropout", "DropPath", "Auxiliary", "Identity"):
        for node in EXAMPLES[kind]:
            torch.testing.assert_close(build(node, MAP, drop_path=0.5).eval()(images), images)


# A layer from outside, added in the places that CONTRIBUTING.md names.


@layer
class ConstantShift(Elementwise):
    """The input plus a constant."""

    amount: Annotated[float, Within(low=0)]


TORCH_CLASS = """
from torch import Tensor, nn

def shifted(x: Tensor, amount: float) -> Tensor:
    return x + amount

class ConstantShift(nn.Module):
    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return shifted(x, self.amount)
"""


@pytest.mark.parametrize("given", [MAP, FLAT], ids=case_name)
def test_a_new_layer_is_a_value_a_torch_class_and_a_line_in_a_table(given, monkeypatch, tmp_path):
    (tmp_path / "my_torch_layers.py").write_text(TORCH_CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(CALLS, ConstantShift, lambda node, given: call_to("my_torch_layers:ConstantShift", node.amount))
    test_a_layer_builds_costs_what_is_counted_and_has_its_source(ConstantShift(0.5), given)
    network = Chain(on_map(ConstantShift(0.5), given), Linear(7))
    assert "constant shift 0.5" in svg(network, TASK)
    if given == MAP:
        assert all(differences(network, TASK, [name]) for name in ("python", "torchscript", "onnx"))
    with pytest.raises(UserError, match="ConstantShift: amount must be a number of at least 0, got -1"):
        ConstantShift(-1)


def test_a_layer_without_a_line_in_the_table_says_where_one_is_missing():
    with pytest.raises(TypeError, match="no torch module is known for ConstantShift: add a line to CALLS"):
        build(ConstantShift(0.5), MAP)


def test_a_chain_of_nothing_can_be_drawn():
    assert svg(Chain(), Task(8, 1, 3)).startswith("<svg")
