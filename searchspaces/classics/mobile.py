"""Mobile networks and their successors: depthwise separable convolutions, inverted residuals, channel shuffles.

Most are members of our spaces or scaled members; a few belong to none. Published sizes are those of the reference
implementations: convolutions without bias before a norm, squeeze-excite with biases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any, Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Node,
    Pool,
)
from searchspaces.mbconv import (
    conv_head,
    conv_norm_act,
    conv_stem,
    efficientnetv2_space,
    fused_mbconv,
    mbconv,
    mbconv_blocks_space,
    mbconv_space,
    mobilenetv3_space,
)
from searchspaces.shufflenet import pool_head, shuffle_stem, shuffle_unit, shufflenet_space
from searchspaces.space import Space
from searchspaces.stage import Scale, Stage, multiple_of_8
from searchspaces.task import Task


def separable(c_in: int, width: int, stride: int, *, act: str = "relu") -> Node:
    """Depthwise 3x3 and pointwise convolution, each with norm and activation (1704.04861, fig. 3)."""
    return Chain(conv_norm_act(c_in, 3, stride, groups=c_in, act=act), conv_norm_act(width, 1, act=act))


Thunk = Callable[[], Classic]


@cache
def _shuffled() -> Space:
    return shufflenet_space()


_HEAD: Final = Stage(conv_head, width=1280)


def _member(
    space: Callable[[], Space], name: str, paper: str, size: int = 224, scale: Scale = Scale(), of: str = ""
) -> Thunk:
    """A member of a space, or a scaled one."""
    return lambda: Classic.member(space().references[of or name], name, paper, Task(size), scale)


def _alone(
    name: str, paper: str, stages: Iterable[Stage], stem: int, head: Stage = _HEAD, act: str = "relu", size: int = 224
) -> Classic:
    """A network that belongs to none of our spaces: the only member of its own."""
    space = Space(name, stem=Stage(conv_stem, width=stem, stride=2), stages=stages, head=head, act=act)
    return Classic(name, paper, space.architecture({}).network, Task(size))


def _like(
    space: Space, of: str, width: Callable[[int], int], depth: Callable[[int], int] = lambda depth: depth
) -> Iterator[Stage]:
    """The stages of a member with other widths and depths; unlike with `Scale`, stem and head keep theirs."""
    for label, fixed in space.describe()["fixed"].items():
        own: dict[str, Any] = dict(fixed)
        own |= {key[len(label) + 1 :]: value for key, value in space.references[of].choices.items() if label in key}
        if label.startswith("stage") and own["depth"]:
            own["width"], own["depth"] = width(own["width"]), depth(own["depth"])
            yield Stage({"mbconv": mbconv, "fused_mbconv": fused_mbconv}[own.pop("cell")], **own)


def _mobilenetv1(width: float) -> Thunk:
    def make() -> Classic:
        rows = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
        stages = [Stage(separable, width=int(c * width), depth=depth, stride=stride) for c, depth, stride in rows]
        name, paper = f"mobilenetv1_{100 * width:03.0f}", "Howard 2017, arXiv:1704.04861, tables 1 and 6"
        return _alone(name, paper, stages, int(32 * width), Stage(pool_head, width=1))

    return make


def _conv_unit(c_in: int, width: int, stride: int) -> Node:
    """A full 3x3 convolution in place of a separable one."""
    return conv_norm_act(width, 3, stride)


def _conv_mobilenet() -> Classic:
    stages = [
        Stage(_conv_unit, width=width, depth=depth, stride=stride)
        for width, depth, stride in ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
    ]
    return _alone("conv_mobilenet", "Howard 2017, arXiv:1704.04861, table 4", stages, 32, Stage(pool_head, width=1))


def squeezenet(task: Task, first: bool) -> Node:
    """SqueezeNet: Fire modules, a 1x1 convolution before 1x1 and 3x3 ones side by side (1602.07360, table 1).

    Args:
        task: images and classes.
        first: whether it is version 1.0 or the later 1.1, which pools earlier behind a smaller first convolution.
    """

    def relu(width: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> Chain:
        return Chain(Conv(width, kernel, stride, bias=True, padding=padding), Act())

    def fire(squeezed: int) -> Node:
        return Chain(relu(squeezed), Concat(relu(4 * squeezed), relu(4 * squeezed, 3)))

    pool = Pool("max", 3, 2, padding=0, ceil=True)
    sizes = (16, 16, 32, 32, 48, 48, 64, 64)
    pools, stem = ((3, 7), relu(96, 7, 2, 0)) if first else ((2, 4), relu(64, 3, 2, 0))
    starts = (0, *pools, len(sizes))
    stages = [
        Chain(*map(fire, sizes[start:end]), *([pool] if end < len(sizes) else []), label=f"stage{index}")
        for index, (start, end) in enumerate(itertools.pairwise(starts), start=1)
    ]
    head = (Dropout(0.5), relu(task.classes), GlobalPool(), Flatten())
    return Chain(Chain(stem, pool, label="stem"), *stages, Chain(*head, label="head"))


def _squeezenet(name: str, first: bool) -> Thunk:
    return lambda: Classic(name, "Iandola 2016, arXiv:1602.07360, table 1", partial(squeezenet, first=first))


def _mobilenetv2_050() -> Classic:
    """Half the width, except in the head (sec. 5)."""
    stages = _like(mbconv_space(), "mobilenetv2_100", Scale(0.5).channels)
    return _alone("mobilenetv2_050", "Sandler 2018, arXiv:1801.04381, table 2 and sec. 6.1", stages, 16, act="relu6")


def _mnasnet(width: float) -> Thunk:
    name, paper = f"mnasnet_{100 * width:03.0f}", "Tan 2019, arXiv:1807.11626, sec. 5.2, without squeeze-excite (B1)"
    channels = Scale(width).channels
    return lambda: _alone(name, paper, _like(mbconv_space(), "mnasnet_100", channels), channels(32))


def _mnasnet_small() -> Classic:
    rows = (
        (1, 8, 1, 3, 1, 0), (1, 16, 2, 3, 3, 0), (2, 16, 2, 3, 6, 0), (4, 32, 2, 5, 6, 0.25), (3, 32, 1, 3, 6, 0.25),
        (3, 88, 2, 5, 6, 0.25), (1, 144, 1, 3, 6, 0),
    )  # fmt: skip
    stages = (
        Stage(mbconv, depth=depth, width=width, stride=stride, kernel=kernel, expansion=expansion, se=se)
        for depth, width, stride, kernel, expansion, se in rows
    )
    return _alone("mnasnet_small", "Tan 2019, arXiv:1807.11626, reference implementation (mnasnet-small)", stages, 8)


def _tinynet(name: str, size: int, width: float, depth: float) -> Thunk:
    """A smaller EfficientNet-B0 with the same stem and head; depths are rounded to the nearest integer."""

    def make() -> Classic:
        stages = _like(mbconv_space(), "efficientnet_b0", Scale(width).channels, lambda d: max(1, round(d * depth)))
        return _alone(name, "Han 2020, arXiv:2010.14819, table 4", stages, 32, act="silu", size=size)

    return make


def _efficientnetv2_b3() -> Classic:
    """Factors 1.2 and 1.4; the first stage's width of 19.2 is rounded to 16, although that loses more than a tenth."""
    space, scale = efficientnetv2_space(), Scale(1.2, 1.4)
    stages = _like(space, "efficientnetv2_b0", lambda width: multiple_of_8(width * 1.2, least=0), scale.blocks)
    return _alone("efficientnetv2_b3", _V2, stages, 40, Stage(conv_head, width=1536, dropout=0.3), "silu", size=300)


