"""Residual networks: members of `resnet` and `resnet-cifar`, and networks with other kinds of shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Act,
    Chain,
    Conv,
    DropPath,
    Identity,
    Node,
    Norm,
    Pool,
    SqueezeExcite,
    Sum,
)
from searchspaces.mbconv import conv_norm_act
from searchspaces.resnet import deep_stem, residual_head, resnet_cifar_space, resnet_space, shortcut_of
from searchspaces.stage import Scale
from searchspaces.task import Task

_CIFAR: Final = Task(32, 3, 10)


def stages_of(
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
        *stages_of(unit, 128, [256, 512, 1024, 2048], [3, 8, 36, 3]),
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
    stages = stages_of(unit, 16, widths, [(depth - 2) // (6 if widen else 9)] * 3)
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


def _member(name: str, paper: str, task: Task = Task(), scale: Scale = Scale()) -> Callable[[], Classic]:
    return lambda: Classic.member(resnet_space().references[name], name, paper, task, scale)


def _small_member(name: str, paper: str) -> Callable[[], Classic]:
    return lambda: Classic.member(resnet_cifar_space().references[name], name, paper, _CIFAR)


def _network(name: str, paper: str, tree: Callable[[Task], Node], task: Task = Task()) -> Callable[[], Classic]:
    return lambda: Classic(name, paper, tree, task)


RESNET_RS: Final = "Bello 2021, arXiv:2103.07579, and the authors' configurations (tensorflow/tpu, resnet_rs)"
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
    "resnext101_32x8d": _member("resnext101_32x8d", "Xie 2017, arXiv:1611.05431, wider, as in torchvision"),
    "seresnet50": _member("seresnet50", _HU),
    "seresnext50_32x4d": _member("seresnext50_32x4d", _HU),
    "res2net50_26w_4s": _member("res2net50_26w_4s", _GAO),
    "res2net50_26w_8s": _member("res2net50_26w_8s", _GAO),
    "seres2net50_26w_4s": _member("seres2net50_26w_4s", "Gao 2019, arXiv:1904.01169, sec. 3.3, with squeeze-excite"),
    "preresnet200": _member("preresnet200", "He 2016, arXiv:1603.05027, table 5"),
    "resnetrs50": _member("resnetrs50", RESNET_RS, Task(160), Scale(dropout=0.25)),
    "legacy_senet154": _network("legacy_senet154", "Hu 2018, arXiv:1709.01507, appendix", senet154),
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
}  # fmt: skip
