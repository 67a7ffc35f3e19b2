"""Inception modules beside the numbers printed about them, and GoogLeNet's auxiliary heads."""

from __future__ import annotations

import pytest

from searchspaces import Task, classic, space_named
from searchspaces.layers import Concat, Conv, Pool, leaves

# Szegedy 2015, arXiv:1409.4842, table 1: millions of operations. Left out: the 7x7 convolution (34; its widths give
# 118.0), 4a (73; they give 73.6) and 5a (54; they give 51.1).
TABLE_1 = {"stem2": 360, "3a": 128, "3b": 304, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71, "head": 1}


def test_the_modules_of_googlenet_cost_what_the_paper_prints():
    network = space_named("inception").references["googlenet"].network(Task())
    shape, found = Task().shape, {}
    for stage in network.nodes:
        if stage.label in TABLE_1:
            found[stage.label] = round(stage.cost(shape).macs / 10**6)
        shape = stage.shape(shape)
    assert found == TABLE_1


def test_googlenet_has_the_parameters_of_caffes_but_for_norms():
    # bvlc_googlenet without auxiliary heads: 6,998,552 weights and biases. We have a norm's scale and shift for a bias.
    tree = classic("googlenet").network()
    norms = sum(leaf.width for leaf, _ in leaves(tree, Task().shape) if isinstance(leaf, Conv))
    assert classic("googlenet").cost().params - norms == 6_998_552


def test_a_reduction_before_the_large_kernels_saves_more_than_half():
    # The worked example of Stanford's CS231n (2017, lecture 9) on 28 x 28 x 256: 854M, and 358M. The latter is no sum
    # of the terms printed beside it, which have the 3x3 convolution once and make 271M; with it twice they make 358M.
    pool, given = Pool("max", 3, 1), (256, 28, 28)
    naive = Concat(Conv(128), Conv(192, 3), Conv(96, 5), pool)
    assert round(naive.cost(given).macs / 1e6) == 854
    reduced = sum(
        node.cost(shape).macs
        for node, shape in [
            (Conv(128), given),
            (Conv(64), given),
            (Conv(192, 3), (64, 28, 28)),
            (Conv(64), given),
            (Conv(96, 5), (64, 28, 28)),
            (Conv(64), given),
        ]
    )
    assert round(reduced / 1e6) == 271
    assert round((reduced + Conv(192, 3).cost((64, 28, 28)).macs) / 1e6) == 358


def test_a_separable_convolution_multiplies_less():
    # Five 3x3 filters on 6 x 6 x 3, no padding: 4 * 4 * 5 * 27 multiplications; separably 4 * 4 * 27 + 4 * 4 * 5 * 3.
    given = (3, 6, 6)
    assert Conv(5, 3, padding=0).cost(given).macs == 2160
    depthwise = Conv(3, 3, groups=3, padding=0)
    assert depthwise.cost(given).macs + Conv(5).cost(depthwise.shape(given)).macs == 672


# Parameters with auxiliary heads, as torchvision's pretrained models have them.
@pytest.mark.parametrize(
    ("name", "heads", "params"), [("googlenet_torchvision", 2, 13_004_888), ("inception_v3", 1, 27_161_264)]
)
def test_auxiliary_heads_are_there_while_training_when_asked_for(name, heads, params):
    import torch

    network = classic(name)
    with torch.random.fork_rng():
        module = network.build(auxiliary=True)
    assert sum(each.numel() for each in module.parameters()) == params
    assert network.cost().params < params
    images = torch.zeros(2, *network.task.shape)
    outputs = module(images)
    assert [tuple(each.shape) for each in outputs] == [(2, 1000)] * (1 + heads)
    sum(each.sum() for each in outputs).backward()
    assert all(each.grad is not None for each in module.parameters())
    with torch.no_grad():
        assert tuple(module.eval()(images).shape) == (2, 1000)


def test_the_size_is_what_the_options_multiply_to():
    # A module: 3 widths, 2 small kernels, 2 reductions, 4 large kernels, 2 shares, 2 reductions, 2 poolings, residual
    # or not; two of the nine may be left out; the stems have 2 and 3 widths.
    module = 3 * 2 * 2 * 4 * 2 * 2 * 2 * 2
    assert space_named("inception").size == 2 * 3 * module**7 * (module + 1) ** 2
