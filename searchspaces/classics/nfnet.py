"""NFNets: residual networks without normalization (Brock 2021, arXiv:2102.06171).

Weights are standardized and scaled, and each block divides its input by the standard deviation to be expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

from searchspaces.classics.classic import Classic
from searchspaces.layers import (
    Act,
    Chain,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    Gain,
    GlobalPool,
    Identity,
    Linear,
    Multiply,
    Node,
    Pool,
    SqueezeExcite,
    Sum,
)
from searchspaces.task import Task


def nfnet(task: Task, depth: int = 1, dropout: float = 0.2) -> Node:
    """NFNet-F0 to F6: residuals without normalization (sec. 5 and table 1).

    Departures: padding is symmetric, where the reference pads as TensorFlow does; shapes and costs are the same.

    Args:
        task: images and classes.
        depth: what the depths of F0 are multiplied by: N + 1 for FN.
        dropout: rate before the classifier.
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
    for index, (width, blocks_of_f0) in enumerate(zip([256, 512, 1536, 1536], [1, 2, 6, 3], strict=True)):
        blocks = []
        for number in range(blocks_of_f0 * depth):
            blocks.append(block(c_in, width, 2 if index and not number else 1, variance))
            variance = (1.0 if number == 0 else variance) + alpha**2
            c_in = width
        stages.append(Chain(*blocks, label=f"stage{index + 1}"))
    stem = (conv(16, 3, 2), act, conv(32, 3), act, conv(64, 3), act, conv(128, 3, 2))
    head = (conv(3072), act, GlobalPool(), Flatten(), Dropout(dropout), Linear(task.classes))
    return Chain(Chain(*stem, label="stem"), *stages, Chain(*head, label="head"))


def _network(number: int, size: int, dropout: float) -> Callable[[], Classic]:
    tree = partial(nfnet, depth=number + 1, dropout=dropout)
    return lambda: Classic(f"dm_nfnet_f{number}", "Brock 2021, arXiv:2102.06171, table 1", tree, Task(size))


_SIZES: Final = ((256, 0.2), (320, 0.3), (352, 0.4), (416, 0.4), (512, 0.5), (544, 0.5), (576, 0.5))
"""Of F0 to F6: test image size (table 1) and dropout."""

NETWORKS: Final[dict[str, Callable[[], Classic]]] = {
    f"dm_nfnet_f{number}": _network(number, size, dropout) for number, (size, dropout) in enumerate(_SIZES)
}