def _efficientnetv2_xl() -> Classic:
    """The widest and deepest, of the reference implementation (sec. 5.2)."""
    rows = (
        (fused_mbconv, 4, 32, 1, 1, 0), (fused_mbconv, 8, 64, 2, 4, 0), (fused_mbconv, 8, 96, 2, 4, 0),
        (mbconv, 16, 192, 2, 4, 0.25), (mbconv, 24, 256, 1, 6, 0.25), (mbconv, 32, 512, 2, 6, 0.25),
        (mbconv, 8, 640, 1, 6, 0.25),
    )  # fmt: skip
    stages = (
        Stage(cell, depth=depth, width=width, stride=stride, expansion=expansion, se=se)
        for cell, depth, width, stride, expansion, se in rows
    )
    return _alone("efficientnetv2_xl", _V2, stages, 32, Stage(conv_head, width=1280, dropout=0.4), "silu", size=512)


def _shufflenet(name: str, groups: int, first: int, stem: int) -> Thunk:
    def make() -> Classic:
        rows = ((first, 1, 2, False), (first, 3, 1, True), (2 * first, 8, 2, True), (4 * first, 4, 2, True))
        stages = [
            Stage(shuffle_unit, width=c, depth=depth, stride=stride, groups=groups, grouped_first=grouped)
            for c, depth, stride, grouped in rows
        ]
        begins = Stage(shuffle_stem, width=stem, stride=2)
        space = Space(name, stem=begins, stages=stages, head=Stage(pool_head, width=1))
        paper, member = "Zhang 2018, arXiv:1707.01083, tables 1 and 5", _shuffled().references.get(name)
        return Classic(name, paper, space.architecture({}).network, architecture=member)

    return make


