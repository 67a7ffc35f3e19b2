"""FractalNets: convolutions wired by one rule, applied again and again (Larsson 2017, arXiv:1605.07648)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Chain,
    Dropout,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Node,
    Pool,
)
from searchspaces.mbconv import conv_norm_act
from searchspaces.task import Task


def fractalnet(task: Task, columns: int = 3, widths: Sequence[int] = (64, 128, 256, 512, 512)) -> Node:
    """FractalNet: five fractal blocks whose columns are joined by means (fig. 1).

    `build(..., drop_path=0.15)` drops paths at the joins during training, as in the paper (sec. 3.1).

    Args:
        task: images and classes.
        columns: of each block (C); its deepest path has 2**(C - 1) convolutions, that of the network 5 times as many.
        widths: channels of each block.
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

    settings = zip(widths, [0.0, 0.1, 0.2, 0.3, 0.4], strict=True)
    blocks = [
        Chain(block(width, dropout), Pool("max", 2, 2, padding=0), label=f"stage{index}")
        for index, (width, dropout) in enumerate(settings, start=1)
    ]
    return Chain(*blocks, Chain(GlobalPool(), Flatten(), Linear(task.classes), label="head"))


def _network(name: str, where: str, tree: Callable[[Task], Node], classes: int = 10) -> Callable[[], Classic]:
    return lambda: Classic(name, f"Larsson 2017, arXiv:1605.07648, {where}", tree, Task(32, 3, classes))


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "fractalnet": _network("fractalnet", "sec. 4", fractalnet),
    **{f"fractalnet_{5 << index}": _network(
        f"fractalnet_{5 << index}", "table 3",
        partial(fractalnet, columns=index + 1, widths=(16, 32, 64, 128, 128)), 100)
       for index in range(6)},
}  # fmt: skip
