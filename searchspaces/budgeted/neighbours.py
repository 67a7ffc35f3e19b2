"""The networks that are one mutation away and within a budget, with the chances that rejection would give them.

In a narrow band most mutations leave it, and trying until one does not takes most of the time of a search. Here all
mutants of a chain of stages are costed at once: a mutation changes the choices of one stage, and the stages after it
cost something else only as far as their input has changed.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

import numpy as np

from searchspaces.architecture import Architecture
from searchspaces.budgeted.automaton import ChainState, Move
from searchspaces.cost import ADDITIVE_COSTS, Budget
from searchspaces.grammar import Choices
from searchspaces.task import Task

_REMEMBERED: Final = 1 << 10  # architectures whose neighbours are kept
_STEPS: Final = 1 << 18  # steps along chains that are kept
_MUTATED: Final = 1 << 14  # parts whose mutants are kept, some ten each

Costs = tuple[int, ...]
"""One whole number for each bound of the budget."""


class StageSpace(Protocol):
    """What is asked of a space of chains none of whose blocks decides for itself."""

    @property
    def layers(self) -> list[tuple[int, int | None]]:
        """Index of the part of each layer of the automaton."""

    def move(self, layer: int, state: ChainState, chosen: Choices, task: Task) -> Move:
        """The way on from a state with these choices."""

    def mutants(self, group: int, chosen: Choices) -> list[tuple[Choices, float]]:
        """What a mutation can make of a part, with chances."""


class _Step(NamedTuple):
    costs: Costs
    state: int  # after it


class Neighbours(NamedTuple):
    """Neighbours of an architecture that fit.

    Attributes:
        architecture: whose they are.
        changes: of each, the part that differs and its choices.
        ends: running sums of their chances, up to one factor.
    """

    architecture: Architecture
    changes: Sequence[tuple[int, Choices]]
    ends: Sequence[float]

    def draw(self, rng: np.random.Generator) -> Architecture:
        """One of them, with its chance."""
        index = min(bisect(self.ends, rng.random() * self.ends[-1]), len(self.ends) - 1)
        group, chosen = self.changes[index]
        parts = self.architecture.parts
        return Architecture(self.architecture.space, (*parts[:group], chosen, *parts[group + 1 :]))


class Neighbourhood:
    """Finds the neighbours of architectures that fit a budget on a task."""

    def __init__(self, space: StageSpace, budget: Budget, task: Task) -> None:
        self._space, self._task, self._bounds = space, task, budget.bounds
        self._additive = [bound.cost in ADDITIVE_COSTS for bound in budget.bounds]
        self._groups = [group for group, _ in space.layers]
        self._numbers: dict[ChainState, int] = {ChainState(task.shape): 0}
        self._states = list(self._numbers)
        self._steps: dict[tuple[int, int, Choices], _Step] = {}
        self._mutants: dict[tuple[int, int, Choices], list[tuple[Choices, float, _Step]]] = {}
        self._known: dict[Architecture, Neighbours] = {}

    def of(self, architecture: Architecture) -> Neighbours:
        """All neighbours that fit."""
        found = self._known.get(architecture)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[architecture] = self._found(architecture)
        return found

    def _found(self, architecture: Architecture) -> Neighbours:
        chosen = [architecture.parts[group] for group in self._groups]
        steps, state = [], 0
        for layer, choices in enumerate(chosen):
            steps.append(self._step(layer, state, choices))
            state = steps[-1].state
        nothing = (0,) * len(self._bounds)
        before = list(accumulate((step.costs for step in steps), self._joined, initial=nothing))
        after = list(accumulate((step.costs for step in reversed(steps)), self._joined, initial=nothing))[::-1]
        changes, chances = [], []
        for layer, choices in enumerate(chosen):
            state = steps[layer - 1].state if layer else 0
            for mutant, chance, step in self._mutants_of(layer, state, choices):
                costs, then = self._joined(before[layer], step.costs), layer + 1
                while then < len(steps) and step.state != steps[then - 1].state:  # until the input is as it was
                    step = self._step(then, step.state, chosen[then])
                    costs, then = self._joined(costs, step.costs), then + 1
                costs = self._joined(costs, after[then])
                if all(bound.least <= cost <= bound.most for bound, cost in zip(self._bounds, costs, strict=True)):
                    changes.append((self._groups[layer], mutant))
                    chances.append(chance)
        return Neighbours(architecture, changes, list(accumulate(chances)))

    def _joined(self, one: Costs, other: Costs) -> Costs:
        if self._additive == [True]:  # as most budgets are
            return (one[0] + other[0],)
        pairs = zip(one, other, self._additive, strict=True)
        return tuple(a + b if additive else max(a, b) for a, b, additive in pairs)

    def _step(self, layer: int, state: int, choices: Choices) -> _Step:
        found = self._steps.get((layer, state, choices))
        if found is None:
            if len(self._steps) >= _STEPS:
                self._steps.clear()
            move = self._space.move(layer, self._states[state], choices, self._task)
            number = self._numbers.setdefault(move.state, len(self._numbers))
            if number == len(self._states):
                self._states.append(move.state)
            costs = tuple(move.cost.whole(bound.cost) for bound in self._bounds)
            found = self._steps[layer, state, choices] = _Step(costs, number)
        return found

    def _mutants_of(self, layer: int, state: int, choices: Choices) -> list[tuple[Choices, float, _Step]]:
        found = self._mutants.get((layer, state, choices))
        if found is None:
            if len(self._mutants) >= _MUTATED:
                self._mutants.clear()
            every = self._space.mutants(self._groups[layer], choices)
            found = [(mutant, chance, self._step(layer, state, mutant)) for mutant, chance in every]
            self._mutants[layer, state, choices] = found
        return found
