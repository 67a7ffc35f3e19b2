"""Exact costs of many chains of stages at once.

A chain is an automaton whose costs follow from its moves (`Space.moves`). So each move is costed when it is first met;
from then on it is a row of a table, in which whole columns of indices are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from searchspaces.budgeted.automaton import ChainState, Move
from searchspaces.cost import ADDITIVE_COSTS
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.task import Task

Indices = npt.NDArray[np.int16]
Whole = npt.NDArray[np.int64]

MOST_CODES: Final = 1 << 40
"""Sets of options of one stage, with room for the number of a state in 63 bits."""


class ChainSpace(Protocol):
    """What is asked of a space of chains."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order."""

    @property
    def layers(self) -> list[tuple[int, int | None]]:
        """One entry for each layer of the automaton."""

    def layer_of(self, name: str) -> int:
        """The layer in which a decision is taken."""

    def move(self, layer: int, state: ChainState, chosen: Choices, task: Task) -> Move:
        """The way on from a state with these choices."""


class ChainCosts:
    """Costs of the members of a space of chains on one task, from tables that grow.

    Args:
        space: the chains.
        task: on which costs are counted.
        names: of the costs.

    Attributes:
        fits: whether the options of each layer can be numbered; otherwise there are no tables.
    """

    def __init__(self, space: ChainSpace, task: Task, names: Sequence[str]) -> None:
        self._space, self._task, self._names = space, task, tuple(names)
        placed: list[list[int]] = [[] for _ in space.layers]
        for place, decision in enumerate(space.decisions):
            placed[space.layer_of(decision.name)].append(place)
        self._layers = [_Layer(columns, space.decisions, len(self._names)) for columns in placed]
        self.fits = all(layer.codes_of_a_state < MOST_CODES for layer in self._layers)
        # (decisions, layers): floats, since BLAS has no whole numbers; they hold sums below 2**53 exactly
        self._steps = np.array([layer.steps if self.fits else [] for layer in self._layers], np.float64).T
        self._summed = np.array([name in ADDITIVE_COSTS for name in self._names])
        self._states: list[dict[ChainState, int]] = [{} for _ in range(len(space.layers) + 1)]
        self._number(0, ChainState(task.shape))

    def of(self, vectors: Indices) -> Whole:
        """The costs of architectures as `Space.encode` gives them; shape (architectures, names)."""
        total = np.zeros((len(vectors), len(self._names)), np.int64)
        state = np.zeros(len(vectors), np.int64)
        chosen = ((vectors + 1.0) @ self._steps).astype(np.int64)  # (architectures, layers)
        for index, layer in enumerate(self._layers):
            code = state * layer.codes_of_a_state + chosen[:, index]
            row = layer.rows(code)
            if (missing := np.flatnonzero(row < 0)).size:
                self._learn(index, code[missing], vectors[missing])
                row = layer.rows(code)
            costs, state = layer.costs[row], layer.after[row]
            if self._summed.all():
                total += costs
            else:
                total = np.where(self._summed, total + costs, np.maximum(total, costs))
        return total

    def learn(self, layers: Sequence[Mapping[ChainState, Sequence[Move]]]) -> None:
        """Take all moves of an automaton that has been walked already."""
        for index, moves in enumerate(layers):
            table = self._layers[index]
            if table.all_known:
                continue
            base = {state: self._number(index, state) * table.codes_of_a_state for state in moves}
            coded = {base[state] + table.code(move.choices): move for state in moves for move in moves[state]}
            table.forget()
            self._add(index, coded)
            table.all_known = True

    def _learn(self, index: int, code: Whole, vectors: Indices) -> None:
        """Cost the moves of a layer that are met for the first time."""
        layer, coded = self._layers[index], {}
        new, first = np.unique(code, return_index=True)
        for number, vector in zip(new.tolist(), vectors[first], strict=True):
            state = list(self._states[index])[number // layer.codes_of_a_state]
            coded[number] = self._space.move(index, state, layer.choices(vector), self._task)
        self._add(index, coded)

    def _add(self, index: int, coded: Mapping[int, Move]) -> None:
        costs = [[move.cost.whole(name) for name in self._names] for move in coded.values()]
        after = [self._number(index + 1, move.state) for move in coded.values()]
        self._layers[index].add(np.array(list(coded), np.int64), np.array(costs, np.int64), np.array(after, np.int64))

    def _number(self, index: int, state: ChainState) -> int:
        """The number of a state before a layer, in the order in which they are met."""
        known = self._states[index]
        return known.setdefault(state, len(known))


class _Layer:
    """The known moves of one layer, in the order of their codes.

    Args:
        columns: places of the decisions that are taken in it.
        decisions: all of the space.
        width: the number of costs.

    Attributes:
        codes_of_a_state: sets of options, some of which no architecture has.
        steps: of each decision of the space, by how much its next option raises the code; 0 if it is of another layer.
        costs, after: of each known move, its costs and the number of its next state; shapes (moves, costs), (moves,).
        all_known: whether no other moves are to be met.
    """

    def __init__(self, columns: list[int], decisions: Sequence[Decision], width: int) -> None:
        self._columns, self._decisions = columns, [decisions[place] for place in columns]
        self.codes_of_a_state, self.steps = 1, [0] * len(decisions)
        self._codes_of: dict[tuple[str, Value], int] = {}
        for place, decision in zip(columns, self._decisions, strict=True):
            self.steps[place] = self.codes_of_a_state
            for index, option in enumerate(decision.options, 1):
                self._codes_of[decision.name, option] = index * self.codes_of_a_state
            self.codes_of_a_state *= len(decision.options) + 1
        self._width = width
        self.forget()

    def rows(self, code: Whole) -> Whole:
        """The row of each code; -1 where the move is not known yet."""
        if not self._codes.size:
            return np.full(len(code), -1)
        row = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        return np.where(self._codes[row] == code, row, -1)

    def choices(self, vector: Indices) -> Choices:
        """What an architecture chooses in this layer."""
        pairs = zip(self._decisions, vector[self._columns].tolist(), strict=True)
        return tuple((decision.name, decision.options[index]) for decision, index in pairs if index >= 0)

    def code(self, choices: Choices) -> int:
        """The number of a set of choices of this layer."""
        return sum(self._codes_of[pair] for pair in choices)

    def forget(self) -> None:
        """No move is known."""
        self._codes, self.all_known = np.zeros(0, np.int64), False
        self.costs, self.after = np.zeros((0, self._width), np.int64), np.zeros(0, np.int64)

    def add(self, codes: Whole, costs: Whole, after: Whole) -> None:
        """Moves that were not known."""
        both = np.concatenate([self._codes, codes])
        order = np.argsort(both, kind="stable")
        self._codes = both[order]
        self.costs = np.concatenate([self.costs, costs])[order]
        self.after = np.concatenate([self.after, after])[order]
