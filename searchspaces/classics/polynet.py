"""PolyNet: residual units that are polynomials of Inception blocks (Zhang 2017, arXiv:1611.05725, sec. 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Multiply,
    Node,
    Norm,
    Pool,
    Sum,
)
from searchspaces.task import Task


def _conv(width: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | None = None) -> Chain:
    return Chain(Conv(width, kernel, stride, padding=padding), Norm(), Act())


def two_way(width: int, inside: Node, factor: float = 1.0) -> Node:
    """2-way: I + F + G, two blocks side by side (fig. 4c).

    Args:
        width: channels before and after.
        inside: what F and G are of; a 1x1 convolution to `width` follows it in each.
        factor: of the residuals.
    """
    return Chain(Sum(Identity(), *[Chain(inside, Conv(width), Norm(), Multiply(factor), DropPath())] * 2), Act())


def poly(width: int, tower: Sequence[Conv], *, order: int = 3, shared: bool = True, factor: float = 1.0) -> Node:
    """Poly-N: the blocks F, GF, HGF, ... up to `order` of them added to the input (fig. 4a, 4b).

    `order` 2 is poly-2, I + F + F**2, or mpoly-2, I + F + GF, where nothing is `shared`. As in the authors' code, the
    blocks of a poly-N share the weights of all convolutions but the last 1x1, and no norm.

    Args:
        width: channels before and after.
        tower: convolutions of a block's first branch; beside it is a 1x1 convolution to 192 channels.
        order: number of blocks in a row.
        shared: whether the blocks share weights.
        factor: of the residuals.
    """
    steps = list[GraphStep]()
    owner: dict[int, int] = {}

    def add(node: Node, *inputs: int, join: Literal["sum", "concat"] = "sum", weights_of: int | None = None) -> int:
        steps.append(GraphStep(node, inputs, join, weights_of))
        return len(steps)

    def normed(place: int, conv: Conv, value: int) -> int:
        value = add(conv, value, weights_of=owner.get(place))
        if shared:
            owner.setdefault(place, value)
        return add(Chain(Norm(), Act()), value)

    given, residuals = 0, list[int]()
    for turn in range(order):
        given = add(Act(), residuals[-1]) if turn else 0
        value = given
        for place, conv in enumerate(tower):
            value = normed(place, conv, value)
        beside = normed(len(tower), Conv(192), given)
        residuals.append(add(Chain(Conv(width), Norm()), value, beside, join="concat"))
    add(Act(), 0, *[add(Chain(Multiply(factor), DropPath()), residual) for residual in residuals])
    return Graph(tuple(steps))


def polynet(task: Task) -> Node:
    """Very Deep PolyNet: 10 2-way A, and 10 B and 5 C pairs of poly-3 and 2-way (Zhang 2017, arXiv:1611.05725).

    Residuals are scaled from 1.0 at the first unit to 0.7 at the last. `build(..., drop_path=...)` drops them during
    training, the paper's stochastic paths; the reference code, imgclsmob's `polynet`, does not.
    """
    scales = iter([1.0 - 0.3 * index / 39 for index in range(40)])
    halve = Pool("max", 3, 2, padding=0)

    def pair(width: int, tower: Sequence[Conv]) -> Node:
        inside = Concat(Chain(*(Chain(conv, Norm(), Act()) for conv in tower)), _conv(192, 1))
        return Chain(poly(width, tower, factor=next(scales)), two_way(width, inside, next(scales)))

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
        Chain(*[two_way(384, block_a, next(scales)) for _ in range(10)], label="stage1"),
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


NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    "polynet": lambda: Classic("polynet", "Zhang 2017, arXiv:1611.05725", polynet, Task(331)),
}
