"""Auxiliary heads of networks whose trees do not hold them: members of `inception` and networks of NASNet's cells.

GoogLeNet has one on modules 4a and 4d (Szegedy 2015, arXiv:1409.4842, sec. 5). Networks of cells have one on the last
cell before the second reduction, as the code of NASNet, AmoebaNet and PNASNet has it (tensorflow/models and
tensorflow/tpu); the papers only mention it. A head costs nothing: it is there during training alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from searchspaces.layers import Act, Auxiliary, Chain, Conv, Dropout, Flatten, Graph, Identity, Linear, Node, Norm, Pool
from searchspaces.task import Shape

GOOGLENET: Final = ("4a", "4d")
"""Modules with a head behind them."""
AFTER: Final = "reduction2"
"""The cell with a head before it."""


def with_heads(network: Node, given: Shape, classes: int) -> Node:
    """The network with the auxiliary heads of its family; unchanged where it has its own, or where there are none.

    Args:
        network: the tree of layers, whose tensors keep their names.
        given: the shape of an image.
        classes: logits of a head.
    """
    if not isinstance(network, Chain) or any(heads(network)):
        return network
    parts: list[Node] = []
    for part, name in zip(network.nodes, network.names(), strict=True):
        is_cells = isinstance(part, Graph) and part.label == "cells"
        parts.append(_with_head(part, Chain(*parts).shape(given), classes) if is_cells else part)
        if name in GOOGLENET:
            parts.append(Auxiliary(module_head(classes)))
    return Chain(*parts, label=network.label)


def heads(network: Node) -> Iterator[Auxiliary]:
    """The auxiliary heads that a tree holds."""
    if isinstance(network, Auxiliary):
        yield network
    for child in network.children():
        yield from heads(child)


def module_head(classes: int) -> Node:
    """GoogLeNet's auxiliary classifier, for maps of 14x14 (sec. 5): 5x5 average, 1x1 convolution, two linear layers."""
    reduced = Chain(Conv(128), Norm(eps=0.001), Act("relu"))
    features = Chain(Pool("avg", 5, 3, padding=0), reduced, Flatten())
    return Chain(features, Linear(1024), Act("relu"), Dropout(0.7), Linear(classes))


def cell_head(classes: int, map_hw: tuple[int, int]) -> Node:
    """The head of networks of cells: 5x5 average, 1x1 convolution, one as large as the map, a linear layer.

    Args:
        classes: logits.
        map_hw: height and width of the feature map that it is on.

    >>> cell_head(1000, (14, 14)).shape((528, 14, 14))
    (1000,)
    """
    pool = Pool("avg", 5, 3, padding=0)
    _, height, width = pool.shape((1, *map_hw))
    whole = Conv(768, (height, width), padding=0)
    norm = Norm(eps=0.001)
    return Chain(Act("relu"), pool, Conv(128), norm, Act("relu"), whole, norm, Act("relu"), Flatten(), Linear(classes))


def _with_head(cells: Node, given: Shape, classes: int) -> Node:
    """A graph of cells with a head at the end of the cell before the second reduction."""
    assert isinstance(cells, Graph)
    labels = [getattr(step.node, "label", "") for step in cells.steps]
    if AFTER not in labels:
        return cells
    place = labels.index(AFTER) - 1
    cell = cells.steps[place].node
    if not isinstance(cell, Graph) or not isinstance(cell.steps[-1].node, Identity):
        return cells
    _, height, width = cells.shapes(given)[0][cells.inputs + place]
    end = replace(cell.steps[-1], node=Auxiliary(cell_head(classes, (height, width))))
    steps = list(cells.steps)
    steps[place] = replace(steps[place], node=replace(cell, steps=(*cell.steps[:-1], end)))
    return replace(cells, steps=tuple(steps))
