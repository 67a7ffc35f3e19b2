"""Inverted residuals (MBConv, Fused-MBConv) and the space `mbconv` around EfficientNet, MnasNet and MobileNetV2.

Sandler 2018, arXiv:1801.04381 (inverted residual); Tan 2019, arXiv:1807.11626 (MnasNet's blocks and its per-stage
decisions, sec. 4.1); Tan & Le 2019, arXiv:1905.11946 (EfficientNet-B0, table 1); Gupta & Tan 2019 and Tan & Le 2021,
arXiv:2104.00298 (Fused-MBConv). The squeeze-excite ratio is relative to the block's input, as in EfficientNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from searchspaces.grammar import Value
from searchspaces.layers import (
    Act,
    Chain,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    Node,
    Norm,
    SqueezeExcite,
    Sum,
)
from searchspaces.space import Space
from searchspaces.stage import Stage, choice


def conv_norm_act(width: int, kernel: int, stride: int = 1, groups: int = 1, act: str = "relu") -> Chain:
    """A convolution, batch norm and an activation."""
    return Chain(Conv(width, kernel, stride, groups), Norm(), Act(act))


def mbconv(
    c_in: int,
    width: int,
    stride: int,
    *,
    expansion: int = 6,
    kernel: int = 3,
    se: float = 0.0,
    act: str = "relu",
    skip: bool = True,
) -> Node:
    """MBConv: expand 1x1, depthwise, squeeze-excite, project 1x1; added to its input where the shapes allow it.

    Args:
        c_in, width: channels before and after.
        stride: of the depthwise convolution.
        expansion: the inside's channels over `c_in`; at 1 the expanding convolution is left out.
        kernel: side of the depthwise kernel in pixels.
        se: squeeze-excite's reduced channels over `c_in`; 0 leaves it out.
        act: activation after the expanding and the depthwise convolution; the projection is linear.
        skip: whether there is a residual where stride is 1 and the channels agree.
    """
    inside = c_in * expansion
    body = Chain(
        *([conv_norm_act(inside, 1, act=act)] if expansion != 1 else []),
        conv_norm_act(inside, kernel, stride, groups=inside, act=act),
        *([SqueezeExcite(max(1, int(c_in * se)), act)] if se else []),
        Conv(width),
        Norm(),
    )
    return _residual(body, skip and stride == 1 and c_in == width)


def fused_mbconv(
    c_in: int,
    width: int,
    stride: int,
    *,
    expansion: int = 4,
    kernel: int = 3,
    se: float = 0.0,
    act: str = "relu",
    skip: bool = True,
) -> Node:
    """Fused-MBConv: one full convolution in place of MBConv's expansion and depthwise convolution (2104.00298, fig. 2).

    Arguments as in `mbconv`; at expansion 1 it is one convolution from `c_in` to `width`.
    """
    inside = c_in * expansion
    if expansion == 1:
        body = Chain(
            *([SqueezeExcite(max(1, int(c_in * se)), act)] if se else []), conv_norm_act(width, kernel, stride, act=act)
        )
    else:
        body = Chain(
            conv_norm_act(inside, kernel, stride, act=act),
            *([SqueezeExcite(max(1, int(c_in * se)), act)] if se else []),
            Conv(width),
            Norm(),
        )
    return _residual(body, skip and stride == 1 and c_in == width)


def _residual(body: Chain, added: bool) -> Node:
    return Sum(Identity(), Chain(*body.nodes, DropPath())) if added else body


def conv_stem(c_in: int, width: int, stride: int, *, kernel: int = 3, act: str = "relu") -> Node:
    """One convolution, batch norm and an activation."""
    return conv_norm_act(width, kernel, stride, act=act)


def conv_head(c_in: int, width: int, stride: int, *, classes: int, act: str = "relu", dropout: float = 0.2) -> Node:
    """A 1x1 convolution to `width`, the average over the image, and the classifier."""
    return Chain(conv_norm_act(width, 1, stride, act=act), GlobalPool(), Flatten(), Dropout(dropout), Linear(classes))


def mbconv_space() -> Space:
    """The space `mbconv`: seven stages with the strides that EfficientNet-B0, MnasNet-A1 and MobileNetV2 share.

    Each stage chooses kernel, expansion, squeeze-excite, width and depth around those three networks, all of which
    are members.
    """
    around: dict[str, Any] = {"kernel": choice(3, 5, 7), "expansion": choice(3, 4, 6), "se": choice(0, 0.25)}
    return Space(
        "mbconv",
        doc="inverted residuals around EfficientNet-B0, MnasNet-A1 and MobileNetV2",
        act=choice("relu", "relu6", "silu"),
        stem=Stage(conv_stem, width=32, stride=2),
        stages=[
            Stage(mbconv, depth=1, width=choice(16, 24), kernel=choice(3, 5, 7), expansion=1, se=choice(0, 0.25)),
            Stage(mbconv, depth=choice(1, 2, 3), width=choice(16, 24, 32), stride=2, **around),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(32, 40, 48), stride=2, **around),
            Stage(mbconv, depth=choice(2, 3, 4, 5), width=choice(64, 80, 96), stride=2, **around),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(80, 96, 112, 128), **around),
            Stage(mbconv, depth=choice(2, 3, 4, 5), width=choice(160, 192, 224), stride=2, **around),
            Stage(mbconv, depth=choice(1, 2), width=choice(256, 320, 384), **around),
        ],
        head=Stage(conv_head, width=1280),
        smallest_map=4,
        references={
            "efficientnet_b0": _member("silu", [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1],
                                       [3, 3, 5, 3, 5, 5, 3], [6] * 6, [0.25] * 7),
            "mobilenetv2_100": _member("relu6", [16, 24, 32, 64, 96, 160, 320], [1, 2, 3, 4, 3, 3, 1],
                                       [3] * 7, [6] * 6, [0] * 7),
            "semnasnet_100": _member("relu", [16, 24, 40, 80, 112, 160, 320], [1, 2, 3, 4, 2, 3, 1],
                                     [3, 3, 5, 3, 3, 5, 3], [6, 3, 6, 6, 6, 6], [0, 0, 0.25, 0, 0.25, 0.25, 0]),
        },
    )  # fmt: skip


def _member(
    act: str,
    widths: Sequence[int],
    depths: Sequence[int],
    kernels: Sequence[int],
    expansions: Sequence[int],
    ratios: Sequence[float],
) -> dict[str, Value]:
    """Choices of a classic network, stage by stage; stage 1 has depth 1 and expansion 1 in all of them."""
    choices: dict[str, Value] = {"act": act}
    for index, (width, depth, kernel, se) in enumerate(zip(widths, depths, kernels, ratios, strict=True), start=1):
        choices |= {f"stage{index}.width": width, f"stage{index}.kernel": kernel, f"stage{index}.se": se}
        if index > 1:
            choices |= {f"stage{index}.depth": depth, f"stage{index}.expansion": expansions[index - 2]}
    return choices
