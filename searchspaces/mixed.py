"""The space `mixed`: every stage also chooses its cell, among four that each made a family of networks.

MBConv and Fused-MBConv (`searchspaces.mbconv`), the bottleneck of ResNet with its cardinality (`searchspaces.resnet`)
and the Inception module (`searchspaces.inception`), on the skeleton of EfficientNet. Left out: a cell for each block.
"""

from __future__ import annotations

from typing import Any

from searchspaces.inception import inception
from searchspaces.mbconv import by_stage, conv_head, conv_stem, fused_mbconv, mbconv
from searchspaces.resnet import bottleneck
from searchspaces.space import Space
from searchspaces.stage import Stage, choice


def mixed_space() -> Space:
    """The space `mixed`; EfficientNet-B0 (MBConv alone) and EfficientNetV2-B0 (both kinds) are members."""
    cell = choice(mbconv, fused_mbconv, bottleneck, inception)
    around: dict[str, Any] = {
        "kernel": choice(3, 5),
        "expansion": choice(4, 6),
        "se": choice(0, 0.25),
        "inside": choice(0.25, 0.5, 1.0),
        "groups": choice(1, 8),
        "small": choice("3x3", "1x3+3x1"),
        "large": choice("5x5", "3x3+3x3", "1x7+7x1"),
        "pool": choice("max", "avg"),
        "residual": choice(False, True),
    }
    return Space(
        "mixed",
        doc="MBConv, Fused-MBConv, ResNet's bottleneck or an Inception module, stage by stage",
        act=choice("relu", "silu", "hard_swish"),
        stem=Stage(conv_stem, width=32, stride=2),
        stages=[
            Stage(cell, width=choice(16, 24), **{**around, "expansion": 1}),
            Stage(cell, depth=choice(1, 2, 3), width=choice(24, 32), stride=2, **around),
            Stage(cell, depth=choice(1, 2, 3), width=choice(40, 48, 64), stride=2, **around),
            Stage(cell, depth=choice(1, 2, 3, 4), width=choice(80, 96, 128), stride=2, **around),
            Stage(cell, depth=choice(1, 2, 3, 5), width=choice(112, 160), **around),
            Stage(cell, depth=choice(1, 2, 4, 8), width=choice(192, 256), stride=2, **around),
            Stage(cell, depth=choice(0, 1, 2), width=choice(320, 512), **around),
        ],
        head=Stage(conv_head, width=1280),
        smallest_map=4,
        references={
            "efficientnet_b0": by_stage(
                {"act": "silu"}, cell=["mbconv"] * 7, width=[16, 24, 40, 80, 112, 192, 320], se=[0.25] * 7,
                depth=[None, 2, 2, 3, 3, 4, 1], kernel=[3, 3, 5, 3, 5, 5, 3], expansion=[None, *[6] * 6]),
            "efficientnetv2_b0": by_stage(
                {"act": "silu"}, cell=["fused_mbconv"] * 3 + ["mbconv"] * 3, width=[16, 32, 48, 96, 112, 192],
                depth=[None, 2, 2, 3, 5, 8, 0], kernel=[3] * 6, expansion=[None, 4, 4, 4, 6, 6],
                se=[0, 0, 0, 0.25, 0.25, 0.25]),
        },
    )  # fmt: skip
