"""Which channel of a parent's network each channel of its child's stands for, value by value.

Where the numbers of channels differ, channels are stretched evenly: of m channels made from n, number c is number
c * n // m. Net2WiderNet (Chen et al. 2016, arXiv:1511.05641, sec. 2.2) draws the channels that it copies. One rule for
all layers instead makes layers that are added agree, and keeps groups, slices and shuffles of channels together. In the
same way a narrower layer keeps channels spread evenly: trained channels are in no order, and those of largest norm in
one layer are not those of the other layers that are added to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchspaces.layers import Act, Auxiliary, Conv, Dropout, DropPath, Identity, Node
from searchspaces.task import Shape

Map = NDArray[np.int64]
"""For each channel of the child the number of the parent's channel, or -1 for none."""


def stretched(parent: int, child: int) -> Map:
    """The map between two numbers of channels.

    >>> stretched(4, 6).tolist(), stretched(4, 2).tolist()
    ([0, 0, 1, 2, 2, 3], [0, 2])
    """
    return np.arange(child, dtype=np.int64) * parent // child


@dataclass(frozen=True)
class Value:
    """A value that flows through both networks.

    Attributes:
        parent, child: its shape in each.
        channels: the map of its channels.
        same: whether each mapped channel is known to be the parent's channel, number for number, in evaluation mode.
        act: the kind of a ReLU that its numbers have been through, so that the same once more changes nothing.
    """

    parent: Shape
    child: Shape
    channels: Map
    same: bool
    act: str = ""

    @staticmethod
    def by_place(parent: Any, child: Any) -> Any:
        """A value of which nothing is known but its shapes; several where a cell has several inputs."""
        if parent and isinstance(parent[0], tuple):
            return tuple(Value.by_place(*each) for each in zip(parent, child, strict=True))
        return Value(parent, child, stretched(parent[0], child[0]), False)

    def like(self, other: Value) -> bool:
        """Whether the map is another value's."""
        return np.array_equal(self.channels, other.channels)

    def unchanged(self) -> bool:
        """Whether there are the parent's channels and no others."""
        return self.parent[0] == self.child[0] and np.array_equal(self.channels, np.arange(self.child[0]))

    def unsure(self) -> Value:
        """The same, of which less is known."""
        return replace(self, same=False, act="")

    def then(self, parent: Node | None, child: Node | None, same: bool = True) -> Value:
        """After a layer of each that changes channels in no way, or after one that only one of them has.

        Args:
            parent, child: the layers.
            same: whether they do the same to each channel.
        """
        shapes = self.parent if parent is None else parent.shape(self.parent), _after(child, self.child)
        if shapes[0][0] == self.parent[0] and shapes[1][0] == self.child[0]:
            return Value(*shapes, self.channels, self.same and same, self.act if same else "")
        out: Value = Value.by_place(*shapes)
        return out


def _after(node: Node | None, shape: Shape) -> Shape:
    return shape if node is None else node.shape(shape)


def concatenated(values: Sequence[Value]) -> Value:
    """The channels of several values, one after the other."""
    offsets = np.cumsum([0, *(value.parent[0] for value in values)])
    maps = [
        np.where(value.channels < 0, -1, value.channels + offset)
        for value, offset in zip(values, offsets[:-1], strict=True)
    ]
    first = values[0]
    acts = {value.act for value in values}
    return Value(
        (int(offsets[-1]), *first.parent[1:]),
        (sum(value.child[0] for value in values), *first.child[1:]),
        np.concatenate(maps),
        all(value.same for value in values),
        acts.pop() if len(acts) == 1 else "",
    )


def added(values: Sequence[Value]) -> Value:
    """The sum of several values: known if their maps agree."""
    first = values[0]
    known = all(value.same and value.like(first) for value in values)
    return replace(first, same=known, act=first.act if len(values) == 1 else "")


def passes(node: Node, value: Value) -> bool:
    """Whether a layer gives what it takes, in evaluation mode."""
    if isinstance(node, Act):
        return node.kind == value.act and node.scale == 1.0
    return isinstance(node, Identity | Dropout | DropPath | Auxiliary)


