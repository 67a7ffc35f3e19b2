"""Dense blocks and the space `densenet` around the DenseNets (Huang 2017, arXiv:1608.06993).

The input of each layer is all feature maps before it, so a block's width follows from its layers and their growth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from searchspaces.grammar import Value
from searchspaces.layers import Act, Chain, Concat, Conv, Flatten, GlobalPool, Identity, Linear, Node, Norm, Pool
from searchspaces.mbconv import conv_norm_act
from searchspaces.resnet import max_pool
from searchspaces.space import Space
from searchspaces.stage import Stage, choice, same_as


def dense_layer(
    c_in: int, width: int, stride: int, *, growth_width: int, bottleneck: int = 4, compression: float = 0.5
) -> Node:
    """Appends channels that are computed from all others; where it strides, a transition comes before.

    Args:
        c_in: channels before.
        width: without use: `growth_width` more channels come out than went in, or than the transition gives.
        stride: of the transition's pooling.
        growth_width: channels that are appended (k).
        bottleneck: channels of the 1x1 convolution before the 3x3 one, over `growth_width` (4 in DenseNet-B, sec. 3); 0
            leaves it out.
        compression: channels that the transition gives, over `c_in` (theta; 0.5 in DenseNet-C, sec. 3).
    """
    reduced = [Norm(), Act(), Conv(bottleneck * growth_width)] if bottleneck else []
    layer = Concat(Identity(), Chain(*reduced, Norm(), Act(), Conv(growth_width, 3)))
    return layer if stride == 1 else Chain(*transition(c_in, stride, compression).nodes, layer)


def transition(c_in: int, stride: int, compression: float) -> Chain:
    """A 1x1 convolution to fewer channels and average pooling, between two dense blocks."""
    return Chain(Norm(), Act(), Conv(max(1, int(c_in * compression))), Pool("avg", 2, stride, padding=0))


def dense_stem(c_in: int, width: int, stride: int, *, growth_width: int) -> Node:
    """A 7x7 convolution to twice the growth (table 1); it has no `width` of its own."""
    return conv_norm_act(2 * growth_width, 7, stride)


def dense_head(c_in: int, width: int, stride: int, *, classes: int) -> Chain:
    """Norm and activation, which dense layers still owe, the average over the image and the classifier."""
    return Chain(Norm(), Act(), GlobalPool(), Flatten(), Linear(classes))


def densenet_space() -> Space:
    """The space `densenet`: four dense blocks, each with its number of layers.

    Growth and compression are decided once, as in all published ones. Members: DenseNet-121, 161, 169 and 201.
    """
    dense: dict[str, Any] = {"width": 1, "stride": 2, "growth_width": same_as("stem.growth_width")}
    tied: dict[str, Any] = {**dense, "compression": same_as("stage2.compression")}
    return Space(
        "densenet",
        doc="dense blocks and transitions around DenseNet-121 to 201",
        stem=[
            Stage(dense_stem, width=1, stride=2, growth_width=choice(12, 16, 24, 32, 40, 48)),
            Stage(max_pool, width=1, stride=2, name="pool"),
        ],
        stages=[
            Stage(dense_layer, depth=choice(3, 4, 6, 8), **{**dense, "stride": 1}),
            Stage(dense_layer, depth=choice(6, 8, 12, 16), compression=choice(0.5, 0.75, 1.0), **dense),
            Stage(dense_layer, depth=choice(12, 16, 24, 32, 36, 48), **tied),
            Stage(dense_layer, depth=choice(8, 12, 16, 24, 32), **tied),
        ],
        head=Stage(dense_head, width=1),
        smallest_map=4,
        references={
            "densenet121": _densenet([6, 12, 24, 16]),
            "densenet161": _densenet([6, 12, 36, 24], growth=48),
            "densenet169": _densenet([6, 12, 32, 32]),
            "densenet201": _densenet([6, 12, 48, 32]),
        },
    )


def _densenet(depths: Sequence[int], growth: int = 32) -> dict[str, Value]:
    """Choices of a DenseNet-BC of ImageNet (table 1)."""
    choices: dict[str, Value] = {"stem.growth_width": growth, "stage2.compression": 0.5}
    return choices | {f"stage{index}.depth": depth for index, depth in enumerate(depths, start=1)}
