"""Additive costs of networks of two cells with free wiring, without making their trees.

The layers of a network are those of its stem and its head, and of each cell those on its inputs, on the halves of its
pairs and on its outputs (`searchspaces.wiring`). What a half or an output costs depends on the frame of the network, on
its operation, and on whether it takes an input or a pair, not on the other halves. So it is summed once for a frame
over all places of a cell, and a network costs a sum of twenty numbers. Left out: the peak of activations, which depends
on the order of the whole network, and latency.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from searchspaces.node import Node, additive_costs
from searchspaces.task import Task
from searchspaces.wiring import Wiring, ending, entries, head, operation, places, stem, strides_dropped

Counts = tuple[int, int, int]
"""MACs, parameters and activations."""
Indices = npt.NDArray[np.int16]
Whole = npt.NDArray[np.int64]


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
    """A layer on an input of a cell, or the head.

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
        layers[_Entry(head(task.classes, 0.0), *outputs[-1])] += 1
        self._groups, self._entries, self._stem = groups, [*layers.items()], additive_costs(first, task.shape)
        self._uses: tuple[dict[str, Counts], dict[str, Counts]] = {}, {}  # of normal and of reduction cells
        self._known: dict[tuple[int, int], Counts] = {}  # as of `_behind`

    def counts(self, normal: Parts, reduction: Parts) -> Counts:
        """MACs, parameters and activations of a network."""
        macs, params, activations = self.rest(normal.outputs, reduction.outputs)
        for cell, parts in enumerate((normal, reduction)):
            known = self._uses[cell]
            for use in parts.uses:
                if use not in known:
                    known[use] = self.use(cell, int(use[0]), use[2:])
                more = known[use]
                macs, params, activations = macs + more[0], params + more[1], activations + more[2]
        return macs, params, activations

    def use(self, cell: int, state: int, name: str = "") -> Counts:
        """What one half with an operation, or one output without a name, costs in all places of a cell.

        Args:
            cell: 0 for normal cells, 1 for reduction cells.
            state: the input of the cell that it takes, or 2 for a pair.
            name: of the operation.
        """
        total = (0, 0, 0)
        for group, times in self._groups[cell].items():
            total = _sum(total, _used(group, state, name), times)
        return total

    def rest(self, normal: int, reduction: int) -> Counts:
        """What stem, head and the layers on the cells' inputs cost, by the numbers of outputs of the cells."""
        return _sum(_sum(_sum(self._stem, self._behind(2, 1)), self._behind(0, normal)), self._behind(1, reduction))

    def _behind(self, source: int, outputs: int) -> Counts:
        """What the layers that take so many outputs of one source cost; `source` as of `_Entry`."""
        if (source, outputs) not in self._known:
            total = (0, 0, 0)
            for (node, whose, width, side), times in self._entries:
                if whose == source:
                    total = _sum(total, additive_costs(node, (outputs * width, side, side)), times)
            self._known[source, outputs] = total
        return self._known[source, outputs]


class WiringCosts:
    """Additive costs of many networks on one task, from tables that grow.

    Args:
        options: how many options each decision of the frame has.
        frame: the frame of their indices.
        pairs: of each cell.
        operations: of the space.
    """

    def __init__(
        self, options: tuple[int, ...], frame: Callable[[list[int]], Frame], pairs: int, operations: tuple[str, ...]
    ) -> None:
        self._options, self._frame, self._pairs = options, frame, pairs
        self._names = (*operations, "")  # the last is an output; what follows it in the tables costs nothing
        self._frames: list[Frame] = []
        self._numbers = np.full(math.prod(options), -1)  # of the frames that were met
        # of each frame, by cell, state and operation; and by numbers of outputs, -1 where they were not met yet
        self._uses = np.zeros((0, 2, 3, len(self._names) + 1, 3), np.int64)
        self._rests = np.zeros((0, pairs + 3, pairs + 3, 3), np.int64)

    def of(self, rows: Indices) -> Whole:
        """MACs, parameters and activations of rows as in `wiring_rows`; (rows, 3)."""
        count, halves, first = len(rows), 2 * self._pairs, len(self._options)
        wide = rows.astype(np.int64)
        frame = self._numbered(np.ravel_multi_index(tuple(wide[:, :first].T), self._options))
        parts = wide[:, first:].reshape(count, 2, 2 * halves + self._pairs + 1)  # (rows, cells, columns)
        ends = np.concatenate([parts[..., 2 * halves :] != 0, np.ones((count, 2, 1), bool)], 2)  # unused or kept
        each = np.broadcast_to(np.arange(self._pairs + 2), ends.shape)
        state = np.concatenate([parts[..., : 2 * halves : 2], each], 2)
        name = np.concatenate([parts[..., 1 : 2 * halves : 2], len(self._names) - ends], 2)
        used = self._uses[frame[:, None, None], np.arange(2)[:, None], np.minimum(state, 2), name]
        outputs = ends.sum(2)
        rests = self._rests[frame, outputs[:, 0], outputs[:, 1]]
        if (missing := rests[:, 0] < 0).any():
            for number, *some in set(zip(frame[missing].tolist(), *outputs[missing].T.tolist(), strict=True)):
                self._rests[number, *some] = self._frames[number].rest(*some)
            rests = self._rests[frame, outputs[:, 0], outputs[:, 1]]
        total: Whole = used.sum((1, 2)) + rests
        return total

    def _numbered(self, codes: Whole) -> Whole:
        """The places of frames in the tables."""
        numbers: Whole = self._numbers[codes]
        if (missing := numbers < 0).any():
            new = np.unique(codes[missing])
            self._numbers[new] = np.arange(len(self._frames), len(self._frames) + len(new))
            frames = [self._frame(indices) for indices in np.stack(np.unravel_index(new, self._options), 1).tolist()]
            self._frames += frames
            self._uses = np.concatenate([self._uses, [self._uses_of(frame) for frame in frames]])
            self._rests = np.concatenate([self._rests, np.full((len(new), *self._rests.shape[1:]), -1)])
            numbers = self._numbers[codes]
        return numbers

    def _uses_of(self, frame: Frame) -> list[list[list[Counts]]]:
        """What halves and outputs cost, by cell, state and operation."""
        return [
            [[*(frame.use(cell, state, name) for name in self._names), (0, 0, 0)] for state in range(3)]
            for cell in range(2)
        ]


@lru_cache(maxsize=1 << 16)
def _used(group: _Group, state: int, name: str) -> Counts:
    """What a half or an output costs in one place; arguments as of `Frame.use`."""
    stride, width, first, before, after = group
    channels, step, side = (first[state], stride, before) if state < 2 else (width, 1, after)
    node = operation(name, channels, width, step) if name else ending(channels, width, step)
    return additive_costs(node, (channels, side, side))


def _sum(total: Counts, more: Counts, times: int = 1) -> Counts:
    return total[0] + times * more[0], total[1] + times * more[1], total[2] + times * more[2]
