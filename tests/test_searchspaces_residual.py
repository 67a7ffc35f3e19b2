"""What is special about residual networks; their costs are in the golden table."""

from __future__ import annotations

from copy import deepcopy

import pytest

from searchspaces import Task, space_named
from searchspaces.classics.fractal import fractalnet
from searchspaces.classics.polynet import poly
from searchspaces.layers import Chain, Conv, Gain, Graph, GraphStep, Identity, Mean, Multiply, Norm, ShapeError, leaves
from searchspaces.resnet import basic, bottleneck, res2net


@pytest.mark.parametrize(
    ("size", "strides"),
    [
        (224, [2, 2, 1, 2, 2, 2, 1]),
        (64, [1, 2, 1, 2, 2, 2, 1]),
        (32, [1, 1, 1, 2, 2, 2, 1]),
    ],
)
def test_small_images_lose_the_strides_of_the_stem(size, strides):
    assert space_named("resnet").strides(Task(size)) == strides


def test_cardinality_is_groups_and_share_of_the_width():
    # ResNeXt-50 32x4d: 32 groups of 4 channels in the first stage (1611.05431, table 1)
    convs = [node for node, _ in leaves(bottleneck(256, 256, 1, inside=0.5, groups=32), (256, 8, 8))]
    middle = next(node for node in convs if isinstance(node, Conv) and node.kernel == 3)
    assert (middle.groups, middle.width // middle.groups) == (32, 4)


@pytest.mark.parametrize("preact", [False, True])
def test_without_its_body_a_block_with_identity_shortcut_drops_pixels_and_adds_zero_channels(preact):
    import torch

    from searchspaces.modules import build

    block = build(basic(4, 6, 2, shortcut="identity", preact=preact), (4, 8, 8)).eval()
    for each in block.modules():
        if isinstance(each, torch.nn.Conv2d):
            torch.nn.init.zeros_(each.weight)
    images = torch.rand(2, 4, 8, 8)
    out = block(images)  # (2, 6, 4, 4)
    assert torch.equal(out[:, :4], images[:, :, ::2, ::2])
    assert not out[:, 4:].any()


def test_parts_of_res2net_feed_one_another_only_where_shapes_stay():
    # the third of four parts sees the second's output too (1904.01169, eq. 1), except in the first block of a stage
    def joins(node):
        graph = next(each for each in walk(node) if isinstance(each, Graph))
        return sum(len(step.inputs) > 1 and step.join == "sum" for step in graph.steps)

    def walk(node):
        yield node
        for child in node.children():
            yield from walk(child)

    assert joins(res2net(256, 256, 1)) == 2
    assert joins(res2net(256, 512, 2)) == 0


def test_a_fractal_block_has_one_column_of_each_power_of_two():
    # 3 columns: 4 + 2 + 1 convolutions in each of 5 blocks, 4 of them one after the other (1605.07648, fig. 1)
    tree = fractalnet(Task(32, 3, 10))
    assert sum(isinstance(node, Conv) for node, _ in leaves(tree, (3, 32, 32))) == 5 * 7


def fractal_of_factors() -> Graph:
    """A fractal block of three columns that multiply by 2 (four times), 3 (twice) and 5, in place of convolutions."""
    two, three, five = Multiply(2.0), Multiply(3.0), Multiply(5.0)
    shallow = (
        GraphStep(two, (0,)),
        GraphStep(two, (1,)),
        GraphStep(three, (0,)),
        GraphStep(Identity(), (2, 3), "mean"),
    )
    deep = (GraphStep(two, (4,)), GraphStep(two, (5,)), GraphStep(three, (4,)), GraphStep(five, (0,)))
    return Graph((*shallow, *deep, GraphStep(Identity(), (6, 7, 8), "mean")))


@pytest.mark.parametrize(
    ("rate", "locally"),
    [
        (1e-9, {9.8333}),  # all inputs left: the mean of 14, 10.5 and 5, as 3.5 is that of 4 and 3
        (1.0, {16, 12, 9, 5}),  # one input left, whichever, at each join
    ],
)
def test_joins_drop_paths_locally_or_keep_one_column_of_the_whole_network(rate, locally):
    # 1605.07648, sec. 3.1: half of the samples are local, half global, of columns 2**4, 3**2 and 5
    import torch

    from searchspaces.modules import build

    images = torch.ones(3000, 1, 1, 1)
    module = build(fractal_of_factors(), (1, 1, 1), drop_path=rate)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [round(value, 4) for value in module(images).flatten().tolist()]
    assert set(found) == {16, 9, 5} | locally
    if rate < 1:  # each column has a sixth: 500 of 3000, sd sqrt(3000 * 1/6 * 5/6) = 20.4; the band is 6 sd
        assert all(abs(found.count(column) - 500) < 123 for column in (16, 9, 5))
    for whole in (module.eval(), build(fractal_of_factors(), (1, 1, 1))):
        assert whole(images).flatten().tolist() == pytest.approx([9.8333] * 3000, abs=1e-4)


def test_a_copy_of_a_network_drops_its_own_paths_and_branches_that_are_averaged_drop_them_too():
    import torch

    from searchspaces.modules import build

    first = build(
        Chain(Mean(Multiply(1.0), Multiply(3.0)), Mean(Multiply(1.0), Multiply(3.0))), (1, 1, 1), drop_path=1e-9
    )
    other = deepcopy(first)
    assert set(other(torch.ones(64, 1, 1, 1)).flatten().tolist()) == {
        1.0,
        4.0,
        9.0,
    }  # a column, both joins, or the other
    assert [join.paths.column.shape for join in first.modules() if hasattr(join, "paths")] == [(0,)] * 2


def test_the_first_join_that_is_computed_draws_the_columns_wherever_it_stands():
    """A mean inside of a step stands before its graph's own means, and is computed after them."""
    import torch

    from searchspaces.modules import build
    from searchspaces.torch_layers import PathMeanBranches

    two = (GraphStep(Multiply(1.0), (0,)), GraphStep(Multiply(3.0), (0,)), GraphStep(Identity(), (1, 2), "mean"))
    inner = GraphStep(Mean(Multiply(1.0), Multiply(3.0)), (3,))
    module = build(Graph((*two, inner)), (1, 1, 1), drop_path=1e-9)
    for images in (64, 48):  # as many columns as there are images, in each pass
        assert set(module(torch.ones(images, 1, 1, 1)).flatten().tolist()) == {1.0, 4.0, 9.0}
    for join in module.modules():
        if isinstance(join, PathMeanBranches):
            join.eval()  # frozen
    assert set(module(torch.ones(64, 1, 1, 1)).flatten().tolist()) == {2.0, 4.0, 6.0}


def test_weights_shared_between_steps_count_once_and_are_one_parameter():
    import torch

    from searchspaces.counting import traced_cost
    from searchspaces.modules import build

    conv = Conv(8, 3)
    shared = Graph((GraphStep(conv, (0,)), GraphStep(Norm(), (1,)), GraphStep(conv, (2,), weights_of=1)))
    cost, module = shared.cost((8, 4, 4)), build(shared, (8, 4, 4))
    assert cost.macs == 2 * conv.cost((8, 4, 4)).macs
    assert cost.params == conv.cost((8, 4, 4)).params + 16 == traced_cost(module, Task(4, 8)).params
    assert len([each for each in module.parameters() if each.ndim == 4]) == 1
    assert module(torch.rand(2, 8, 4, 4)).shape == (2, 8, 4, 4)
    assert shared != Graph((GraphStep(conv, (0,)), GraphStep(Norm(), (1,)), GraphStep(conv, (2,))))
    with pytest.raises(ShapeError, match="no equal step"):
        Graph((GraphStep(conv, (0,)), GraphStep(Norm(), (1,), weights_of=1)))
    with pytest.raises(ShapeError, match="weights shared between"):
        Graph((GraphStep(conv, (0,)), GraphStep(conv, (1,), weights_of=1))).cost((3, 4, 4))


def test_a_gain_starts_at_nothing_and_learns():
    import torch

    from searchspaces.modules import build

    gain = build(Gain(), (2, 3, 3))
    images = torch.ones(1, 2, 3, 3)
    assert not gain(images).any()
    gain(images).sum().backward()
    assert [each.grad.item() for each in gain.parameters()] == [18.0]
    assert Gain().cost((2, 3, 3)).params == 1
    assert Gain().shape((2, 3, 3)) == Identity().shape((2, 3, 3))


def test_poly_2_shares_the_convolutions_of_its_blocks_and_mpoly_2_has_its_own():
    """Zhang 2017, arXiv:1611.05725, fig. 4: I + F + F**2 and I + F + GF; block B of its PolyNet."""
    given, tower = (1152, 17, 17), [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]
    shared, own = (poly(1152, tower, order=2, shared=shares).cost(given) for shares in (True, False))
    weights = 1152 * 128 + 128 * 160 * 7 + 160 * 192 * 7 + 1152 * 192
    assert own.params - shared.params == weights
    assert own.macs == shared.macs == 2 * 17 * 17 * (weights + (192 + 192) * 1152)
