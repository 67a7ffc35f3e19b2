"""Receptive fields: what the gradient of the built network says, and what is published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from searchspaces import classic, mbconv
from searchspaces.densenet import dense_layer, transition
from searchspaces.layers import (
    Chain,
    Concat,
    Conv,
    Graph,
    GroupNorm,
    Identity,
    Pool,
    Resize,
    Shift,
    SqueezeExcite,
    Sum,
)
from searchspaces.modules import build
from searchspaces.node import Node, layer
from searchspaces.receptive_field import IMAGE, receptive_field, seen
from searchspaces.resnet import basic, bottleneck, res2net
from searchspaces.shufflenet import shuffle_unit
from searchspaces.task import Task
from searchspaces.torch_layers import GroupNorm as TorchGroupNorm
from searchspaces.torch_layers import SqueezeExcite as TorchSqueezeExcite

SIDE = 96
LARGE = 224
"""Of the classics; the largest receptive field has 207 pixels a side."""
MAP = (8, SIDE, SIDE)


def features(name: str, side: int) -> Node:
    """A classic without its head, for images of a size."""
    return Chain(*classic(name).network(Task(side)).children()[:-1])


def cells() -> Node:
    """The stem and the first two cells of NASNet, with shifts, pools and separable convolutions."""
    stem, *others = features("nasnetamobile", LARGE).children()
    return Chain(stem, Graph(next(each for each in others if isinstance(each, Graph)).steps[:2]))


NETWORKS: dict[str, Node] = {
    "three 3x3": Chain(Conv(4, 3), Conv(4, 3), Conv(4, 3)),
    "dilated and oblong": Chain(Conv(4, 3, dilation=2), Conv(4, (1, 7)), Pool("avg", 2), Conv(4, (5, 3), (2, 1))),
    "even kernels": Chain(Conv(4, 4, 2, padding=1), Pool("max", 2, 1, padding=0), Conv(4, 2, padding=0)),
    "paths that are not aligned": Chain(Concat(Conv(4, 3, 2), Chain(Shift(), Conv(4, 2, 2, padding=0))), Conv(4, 3)),
    "basic blocks": Chain(basic(8, 8, 1), basic(8, 16, 2), basic(16, 16, 1)),
    "bottlenecks": Chain(bottleneck(8, 16, 2), bottleneck(16, 16, 1, groups=2)),
    "res2net": Chain(res2net(8, 32, 2), res2net(32, 32, 1)),
    "dense layers": Chain(*[dense_layer(8, 16, 1, growth_width=8)] * 3, transition(32, 2, 0.5), Conv(4, 3)),
    "inverted residuals": Chain(mbconv(8, 8, 2, kernel=5, expansion=3, se=0.25), mbconv(8, 8, 1, expansion=3)),
    "shuffles": Chain(shuffle_unit(8, 16, 2, groups=2), shuffle_unit(16, 16, 1, groups=2)),
    "norms over the map": Chain(Conv(8, 3), GroupNorm(2), Conv(8, 3)),
}  # fmt: skip


def linearized(model: nn.Module) -> nn.Module:
    """A module that loses no path: positive weights, no activations and means over the map, means for maxima."""
    whole = TorchSqueezeExcite, TorchGroupNorm
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                sizes = child.kernel_size, child.stride, child.padding, child.ceil_mode
                setattr(parent, name, nn.AvgPool2d(*sizes, count_include_pad=False))
            elif isinstance(child, whole) or type(child).__module__.endswith("activation"):
                setattr(parent, name, nn.Identity())
    for each in model.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.constant_(each.weight, 1 / each.weight[0].numel())
    return model.double().eval()


def reached(model: nn.Module, given: tuple[int, ...]) -> tuple[list[int], list[tuple[int, int]]]:
    """The pixel in the middle of the output, and the first and the last row and column that it depends on."""
    image = torch.rand(1, *given, dtype=torch.float64, requires_grad=True)
    out = model(image)
    middle = [side // 2 for side in out.shape[2:]]
    out[0, :, middle[0], middle[1]].sum().backward()
    assert image.grad is not None
    touched = image.grad[0].abs().sum(0) > 0  # (height, width)
    rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
    return middle, [(int(each[0]), int(each[-1])) for each in (rows, columns)]


@pytest.mark.parametrize("name", [*NETWORKS, "cells", "resnet20", "squeezenet1_1"])
def test_the_gradient_of_a_pixel_reaches_exactly_its_receptive_field(name):
    given = MAP
    if name in NETWORKS:
        node = NETWORKS[name]
    else:
        given = (3, LARGE, LARGE)
        node = cells() if name == "cells" else features(name, LARGE)
    field = seen(node, given, IMAGE)
    assert field is not None
    middle, ends = reached(linearized(build(node, given)), given)
    pixels = field.of(*middle)
    assert all(first > 0 and last < given[1] - 1 for first, last in pixels), "the image is too small for this test"
    assert ends == list(pixels)
    assert receptive_field(node, given) == tuple(last - first + 1 for first, last in ends)


def test_a_gate_of_squeeze_excitation_sees_the_whole_image_and_is_not_counted():
    node = Chain(Conv(8, 3), SqueezeExcite(4))
    assert receptive_field(node, MAP) == (3, 3)
    assert reached(build(node, MAP).double().eval(), MAP)[1] == [(0, SIDE - 1), (0, SIDE - 1)]


# Araujo 2019, table 1 and the figures beside it; its ResNets have their strides in other places than ours. GoogLeNet's
# authors' successors: Inception-v3, v4 and Inception-ResNet-v2.
PUBLISHED = {
    "alexnet": 195, "vgg11": 150, "vgg16": 212, "mobilenetv1_100": 315, "mobilenetv1_075": 315,
    "inception_v3": 1311, "inception_v4": 2071, "inception_resnet_v2": 3039,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_classic_has_its_published_receptive_field(name):
    task = classic(name).task
    assert receptive_field(features(name, task.image_size), task.shape) == (PUBLISHED[name], PUBLISHED[name])


def test_the_largest_path_counts_and_a_resized_image_in_its_own_pixels():
    assert receptive_field(Sum(Identity(), Conv(8, 3), Conv(8, 5)), MAP) == (5, 5)
    assert receptive_field(Chain(Resize(1.5), Conv(8, 3)), MAP) == (3, 3)


@layer
class Unknown(Node):
    """A layer of one's own."""

    def _shape(self, given):
        return given


