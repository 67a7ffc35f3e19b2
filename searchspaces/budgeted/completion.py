"""Which prefixes of choices can be completed within a budget: a best-first search over the states of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from searchspaces.budgeted.automaton import Automaton, ChainState
from searchspaces.cost import ADDITIVE_COSTS, Budget
from searchspaces.grammar import Choices

SEARCHED: Final = 2_000
"""States that are looked at before a prefix is taken to have no completion."""


class Completion:
    """Tells whether a chain that has come to a state can be finished within a budget."""

    def __init__(self, graph: Automaton, budget: Budget) -> None:
        self._graph = graph
        self._names = [bound.cost for bound in budget.bounds]
        self._additive = np.array([name in ADDITIVE_COSTS for name in self._names])
        self._lower = np.array([float(bound.least) for bound in budget.bounds])
        self._upper = np.array([float(bound.most) for bound in budget.bounds])
        self._ways_on: dict[tuple[int, ChainState, Choices], tuple[list[ChainState], Any, Any, Any]] = {}

    def possible(self, layer: int, state: ChainState, spent: Sequence[int], here: Choices) -> bool:
        """Whether the chain can be finished within the budget; False where `SEARCHED` states do not tell.

        Args:
            layer, state: where the chain has come to.
            spent: of each bounded cost until there.
            here: the choices of this layer that are made already.
        """
        left = SEARCHED

        def reached(layer: int, state: ChainState, spent: Any, here: Choices) -> bool:
            nonlocal left
            if layer == len(self._graph.layers):
                return bool(((self._lower <= spent) & (spent <= self._upper)).all())
            left -= 1
            states, costs, low, high = self._on(layer, state, here)
            after = self._joined(spent, costs)  # (moves, bounds)
            least, most = self._joined(after, low), self._joined(after, high)
            possible = ((least <= self._upper) & (most >= self._lower)).all(1)
            if len(self._names) == 1:  # each end of the range is a network: one that fits settles it
                ends = (possible & ((least >= self._lower) | (most <= self._upper)).all(1)).any()
                if ends:
                    return True
            off = np.abs((least + most - self._lower - self._upper) / (2 * self._upper)).max(1)
            order = np.argsort(np.where(possible, off, np.inf), kind="stable")[: int(possible.sum())]
            return any(left > 0 and reached(layer + 1, states[i], after[i], ()) for i in order.tolist())

        return reached(layer, state, np.array(spent, float), here)

    def _joined(self, before: Any, more: Any) -> Any:
        return np.where(self._additive, before + more, np.maximum(before, more))

    def _on(self, layer: int, state: ChainState, here: Choices) -> tuple[list[ChainState], Any, Any, Any]:
        """The moves that agree with `here`: their states, their costs, and the least and most from there on."""
        key = (layer, state, here)
        if key not in self._ways_on:
            fixed = dict(here)
            moves = [
                move
                for move in self._graph.layers[layer][state]
                if all(fixed.get(name, value) == value for name, value in move.choices)
            ]
            tables = [self._graph.to_go(name)[layer + 1] for name in self._names]
            costs = np.array([[move.cost.whole(name) for name in self._names] for move in moves], float)
            ends = np.array([[table[move.state] for table in tables] for move in moves], float)  # (moves, bounds, 2)
            self._ways_on[key] = [move.state for move in moves], costs, ends[..., 0], ends[..., 1]
        return self._ways_on[key]
