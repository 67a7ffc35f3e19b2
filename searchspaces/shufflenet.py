"""Shuffle units and the space `shufflenet` around the ShuffleNets (Zhang 2018, arXiv:1707.01083)."""

from __future__ import annotations

from math import gcd

from searchspaces.grammar import Value
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    Node,
    Norm,
    Pool,
    Shuffle,
    Sum,
)
from searchspaces.mbconv import conv_norm_act, conv_stem
from searchspaces.resnet import max_pool
from searchspaces.space import Space
from searchspaces.stage import Stage, choice, same_as, scaled_inside


def shuffle_unit(
    c_in: int, width: int, stride: int, *, groups: int, grouped_first: bool = True, unscaled: int | None = None
) -> Node:
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 beside a shortcut (fig. 2).

    Args:
        c_in, width: channels before and after; where the shape changes, the output of the convolutions is concatenated
            to the pooled input, and stands alone where there is no room for that.
        stride: of the depthwise convolution and the pooling.
        groups: of the 1x1 convolutions, and of the shuffle (fewer where the channels are not a multiple).
        grouped_first: whether the first 1x1 convolution has groups too; the network's first has none (sec. 3.2).
        unscaled: `width` as declared, in a network that is scaled; see `scaled_inside`.
    """
    inside, shared = scaled_inside(width, unscaled, 0.25, groups)
    same = stride == 1 and c_in == width
    made = width - c_in if not same and width > c_in else width
    body = Chain(
        conv_norm_act(inside, 1, groups=gcd(shared, c_in) if grouped_first else 1),
        Shuffle(shared),
        Conv(inside, 3, stride, groups=inside),
        Norm(),
        Conv(made, groups=gcd(shared, made)),
        Norm(),
    )
    if same:
        return Chain(Sum(Identity(), body), Act())
    return Chain(Concat(Pool("avg", 3, stride), body) if made < width else body, Act())


def shuffle_stem(c_in: int, width: int, stride: int) -> Node:
    """A 3x3 convolution and 3x3 max pooling, each with that stride."""
    return Chain(conv_norm_act(width, 3, stride), Pool("max", 3, stride))


def pool_head(c_in: int, width: int, stride: int, *, classes: int) -> Node:
    """Global average pooling and the classifier; `width` is the number of input channels."""
    return Chain(GlobalPool(), Flatten(), Linear(classes))


def shufflenet_space() -> Space:
    """The space `shufflenet`: groups for the whole network, width and depth of each of three stages (table 1).

    The first unit of the first of them is a stage by itself, since its first convolution has no groups. Members:
    ShuffleNet 1x with 1, 2, 3, 4 and 8 groups, and those with 3 groups at 0.5, 1.5 and 2 times the width.
    """
    widths = (120, 144, 200, 240, 272, 360, 384, 480)
    narrow, wide = ((12, 120), (24, 240), (24, 360), (48, 480)), ((1, 144), (2, 200), (4, 272), (8, 384))
    names = ("shufflenet_g3_wd2", "shufflenet_g3_w1", "shufflenet_g3_w3d2", "shufflenet_g3_w2")
    return Space(
        "shufflenet",
        doc="grouped 1x1 convolutions and channel shuffles, around ShuffleNet 0.5x to 2x",
        groups=choice(1, 2, 3, 4, 8),
        stem=[
            Stage(conv_stem, width=choice(12, 24, 48), stride=2),
            Stage(max_pool, width=1, stride=2, name="pool"),
        ],
        stages=[
            Stage(shuffle_unit, width=choice(*widths), stride=2, grouped_first=False),
            Stage(shuffle_unit, width=same_as("stage1.width"), depth=choice(1, 3, 5)),
            Stage(shuffle_unit, width=choice(*(2 * width for width in widths)), depth=choice(4, 8, 12), stride=2),
            Stage(shuffle_unit, width=choice(*(4 * width for width in widths)), depth=choice(2, 4, 6), stride=2),
        ],
        head=Stage(pool_head, width=1),
        smallest_map=4,
        references={
            **{name: _shufflenet(3, *sizes) for name, sizes in zip(names, narrow, strict=True)},
            **{f"shufflenet_g{groups}_w1": _shufflenet(groups, 24, width) for groups, width in wide},
        },
    )


def _shufflenet(groups: int, stem: int, width: int) -> dict[str, Value]:
    """Choices of a ShuffleNet (table 1); each stage is twice as wide as the one before."""
    choices: dict[str, Value] = {"groups": groups, "stem.width": stem}
    choices |= {"stage1.width": width, "stage3.width": 2 * width, "stage4.width": 4 * width}
    return choices | {"stage2.depth": 3, "stage3.depth": 8, "stage4.depth": 4}
