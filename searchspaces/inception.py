"""Inception modules and the space `inception` around GoogLeNet.

Szegedy 2015, arXiv:1409.4842 (GoogLeNet, table 1); Szegedy 2016, arXiv:1512.00567 (factorised convolutions, sec. 3);
Szegedy 2017, arXiv:1602.07261 (Inception-ResNet, sec. 3.2). With batch norm after every convolution, as in all
networks of the family but the first. Branches are as wide as their share of the module, so that a module of any width
is one of the same make.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from searchspaces.grammar import Value
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalPool,
    Identity,
    Linear,
    Node,
    Norm,
    Pool,
    Sum,
)
from searchspaces.space import Space
from searchspaces.stage import Stage, choice


@cache
def conv(
    width: int, kernel: int | tuple[int, int] = 1, stride: int = 1, padding: int | None = None, act: str = "relu"
) -> Chain:
    """A convolution, batch norm and an activation, as all of the family have them."""
    return Chain(Conv(width, kernel, stride, padding=padding), Norm(eps=0.001), Act(act))


def inception(
    c_in: int,
    width: int,
    stride: int,
    *,
    small: str = "3x3",
    small_share: float = 0.5,
    small_reduce: float = 0.5,
    large: str = "5x5",
    large_share: float = 0.125,
    large_reduce: float = 0.5,
    pool: str = "max",
    pool_share: float = 0.125,
    residual: bool = False,
    act: str = "relu",
) -> Node:
    """Four branches side by side: 1x1; reduce and a small kernel; reduce and a large one; pool and project.

    Args:
        c_in, width: channels before and after.
        stride: at 2 a 3x3 max pooling comes before, as in GoogLeNet.
        small, large: kernels of the two branches, heights by widths, one after the other: `5x5`, `3x3+3x3` for a 5x5
            factorised into two, `1x7+7x1` for a 7x7 factorised into a row and a column.
        small_share, large_share, pool_share: of `width`; the 1x1 branch has what remains.
        small_reduce, large_reduce: width of the 1x1 convolution that comes first, as a share of the branch's.
        pool: `max` or `avg`, 3x3, followed by a 1x1 convolution.
        residual: the branches go through a linear 1x1 convolution and are added to the input (to a linear 1x1
            convolution of it where the channels differ), and the activation follows.
        act: activation.

    GoogLeNet's module 3a has 128M multiply-adds in the paper's table 1:

    >>> inception(192, 256, 1, small_reduce=0.7).cost((192, 28, 28)).macs
    128049152
    """
    shares = small_share, large_share, pool_share
    widths = [_share(width, share) for share in shares]
    if sum(widths) >= width:  # a small module, of which rounding leaves nothing for the first branch
        widths = [max(1, int(width * share)) for share in shares]
    body: Node = Concat(
        conv(width - sum(widths), act=act),
        _reduced(widths[0], small_reduce, small, act),
        _reduced(widths[1], large_reduce, large, act),
        Chain(Pool("avg" if pool == "avg" else "max", 3, 1), conv(widths[2], act=act)),
    )
    if residual:
        shortcut = Identity() if c_in == width else Chain(Conv(width), Norm(eps=0.001))
        body = Chain(Sum(shortcut, Chain(body, Conv(width), Norm(eps=0.001), DropPath())), Act(act))
    return Chain(_halve(), body) if stride == 2 else body


@cache
def _reduced(width: int, reduce: float, kernels: str, act: str) -> Chain:
    """A 1x1 convolution, and one for each kernel."""
    sides = [kernel.split("x") for kernel in kernels.split("+")]
    return Chain(
        conv(_share(width, reduce), act=act),
        *(conv(width, (int(down), int(across)), act=act) for down, across in sides),
    )


def _share(width: int, share: float) -> int:
    """So many channels, rounded to a multiple of 16 from 128 channels on, of 8 from 32 on."""
    unit = 16 if width >= 128 else 8 if width >= 32 else 1
    return max(1, round(width * share / unit)) * unit


def _halve() -> Pool:
    return Pool("max", 3, 2, padding=0, ceil=True)


def inception_stem(c_in: int, width: int, stride: int, *, act: str = "relu") -> Node:
    """GoogLeNet's first convolution, 7x7."""
    return conv(width, 7, stride, act=act)


