"""DenseNets: the input of each layer is all feature maps before it (Huang 2017, arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import Act, Chain, Concat, Conv, Flatten, GlobalPool, Identity, Linear, Node, Norm, Pool
from searchspaces.task import Task


def dense_layer(growth: int) -> Node:
    """Appends `growth` channels, computed from all others through a 1x1 bottleneck of four times as many (sec. 3)."""
    made = Chain(Norm(), Act(), Conv(4 * growth), Norm(), Act(), Conv(growth, 3))
    return Concat(Identity(), made)


def densenet(task: Task, depths: Sequence[int], growth: int = 32) -> Node:
    """DenseNet-BC for large images; transitions halve the channels and the resolution (table 1).

    Args:
        task: images and classes.
        depths: layers in each dense block.
        growth: channels that each layer adds (k).
    """
    width = 2 * growth
    blocks: list[Node] = [Chain(Conv(width, 7, 2), Norm(), Act(), Pool("max", 3, 2), label="stem")]
    for index, depth in enumerate(depths):
        if index:
            width //= 2
            transition = (Norm(), Act(), Conv(width), Pool("avg", 2, 2, padding=0))
            blocks.append(Chain(*transition, label=f"transition{index}"))
        blocks.append(Chain(*[dense_layer(growth)] * depth, label=f"stage{index + 1}"))
        width += depth * growth
    return Chain(*blocks, Chain(Norm(), Act(), GlobalPool(), Flatten(), Linear(task.classes), label="head"))


def _network(depth: int, depths: Sequence[int], growth: int = 32) -> Callable[[], Classic]:
    tree = partial(densenet, depths=tuple(depths), growth=growth)
    return lambda: Classic(f"densenet{depth}", "Huang 2017, arXiv:1608.06993, table 1", tree)


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "densenet121": _network(121, [6, 12, 24, 16]),
    "densenet161": _network(161, [6, 12, 36, 24], growth=48),
    "densenet169": _network(169, [6, 12, 32, 32]),
    "densenet201": _network(201, [6, 12, 48, 32]),
}
