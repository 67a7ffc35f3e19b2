"""RegNets: grouped bottleneck blocks of constant width, with stage widths on a quantized line.

Radosavovic 2020, arXiv:2003.13678: the line of widths (sec. 3.3, eqs. 2 to 4), the models (tables 8 and 9). As in the
reference implementations (pycls, timm), squeeze-excite is inside the block and relative to the block's input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import Act, Chain, Conv, DropPath, Node, Norm, SqueezeExcite, Sum
from searchspaces.mbconv import conv_norm_act, conv_stem
from searchspaces.resnet import residual_head, shortcut_of
from searchspaces.space import Space
from searchspaces.stage import Stage


def regnet_block(c_in: int, width: int, stride: int, *, group_width: int, se: float = 0.0) -> Node:
    """1x1, 3x3 with groups, squeeze-excite, 1x1, around a shortcut (the X block, sec. 3.2; the Y block, sec. 5).

    Args:
        c_in, width: channels before and after, and inside.
        stride: of the 3x3 convolution.
        group_width: channels of a group.
        se: reduced channels of squeeze-excite as a share of `c_in`; 0 leaves it out.
    """
    body = Chain(
        conv_norm_act(width, 1),
        conv_norm_act(width, 3, stride, groups=width // group_width),
        *([SqueezeExcite(round(c_in * se))] if se else []),
        Conv(width),
        Norm(),
        DropPath(),
    )
    return Chain(Sum(shortcut_of(c_in, width, stride), body), Act())


def regnet_widths(depth: int, initial: int, slope: float, factor: float, group_width: int) -> list[tuple[int, int]]:
    """Width and depth of each stage.

    >>> regnet_widths(13, 24, 36.44, 2.49, 8)  # RegNetX-200MF
    [(24, 1), (56, 1), (152, 4), (368, 7)]
    """
    widths = []
    for block in range(depth):
        step = round(math.log((initial + slope * block) / initial) / math.log(factor))
        width = round(initial * factor**step / 8) * 8
        group = min(group_width, width)
        widths.append(round(width / group) * group)
    return [(width, len(list(blocks))) for width, blocks in groupby(widths)]


def _regnet(
    name: str, depth: int, initial: int, slope: float, factor: float, group_width: int
) -> Callable[[], Classic]:
    def make() -> Classic:
        stages = [
            Stage(
                regnet_block,
                width=width,
                depth=blocks,
                stride=2,
                group_width=min(group_width, width),
                se=0.25 if name[6] == "y" else 0.0,
            )
            for width, blocks in regnet_widths(depth, initial, slope, factor, group_width)
        ]
        stem, head = Stage(conv_stem, width=32, stride=2), Stage(residual_head, width=1)
        space = Space(name, stem=stem, stages=stages, head=head)
        table = "table 8" if name[6] == "x" else "table 9"
        return Classic(name, f"Radosavovic 2020, arXiv:2003.13678, {table}", space.architecture({}).network)

    return make


_MODELS: Final = (
    ("regnetx_002", 13, 24, 36.44, 2.49, 8), ("regnetx_004", 22, 24, 24.48, 2.54, 16),
    ("regnetx_006", 16, 48, 36.97, 2.24, 24), ("regnetx_008", 16, 56, 35.73, 2.28, 16),
    ("regnetx_016", 18, 80, 34.01, 2.25, 24), ("regnetx_032", 25, 88, 26.31, 2.25, 48),
    ("regnetx_040", 23, 96, 38.65, 2.43, 40), ("regnetx_064", 17, 184, 60.83, 2.07, 56),
    ("regnetx_080", 23, 80, 49.56, 2.88, 120), ("regnetx_120", 19, 168, 73.36, 2.37, 112),
    ("regnetx_160", 22, 216, 55.59, 2.1, 128), ("regnetx_320", 23, 320, 69.86, 2.0, 168),
    ("regnety_002", 13, 24, 36.44, 2.49, 8), ("regnety_004", 16, 48, 27.89, 2.09, 8),
    ("regnety_006", 15, 48, 32.54, 2.32, 16), ("regnety_008", 14, 56, 38.84, 2.4, 16),
    ("regnety_016", 27, 48, 20.71, 2.65, 24), ("regnety_032", 21, 80, 42.63, 2.66, 24),
    ("regnety_040", 22, 96, 31.41, 2.24, 64), ("regnety_064", 25, 112, 33.22, 2.27, 72),
    ("regnety_080", 17, 192, 76.82, 2.19, 56), ("regnety_120", 19, 168, 73.36, 2.37, 112),
    ("regnety_160", 18, 200, 106.23, 2.48, 112), ("regnety_320", 20, 232, 115.89, 2.53, 232),
)  # fmt: skip
"""Name (with the MACs in hundreds of millions), depth, initial width, slope, factor, channels of a group."""

NETWORKS: Final[dict[str, Callable[[], Classic]]] = {row[0]: _regnet(*row) for row in _MODELS}
