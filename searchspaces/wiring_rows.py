"""Many networks of two cells with free wiring at once, as rows of a table, without making their trees or cells.

A row is what `NASNetSpace.encode` gives: the indices of the frame's options, and of each cell the state and the
operation of both halves of each pair, and whether each used state but the last pair's is an output too. What is done
here in whole columns is what `Wirings.draw`, `NASNetSpace.mutate` and `Wiring.canonical` do for one network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from searchspaces.grammar import Decision
from searchspaces.wiring import Wiring, Wirings

Indices = npt.NDArray[np.int16]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NONE, _FIRST, _SECOND = -1, -2, -3
"""In the place of a state: none, and the first and the second pair that a pair uses."""


class Cells(NamedTuple):
    """One cell of each row.

    Attributes:
        states: that each half takes; (rows, pairs, 2).
        operations: of each half, as indices of the space's; (rows, pairs, 2).
        kept: whether a state is part of the output although it is used; (rows, pairs + 2).
    """

    states: Numbers
    operations: Numbers
    kept: Flags

    @property
    def flat(self) -> Numbers:
        """States that the halves take; (rows, 2 * pairs)."""
        return self.states.reshape(len(self.states), 2 * self.states.shape[1])

    @property
    def used(self) -> Flags:
        """Whether some pair uses a state; (rows, pairs + 2)."""
        used = np.zeros(self.kept.shape, bool)
        used[np.arange(len(used))[:, None], self.flat] = True
        return used

    def of(self, rows: Numbers | Flags) -> Cells:
        """Those of some rows."""
        return Cells(self.states[rows], self.operations[rows], self.kept[rows])

    def put(self, rows: Numbers | Flags, others: Cells) -> None:
        """Write others in the place of those of some rows."""
        for whole, part in zip(self, others, strict=True):
            whole[rows] = part

    def downstream(self, pair: Numbers) -> Flags:
        """The state of one pair of each row and all states that depend on it; (rows, pairs + 2)."""
        rows, pairs, _ = self.states.shape
        reached, every = np.zeros(self.kept.shape, bool), np.arange(rows)[:, None]
        reached[every[:, 0], pair + 2] = True
        for _ in range(pairs):
            reached[:, 2:] |= reached[every, self.flat].reshape(rows, pairs, 2).any(2)
        return reached


class _Drawing:
    """Draws cells as `Wirings.labelled` does.

    Args:
        wirings: what is drawn from.
    """

    def __init__(self, wirings: Wirings) -> None:
        self._wirings, self._pairs = wirings, wirings.pairs
        unturned = tuple(range(self._pairs))
        self._plain = np.array([turn == unturned for _, turn in wirings.cases])
        self._used = np.full((len(wirings.cases), self._pairs, 2), _NONE)  # states of the pairs that each pair uses
        for row, (pattern, _) in enumerate(wirings.cases):
            for pair, uses in enumerate(pattern):
                self._used[row, pair, : len(uses)] = [index + 2 for index in uses]
        place = {name: index for index, name in enumerate(wirings.operations)}
        inputs = [(state, place[name]) for state in (0, 1) for name in wirings.input_operations]
        first, second = ([(state, operation) for operation in place.values()] for state in (_FIRST, _SECOND))
        by_uses = [  # the halves that a pair may have which uses no other pair, one, or two
            list(itertools.combinations_with_replacement(inputs, 2)),
            [*itertools.product(inputs, first), *itertools.combinations_with_replacement(first, 2)],
            list(itertools.product(first, second)),
        ]
        self._counts = np.array([len(each) for each in by_uses])
        self._starts = self._counts.cumsum() - self._counts
        self._halves = np.array(list(itertools.chain.from_iterable(by_uses)))

    def cells(self, count: int, rng: np.random.Generator) -> Cells:
        """So many cells, each drawn uniformly, but not in its canonical form."""
        case = np.array(self._wirings.drawn_cases(count, rng), np.int64)
        shape = count, self._pairs, 2
        cells = Cells(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros((count, self._pairs + 2), bool))
        plain = self._plain[case]
        if not plain.all():  # few: a symmetry leaves few labellings as they are
            cases = (self._wirings.cases[index] for index in case[~plain].tolist())
            turned = [self._wirings.labelled_as(pattern, turn, rng) for pattern, turn in cases]
            cells.put(~plain, _cells_of(turned, self._wirings.operations))
        left = np.flatnonzero(plain)
        while left.size:
            used = self._used[case[left]]
            kind = (used != _NONE).sum(2)
            halves = self._halves[self._starts[kind] + rng.integers(self._counts[kind])]
            states = np.where(halves[..., 0] == _FIRST, used[..., :1], halves[..., 0])
            states = np.where(states == _SECOND, used[..., 1:], states)
            found = Cells(states, halves[..., 1], rng.integers(2, size=(len(left), self._pairs + 2)) == 1)
            kept: Flags = found.kept & found.used
            wrong = (found.kept != kept)[:, :2].any(1)  # an input is kept that is not used: all is drawn again
            cells.put(left[~wrong], found._replace(kept=kept).of(~wrong))
            left = left[wrong]
        return cells


class WiredRows:
    """Draws and mutates rows of a space of two cells, without a budget.

    Args:
        decisions: of the space, those of the frame first.
        frame: how many of them are of the frame.
        wirings: the normal and the reduction cells.
    """

    def __init__(self, decisions: Sequence[Decision], frame: int, wirings: Sequence[Wirings]) -> None:
        self._frame, self._drawings = frame, [_Drawing(each) for each in wirings]
        self._pairs, self._names = wirings[0].pairs, wirings[0].operations
        self._place = {name: index for index, name in enumerate(self._names)}
        order = sorted(self._names)
        self._rank = np.array([order.index(name) for name in self._names])  # as the canonical form compares them
        self._by_rank = np.argsort(self._rank)
        self._lengths = np.array([len(decision.options) for decision in decisions])
        self._halves = 4 * self._pairs
        self._width = self._halves + self._pairs + 1
        self._plain = np.arange(len(decisions)) < frame  # changed like any decision: the frame, and what is kept
        for number in range(len(wirings)):
            start = frame + number * self._width
            self._plain[start + self._halves : start + self._width] = True

    def drawn(self, count: int, rng: np.random.Generator) -> Indices:
        """So many rows, each architecture equally likely; (count, decisions)."""
        frame = rng.integers(self._lengths[: self._frame], size=(count, self._frame)).astype(np.int16)
        cells = zip(*(drawing.cells(count, rng) for drawing in self._drawings), strict=True)
        written = self._written(self._canonical(Cells(*map(np.concatenate, cells))))
        return np.concatenate([frame, *np.split(written, len(self._drawings))], 1)

    def changed(self, rows: Indices, rng: np.random.Generator) -> Indices:
        """Each row after one step of `NASNetSpace.mutate`, which may lead back to it; (rows, decisions)."""
        kind, number = rng.random(len(rows)), rng.integers(2, size=len(rows))
        rewired, every = kind < 0.9, np.arange(len(rows))
        found = rows.copy()
        column = self._turn(found, ~rewired, rng)
        number[~rewired] = column >= self._frame + self._width
        parts = found[:, self._frame :].reshape(len(rows), 2, self._width)
        cells = self._read(parts[every, number])
        self._rewire(cells, rewired, kind < 0.45, rng)
        if "identity" in self._place and "1x1" in self._place:  # where they have a stride the two are one
            states, operations, _ = cells
            strided = (operations == self._place["1x1"]) & (states < 2) & (number == 1)[:, None, None]
            operations[strided] = self._place["identity"]
        parts[every, number] = self._written(self._canonical(cells))
        return found

    def _turn(self, rows: Indices, some: Flags, rng: np.random.Generator) -> Numbers:
        """Change one decision of the frame or on an output, drawn uniformly among those open; its column; (some,)."""
        open_ = self._plain & (rows[some] >= 0) & (self._lengths > 1)
        column: Numbers = (open_.cumsum(1) > rng.integers(open_.sum(1))[:, None]).argmax(1)
        options = self._lengths[column]
        rows[some, column] = (rows[some, column] + 1 + rng.integers(options - 1)) % options
        return column

    def _rewire(self, cells: Cells, some: Flags, state: Flags, rng: np.random.Generator) -> None:
        """Change one half: to another state, from which no circle arises, or to another operation."""
        rows, options = len(some), len(self._names)
        every, pair, side = np.arange(rows), rng.integers(self._pairs, size=rows), rng.integers(2, size=rows)
        states, operations, _ = cells
        half = every, pair, side
        closed = cells.downstream(pair)
        closed[every, states[half]] = True
        others = ~closed
        other = (others.cumsum(1) > rng.integers(others.sum(1))[:, None]).argmax(1)
        moved = some & (state | (options == 1))
        states[half] = np.where(moved, other, states[half])
        if options > 1:
            different = (operations[half] + 1 + rng.integers(options - 1, size=rows)) % options
            operations[half] = np.where(some & ~moved, different, operations[half])

    def _canonical(self, cells: Cells) -> Cells:
        """The canonical form of each: the smallest pair whose states are written comes next, as in `Wiring.canonical`.

        Where two pairs are equal, which one comes first depends on those that use them: these cells are written one by
        one.
        """
        rows, pairs = len(cells.kept), self._pairs
        every, options = np.arange(rows), len(self._names)
        new = np.full((rows, pairs + 2), -1)  # the new number of each state
        new[:, :2] = 0, 1
        most = ((pairs + 2) * options) ** 2
        states, operations = np.zeros_like(cells.states), np.zeros_like(cells.operations)
        unclear = np.zeros(rows, bool)
        rank = self._rank[cells.operations]
        halves = every[:, None], cells.flat
        for step in range(pairs):
            inputs = new[halves].reshape(rows, pairs, 2)
            half = inputs * options + rank
            one, two = half[..., 0], half[..., 1]
            smaller, larger = np.minimum(one, two), np.maximum(one, two)
            ready = (inputs[..., 0] >= 0) & (inputs[..., 1] >= 0) & (new[:, 2:] < 0)
            keys = np.where(ready, smaller * ((pairs + 2) * options) + larger, most)
            chosen = every, keys.argmin(1)
            unclear |= (keys == keys[chosen][:, None]).sum(1) > 1
            both = np.stack([smaller[chosen], larger[chosen]], 1)
            states[:, step], operations[:, step] = both // options, self._by_rank[both % options]
            new[every, chosen[1] + 2] = step + 2
        kept = np.zeros_like(cells.kept)
        kept[every[:, None], new] = cells.kept & cells.used
        found = Cells(states, operations, kept)
        if unclear.any():
            one_by_one = [wiring.canonical() for wiring in self._wirings(cells.of(unclear))]
            found.put(unclear, _cells_of(one_by_one, self._names))
        return found

    def _wirings(self, cells: Cells) -> list[Wiring]:
        found = []
        for states, operations, kept in zip(*(each.tolist() for each in cells), strict=True):
            pairs = (
                tuple((state, self._names[operation]) for state, operation in zip(*pair, strict=True))
                for pair in zip(states, operations, strict=True)
            )
            found.append(Wiring(tuple((one, two) for one, two in pairs), tuple(np.flatnonzero(kept).tolist())))
        return found

    def _read(self, columns: Indices) -> Cells:
        """The cells of their columns; (rows, width)."""
        wide = columns.astype(np.int64)
        halves = wide[:, : self._halves].reshape(len(wide), self._pairs, 2, 2)
        kept = np.zeros((len(wide), self._pairs + 2), bool)
        kept[:, :-1] = wide[:, self._halves :] == 1
        return Cells(halves[..., 0].copy(), halves[..., 1].copy(), kept)

    def _written(self, cells: Cells) -> Indices:
        """The columns of cells; (rows, width)."""
        halves = np.stack([cells.states, cells.operations], 3).reshape(len(cells.kept), self._halves)
        return np.concatenate([halves, np.where(cells.used, cells.kept, -1)[:, :-1]], 1).astype(np.int16)


def _cells_of(wirings: Sequence[Wiring], names: Sequence[str]) -> Cells:
    place, pairs = {name: index for index, name in enumerate(names)}, len(wirings[0].pairs)
    halves = [[[(state, place[name]) for state, name in pair] for pair in wiring.pairs] for wiring in wirings]
    both = np.array(halves, np.int64)
    kept = np.zeros((len(wirings), pairs + 2), bool)
    for row, wiring in enumerate(wirings):
        kept[row, list(wiring.kept)] = True
    return Cells(both[..., 0].copy(), both[..., 1].copy(), kept)
