"""Additive costs of networks of two cells with free wiring, without making their trees.

The layers of a network are those of its stem and its head, and of each cell those on its inputs, on the halves of its
pairs and on its outputs (`searchspaces.wiring`). What a half or an output costs depends on the frame of the network, on
its operation, and on whether it takes an input or a pair, not on the other halves. So it is summed once for a frame
over all places of a cell, and a network costs a sum of twenty numbers. Left out: the peak of activations, which depends
on the order of the whole network, and latency.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from searchspaces.node import Node, additive_costs
from searchspaces.task import Task
from searchspaces.wiring import Wiring, ending, entries, head, operation, places, stem, strides_dropped

Counts = tuple[int, int, int]
"""MACs, parameters and activations."""


class Parts(NamedTuple):
    """What of a cell's wiring its costs depend on.

    Attributes:
        uses: of each half of a pair `0 sep3x3`, its operation and, as 0 and 1, the input that it takes or, as 2, a
            pair; of each output `0` and so on.
        outputs: how many states are concatenated in the output.
    """

    uses: tuple[str, ...]
    outputs: int

    @staticmethod
    def of(wiring: Wiring) -> Parts:
        """Those of a wiring."""
        halves = [f"{min(state, 2)} {name}" for pair in wiring.pairs for state, name in pair]
        return Parts((*halves, *(str(min(state, 2)) for state in wiring.outputs)), len(wiring.outputs))


class _Group(NamedTuple):
    """What places of a cell have in common.

    Attributes:
        stride, width: of the cells.
        first: channels of the first and of the second input after the layers on them.
        before, after: sides in pixels of the states that the operations on inputs and on pairs take.
    """

    stride: int
    width: int
    first: tuple[int, int]
    before: int
    after: int


class _Entry(NamedTuple):
    """A layer on an input of a cell.

    Attributes:
        node: the layer.
        source: whose output it takes: of a normal (0) or a reduction cell (1), or of the stem (2).
        width: channels of each state of that; of the stem all channels.
        side: of that, in pixels.
    """

    node: Node
    source: int
    width: int
    side: int


class Frame:
    """The additive costs of all networks of one frame on one task; arguments as of `wiring.stacked`."""

    def __init__(
        self, task: Task, width: int, repeats: tuple[int, ...], stem_width: int, skip: bool, made_for: int | None
    ) -> None:
        dropped = strides_dropped(made_for, repeats)
        first = stem(stem_width, dropped)
        outputs = [(2, stem_width, first.shape(task.shape)[1])]  # source, width and side of each output, as in `_Entry`
        groups: tuple[Counter[_Group], Counter[_Group]] = Counter(), Counter()
        layers: Counter[_Entry] = Counter()
        for place in places(width, repeats, skip, dropped):
            raw = stem_width if len(place.inputs) == 1 else 0
            layers.update(
                _Entry(node, *outputs[value])
                for node, value in zip(entries(place.width, place.larger, raw), place.inputs, strict=True)
            )
            before = outputs[place.inputs[0]][2]
            after = -(-before // place.stride)
            states = (place.width, raw or place.width)
            groups[place.reduction][_Group(place.stride, place.width, states, before, after)] += 1
            outputs.append((int(place.reduction), place.width, after))
        self._groups, self._entries, self._last = groups, [*layers.items()], outputs[-1]
        self._ends = additive_costs(first, task.shape), head(task.classes, 0.0)
        self._uses: tuple[dict[str, Counts], dict[str, Counts]] = {}, {}  # of normal and of reduction cells
        self._rests: dict[tuple[int, int], Counts] = {}

    def counts(self, normal: Parts, reduction: Parts) -> Counts:
        """MACs, parameters and activations of a network."""
        key = normal.outputs, reduction.outputs
        if key not in self._rests:
            self._rests[key] = self._rest(*key)
        macs, params, activations = self._rests[key]
        for cell, parts in enumerate((normal, reduction)):
            known = self._uses[cell]
            for use in parts.uses:
                if use not in known:
                    known[use] = self._use(cell, use)
                more = known[use]
                macs, params, activations = macs + more[0], params + more[1], activations + more[2]
        return macs, params, activations

    def _use(self, cell: int, use: str) -> Counts:
        """What one half or output costs in all places of a cell."""
        state, name, total = int(use[0]), use[2:], (0, 0, 0)
        for (stride, width, first, before, after), times in self._groups[cell].items():
            channels, step, side = (first[state], stride, before) if state < 2 else (width, 1, after)
            node = operation(name, channels, width, step) if name else ending(channels, width, step)
            total = _sum(total, additive_costs(node, (channels, side, side)), times)
        return total

    def _rest(self, *outputs: int) -> Counts:
        """What stem, head and the layers on the cells' inputs cost, by the numbers of outputs of the cells."""
        joined = (*outputs, 1)
        total, end = self._ends
        for (node, source, width, side), times in self._entries:
            total = _sum(total, additive_costs(node, (joined[source] * width, side, side)), times)
        source, width, side = self._last
        return _sum(total, additive_costs(end, (joined[source] * width, side, side)))


def _sum(total: Counts, more: Counts, times: int = 1) -> Counts:
    return total[0] + times * more[0], total[1] + times * more[1], total[2] + times * more[2]
