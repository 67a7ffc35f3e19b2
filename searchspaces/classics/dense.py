"""DenseNets: the input of each layer is all feature maps before it (Huang 2017, arXiv:1608.06993)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.densenet import dense_head, dense_layer, densenet_space, transition
from searchspaces.layers import Act, Chain, Conv, Node, Norm, Pool
from searchspaces.space import Space
from searchspaces.task import Task


def densenet(
    task: Task, depths: Sequence[int], growth: int = 32, *, compressed: bool = True, small: bool = False
) -> Node:
    """A DenseNet (table 1 and sec. 3); transitions halve the resolution.

    Args:
        task: images and classes.
        depths: layers in each dense block.
        growth: channels that each layer adds (k).
        compressed: whether it is a DenseNet-BC, whose layers have bottlenecks and whose transitions halve the channels.
        small: whether its stem is that for small images, a 3x3 convolution.
    """
    width = 2 * growth if compressed or not small else 16
    stem = [Conv(width, 3)] if small else [Conv(width, 7, 2), Norm(), Act(), Pool("max", 3, 2)]
    blocks: list[Node] = [Chain(*stem, label="stem")]
    layer = dense_layer(0, 1, 1, growth_width=growth, bottleneck=4 if compressed else 0)
    for index, depth in enumerate(depths):
        if index:
            between = transition(width, 2, 0.5 if compressed else 1.0)
            width = width // 2 if compressed else width
            blocks.append(Chain(*between.nodes, label=f"transition{index}"))
        blocks.append(Chain(*[layer] * depth, label=f"stage{index + 1}"))
        width += depth * growth
    return Chain(*blocks, Chain(*dense_head(width, 1, 1, classes=task.classes).nodes, label="head"))


@cache
def _space() -> Space:
    return densenet_space()


def _network(depth: int, depths: Sequence[int], growth: int = 32) -> Callable[[], Classic]:
    name, tree = f"densenet{depth}", partial(densenet, depths=tuple(depths), growth=growth)
    paper = "Huang 2017, arXiv:1608.06993, table 1"
    return lambda: Classic(name, paper, tree, architecture=_space().references[name])


def _small(depth: int, growth: int, compressed: bool = True) -> tuple[str, Callable[[], Classic]]:
    layers = (depth - 4) // (6 if compressed else 3)
    name = f"densenet{'_bc' * compressed}_{depth}_{growth}"
    tree = partial(densenet, depths=(layers,) * 3, growth=growth, compressed=compressed, small=True)
    return name, lambda: Classic(name, "Huang 2017, arXiv:1608.06993, table 2", tree, Task(32, 3, 10))


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "densenet121": _network(121, [6, 12, 24, 16]),
    "densenet161": _network(161, [6, 12, 36, 24], growth=48),
    "densenet169": _network(169, [6, 12, 32, 32]),
    "densenet201": _network(201, [6, 12, 48, 32]),
    **dict((_small(40, 12, compressed=False), _small(100, 12, compressed=False), _small(100, 24, compressed=False))),
    **dict((_small(100, 12), _small(250, 24), _small(190, 40))),
}
