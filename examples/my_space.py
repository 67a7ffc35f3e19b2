"""A user-defined space, in the words that ours are written in.

Try it: `nas space examples/my_space.py:space --task 32x32x3:10`.

Small networks for small images: three stages of inverted residuals. The second decides each block by itself, the third
also decides which cell it is made of, and one cell is written here.
"""

from __future__ import annotations

from searchspaces import Space, Stage, choice, conv_head, conv_stem, fused_mbconv, mbconv, per_block
from searchspaces.layers import Act, Chain, Conv, Node, Norm


def separable(c_in: int, width: int, stride: int, *, kernel: int = 3, act: str = "relu") -> Node:
    """A depthwise and a pointwise convolution (MobileNetV1, arXiv:1704.04861): a user-defined cell."""
    return Chain(
        Conv(c_in, kernel, stride, groups=c_in), Norm(), Act(act),
        Conv(width), Norm(), Act(act),
    )  # fmt: skip


space = Space(
    "three-stages",
    doc="three stages for small images, with a cell of its own",
    stem=Stage(conv_stem, width=16),
    stages=[
        Stage(fused_mbconv, width=choice(16, 24), depth=choice(1, 2), expansion=choice(1, 4)),
        Stage(
            mbconv,
            width=choice(32, 48),
            depth=choice(1, 2, 3),
            stride=2,
            kernel=per_block(3, 5),
            expansion=per_block(3, 6),
        ),
        Stage(choice(mbconv, separable), width=choice(64, 96, 128), depth=choice(1, 2), stride=2, kernel=choice(3, 5)),
    ],
    head=Stage(conv_head, width=256),
    smallest_map=4,
)
