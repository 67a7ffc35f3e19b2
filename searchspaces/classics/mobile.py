"""Mobile networks and their successors: depthwise separable convolutions, inverted residuals, channel shuffles.

Most are members of our spaces or scaled members; a few belong to none. Published sizes are those of the reference
implementations: convolutions without bias before a norm, squeeze-excite with biases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from searchspaces.classics.classic import Classic
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
from searchspaces.space import Space
from searchspaces.stage import Scale, Stage, multiple_of_8
from searchspaces.task import Task


def separable(c_in: int, width: int, stride: int, *, act: str = "relu") -> Node:
    """Depthwise 3x3 and pointwise convolution, each with norm and activation (1704.04861, fig. 3)."""
    return Chain(conv_norm_act(c_in, 3, stride, groups=c_in, act=act), conv_norm_act(width, 1, act=act))


def shuffle_unit(c_in: int, width: int, stride: int, *, groups: int, grouped_first: bool = True) -> Node:
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 beside a shortcut (Zhang 2018, arXiv:1707.01083, fig. 2).

    Args:
        c_in, width: channels before and after; a strided unit concatenates its output to its pooled input.
        stride: of the depthwise convolution and the pooling.
        groups: of the 1x1 convolutions, and of the shuffle.
        grouped_first: whether the first 1x1 convolution has groups too; the network's first has none (sec. 3.2).
    """
    inside, added = width // 4, width if stride == 1 else width - c_in
    body = Chain(
        conv_norm_act(inside, 1, groups=groups if grouped_first else 1),
        Shuffle(groups),
        Conv(inside, 3, stride, groups=inside),
        Norm(),
        Conv(added, groups=groups),
        Norm(),
    )
    return Chain(Sum(Identity(), body) if stride == 1 else Concat(Pool("avg", 3, stride), body), Act())


def shuffle_stem(c_in: int, width: int, stride: int) -> Node:
    """A 3x3 convolution and 3x3 max pooling, each with that stride."""
    return Chain(conv_norm_act(width, 3, stride), Pool("max", 3, stride))


def pool_head(c_in: int, width: int, stride: int, *, classes: int) -> Node:
    """Global average pooling and the classifier; `width` is the number of input channels."""
    return Chain(GlobalPool(), Flatten(), Linear(classes))


Thunk = Callable[[], Classic]

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
    return _alone("efficientnetv2_b3", _V2, stages, 40, Stage(conv_head, width=1536), "silu", size=300)


def _shufflenet(name: str, width: float, stem: int) -> Thunk:
    def make() -> Classic:
        first = int(240 * width)
        rows = ((first, 1, 2, False), (first, 3, 1, True), (2 * first, 8, 2, True), (4 * first, 4, 2, True))
        stages = [
            Stage(shuffle_unit, width=c, depth=depth, stride=stride, groups=3, grouped_first=grouped)
            for c, depth, stride, grouped in rows
        ]
        begins = Stage(shuffle_stem, width=stem, stride=2)
        space = Space(name, stem=begins, stages=stages, head=Stage(pool_head, width=1))
        return Classic(name, "Zhang 2018, arXiv:1707.01083, tables 1 and 5", space.architecture({}).network)

    return make


B_SCALED: Final = (
    (1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300),
    (1.4, 1.8, 380), (1.6, 2.2, 456), (1.8, 2.6, 528), (2.0, 3.1, 600),
)  # fmt: skip
"""Width, depth and image size of EfficientNet-B0 to B7."""
_V2_SIZES: Final = (
    ("b0", "b0", 224, Scale()), ("b1", "b0", 240, Scale(1.0, 1.1)), ("b2", "b0", 260, Scale(1.1, 1.2)),
    ("s", "s", 384, Scale()), ("m", "m", 480, Scale()), ("l", "l", 480, Scale()),
)  # fmt: skip
_TINY: Final = (
    ("tinynet_a", 192, 1.0, 1.2), ("tinynet_b", 188, 0.75, 1.1), ("tinynet_c", 184, 0.54, 0.85),
    ("tinynet_d", 152, 0.54, 0.695), ("tinynet_e", 106, 0.51, 0.6),
)  # fmt: skip
_SHUFFLE: Final = (
    ("shufflenet_g3_wd4", 0.25, 6), ("shufflenet_g3_wd2", 0.5, 12), ("shufflenet_g3_w3d4", 0.75, 18),
    ("shufflenet_g3_w1", 1.0, 24), ("shufflenet_g3_w3d2", 1.5, 24), ("shufflenet_g3_w2", 2.0, 48),
)  # fmt: skip
"""Name, width and the stem's channels, of which the authors' own release keeps 24 at width 1.5."""

_B: Final = "Tan & Le 2019, arXiv:1905.11946, table 1, scaled as in sec. 3.3 and the reference implementation"
_V2: Final = "Tan & Le 2021, arXiv:2104.00298, table 4 and the reference implementation"
_V3: Final = "Howard 2019, arXiv:1905.02244, table"

NETWORKS: Final[dict[str, Thunk]] = {
    **{f"mobilenetv1_{100 * width:03.0f}": _mobilenetv1(width) for width in (1.0, 0.75, 0.5, 0.25)},
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
            mbconv_space, f"efficientnet_b{n}", _B, size, Scale(width, depth), "efficientnet_b0"
        )
        for n, (width, depth, size) in enumerate(B_SCALED)
    },
    **{
        f"efficientnetv2_{n}": _member(
            efficientnetv2_space, f"efficientnetv2_{n}", _V2, size, scale, f"efficientnetv2_{of}"
        )
        for n, of, size, scale in _V2_SIZES
    },
    "efficientnetv2_b3": _efficientnetv2_b3,
    **{row[0]: _tinynet(*row) for row in _TINY},
    **{row[0]: _shufflenet(*row) for row in _SHUFFLE},
}
