"""Inverted residuals (MBConv, Fused-MBConv), and four spaces of them.

Sandler 2018, arXiv:1801.04381 (inverted residual); Tan 2019, arXiv:1807.11626 (MnasNet's blocks and its per-stage
decisions, sec. 4.1); Cai 2019, arXiv:1812.00332 (ProxylessNAS) and Wu 2019, arXiv:1812.03443 (FBNet), which decide per
block; Howard 2019, arXiv:1905.02244 (MobileNetV3); Tan & Le 2019, arXiv:1905.11946 (EfficientNet-B0, table 1); Gupta &
Tan 2019 and Tan & Le 2021, arXiv:2104.00298 (Fused-MBConv).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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
from searchspaces.stage import Stage, choice, multiple_of_8, per_block


@lru_cache(maxsize=1 << 14)  # equal trees that are one tree compare at once
def conv_norm_act(width: int, kernel: int, stride: int = 1, groups: int = 1, act: str = "relu") -> Chain:
    """A convolution, batch norm and an activation."""
    return Chain(Conv(width, kernel, stride, groups), Norm(), Act(act))


def mbconv(
    c_in: int,
    width: int,
    stride: int,
    *,
    expansion: float = 6,
    kernel: int = 3,
    se: float = 0.0,
    se_of: str = "input",
    act: str = "relu",
    skip: bool = True,
    always_expand: bool = False,
) -> Node:
    """MBConv: expand 1x1, depthwise, squeeze-excite, project 1x1; added to its input where the shapes allow it.

    Args:
        c_in, width: channels before and after.
        stride: of the depthwise convolution.
        expansion: the inside's channels over `c_in`, rounded to 8 unless whole.
        kernel: side of the depthwise kernel in pixels.
        se: squeeze-excite's reduced channels, as a share; 0 leaves it out.
        se_of: of what that is a share: the block's `input` (EfficientNet), or its `inside`, rounded to 8, and then with
            ReLU and a hard sigmoid (MobileNetV3, sec. 5.3).
        act: activation after the expanding and the depthwise convolution; the projection is linear.
        skip: whether there is a residual where stride is 1 and the channels agree.
        always_expand: whether the expanding convolution is there at expansion 1 too (FBNet).
    """
    inside = c_in * expansion if isinstance(expansion, int) else multiple_of_8(c_in * expansion)
    if se and se_of == "inside":
        excite = [SqueezeExcite(multiple_of_8(inside * se), "relu", "hard_sigmoid")]
    else:
        excite = [SqueezeExcite(max(1, int(c_in * se)), act)] if se else []
    body = Chain(
        *([conv_norm_act(inside, 1, act=act)] if expansion != 1 or always_expand else []),
        conv_norm_act(inside, kernel, stride, groups=inside, act=act),
        *excite,
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


def pooled_head(
    c_in: int,
    width: int,
    stride: int,
    *,
    classes: int,
    hidden_width: int = 1280,
    act: str = "hard_swish",
    dropout: float = 0.2,
) -> Node:
    """As `conv_head`, with one more layer, from `width` to `hidden_width`, after the average (1905.02244, sec. 5.1)."""
    return Chain(
        conv_norm_act(width, 1, stride, act=act),
        GlobalPool(),
        Conv(hidden_width, bias=True),
        Act(act),
        Flatten(),
        Dropout(dropout),
        Linear(classes),
    )


def mbconv_space() -> Space:
    """The space `mbconv`: seven stages with the strides that EfficientNet-B0, MnasNet and MobileNetV2 share.

    Each stage chooses kernel, expansion, squeeze-excite, width and depth around those networks, all of which are
    members.
    """
    around: dict[str, Any] = {"kernel": choice(3, 5, 7), "expansion": choice(3, 4, 6), "se": choice(0, 0.25)}
    return Space(
        "mbconv",
        doc="inverted residuals around EfficientNet-B0, MnasNet and MobileNetV2",
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
            "efficientnet_b0": by_stage(
                {"act": "silu"}, width=[16, 24, 40, 80, 112, 192, 320], depth=[None, 2, 2, 3, 3, 4, 1],
                kernel=[3, 3, 5, 3, 5, 5, 3], expansion=[None, *[6] * 6], se=[0.25] * 7),
            "mobilenetv2_100": by_stage(
                {"act": "relu6"}, width=[16, 24, 32, 64, 96, 160, 320], depth=[None, 2, 3, 4, 3, 3, 1],
                kernel=[3] * 7, expansion=[None, *[6] * 6], se=[0] * 7),
            "mnasnet_100": by_stage(
                {"act": "relu"}, width=[16, 24, 40, 80, 96, 192, 320], depth=[None, 3, 3, 3, 2, 4, 1],
                kernel=[3, 3, 5, 5, 3, 5, 3], expansion=[None, 3, 3, 6, 6, 6, 6], se=[0] * 7),
            "semnasnet_100": by_stage(
                {"act": "relu"}, width=[16, 24, 40, 80, 112, 160, 320], depth=[None, 2, 3, 4, 2, 3, 1],
                kernel=[3, 3, 5, 3, 3, 5, 3], expansion=[None, 6, 3, 6, 6, 6, 6], se=[0, 0, 0.25, 0, 0.25, 0.25, 0]),
        },
    )  # fmt: skip


def mbconv_blocks_space() -> Space:
    """The space `mbconv-blocks`: each block chooses its kernel and its expansion for itself.

    The decisions of ProxylessNAS (kernel 3, 5, 7; expansion 3, 6; blocks left out) and FBNet (expansion 1 besides), on
    the widths of the networks they found, which are members.
    """
    each: dict[str, Any] = {
        "kernel": per_block(3, 5, 7),
        "expansion": per_block(1, 3, 6),
        "always_expand": True,
        "stride": 2,
    }
    return Space(
        "mbconv-blocks",
        doc="inverted residuals decided block by block, around ProxylessNAS, FBNet-C and Single-Path NAS",
        act=choice("relu", "relu6", "silu"),
        stem=Stage(conv_stem, width=choice(16, 32), stride=2),
        stages=[
            Stage(mbconv, width=16, kernel=choice(3, 5, 7), expansion=1, always_expand=choice(False, True)),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(24, 32), **each),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(32, 40), **each),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(64, 80), **each),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(96, 112), **{**each, "stride": 1}),
            Stage(mbconv, depth=choice(1, 2, 3, 4), width=choice(184, 192), **each),
            Stage(mbconv, depth=1, width=choice(320, 352), **{**each, "stride": 1}),
        ],
        head=Stage(conv_head, width=choice(1280, 1984)),
        smallest_map=4,
        references={
            "fbnetc_100": by_stage(
                {"act": "relu", "stem.width": 16, "stage1.always_expand": True, "head.width": 1984},
                width=[None, 24, 32, 64, 112, 184, 352], depth=[None, 3, 4, 4, 4, 4, None],
                kernel=[3, [3, 3, 3], [5, 5, 5, 3], [5] * 4, [5] * 4, [5] * 4, [3]],
                expansion=[None, [6, 1, 1], [6, 3, 6, 6], [6, 3, 6, 6], [6, 6, 6, 3], [6] * 4, [6]]),
            "proxylessnas_mobile": by_stage(
                {"act": "relu6", "stem.width": 32, "stage1.always_expand": False, "head.width": 1280},
                width=[None, 32, 40, 80, 96, 192, 320], depth=[None, 2, 4, 4, 4, 4, None],
                kernel=[3, [5, 3], [7, 3, 5, 5], [7, 5, 5, 5], [5] * 4, [7] * 4, [7]],
                expansion=[None, [3, 3], [3] * 4, [6, 3, 3, 3], [6, 3, 3, 3], [6, 6, 3, 3], [6]]),
            "spnasnet_100": by_stage(
                {"act": "relu", "stem.width": 32, "stage1.always_expand": False, "head.width": 1280},
                width=[None, 24, 40, 80, 96, 192, 320], depth=[None, 3, 4, 4, 4, 4, None],
                kernel=[3, [3] * 3, [5, 3, 3, 3], [5, 3, 3, 3], [5] * 4, [5] * 4, [3]],
                expansion=[None, [3] * 3, [6, 3, 3, 3], [6, 3, 3, 3], [6, 3, 3, 3], [6] * 4, [6]]),
        },
    )  # fmt: skip


def mobilenetv3_space() -> Space:
    """The space `mobilenetv3`: kernel and expansion per block, activation and squeeze-excite per stage.

    Around both published networks, which are members: the small one leaves the first stage out. Expansions are those
    that give their tables' sizes (1905.02244, tables 1 and 2) and those of Once-for-All (Cai 2020, arXiv:1908.09791).
    """
    kernel = per_block(3, 5, 7)
    around: dict[str, Any] = {"se": choice(0, 0.25), "se_of": "inside", "act": choice("relu", "hard_swish")}
    return Space(
        "mobilenetv3",
        doc="inverted residuals with hard activations, decided block by block, around MobileNetV3",
        stem=Stage(conv_stem, width=16, stride=2, act="hard_swish"),
        stages=[
            Stage(mbconv, depth=choice(0, 1), width=16, kernel=choice(3, 5), expansion=1, **around),
            Stage(mbconv, depth=choice(1, 2, 3), width=choice(16, 24), stride=2,
                  kernel=kernel, expansion=per_block(1, 3, 4), **around),
            Stage(mbconv, depth=choice(2, 3, 4), width=choice(24, 40), stride=2,
                  kernel=kernel, expansion=per_block(3, 3.67, 4.5, 6), **around),
            Stage(mbconv, depth=choice(2, 3, 4), width=choice(40, 80), stride=2,
                  kernel=kernel, expansion=per_block(2.3, 2.5, 4, 6), **around),
            Stage(mbconv, depth=choice(2, 3, 4), width=choice(48, 112),
                  kernel=kernel, expansion=per_block(3, 4, 6), **around),
            Stage(mbconv, depth=choice(2, 3, 4), width=choice(96, 160), stride=2,
                  kernel=kernel, expansion=per_block(3, 4, 6), **around),
        ],
        head=Stage(pooled_head, width=choice(576, 960), hidden_width=choice(1024, 1280)),
        smallest_map=4,
        references={
            "mobilenetv3_large_100": by_stage(
                {"head.width": 960, "head.hidden_width": 1280},
                width=[None, 24, 40, 80, 112, 160], depth=[1, 2, 3, 4, 2, 3],
                kernel=[3, [3] * 2, [5] * 3, [3] * 4, [3] * 2, [5] * 3],
                expansion=[None, [4, 3], [3] * 3, [6, 2.5, 2.3, 2.3], [6] * 2, [6] * 3],
                se=[0, 0, 0.25, 0, 0.25, 0.25], act=[*["relu"] * 3, *["hard_swish"] * 3]),
            "mobilenetv3_small_100": by_stage(
                {"head.width": 576, "head.hidden_width": 1024},
                width=[None, 16, 24, 40, 48, 96], depth=[0, 1, 2, 3, 2, 3],
                kernel=[None, [3], [3] * 2, [5] * 3, [5] * 2, [5] * 3],
                expansion=[None, [1], [4.5, 3.67], [4, 6, 6], [3] * 2, [6] * 3],
                se=[None, 0.25, 0, 0.25, 0.25, 0.25], act=[None, *["relu"] * 2, *["hard_swish"] * 3]),
        },
    )  # fmt: skip


def efficientnetv2_space() -> Space:
    """The space `efficientnetv2`: each stage is of Fused-MBConv or of MBConv (2104.00298, sec. 3.3).

    Around the published networks, which are members: only the medium and the large one have a seventh stage.
    """
    around: dict[str, Any] = {"kernel": choice(3, 5), "expansion": choice(1, 4, 6), "se": choice(0, 0.25)}
    cell, plain = choice(fused_mbconv, mbconv), ["fused_mbconv"] * 3 + ["mbconv"] * 4
    published: dict[str, Any] = {
        "kernel": [3] * 7,
        "expansion": [1, 4, 4, 4, 6, 6, 6],
        "se": [0, 0, 0, 0.25, 0.25, 0.25, 0.25],
    }
    six = {key: [*column[:6], None] for key, column in {**published, "cell": plain}.items()}
    return Space(
        "efficientnetv2",
        doc="Fused-MBConv or MBConv stage by stage, around EfficientNetV2",
        act="silu",
        stem=Stage(conv_stem, width=choice(24, 32), stride=2),
        stages=[
            Stage(cell, depth=choice(1, 2, 3, 4), width=choice(16, 24, 32), **around),
            Stage(cell, depth=choice(1, 2, 4, 5, 7), width=choice(32, 48, 64), stride=2, **around),
            Stage(cell, depth=choice(1, 2, 4, 5, 7), width=choice(48, 64, 80, 96), stride=2, **around),
            Stage(cell, depth=choice(1, 3, 6, 7, 10), width=choice(96, 128, 160, 192), stride=2, **around),
            Stage(cell, depth=choice(2, 5, 9, 14, 19), width=choice(112, 160, 176, 224), **around),
            Stage(cell, depth=choice(2, 4, 8, 15, 18, 25), width=choice(192, 256, 304, 384), stride=2, **around),
            Stage(cell, depth=choice(0, 5, 7), width=choice(512, 640), **around),
        ],
        head=Stage(conv_head, width=1280),
        smallest_map=4,
        references={
            "efficientnetv2_b0": by_stage(
                {"stem.width": 32}, width=[16, 32, 48, 96, 112, 192, None], depth=[1, 2, 2, 3, 5, 8, 0], **six),
            "efficientnetv2_s": by_stage(
                {"stem.width": 24}, width=[24, 48, 64, 128, 160, 256, None], depth=[2, 4, 4, 6, 9, 15, 0], **six),
            "efficientnetv2_m": by_stage(
                {"stem.width": 24}, width=[24, 48, 80, 160, 176, 304, 512], depth=[3, 5, 5, 7, 14, 18, 5],
                cell=plain, **published),
            "efficientnetv2_l": by_stage(
                {"stem.width": 32}, width=[32, 64, 96, 192, 224, 384, 640], depth=[4, 7, 7, 10, 19, 25, 7],
                cell=plain, **published),
        },
    )  # fmt: skip


def by_stage(others: Mapping[str, Value], **columns: Sequence[Any]) -> dict[str, Value]:
    """Choices of a classic network, a column for each parameter.

    Args:
        others: those that are not of a stage.
        columns: for each parameter one value per stage; None where it is not open, a list where each block has its own.
    """
    choices = dict(others)
    for key, column in columns.items():
        for index, value in enumerate(column, start=1):
            if isinstance(value, list):
                choices |= {f"stage{index}.block{block}.{key}": each for block, each in enumerate(value, start=1)}
            elif value is not None:
                choices[f"stage{index}.{key}"] = value
    return choices