@dataclass(frozen=True)
class Read:
    """What each output channel of a child's convolution reads.

    Attributes:
        rows: for each of its output channels the parent's, or -1.
        slots: (output channels, or 1 if all read the same; inputs of a group): the parent's input within its group, -1
            where the parent's output channel does not read that channel, -2 where the channel is none of the parent's.
        shares: of the parent's weight, as `slots`: those of copies of one channel add up to 1.
        whole: whether all that the parent's output channels read is there.
    """

    rows: Map
    slots: Map
    shares: NDArray[np.float64]
    whole: bool

    @property
    def plain(self) -> bool:
        """Whether each output channel reads what the parent's of the same number does."""
        return all(np.array_equal(each, np.arange(len(each))) for each in (self.rows, *self.slots))

    @staticmethod
    def of(parent: Conv, child: Conv, value: Value, rows: Map, rng: np.random.Generator) -> Read:
        """By the maps of the input and of the output; by place within groups, where groups are cut another way."""
        if parent.groups == child.groups == 1:
            slots = np.where(value.channels < 0, -2, value.channels)[None]
            return Read._shared(rows, slots, value.parent[0], rng)
        inner, inner_child = value.parent[0] // parent.groups, value.child[0] // child.groups
        outer, outer_child = parent.width // parent.groups, child.width // child.groups
        starts = np.arange(child.width) // outer_child * inner_child
        channels = value.channels[starts[:, None] + np.arange(inner_child)]  # (output channels, inputs of a group)
        slots = channels - (rows // outer)[:, None] * inner
        slots = np.where(channels < 0, -2, np.where((slots < 0) | (slots >= inner), -1, slots))
        found = Read._shared(rows, slots, inner, rng)
        if found.whole or child.groups == 1 or parent.groups == 1:
            return found
        slots = np.broadcast_to(stretched(inner, inner_child), slots.shape)
        by_place = Read._shared(stretched(parent.width, child.width), slots, inner, rng)
        return replace(by_place, whole=False)

    @staticmethod
    def _shared(rows: Map, slots: Map, inner: int, rng: np.random.Generator) -> Read:
        """With shares that are drawn: copies with equal shares would have equal gradients and stay copies."""
        drawn = np.where(slots < 0, 0.0, rng.uniform(0.5, 1.5, slots.shape))
        places = np.arange(len(slots))[:, None] * inner + np.maximum(slots, 0)
        sums = np.bincount(places.ravel(), drawn.ravel(), len(slots) * inner)
        shares = drawn / np.where(slots < 0, 1.0, sums[places])
        there = sums.reshape(len(slots), inner) > 0
        there = there if len(slots) == 1 else there[rows >= 0]
        return Read(rows, slots, shares, bool(there.all()))


def taps(parent: Conv, child: Conv) -> tuple[list[tuple[int, int]], list[tuple[int, int]], bool]:
    """For height and width: positions in the parent's kernel and in the child's that see the same pixel; whether the
    child has all of the parent's.

    >>> taps(Conv(8, kernel=3), Conv(8, kernel=5))[0]
    [(0, 1), (1, 2), (2, 3)]
    >>> taps(Conv(8, kernel=5), Conv(8, kernel=3))[1:]
    ([(1, 0), (2, 1), (3, 2)], False)
    """
    found: list[list[tuple[int, int]]] = []
    whole = parent.stride_hw == child.stride_hw
    for axis in range(2):
        seen = {tap * parent.dilation - parent.padding_hw[axis]: tap for tap in range(parent.kernel_hw[axis])}
        own = [(tap * child.dilation - child.padding_hw[axis], tap) for tap in range(child.kernel_hw[axis])]
        pairs = [(seen[at], tap) for at, tap in own if at in seen]
        if len(pairs) < len(seen):
            whole = False
            pairs = _centred(parent.kernel_hw[axis], child.kernel_hw[axis])
        found.append(pairs)
    return found[0], found[1], whole


def _centred(parent: int, child: int) -> list[tuple[int, int]]:
    """The centres of two kernels upon one another."""
    offset = (child - parent) // 2 if child >= parent else -((parent - child) // 2)
    return [(tap, tap + offset) for tap in range(parent) if 0 <= tap + offset < child]


def flattened(value: Value, parent: Shape, child: Shape) -> Value:
    """A feature map as a flat vector: channels by pixels, where both have as many pixels."""
    pixels = math.prod(value.parent[1:])
    if pixels != math.prod(value.child[1:]):
        return Value(parent, child, np.full(child[0], -1), False)
    firsts = np.where(value.channels < 0, -pixels, value.channels * pixels)
    flat = (firsts[:, None] + np.arange(pixels)).ravel()
    return Value(parent, child, np.maximum(flat, -1), value.same, value.act)