def inception_stem2(c_in: int, width: int, stride: int, *, act: str = "relu") -> Node:
    """GoogLeNet's second: at stride 2 a pooling, then a 1x1 and a 3x3 convolution."""
    return Chain(*([_halve()] if stride == 2 else []), conv(c_in, act=act), conv(width, 3, act=act))


def pooled_head(c_in: int, width: int, stride: int, *, classes: int, dropout: float = 0.2) -> Node:
    """The average over the image and the classifier; it has no `width` of its own.

    Dropout is Inception-v3's rate, and torchvision's for GoogLeNet; the classic `googlenet` has its paper's 0.4.
    """
    return Chain(GlobalPool(), Flatten(), Dropout(dropout), Linear(classes))


# GoogLeNet's modules (table 1): width; shares of the 3x3, 5x5 and pooling branches; reductions before 3x3 and 5x5.
_GOOGLENET: Final = {
    "3a": (256, 0.5, 0.125, 0.125, 0.7, 0.5),
    "3b": (480, 0.4, 0.2, 0.125, 0.7, 0.35),
    "4a": (512, 0.4, 0.1, 0.125, 0.5, 0.35),
    "4b": (512, 0.45, 0.125, 0.125, 0.5, 0.35),
    "4c": (512, 0.5, 0.125, 0.125, 0.5, 0.35),
    "4d": (528, 0.55, 0.125, 0.125, 0.5, 0.5),
    "4e": (832, 0.375, 0.15, 0.15, 0.5, 0.25),
    "5a": (832, 0.375, 0.15, 0.15, 0.5, 0.25),
    "5b": (1024, 0.375, 0.125, 0.125, 0.5, 0.35),
}


def inception_space() -> Space:
    """The space `inception`: the nine modules of GoogLeNet, two of which may be left out.

    Each chooses its width, its kernels and how they are factorised, the share of the large kernel, the reductions, the
    pooling, and whether it is residual. GoogLeNet is a member, as is torchvision's, which has 3x3 for 5x5.
    """
    around: dict[str, Any] = {
        "small": choice("3x3", "1x3+3x1"),
        "small_reduce": choice(0.5, 0.7),
        "large": choice("3x3", "5x5", "3x3+3x3", "1x7+7x1"),
        "pool": choice("max", "avg"),
        "residual": choice(False, True),
    }
    modules = [
        Stage(
            inception,
            name=name,
            width=choice(width // 4, width // 2, width),
            depth=choice(0, 1) if name in ("4b", "4c") else 1,
            stride=2 if name.endswith("a") else 1,
            small_share=small,
            large_share=choice(*sorted({large, 0.25})),
            large_reduce=choice(*sorted({reduce, 0.75})),
            pool_share=pool,
            **around,
        )
        for name, (width, small, large, pool, _, reduce) in _GOOGLENET.items()
    ]
    googlenet, torchvision = ({"stem.width": 64, "stem2.width": 192, **_member(large)} for large in ("5x5", "3x3"))
    return Space(
        "inception",
        doc="parallel branches around GoogLeNet, with factorized kernels and residual modules",
        stem=[
            Stage(inception_stem, width=choice(32, 64), stride=2),
            Stage(inception_stem2, width=choice(48, 96, 192), stride=2),
        ],
        stages=modules,
        head=Stage(pooled_head, width=1),
        smallest_map=2,
        references={"googlenet": googlenet, "googlenet_torchvision": torchvision},
    )


def _member(large: str) -> dict[str, Value]:
    """GoogLeNet's choices, with that kernel in its widest branch."""
    choices: dict[str, Value] = {}
    for name, (width, _, large_share, _, small_reduce, large_reduce) in _GOOGLENET.items():
        choices |= {f"{name}.width": width, f"{name}.small": "3x3", f"{name}.small_reduce": small_reduce}
        choices |= {f"{name}.large": large, f"{name}.large_share": large_share, f"{name}.large_reduce": large_reduce}
        choices |= {f"{name}.pool": "max", f"{name}.residual": False}
    return choices | {"4b.depth": 1, "4c.depth": 1}