B_SCALED: Final = (
    (1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3),
    (1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5),
)  # fmt: skip
"""Width, depth, image size and dropout of EfficientNet-B0 to B7 (tensorflow/tpu, efficientnet_builder.py)."""
_V2_SIZES: Final = (
    ("b0", "b0", 224, Scale()), ("b1", "b0", 240, Scale(1.0, 1.1)), ("b2", "b0", 260, Scale(1.1, 1.2, dropout=0.3)),
    ("s", "s", 384, Scale()), ("m", "m", 480, Scale(dropout=0.3)), ("l", "l", 480, Scale(dropout=0.4)),
)  # fmt: skip
"""Name, member, image size and factors of EfficientNetV2, with dropout where it is not the head's 0.2 (google/automl,
effnetv2_configs.py)."""
_TINY: Final = (
    ("tinynet_a", 192, 1.0, 1.2), ("tinynet_b", 188, 0.75, 1.1), ("tinynet_c", 184, 0.54, 0.85),
    ("tinynet_d", 152, 0.54, 0.695), ("tinynet_e", 106, 0.51, 0.6),
)  # fmt: skip
_SHUFFLE: Final = (
    ("shufflenet_g3_wd4", 3, 60, 6), ("shufflenet_g3_wd2", 3, 120, 12), ("shufflenet_g3_w3d4", 3, 180, 18),
    ("shufflenet_g3_w1", 3, 240, 24), ("shufflenet_g3_w3d2", 3, 360, 24), ("shufflenet_g3_w2", 3, 480, 48),
    ("shufflenet_g1_w1", 1, 144, 24), ("shufflenet_g2_w1", 2, 200, 24), ("shufflenet_g4_w1", 4, 272, 24),
    ("shufflenet_g8_w1", 8, 384, 24),
)  # fmt: skip
"""Name, groups, width of the first stage and the stem's channels, of which the authors' own release keeps 24 at 1.5."""

_B: Final = "Tan & Le 2019, arXiv:1905.11946, table 1, scaled as in sec. 3.3 and the reference implementation"
_V2: Final = "Tan & Le 2021, arXiv:2104.00298, table 4 and the reference implementation"
_V3: Final = "Howard 2019, arXiv:1905.02244, table"

NETWORKS: Final[dict[str, Thunk]] = {
    **{f"mobilenetv1_{100 * width:03.0f}": _mobilenetv1(width) for width in (1.0, 0.75, 0.5, 0.25)},
    "conv_mobilenet": _conv_mobilenet,
    "squeezenet1_0": _squeezenet("squeezenet1_0", first=True),
    "squeezenet1_1": _squeezenet("squeezenet1_1", first=False),
    "mobilenetv2_050": _mobilenetv2_050,
    "mobilenetv2_100": _member(mbconv_space, "mobilenetv2_100", "Sandler 2018, arXiv:1801.04381, table 2"),
    "mobilenetv2_140": _member(
        mbconv_space, "mobilenetv2_140", "Sandler 2018, arXiv:1801.04381, table 4", 224, Scale(1.4), "mobilenetv2_100"
    ),
    "mobilenetv3_large_100": _member(mobilenetv3_space, "mobilenetv3_large_100", f"{_V3} 1"),
    "mobilenetv3_small_100": _member(mobilenetv3_space, "mobilenetv3_small_100", f"{_V3} 2"),
    "mnasnet_050": _mnasnet(0.5),
    "mnasnet_100": _member(mbconv_space, "mnasnet_100", "Tan 2019, arXiv:1807.11626, without squeeze-excite (B1)"),
    "mnasnet_140": _mnasnet(1.4),
    "mnasnet_small": _mnasnet_small,
    "semnasnet_100": _member(mbconv_space, "semnasnet_100", "Tan 2019, arXiv:1807.11626, fig. 7 (A1)"),
    "fbnetc_100": _member(mbconv_blocks_space, "fbnetc_100", "Wu 2019, arXiv:1812.03443, fig. 4"),
    "proxylessnas_mobile": _member(mbconv_blocks_space, "proxylessnas_mobile", "Cai 2019, arXiv:1812.00332, fig. 4"),
    "spnasnet_100": _member(mbconv_blocks_space, "spnasnet_100", "Stamoulis 2019, arXiv:1904.02877, fig. 6"),
    **{
        f"efficientnet_b{n}": _member(
            mbconv_space,
            f"efficientnet_b{n}",
            _B,
            size,
            Scale(width, depth, dropout=None if dropout == B_SCALED[0][3] else dropout),
            "efficientnet_b0",
        )
        for n, (width, depth, size, dropout) in enumerate(B_SCALED)
    },
    **{
        f"efficientnetv2_{n}": _member(
            efficientnetv2_space, f"efficientnetv2_{n}", _V2, size, scale, f"efficientnetv2_{of}"
        )
        for n, of, size, scale in _V2_SIZES
    },
    "efficientnetv2_b3": _efficientnetv2_b3,
    "efficientnetv2_xl": _efficientnetv2_xl,
    **{row[0]: _tinynet(*row) for row in _TINY},
    **{row[0]: _shufflenet(*row) for row in _SHUFFLE},
}