def test_nothing_is_said_after_a_layer_that_is_not_known():
    assert receptive_field(Chain(Conv(8, 3), Unknown(), Conv(8, 3)), MAP) is None
    assert receptive_field(Sum(Identity(), Unknown()), MAP) is None


def test_the_stages_of_a_network_and_their_blocks_say_what_they_see(nas_cli):
    document = nas_cli("show", "resnet50", "--json").json()
    # a 7x7 convolution of stride 2 and a 3x3 pool of stride 2: 7 + 2 * 2; then a 3x3 convolution in each block, which
    # strides in the first: 11 + 4 * 2 * 3, + 4 * 2 + 8 * 2 * 3, + 8 * 2 + 16 * 2 * 5, + 16 * 2 + 32 * 2 * 2
    sees = [one["receptive_field"][0] for one in document["stages"] if one["name"].startswith("stage")]
    assert sees == [35, 91, 267, 427]
    for one in document["stages"]:
        assert one["opened"][-1]["receptive_field"] == one["receptive_field"]
    assert document["receptive_field"] == [427, 427]
    said = nas_cli("show", "resnet50").out
    assert "427 pixels a side, before global pooling" in said
    assert [line.split()[-5] for line in said.splitlines() if line.startswith(" stage4")] == ["299"]


@pytest.mark.parametrize("name", ["nasnetamobile", "polynet", "densenet121", "efficientnet_b0"])
def test_stages_see_more_and_more(name, nas_cli):
    document = nas_cli("cost", name, "--json").json()
    sees = [one["receptive_field"][0] for one in document["stages"]]
    assert sees == sorted(sees)
