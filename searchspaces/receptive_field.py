"""Receptive fields: which pixels of the image a pixel of a feature map depends on.

Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill, eq. 2, with padding
and, where several paths lead to a map, the union of what is seen along each: so a field is exact also where paths are
not aligned. It is that of a map without borders, and can be larger than the image.

Means over a whole map are not counted, since with them every pixel sees the whole image: the gate of
squeeze-and-excitation and the statistics of group normalization. After global pooling or flattening, the field is that
of the pixels that are pooled or flattened, as in the paper. A resized image counts in its own pixels. Channels are not
told apart: a slice of a map has the field of the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from searchspaces.joins import Chain, Concat, Graph, GraphStep, Sum
from searchspaces.layers import (
    Conv,
    Elementwise,
    Flatten,
    Gate,
    GlobalPool,
    Linear,
    Maxout,
    Pad,
    Pool,
    Resize,
    Shift,
    Shuffle,
    Slice,
    SqueezeExcite,
    Zero,
)
from searchspaces.node import Node
from searchspaces.task import Shape

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Field:
    """What the pixels of a map see: pixel p those from `jump * p + first` to `jump * p + last`, by (height, width).

    Attributes:
        jump: pixels of the image between what two neighbours see.
        first, last: the ends of what pixel 0 sees; first is negative where there is padding.
    """

    jump: Sides = (1, 1)
    first: Sides = (0, 0)
    last: Sides = (0, 0)

    @property
    def size(self) -> Sides:
        """Height and width in pixels."""
        return self.last[0] - self.first[0] + 1, self.last[1] - self.first[1] + 1

    def of(self, row: int, column: int) -> tuple[Sides, Sides]:
        """The first and the last row, and the first and the last column, that a pixel of the map sees."""
        rows, columns = (
            (jump * at + first, jump * at + last)
            for jump, at, first, last in zip(self.jump, (row, column), self.first, self.last, strict=True)
        )
        return rows, columns

    def through(self, kernel: Sides, stride: Sides = (1, 1), padding: Sides = (0, 0), dilation: int = 1) -> Field:
        """The field after a convolution or a pooling."""
        first = [start - jump * pad for start, jump, pad in zip(self.first, self.jump, padding, strict=True)]
        reach = [dilation * (side - 1) - pad for side, pad in zip(kernel, padding, strict=True)]
        last = [end + jump * more for end, jump, more in zip(self.last, self.jump, reach, strict=True)]
        jump = self.jump[0] * stride[0], self.jump[1] * stride[1]
        return Field(jump, (first[0], first[1]), (last[0], last[1]))


IMAGE: Final = Field()
"""The field of the pixels of the image: themselves."""

Seen = Field | None
"""A field, or None after a layer of which it is not known what it sees."""


def receptive_field(network: Node, given: Shape) -> Sides | None:
    """Height and width of what a pixel of the output sees, before global pooling; None where it is not known.

    Two 3x3 convolutions see 5x5 pixels and three 7x7, with 27 C² weights in place of the 49 C² of one 7x7 convolution
    (Simonyan & Zisserman 2015, arXiv:1409.1556, sec. 2.3):

    >>> one, three, seven = Conv(64, 3), Chain(Conv(64, 3), Conv(64, 3), Conv(64, 3)), Conv(64, 7)
    >>> [receptive_field(each, (64, 56, 56)) for each in (Chain(one, one), three, seven)]
    [(5, 5), (7, 7), (7, 7)]
    >>> [each.cost((64, 56, 56)).params // 64**2 for each in (three, seven)]
    [27, 49]
    """
    found = seen(network, given, IMAGE)
    return None if found is None else found.size


def seen(node: Node, given: Any, before: Any) -> Seen:
    """The field after a node.

    Args:
        node: a network or a piece of one.
        given: its input shape; a tuple of shapes for a cell with several inputs.
        before: the field of its input, or of each.
    """
    match node:
        case Chain():
            for child, shape in node.steps(given):
                before = seen(child, shape, before)
        case Sum() | Concat():
            return union(seen(branch, given, before) for branch in node.branches)
        case Graph():
            return of_values(node, given, before)[-1]
        case _:
            return None if before is None else _after(node, before)
    found: Seen = before
    return found


def of_values(graph: Graph, given: Any, before: Any) -> list[Seen]:
    """The field of each value of a graph, inputs first; arguments as of `seen`."""
    found: list[Seen] = [before] if graph.inputs == 1 else list(before)
    for step, shape in zip(graph.steps, graph.shapes(given)[1], strict=True):
        found.append(seen(step.node, shape, given_to(step, found)))
    return found


def given_to(step: GraphStep, values: Sequence[Seen]) -> Any:
    """The field of what a step of a graph takes, or of each where it takes several apart."""
    inputs = [values[value] for value in step.inputs]
    return tuple(inputs) if step.join == "apart" and len(inputs) > 1 else union(inputs)


def union(several: Iterable[Seen]) -> Seen:
    """The smallest field that holds several; of different jumps, which only maps of one pixel can have, the largest."""
    known: list[Field] = []
    for each in several:
        if each is None:
            return None
        known.append(each)
    ends = [(max(each.jump[side] for each in known), min(each.first[side] for each in known),
             max(each.last[side] for each in known)) for side in (0, 1)]  # fmt: skip
    jump, first, last = zip(*ends, strict=True)
    return Field((jump[0], jump[1]), (first[0], first[1]), (last[0], last[1]))


_EACH_PIXEL: Final = (
    *(Elementwise, Slice, Maxout, Gate, Shuffle, Pad),
    *(SqueezeExcite, GlobalPool, Flatten, Linear),  # of these the whole map that they see is not counted
)


def _after(leaf: Node, before: Field) -> Seen:
    match leaf:
        case Conv():
            return before.through(leaf.kernel_hw, leaf.stride_hw, leaf.padding_hw, leaf.dilation)
        case Pool():
            return before.through(
                (leaf.kernel, leaf.kernel), (leaf.stride, leaf.stride), (leaf.padding_side, leaf.padding_side)
            )
        case Zero():
            return before.through((1, 1), (leaf.stride, leaf.stride))
        case Shift():
            return before.through((1, 1), padding=(-1, -1))
        case Resize():
            return IMAGE
        case _:
            return before if isinstance(leaf, _EACH_PIXEL) else None
