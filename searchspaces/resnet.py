"""Residual blocks and the spaces `resnet` and `resnet-cifar` around the ResNets.

He 2016a, arXiv:1512.03385 (basic and bottleneck blocks; table 1, sec. 4.2); He 2016b, arXiv:1603.05027
(pre-activation); Zagoruyko & Komodakis 2016, arXiv:1605.07146 (widening); Xie 2017, arXiv:1611.05431 (ResNeXt's
groups); Hu 2018, arXiv:1709.01507 (squeeze-excite); Gao 2019, arXiv:1904.01169 (Res2Net); He 2019, arXiv:1812.01187
(ResNet-D's stem and shortcut); Bello 2021, arXiv:2103.07579 (ResNet-RS); Huang 2016, arXiv:1603.09382 (stochastic
depth: every residual ends in `DropPath`). Strides are in the 3x3 convolution, as in torchvision ("v1.5").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from searchspaces.grammar import Value
from searchspaces.layers import (
    Act,
    Chain,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Node,
    Norm,
    Pad,
    Pool,
    Slice,
    SqueezeExcite,
    Sum,
)
from searchspaces.mbconv import conv_norm_act, conv_stem
from searchspaces.space import Space
from searchspaces.stage import Stage, choice, scaled_inside

Shortcut = Literal["conv", "pool", "identity"]


def basic(
    c_in: int,
    width: int,
    stride: int,
    *,
    kernel: int = 3,
    se: float = 0.0,
    shortcut: Shortcut = "conv",
    preact: bool = False,
    act: str = "relu",
) -> Node:
    """Two convolutions and a shortcut around them (1512.03385, fig. 5 left).

    Args:
        c_in, width: channels before and after.
        stride: of the first convolution.
        kernel: side of the kernels in pixels.
        se: squeeze-excite's reduced channels over `width`, before the addition; 0 leaves it out.
        shortcut: what it is where it cannot be the identity: a 1x1 convolution (`conv`), one after average pooling
            (`pool`, ResNet-D), or the input, strided, with zero channels appended (`identity`: option A of He 2016a).
        preact: norm and activation before each convolution instead of after it, and none after the addition.
        act: activation.
    """
    units = [
        _unit(Conv(width, kernel, stride), act, preact),
        _unit(Conv(width, kernel), act, preact, last=True),
    ]
    return _block(units, c_in, width, stride, se, shortcut, preact, act)


def bottleneck(
    c_in: int,
    width: int,
    stride: int,
    *,
    kernel: int = 3,
    inside: float = 0.25,
    groups: int = 1,
    se: float = 0.0,
    shortcut: Shortcut = "conv",
    preact: bool = False,
    act: str = "relu",
    unscaled: int | None = None,
) -> Node:
    """A 1x1 convolution, one with the kernel and a 1x1 one, and a shortcut around them (1512.03385, fig. 5 right).

    Arguments as in `basic`, and:

    Args:
        inside: channels of the middle convolution over `width`: 0.25 in ResNet-50, 0.5 in Wide ResNet-50-2. Base
            width b and cardinality g of ResNeXt (g x b d) are `inside` = g * b / 256 and `groups` = g.
        groups: of the middle convolution (fewer where the channels are not a multiple).
        unscaled: `width` as declared, in a network that is scaled; see `scaled_inside`.
    """
    inner, groups = scaled_inside(width, unscaled, inside, groups)
    units = [
        _unit(Conv(inner), act, preact),
        _unit(Conv(inner, kernel, stride, groups), act, preact),
        _unit(Conv(width), act, preact, last=True),
    ]
    return _block(units, c_in, width, stride, se, shortcut, preact, act)


def res2net(
    c_in: int,
    width: int,
    stride: int,
    *,
    kernel: int = 3,
    scale: int = 4,
    base: int = 26,
    se: float = 0.0,
    shortcut: Shortcut = "conv",
    preact: bool = False,
    act: str = "relu",
) -> Node:
    """A bottleneck whose middle is split in parts that feed one another (1904.01169, fig. 2b and sec. 3.1).

    Arguments as in `basic`, and:

    Args:
        scale: number of parts (s).
        base: channels of a part where `width` is 256 (w; 26w 4s is the paper's setting for ResNet-50).
    """
    part = max(1, width // 4 * base // 64)
    units = [
        _unit(Conv(part * scale), act, preact),
        _parts(_unit(Conv(part, kernel, stride), act, preact), part, scale, stride, stride == 1 and c_in == width),
        _unit(Conv(width), act, preact, last=True),
    ]
    return _block(units, c_in, width, stride, se, shortcut, preact, act)


def res2next(
    c_in: int,
    width: int,
    stride: int,
    *,
    scale: int = 4,
    base: int = 4,
    groups: int = 8,
    se: float = 0.0,
    shortcut: Shortcut = "conv",
    act: str = "relu",
) -> Node:
    """A Res2Net block whose parts have groups: scale and cardinality together (1904.01169, sec. 3.3).

    Arguments as in `res2net`, and:

    Args:
        base: channels of a group where `width` is 256 (w; 4w 8c 4s is Res2NeXt-50).
        groups: of each part (c).
    """
    part = max(1, width // 4 * base // 64) * groups
    units = [
        _unit(Conv(part * scale), act, False),
        _parts(_unit(Conv(part, 3, stride, groups), act, False), part, scale, stride, stride == 1 and c_in == width),
        _unit(Conv(width), act, False, last=True),
    ]
    return _block(units, c_in, width, stride, se, shortcut, False, act)


def _parts(unit: Chain, part: int, scale: int, stride: int, feeding: bool) -> Chain:
    """`scale` parts of the channels, all but the last through `unit`; where they are `feeding`, each gets the output of
    the one before, and elsewhere the last is pooled (reference code)."""
    steps = [GraphStep(Slice(index * part, (index + 1) * part), (0,)) for index in range(scale)]
    done: list[int] = []
    for index in range(scale - 1):
        inputs = (done[-1], index + 1) if feeding and done else (index + 1,)
        steps.append(GraphStep(unit, inputs))
        done.append(len(steps))
    if feeding:
        done.append(scale)
    else:
        steps.append(GraphStep(Pool("avg", 3, stride), (scale,)))
        done.append(len(steps))
    return Chain(Graph((*steps, GraphStep(Identity(), tuple(done), "concat"))))


def _unit(conv: Conv, act: str, preact: bool, last: bool = False) -> Chain:
    """A convolution with its norm and activation; the last of a block has its activation after the addition."""
    if preact:
        return Chain(Norm(), Act(act), conv)
    return Chain(conv, Norm()) if last else Chain(conv, Norm(), Act(act))


def _block(
    units: Sequence[Chain], c_in: int, width: int, stride: int, se: float, shortcut: Shortcut, preact: bool, act: str
) -> Node:
    tail = [SqueezeExcite(max(1, int(width * se)), act)] if se else []
    around = shortcut_of(c_in, width, stride, shortcut, norm=not preact)
    if not preact:
        return Chain(Sum(around, Chain(*units, *tail, DropPath())), Act(act))
    if shortcut == "identity" or around == Identity():
        return Sum(around, Chain(*units, *tail, DropPath()))
    *before, conv = units[0].nodes  # both paths start from the activated input (1603.05027, appendix)
    return Chain(*before, Sum(around, Chain(conv, *units[1:], *tail, DropPath())))


def shortcut_of(
    c_in: int, width: int, stride: int, kind: Shortcut = "conv", norm: bool = True, kernel: int = 1
) -> Node:
    """The path around a block: the identity where the shapes allow it, and otherwise as `basic` says."""
    if stride == 1 and c_in == width:
        return Identity()
    if kind == "identity":
        strided = [Pool("max", 1, stride)] if stride != 1 else []
        return Chain(*strided, Pad(width) if c_in < width else Slice(0, width) if c_in > width else Identity())
    norms = [Norm()] if norm else []
    if kind == "pool" and stride != 1:
        return Chain(Pool("avg", 2, stride, padding=0, ceil=True), Conv(width), *norms)
    return Chain(Conv(width, kernel, stride), *norms)


def deep_stem(c_in: int, width: int, stride: int, *, act: str = "relu") -> Node:
    """Three 3x3 convolutions in place of one 7x7 (1512.00567, sec. 3.1; 1812.01187, fig. 2b)."""
    half = width // 2
    return Chain(
        conv_norm_act(half, 3, stride, act=act), conv_norm_act(half, 3, act=act), conv_norm_act(width, 3, act=act)
    )


def small_stem(c_in: int, width: int, stride: int, *, preact: bool = False, act: str = "relu") -> Node:
    """The 3x3 convolution before the blocks for small images; pre-activated blocks bring their own norm."""
    return Conv(width, 3, stride) if preact else conv_norm_act(width, 3, stride, act=act)


def max_pool(c_in: int, width: int, stride: int) -> Node:
    """Max pooling over 3x3, left out where it does not stride; it keeps its channels, whatever `width` says."""
    return Pool("max", 3, stride) if stride != 1 else Identity()


def residual_head(
    c_in: int, width: int, stride: int, *, classes: int, preact: bool = False, act: str = "relu", dropout: float = 0.0
) -> Node:
    """The average over the image and the classifier, after what pre-activated blocks still owe; `width` has no use."""
    owed = [Norm(), Act(act)] if preact else []
    drop = [Dropout(dropout)] if dropout else []
    return Chain(*owed, GlobalPool(), Flatten(), *drop, Linear(classes))


def resnet_space() -> Space:
    """The space `resnet`: four stages, each with its own block, width and depth, around the ResNets of ImageNet.

    Members: ResNet-18 to 152, ResNet-50-D, Wide ResNet-50-2 and 101-2, ResNeXt-50 32x4d and 101 32x8d, SE-ResNet-50,
    SE-ResNeXt-50, Res2Net-50 26w 4s and 8s, SE-Res2Net-50, pre-activation ResNet-200, ResNet-RS-50. On 32x32 the stem
    and the pooling after it do not stride.
    """
    block: dict[str, Any] = {
        "kernel": choice(3, 5),
        "inside": choice(0.25, 0.5, 1.0),
        "groups": choice(1, 32),
        "scale": choice(4, 8),
        "se": choice(0, 0.0625, 0.25),
    }
    cell = choice(basic, bottleneck, res2net)
    return Space(
        "resnet",
        doc="residual blocks around ResNet-18 to 152, ResNeXt, Wide, SE-, Res2Net and pre-activation ResNets",
        preact=choice(False, True),
        shortcut=choice("conv", "pool"),
        stem=[
            Stage(choice(conv_stem, deep_stem), width=choice(32, 64), stride=2, kernel=choice(3, 7)),
            Stage(choice(max_pool, conv_stem), width=64, stride=2, name="pool"),
        ],
        stages=[
            Stage(cell, depth=choice(1, 2, 3), width=choice(32, 64, 128, 256), **block),
            Stage(cell, depth=choice(1, 2, 3, 4, 8, 24), width=choice(64, 128, 256, 512), stride=2, **block),
            Stage(cell, depth=choice(1, 2, 3, 6, 23, 36), width=choice(128, 256, 512, 1024), stride=2, **block),
            Stage(cell, depth=choice(1, 2, 3), width=choice(256, 512, 1024, 2048), stride=2, **block),
        ],
        head=Stage(residual_head, width=1),
        smallest_map=4,
        references={
            "resnet18": _resnet("basic", [2, 2, 2, 2]),
            "resnet34": _resnet("basic", [3, 4, 6, 3]),
            "resnet50": _resnet("bottleneck", [3, 4, 6, 3]),
            "resnet101": _resnet("bottleneck", [3, 4, 23, 3]),
            "resnet152": _resnet("bottleneck", [3, 8, 36, 3]),
            "resnet50d": _resnet("bottleneck", [3, 4, 6, 3], stem="deep_stem", shortcut="pool"),
            "wide_resnet50_2": _resnet("bottleneck", [3, 4, 6, 3], inside=0.5),
            "wide_resnet101_2": _resnet("bottleneck", [3, 4, 23, 3], inside=0.5),
            "resnext50_32x4d": _resnet("bottleneck", [3, 4, 6, 3], inside=0.5, groups=32),
            "resnext101_32x8d": _resnet("bottleneck", [3, 4, 23, 3], inside=1.0, groups=32),
            "seresnet50": _resnet("bottleneck", [3, 4, 6, 3], se=0.0625),
            "seresnext50_32x4d": _resnet("bottleneck", [3, 4, 6, 3], inside=0.5, groups=32, se=0.0625),
            "res2net50_26w_4s": _resnet("res2net", [3, 4, 6, 3], scale=4),
            "res2net50_26w_8s": _resnet("res2net", [3, 4, 6, 3], scale=8),
            "seres2net50_26w_4s": _resnet("res2net", [3, 4, 6, 3], scale=4, se=0.0625),
            "preresnet200": _resnet("bottleneck", [3, 24, 36, 3], preact=True),
            "resnetrs50": _resnet(
                "bottleneck", [3, 4, 6, 3], stem="deep_stem", pool="conv_stem", shortcut="pool", se=0.25
            ),
        },
    )


def resnet_cifar_space() -> Space:
    """The space `resnet-cifar`: three stages for small images, around the ResNets and Wide ResNets of CIFAR.

    Members: ResNet-20, 32, 44, 56 and 110 (1512.03385, table 6) and WRN-d-k (1605.07146, tables 1 and 4).
    """
    block: dict[str, Any] = {
        "depth": choice(1, 2, 3, 4, 5, 6, 7, 9, 18),
        "kernel": choice(3, 5),
        "inside": choice(0.25, 0.5),
        "groups": choice(1, 4),
        "se": choice(0, 0.0625),
    }
    cell = choice(basic, bottleneck)
    wide = {(16, 8), (16, 10), (22, 8), (22, 10), (28, 10), (28, 12), (40, 1), (40, 2), (40, 4), (40, 8)}
    return Space(
        "resnet-cifar",
        doc="residual blocks for small images, around ResNet-20 to 110 and Wide ResNets",
        preact=choice(False, True),
        shortcut=choice("identity", "conv"),
        stem=Stage(small_stem, width=16),
        stages=[
            Stage(cell, width=choice(*(16 * k for k in (1, 2, 4, 8, 10, 12))), **block),
            Stage(cell, width=choice(*(32 * k for k in (1, 2, 4, 8, 10, 12))), stride=2, **block),
            Stage(cell, width=choice(*(64 * k for k in (1, 2, 4, 8, 10, 12))), stride=2, **block),
        ],
        head=Stage(residual_head, width=1),
        smallest_map=4,
        references={
            **{f"resnet{depth}": _cifar((depth - 2) // 6) for depth in (20, 32, 44, 56, 110)},
            **{f"wrn_{depth}_{k}": _cifar((depth - 4) // 6, k, True, "conv") for depth, k in sorted(wide)},
        },
    )


def _resnet(
    cell: str,
    depths: Sequence[int],
    *,
    stem: str = "conv_stem",
    pool: str = "max_pool",
    shortcut: Shortcut = "conv",
    preact: bool = False,
    **block: Value,
) -> dict[str, Value]:
    """Choices of a ResNet of ImageNet, all of whose stages have the same block."""
    choices: dict[str, Value] = {"preact": preact, "shortcut": shortcut, "pool.cell": pool}
    choices |= {"stem.cell": stem, "stem.width": 64, "stem.kernel": 7}
    of_block: dict[str, Value] = {"kernel": 3, "inside": 0.25, "groups": 1, "scale": 4, "se": 0, **block}
    for index, depth in enumerate(depths):
        own: dict[str, Value] = {
            "cell": cell,
            "depth": depth,
            "width": (64 if cell == "basic" else 256) << index,
            **of_block,
        }
        choices |= {f"stage{index + 1}.{key}": value for key, value in own.items()}
    return choices


def _cifar(depth: int, widen: int = 1, preact: bool = False, shortcut: Shortcut = "identity") -> dict[str, Value]:
    """Choices of a network of basic blocks for small images, `depth` in each stage."""
    choices: dict[str, Value] = {"preact": preact, "shortcut": shortcut}
    for index in range(3):
        own: dict[str, Value] = {"cell": "basic", "depth": depth, "width": (16 << index) * widen, "kernel": 3, "se": 0}
        choices |= {f"stage{index + 1}.{key}": value for key, value in own.items()}
    return choices
