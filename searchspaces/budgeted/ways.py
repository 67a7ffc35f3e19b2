"""Counting and uniform sampling of the chains within a bound, by dynamic programming.

Costs are binned; for each state, `ways[r]` is the number of ways to finish the chain within r bins, computed from the
end. Bins rounded down give a slight superset, which is sampled uniformly and whose few members over the edge are
rejected by their true cost: what is left is uniform. Bins rounded both ways bracket the count; bins of one make it
exact. Other bounds of the same budget are met by rejection.
"""

from __future__ import annotations

from functools import cached_property, reduce
from math import gcd
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from searchspaces.budgeted.automaton import Automaton, ChainState, Move
from searchspaces.cost import Bound
from searchspaces.grammar import Choices

_Whole = npt.NDArray[np.int64]

_BLOCK: Final = 1 << 14
"""Bins that are summed at a time."""


class Ways:
    """For each layer and state, the number of ways to finish the chain within r bins.

    Args:
        graph: the chain.
        bound: the cost that is counted, and its limits.
        bins: the number of bins.
        up: whether costs are rounded up to whole bins; down otherwise.
        counts_only: keep only the first table, for `within` and `total`, and use floats where bins are not of one.
    """

    def __init__(self, graph: Automaton, bound: Bound, bins: int, up: bool, counts_only: bool = False) -> None:
        self.graph, self.bound = graph, bound
        layers, name = graph.layers, bound.cost
        costs = {move.cost.whole(name) for moves in layers for several in moves.values() for move in several}
        unit = reduce(gcd, costs, 0) or 1
        upper = min(bound.most, graph.extremes(name)[1])
        per_bin = max(1, -(-upper // (unit * (bins - 1))))  # 1 where nothing costs anything
        self.bin = unit * per_bin  # cost of one bin
        self.exact = per_bin == 1
        self.last = upper // self.bin
        steps = len(layers)
        # rounding down loses less than a bin at each move
        lower = bound.least
        self.first = -(-lower // self.bin) if self.exact else max(0, lower // self.bin - steps)
        bits = graph.size.bit_length()
        self.rough = counts_only and not self.exact and 64 <= bits < 1000
        self._number: Any = np.float64 if self.rough else np.uint64
        self._limbs = 1 if bits < 64 or self.rough else -(-bits // 32)
        self._up = up
        self._lowest = [0]  # of each layer, the fewest bins that anyone asks for
        if counts_only:
            self._lowest = [self.last if lower <= 0 else max(0, min((lower - 1) // self.bin, self.first - 1))]
        for moves in layers:
            dearest = max(move.cost.whole(name) for several in moves.values() for move in several)
            self._lowest.append(max(0, self._lowest[-1] - self._binned(dearest)))
        length = self.last + 1
        ones = np.zeros((self._limbs, length), self._number)
        ones[0] = 1
        self._tables: list[list[npt.NDArray[Any]]] = [[] for _ in range(steps)] + [[ones]]
        self._settled: list[list[int]] = [[] for _ in range(steps)] + [[0]]  # bins from which on a table is constant
        self._index: list[dict[ChainState, int]] = [{} for _ in range(steps)] + [dict.fromkeys(graph.ends, 0)]
        for layer in reversed(range(steps)):
            self._fill(layer, length)
            if counts_only:
                self._tables[layer + 1] = []

    def _binned(self, cost: int) -> int:
        return -(-cost // self.bin) if self._up else cost // self.bin

    def _fill(self, layer: int, length: int) -> None:
        """ChainStates with the same costs ahead share one table."""
        name, after, known = self.bound.cost, self._index[layer + 1], {}
        for state, several in self.graph.layers[layer].items():
            merged: dict[tuple[int, int], int] = {}
            for move in several:
                key = (self._binned(move.cost.whole(name)), after[move.state])
                merged[key] = merged.get(key, 0) + 1
            signature = tuple(sorted(merged.items()))
            if signature not in known:
                known[signature] = len(self._tables[layer])
                dearest = max(cost + self._settled[layer + 1][table] for cost, table in merged)
                self._settled[layer].append(min(dearest, length - 1))
                self._tables[layer].append(self._summed(signature, layer, length))
            self._index[layer][state] = known[signature]

    def _summed(self, signature: tuple[tuple[tuple[int, int], int], ...], layer: int, length: int) -> npt.NDArray[Any]:
        """Exact whole numbers: limbs of 63 bits where one holds them all, else of 32, so that sums have room.

        Summed from the fewest bins that anyone asks for to those that are enough for all; from there on it is constant.
        """
        after, settled = layer + 1, self._settled[layer][-1]
        begin, end = min(self._lowest[layer], settled), settled + 1
        total = np.zeros((self._limbs, length), self._number)
        scratch = np.empty((self._limbs, _BLOCK), self._number)
        for start in range(begin, end, _BLOCK):  # block by block, as caches like it
            stop = min(start + _BLOCK, end)
            for (cost, table), times in signature:
                first = max(start, cost)
                if first >= stop:
                    break  # costs are in order
                ahead = self._tables[after][table][:, first - cost : stop - cost]
                if times > 1:
                    ahead = np.multiply(ahead, self._number(times), out=scratch[:, : stop - first])
                total[:, first:stop] += ahead
        for limb in range(self._limbs - 1):
            total[limb + 1] += total[limb] >> np.uint64(32)
            total[limb] &= np.uint64(0xFFFFFFFF)
        total[:, end:] = total[:, settled, None]
        return total

    def within(self, upper: Any) -> int:
        """Networks whose binned cost is at most that of `upper`."""
        last = int(upper) // self.bin
        if last < 0:
            return 0
        last = min(last, self.last)
        assert last >= self._lowest[0], "its table was not summed for so few"
        table = self._tables[0][self._index[0][self.graph.start]]
        return sum(int(limb) << (32 * i) for i, limb in enumerate(table[:, last]))

    @property
    def total(self) -> int:
        """Networks that `draw` draws from."""
        below = self.within((self.first - 1) * self.bin) if self.first > 0 else 0
        return self.within(self.last * self.bin) - below

    @cached_property
    def _weights(self) -> list[npt.NDArray[Any]]:
        """Each layer's tables as one array (tables, 1 + bins): whole numbers where they fit 63 bits, else rounded.

        Column 0 stands for all negative numbers of bins. Rounded, a network's chance is right to 1 in 2**50.
        """
        arrays = []
        for tables in self._tables:
            stacked = np.stack(tables)  # (tables, limbs, bins)
            value = stacked[:, 0].astype(np.int64) if self._limbs == 1 else np.zeros(stacked[:, 0].shape)
            for limb in range(self._limbs if self._limbs > 1 else 0):
                value += stacked[:, limb] * 2.0 ** (32 * limb)
            arrays.append(np.pad(value, ((0, 0), (1, 0))))
        return arrays

    @cached_property
    def _moves(self) -> list[dict[ChainState, tuple[list[Move], npt.NDArray[np.int64], npt.NDArray[np.int64]]]]:
        """For each layer and state: the moves, their binned costs, and where their tables begin in flat weights."""
        found = []
        for layer, states in enumerate(self.graph.layers):
            after, width = self._index[layer + 1], self._weights[layer + 1].shape[1]
            here = {}
            for state, moves in states.items():
                costs = [self._binned(move.cost.whole(self.bound.cost)) for move in moves]
                starts = [after[move.state] * width for move in moves]
                here[state] = moves, np.array(costs, np.int64), np.array(starts, np.int64)
            found.append(here)
        return found

    def draw(self, rng: np.random.Generator) -> Choices:
        """One network of the binned band, each equally likely."""
        state, last, below = self.graph.start, self.last + 1, self.first
        chosen: Choices = ()
        for layer, weights in enumerate(self._weights[1:]):
            moves, costs, starts = self._moves[layer][state]
            index = 0
            if len(moves) > 1:
                ways = weights.take(np.maximum(last - costs, 0) + starts)
                if below > 0:
                    ways -= weights.take(np.maximum(below - costs, 0) + starts)
                ends = ways.cumsum()
                drawn = rng.integers(ends[-1]) if self._limbs == 1 else rng.random() * ends[-1]
                index = min(int(ends.searchsorted(drawn, side="right")), len(moves) - 1)
            move, cost = moves[index], int(costs[index])
            last, below, state = last - cost, below - cost, move.state
            chosen += move.choices
        return chosen

    @cached_property
    def _side_by_side(self) -> list[tuple[list[list[Move]], _Whole, _Whole, _Whole]]:
        """For each layer the moves of each state, and of all states their binned costs, starts and next states.

        Arrays (states, moves) are padded with moves that cost too much for any way.
        """
        found: list[tuple[list[list[Move]], _Whole, _Whole, _Whole]] = []
        for layer, moves in enumerate(self._moves):
            number = dict(zip(self._index[layer + 1], range(len(self._index[layer + 1])), strict=True))
            widest = max(len(several) for several, _, _ in moves.values())
            costs = np.full((len(moves), widest), self.last + 2)
            starts, after = np.zeros_like(costs), np.zeros_like(costs)
            for row, (several, cost, start) in enumerate(moves.values()):
                costs[row, : len(cost)], starts[row, : len(start)] = cost, start
                after[row, : len(cost)] = [number[move.state] for move in several]
            found.append(([several for several, _, _ in moves.values()], costs, starts, after))
        return found

    def draw_many(self, count: int, rng: np.random.Generator) -> list[Choices]:
        """So many networks, each drawn as by `draw`, all of them layer by layer."""
        last, below = np.full((count, 1), self.last + 1), np.full((count, 1), self.first)
        state, every = np.zeros(count, np.int64), np.arange(count)
        chosen: list[Choices] = [()] * count
        for weights, (moves, costs, starts, after) in zip(self._weights[1:], self._side_by_side, strict=True):
            cost, start = costs[state], starts[state]  # (count, moves)
            ways = weights.take(np.maximum(last - cost, 0) + start)
            if self.first > 0:
                ways -= weights.take(np.maximum(below - cost, 0) + start)
            ends = ways.cumsum(axis=1)
            drawn = rng.integers(ends[:, -1]) if self._limbs == 1 else rng.random(count) * ends[:, -1]
            index = (ends <= drawn[:, None]).sum(1)
            picked = zip(chosen, state.tolist(), index.tolist(), strict=True)
            chosen = [before + moves[at][move].choices for before, at, move in picked]
            last = last - cost[every, index, None]
            below = below - cost[every, index, None]
            state = after[state, index]
        return chosen
