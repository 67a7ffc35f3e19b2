"""A space of networks for small images at a few million MACs, where those made for large images grow thin.

Try it: `nas space examples/few_macs.py:space --task 28x28x1:10 --budget 5M`.

Four stages, each of which chooses its cell: inverted residuals, the fused ones, or ResNet's block. At this size a full
convolution is often the better use of a MAC than a depthwise one, and a search can find out where.
"""

from __future__ import annotations

from typing import Any

from searchspaces import Space, Stage, choice, conv_head, conv_stem, fused_mbconv, mbconv
from searchspaces.resnet import basic

_CELL = choice(mbconv, fused_mbconv, basic)
_OPEN: dict[str, Any] = {"kernel": choice(3, 5), "expansion": choice(2, 4), "se": choice(0, 0.25)}

space = Space(
    "few-macs",
    doc="inverted residuals, fused ones or ResNet's blocks, for small images",
    act=choice("relu", "silu"),
    stem=Stage(conv_stem, width=choice(8, 16)),
    stages=[
        Stage(_CELL, width=choice(8, 16, 24), depth=choice(0, 1), **_OPEN),
        Stage(_CELL, width=choice(16, 24, 32, 48), depth=choice(1, 2, 3), stride=2, **_OPEN),
        Stage(_CELL, width=choice(32, 48, 64, 96), depth=choice(1, 2, 3), stride=2, **_OPEN),
        Stage(_CELL, width=choice(64, 96, 128, 192), depth=choice(1, 2), stride=2, **_OPEN),
    ],
    head=Stage(conv_head, width=choice(128, 256), dropout=0.0),
    smallest_map=3,
)
