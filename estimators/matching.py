"""Which piece of one network stands at the place of which piece of another: an alignment of their trees.

Two chains (or branches, or steps of a graph) are aligned in order so that the sum of likenesses is largest, as are
sequences (Needleman & Wunsch 1970); of equal alignments the one that pairs earliest, so that a deeper stage has new
blocks at its end. Stages, which have labels, are paired with those of their own label alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from searchspaces.layers import Chain, Concat, Conv, Linear, Node, Norm, SqueezeExcite, Sum

Pair = tuple[int | None, int | None]
"""Positions in the parent and in the child; None where one has no such piece."""

LIKENESS: Final[dict[type[Node], int]] = {Conv: 8, Linear: 8, SqueezeExcite: 8, Norm: 4}
"""Of two layers of that kind; of layers of another kind 2, and of equal ones 1 more."""


def depthwise(node: Node) -> bool:
    """Whether a layer is a convolution of each channel by itself."""
    return isinstance(node, Conv) and node.groups > 1 and node.groups == node.width


def branches_of(node: Node) -> tuple[Node, ...]:
    """The branches of a sum, a mean or a concatenation; of other nodes none."""
    return node.branches if isinstance(node, Sum | Concat) else ()


class Matching:
    """Likenesses of the pieces of two networks, remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}

    def likeness(self, parent: Node, child: Node) -> int:
        """How much two pieces have in common; 0 if one says nothing about the other."""
        key = id(parent), id(child)  # by identity, as equal chains can differ in their labels
        if key not in self._known:
            self._known[key] = self._likeness(parent, child)
        return self._known[key]

    def _likeness(self, parent: Node, child: Node) -> int:
        labels = getattr(parent, "label", ""), getattr(child, "label", "")
        if all(labels) and labels[0] != labels[1]:
            return 0
        found = 0
        if isinstance(parent, Chain) or isinstance(child, Chain):
            found = self.total(chained(parent), chained(child))
        if type(parent) is type(child) and parent.children():
            return max(found, self.total(parent.children(), child.children())) + (parent == child)
        if type(parent) is type(child) and not found:
            if depthwise(parent) != depthwise(child):
                return 0
            return LIKENESS.get(type(child), 2) + (parent == child)
        of_child = max((self.likeness(parent, each) for each in branches_of(child)), default=0)
        of_parent = max((self.likeness(each, child) for each in branches_of(parent)), default=0)
        return max(found, of_child, of_parent)

    def total(self, parents: Sequence[Node], children: Sequence[Node]) -> int:
        """The likeness of two rows, aligned."""
        return self._table(parents, children)[0][0]

    def pairs(self, parents: Sequence[Node], children: Sequence[Node]) -> list[Pair]:
        """The alignment of two rows: every position of both, in order."""
        table = self._table(parents, children)
        i, j, found = 0, 0, list[Pair]()
        while i < len(parents) and j < len(children):
            alike = self.likeness(parents[i], children[j])
            if alike and table[i][j] == alike + table[i + 1][j + 1]:
                found.append((i, j))
                i, j = i + 1, j + 1
            elif table[i][j] == table[i + 1][j]:
                found.append((i, None))
                i += 1
            else:
                found.append((None, j))
                j += 1
        found += [(index, None) for index in range(i, len(parents))]
        return found + [(None, index) for index in range(j, len(children))]

    def _table(self, parents: Sequence[Node], children: Sequence[Node]) -> list[list[int]]:
        """The likeness of what is left of both rows from each pair of positions on."""
        table = [[0] * (len(children) + 1) for _ in range(len(parents) + 1)]
        for i in reversed(range(len(parents))):
            for j in reversed(range(len(children))):
                both = self.likeness(parents[i], children[j]) + table[i + 1][j + 1]
                table[i][j] = max(both, table[i + 1][j], table[i][j + 1])
        return table


def chained(node: Node) -> tuple[Node, ...]:
    """The parts of a chain; of other nodes they themselves."""
    return node.nodes if isinstance(node, Chain) else (node,)
