"""Residual networks: members of `resnet` and `resnet-cifar`, and networks with other kinds of shortcuts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    Gain,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Multiply,
    Node,
    Norm,
    Pool,
    SqueezeExcite,
    Sum,
)
from searchspaces.mbconv import conv_norm_act
from searchspaces.resnet import deep_stem, residual_head, resnet_cifar_space, resnet_space, shortcut_of
from searchspaces.task import Task

_CIFAR: Final = Task(32, 3, 10)


def _stages(
    unit: Callable[[int, int, int], Node], c_in: int, widths: Sequence[int], depths: Sequence[int]
) -> list[Chain]:
    """Stages of units `unit(c_in, width, stride)`; each stage but the first halves the image."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        units = [unit(c_in, width, 2 if index else 1), *(unit(width, width, 1) for _ in range(depth - 1))]
        stages.append(Chain(*units, label=f"stage{index + 1}"))
        c_in = width
    return stages


def senet154(task: Task) -> Node:
    """SENet-154: 64 groups, 3x3 projections, a first 1x1 of half the width (Hu 2018, arXiv:1709.01507, appendix)."""

    def unit(c_in: int, width: int, stride: int) -> Node:
        around = shortcut_of(c_in, width, stride, kernel=3 if stride != 1 else 1)
        grouped = conv_norm_act(width, 3, stride, groups=64)
        body = Chain(conv_norm_act(width // 2, 1), grouped, Conv(width), Norm(), SqueezeExcite(width // 16), DropPath())
        return Chain(Sum(around, body), Act())

    return Chain(
        Chain(deep_stem(task.channels, 128, 2), Pool(), label="stem"),
        *_stages(unit, 128, [256, 512, 1024, 2048], [3, 8, 36, 3]),
        Chain(residual_head(2048, 1, 1, classes=task.classes, dropout=0.2), label="head"),
    )


def multi_resnet(task: Task, depth: int, branches: int, widen: int = 0) -> Node:
    """Multi-residual network: several pre-activated bodies in each unit (Abdi & Nahavandi 2016, arXiv:1609.05672).

    Args:
        task: images and classes.
        depth: number of layers as the authors count them.
        branches: bodies added to the input of each unit (k).
        widen: factor on the widths of basic blocks (w); 0 makes bottlenecks.
    """
    lead = (Norm(), Act())

    def unit(c_in: int, width: int, stride: int) -> Node:
        if widen:
            body = Chain(Conv(width, 3, stride), *lead, Conv(width, 3))
        else:
            body = Chain(Conv(width // 4, 1, stride), *lead, Conv(width // 4, 3), *lead, Conv(width))
        if c_in == width:
            return Sum(Identity(), *[Chain(*lead, body)] * branches)
        return Chain(*lead, Sum(shortcut_of(c_in, width, stride, norm=False), *[body] * branches))

    widths = [(16 * widen if widen else 64) << index for index in range(3)]
    stages = _stages(unit, 16, widths, [(depth - 2) // (6 if widen else 9)] * 3)
    head = residual_head(widths[-1], 1, 1, classes=task.classes, preact=True)
    return Chain(Chain(Conv(16, 3), label="stem"), *stages, Chain(head, label="head"))


def ror3(task: Task, depth: int) -> Node:
    """RoR-3: shortcuts around each block, each stage and all stages (Zhang 2016, arXiv:1608.02908)."""

    def block(c_in: int, width: int, last: bool) -> Node:
        body = Chain(conv_norm_act(width, 3), Conv(width, 3), Norm(), DropPath())
        added = Sum(shortcut_of(c_in, width, 1), body)
        return added if last else Chain(added, Act())

    def stage(c_in: int, width: int, blocks: int, last: bool) -> Node:
        inside = Chain(*(block(c_in if i == 0 else width, width, i == blocks - 1) for i in range(blocks)))
        around = Chain(Conv(width), Norm())
        after = () if last else (Act(), Pool("max", 2, 2, padding=0))
        return Chain(Sum(around, inside), *after, label=f"stage{width // 16}")

    blocks = (depth - 8) // 6
    stages = Chain(stage(16, 16, blocks, False), stage(16, 32, blocks, False), stage(32, 64, blocks, True))
    whole = Sum(Chain(Conv(64, 1, 4), Norm()), stages)
    head = residual_head(64, 1, 1, classes=task.classes)
    return Chain(
        Chain(conv_norm_act(16, 3), label="stem"), Chain(whole, Act(), label="body"), Chain(head, label="head")
    )


def fractalnet(task: Task, columns: int = 3) -> Node:
    """FractalNet: five fractal blocks whose columns are joined by means (Larsson 2017, arXiv:1605.07648, fig. 1).

    `build(..., drop_path=0.15)` drops paths at the joins during training, as in the paper (sec. 3.1).
    """

    def block(width: int, dropout: float) -> Node:
        conv = Chain(*conv_norm_act(width, 3).nodes, *([Dropout(dropout)] if dropout else []))
        steps: list[GraphStep] = []
        values = [0] * columns  # the last value of each column; a convolution of column i spans 2**i rows
        for row in range(1, 2 ** (columns - 1) + 1):
            reached = [column for column in range(columns) if row % 2**column == 0]
            for column in reached:
                steps.append(GraphStep(conv, (values[column],)))
                values[column] = len(steps)
            if len(reached) > 1:
                steps.append(GraphStep(Identity(), tuple(values[column] for column in reached), "mean"))
                for column in reached:
                    values[column] = len(steps)
        return Graph(tuple(steps))

    settings = zip([64, 128, 256, 512, 512], [0.0, 0.1, 0.2, 0.3, 0.4], strict=True)
    blocks = [
        Chain(block(width, dropout), Pool("max", 2, 2, padding=0), label=f"stage{index}")
        for index, (width, dropout) in enumerate(settings, start=1)
    ]
    return Chain(*blocks, Chain(GlobalPool(), Flatten(), Linear(task.classes), label="head"))


def _conv(width: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | None = None) -> Chain:
    return Chain(Conv(width, kernel, stride, padding=padding), Norm(), Act())


def polynet(task: Task) -> Node:
    """Very Deep PolyNet: 10 2-way A, and 10 B and 5 C pairs of poly-3 and 2-way (Zhang 2017, arXiv:1611.05725).

    A poly-3 unit adds F, GF and HGF to its input; the first layers of F, G and H share weights but not norms. Residuals
    are scaled from 1.0 at the first unit to 0.7 at the last. `build(..., drop_path=...)` drops them during training,
    the paper's stochastic paths; the reference code, imgclsmob's `polynet`, does not.
    """
    scales = iter([1.0 - 0.3 * index / 39 for index in range(40)])
    halve = Pool("max", 3, 2, padding=0)

    def two_way(width: int, inside: Node) -> Node:
        factor = next(scales)
        return Chain(Sum(Identity(), *[Chain(inside, Conv(width), Norm(), Multiply(factor), DropPath())] * 2), Act())

    def poly_3(width: int, tower: Sequence[Conv]) -> Node:
        factor, steps = next(scales), list[GraphStep]()
        owner: dict[int, int] = {}

        def add(node: Node, *inputs: int, join: Literal["sum", "concat"] = "sum", shared: int | None = None) -> int:
            steps.append(GraphStep(node, inputs, join, shared))
            return len(steps)

        def normed(place: int, conv: Conv, value: int) -> int:
            value = add(conv, value, shared=owner.get(place))
            owner.setdefault(place, value)
            return add(Chain(Norm(), Act()), value)

        given, residuals = 0, list[int]()
        for turn in range(3):
            given = add(Act(), residuals[-1]) if turn else 0
            value = given
            for place, conv in enumerate(tower):
                value = normed(place, conv, value)
            beside = normed(len(tower), Conv(192), given)
            residuals.append(add(Chain(Conv(width), Norm()), value, beside, join="concat"))
        add(Act(), 0, *[add(Chain(Multiply(factor), DropPath()), residual) for residual in residuals])
        return Graph(tuple(steps))

    def pair(width: int, tower: Sequence[Conv]) -> Node:
        inside = Concat(Chain(*(Chain(conv, Norm(), Act()) for conv in tower)), _conv(192, 1))
        return Chain(poly_3(width, tower), two_way(width, inside))

    block_a = Concat(Chain(_conv(32, 1), _conv(48, 3), _conv(64, 3)), Chain(_conv(32, 1), _conv(32, 3)), _conv(32, 1))
    tower_b = [Conv(128), Conv(160, (1, 7)), Conv(192, (7, 1))]
    tower_c = [Conv(192), Conv(224, (1, 3)), Conv(256, (3, 1))]
    return Chain(
        Chain(
            *(_conv(32, 3, 2, 0), _conv(32, 3, 1, 0), _conv(64, 3)),
            Concat(halve, _conv(96, 3, 2, 0)),
            Concat(
                Chain(_conv(64, 1), _conv(96, 3, 1, 0)),
                Chain(_conv(64, 1), _conv(64, (7, 1)), _conv(64, (1, 7)), _conv(96, 3, 1, 0)),
            ),
            Concat(halve, _conv(192, 3, 2, 0)),
            label="stem",
        ),
        Chain(*[two_way(384, block_a) for _ in range(10)], label="stage1"),
        Chain(
            Concat(Chain(_conv(256, 1), _conv(256, 3), _conv(384, 3, 2, 0)), _conv(384, 3, 2, 0), halve),
            *[pair(1152, tower_b) for _ in range(10)],
            label="stage2",
        ),
        Chain(
            Concat(
                Chain(_conv(256, 1), _conv(256, 3), _conv(256, 3, 2, 0)),
                Chain(_conv(256, 1), _conv(256, 3, 2, 0)),
                Chain(_conv(256, 1), _conv(384, 3, 2, 0)),
                halve,
            ),
            *[pair(2048, tower_c) for _ in range(5)],
            label="stage3",
        ),
        Chain(GlobalPool(), Flatten(), Dropout(0.2), Linear(task.classes), label="head"),
    )


def nfnet_f0(task: Task) -> Node:
    """NFNet-F0: residuals without normalisation (Brock 2021, arXiv:2102.06171, sec. 4.1 and table 1).

    Departures: padding is symmetric, where the reference pads as TensorFlow does; shapes and costs are the same.
    """
    alpha, gamma = 0.2, 1.7015043497085571  # residual scale; gain that gives GELU's output unit variance
    act = Act("gelu", gamma)

    def conv(width: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Conv:
        return Conv(width, kernel, stride, groups, bias=True, standardized=True)

    def block(c_in: int, width: int, stride: int, variance: float) -> Node:
        inner = width // 2
        groups = inner // 128
        first = Act("gelu", gamma / math.sqrt(variance))
        body = Chain(
            *(conv(inner), act, conv(inner, 3, stride, groups), act, conv(inner, 3, 1, groups), act, conv(width)),
            *(SqueezeExcite(width // 2), Multiply(2.0), DropPath(), Gain(), Multiply(alpha)),
        )
        if stride == 1 and c_in == width:
            return Sum(Identity(), Chain(first, body))
        pool = [Pool("avg", 2, 2, padding=0, ceil=True)] if stride != 1 else []
        return Chain(first, Sum(Chain(*pool, conv(width)), body))

    stages, c_in, variance = [], 128, 1.0
    for index, (width, depth) in enumerate(zip([256, 512, 1536, 1536], [1, 2, 6, 3], strict=True)):
        blocks = []
        for number in range(depth):
            blocks.append(block(c_in, width, 2 if index and not number else 1, variance))
            variance = (1.0 if number == 0 else variance) + alpha**2
            c_in = width
        stages.append(Chain(*blocks, label=f"stage{index + 1}"))
    stem = (conv(16, 3, 2), act, conv(32, 3), act, conv(64, 3), act, conv(128, 3, 2))
    head = (conv(3072), act, GlobalPool(), Flatten(), Dropout(0.2), Linear(task.classes))
    return Chain(Chain(*stem, label="stem"), *stages, Chain(*head, label="head"))


def _member(name: str, paper: str) -> Callable[[], Classic]:
    return lambda: Classic.member(resnet_space().references[name], name, paper)


def _small_member(name: str, paper: str) -> Callable[[], Classic]:
    return lambda: Classic.member(resnet_cifar_space().references[name], name, paper, _CIFAR)


def _network(name: str, paper: str, tree: Callable[[Task], Node], task: Task = Task()) -> Callable[[], Classic]:
    return lambda: Classic(name, paper, tree, task)


_HE: Final = "He 2016, arXiv:1512.03385, table 1"
_XIE: Final = "Xie 2017, arXiv:1611.05431, table 1"
_HU: Final = "Hu 2018, arXiv:1709.01507, table 1"
_GAO: Final = "Gao 2019, arXiv:1904.01169, sec. 4"
_ZAGORUYKO: Final = "Zagoruyko & Komodakis 2016, arXiv:1605.07146, "
_ABDI: Final = "Abdi & Nahavandi 2016, arXiv:1609.05672"
_ZHANG: Final = "Zhang 2016, arXiv:1608.02908"

NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "resnet18": _member("resnet18", _HE),
    "resnet34": _member("resnet34", _HE),
    "resnet50": _member("resnet50", _HE),
    "resnet101": _member("resnet101", _HE),
    "resnet152": _member("resnet152", _HE),
    "resnet50d": _member("resnet50d", "He 2019, arXiv:1812.01187, fig. 2"),
    "wide_resnet50_2": _member("wide_resnet50_2", _ZAGORUYKO + "table 8"),
    "wide_resnet101_2": _member("wide_resnet101_2", _ZAGORUYKO + "deeper, as in torchvision"),
    "resnext50_32x4d": _member("resnext50_32x4d", _XIE),
    "resnext101_32x8d": _member("resnext101_32x8d", _XIE),
    "seresnet50": _member("seresnet50", _HU),
    "seresnext50_32x4d": _member("seresnext50_32x4d", _HU),
    "res2net50_26w_4s": _member("res2net50_26w_4s", _GAO),
    "res2net50_26w_8s": _member("res2net50_26w_8s", _GAO),
    "preresnet200": _member("preresnet200", "He 2016, arXiv:1603.05027, table 5"),
    "resnetrs50": _member("resnetrs50", "Bello 2021, arXiv:2103.07579"),
    "legacy_senet154": _network("legacy_senet154", "Hu 2018, arXiv:1709.01507, appendix", senet154),
    "dm_nfnet_f0": _network("dm_nfnet_f0", "Brock 2021, arXiv:2102.06171, table 1", nfnet_f0, Task(256)),
    "polynet": _network("polynet", "Zhang 2017, arXiv:1611.05725", polynet, Task(331)),
    **{name: _small_member(name, "He 2016, arXiv:1512.03385, table 6")
       for name in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")},
    **{name: _small_member(name, _ZAGORUYKO + "table 4")
       for name in ("wrn_40_1", "wrn_40_2", "wrn_40_4", "wrn_40_8", "wrn_28_10", "wrn_28_12", "wrn_22_8", "wrn_22_10",
                    "wrn_16_8", "wrn_16_10")},
    **{f"multi_resnet_{depth}_{k}": _network(
        f"multi_resnet_{depth}_{k}", _ABDI, partial(multi_resnet, depth=depth, branches=k), _CIFAR)
       for depth, k in ((200, 5), (398, 5))},
    **{f"multi_resnet_26_{k}_10": _network(
        f"multi_resnet_26_{k}_10", _ABDI, partial(multi_resnet, depth=26, branches=k, widen=10), _CIFAR)
       for k in (2, 4)},
    **{f"ror3_{depth}": _network(f"ror3_{depth}", _ZHANG, partial(ror3, depth=depth), _CIFAR)
       for depth in (56, 110, 164)},
    "fractalnet": _network("fractalnet", "Larsson 2017, arXiv:1605.07648, sec. 4", fractalnet, _CIFAR),
}  # fmt: skip
