"""Residual networks that are deeper or wired otherwise than the members of `resnet` and `resnet-cifar`.

ResNet-1202 and the bottlenecks of CIFAR, ResNets with ELU or group normalization, ResNet-RS-101 to 420, the Res2Nets,
and the highway networks that came before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.classics.residual import RESNET_RS, stages_of
from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    DropPath,
    Flatten,
    Gate,
    GroupNorm,
    Identity,
    Linear,
    Multiply,
    Node,
    Norm,
    Pool,
    Sum,
)
from searchspaces.mbconv import conv_norm_act
from searchspaces.resnet import (
    basic,
    bottleneck,
    deep_stem,
    res2net,
    res2next,
    residual_head,
    shortcut_of,
    small_stem,
)
from searchspaces.task import Task

_CIFAR: Final = Task(32, 3, 10)


def cifar_resnet(task: Task, depth: int, preact: bool = False) -> Node:
    """A ResNet for small images: basic blocks with shortcut A (He 2016, arXiv:1512.03385, sec. 4.2), or bottlenecks.

    Args:
        task: images and classes.
        depth: layers with weights, 6n + 2 of basic blocks or 9n + 2 of bottlenecks (He 2016, arXiv:1603.05027, sec. 3);
            what could be both is of basic blocks below 164.
        preact: norm and activation before each convolution, and 1x1 convolutions where the shape changes.
    """
    narrow = depth < 164 or depth == 1202
    if narrow:
        unit = partial(basic, preact=preact, shortcut="conv" if preact else "identity")
    else:
        unit = partial(bottleneck, preact=preact)
    widths = [16, 32, 64] if narrow else [64, 128, 256]
    stages = stages_of(unit, 16, widths, [(depth - 2) // (6 if narrow else 9)] * 3)
    head = residual_head(widths[-1], 1, 1, classes=task.classes, preact=preact)
    stem = small_stem(task.channels, 16, 1, preact=preact)
    return Chain(Chain(stem, label="stem"), *stages, Chain(head, label="head"))


def elu_resnet(task: Task, depth: int) -> Node:
    """A ResNet with ELU: conv, ELU, conv, norm in each block, and nothing after the addition (sec. 4).

    Args:
        task: images and classes.
        depth: layers with weights, 6n + 2.
    """

    def unit(c_in: int, width: int, stride: int) -> Node:
        body = Chain(Conv(width, 3, stride), Act("elu"), Conv(width, 3), Norm(), DropPath())
        return Sum(shortcut_of(c_in, width, stride, "identity"), body)

    stages = stages_of(unit, 16, [16, 32, 64], [(depth - 2) // 6] * 3)
    stem = conv_norm_act(16, 3, act="elu")
    return Chain(Chain(stem, label="stem"), *stages, Chain(residual_head(64, 1, 1, classes=task.classes), label="head"))


def resnet_rs(task: Task, depths: Sequence[int], dropout: float = 0.25) -> Node:
    """ResNet-RS: ResNet-D with squeeze-excite and a strided convolution in place of the pooling (sec. 4 and 7).

    Args:
        task: images and classes.
        depths: blocks of each stage.
        dropout: rate before the classifier.
    """
    unit = partial(bottleneck, se=0.25, shortcut="pool")
    stem = Chain(deep_stem(task.channels, 64, 2), conv_norm_act(64, 3, 2), label="stem")
    head = residual_head(2048, 1, 1, classes=task.classes, dropout=dropout)
    return Chain(stem, *stages_of(unit, 64, [256, 512, 1024, 2048], depths), Chain(head, label="head"))


def imagenet_resnet(task: Task, unit: Callable[[int, int, int], Node], depths: Sequence[int]) -> Node:
    """A ResNet of four stages of wide units (1512.03385, table 1).

    Args:
        task: images and classes.
        unit: `unit(c_in, width, stride)`.
        depths: units of each stage.
    """
    stem = Chain(conv_norm_act(64, 7, 2), Pool("max", 3, 2), label="stem")
    head = residual_head(2048, 1, 1, classes=task.classes)
    return Chain(stem, *stages_of(unit, 64, [256, 512, 1024, 2048], depths), Chain(head, label="head"))


def normed_by(node: Node, norm: Node) -> Node:
    """The same tree with another layer wherever it has `Norm()`."""
    if isinstance(node, Chain):
        return Chain(*(normed_by(each, norm) for each in node.nodes), label=node.label)
    if isinstance(node, Sum | Concat):
        return type(node)(*(normed_by(each, norm) for each in node.branches))
    return norm if node == Norm() else node


def resnet50_gn(task: Task) -> Node:
    """ResNet-50 with group normalization, which does not depend on the batch (Wu & He 2018, arXiv:1803.08494)."""
    return normed_by(imagenet_resnet(task, bottleneck, (3, 4, 6, 3)), GroupNorm(32))


def highway(task: Task, depth: int, width: int = 50) -> Node:
    """A highway network of linear layers: a plain one, gated ones and the classifier (Srivastava 2015, sec. 3.1).

    Args:
        task: images and classes.
        depth: layers before the classifier.
        width: units of each.
    """
    body = Sum(Chain(Linear(width), Act()), Multiply(-1.0))  # H - x
    gated = Sum(Identity(), Chain(Concat(body, Linear(width)), Gate(-2.0)))
    return Chain(
        Chain(Flatten(), Linear(width), Act(), label="stem"),
        Chain(*[gated] * (depth - 1), label="stage1"),
        Chain(Linear(task.classes), label="head"),
    )


def _highway(depth: int) -> tuple[str, Callable[[], Classic]]:
    name, paper = f"highway_{depth}", "Srivastava 2015, arXiv:1505.00387, sec. 3.1"
    return name, lambda: Classic(name, paper, partial(highway, depth=depth), Task(28, 1, 10))


def _small(name: str, paper: str, tree: Callable[[Task], Node]) -> tuple[str, Callable[[], Classic]]:
    return name, lambda: Classic(name, paper, tree, _CIFAR)


def _rs(depth: int, size: int, depths: Sequence[int], dropout: float) -> tuple[str, Callable[[], Classic]]:
    name, tree = f"resnetrs{depth}", partial(resnet_rs, depths=tuple(depths), dropout=dropout)
    return name, lambda: Classic(name, RESNET_RS, tree, Task(size))


def _res2(
    name: str, unit: Callable[..., Node], depths: Sequence[int] = (3, 4, 6, 3)
) -> tuple[str, Callable[[], Classic]]:
    tree = partial(imagenet_resnet, unit=unit, depths=tuple(depths))
    return name, lambda: Classic(name, "Gao 2019, arXiv:1904.01169, sec. 4", tree)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = dict((
    _small("resnet1202", "He 2016, arXiv:1512.03385, table 6", partial(cifar_resnet, depth=1202)),
    *(_small(f"resnet{depth}", "He 2016, arXiv:1603.05027, table 4", partial(cifar_resnet, depth=depth))
      for depth in (164, 1001)),
    *(_small(f"preresnet{depth}", "He 2016, arXiv:1603.05027, table 4", partial(cifar_resnet, depth=depth, preact=True))
      for depth in (110, 164, 1001)),
    *(_small(f"elu_resnet{depth}", "Shah 2016, arXiv:1604.04112, sec. 4", partial(elu_resnet, depth=depth))
      for depth in (20, 32, 44, 56, 110)),
    # of the sizes that the authors trained a depth at, the largest
    _rs(101, 192, (3, 4, 23, 3), 0.25), _rs(152, 256, (3, 8, 36, 3), 0.25), _rs(200, 256, (3, 24, 36, 3), 0.25),
    _rs(270, 256, (4, 29, 53, 4), 0.25), _rs(350, 320, (4, 36, 72, 4), 0.4), _rs(420, 320, (4, 44, 87, 4), 0.4),
    _res2("res2net50_48w_2s", partial(res2net, base=48, scale=2)),
    _res2("res2net50_14w_8s", partial(res2net, base=14, scale=8)),
    _res2("res2net50_26w_6s", partial(res2net, base=26, scale=6)),
    _res2("res2net101_26w_4s", res2net, (3, 4, 23, 3)),
    _res2("res2next50", res2next),
    ("resnet50_gn", lambda: Classic("resnet50_gn", "Wu & He 2018, arXiv:1803.08494, table 1", resnet50_gn)),
    *map(_highway, (10, 20, 50, 100)),
))  # fmt: skip
