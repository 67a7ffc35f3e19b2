"""The contents of a small space: all of it, with its costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.contents import Count, resolved
from searchspaces.cost import Budget, Cost
from searchspaces.grammar import Value
from searchspaces.task import Task

LISTED: Final = 20_000
"""Most architectures of a space that is listed."""


class Listed:
    """All architectures of a space and their costs on a task."""

    draws = 0
    tries = 1

    def __init__(self, space: SearchSpace, budget: Budget, task: Task) -> None:
        self.space = space
        self._costs = _listed(space, task)
        self.budget = resolved(self, budget)
        self._fitting = tuple(each for each, cost in self._costs.items() if self.budget.admits(cost))
        self._completable: dict[frozenset[tuple[str, Value]], bool] = {}

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest value of a cost."""
        known = [cost.whole(name) for cost in self._costs.values()]
        return min(known), max(known)

    def fits(self) -> bool:
        """Whether something fits."""
        return bool(self._fitting)

    def count(self, bins: int | None = None) -> Count:
        """The number of architectures that fit, exactly."""
        return Count(len(self._fitting), len(self._fitting), self.space.size)

    def draw(self, rng: np.random.Generator) -> Architecture:
        """One that fits, each equally likely."""
        return self._fitting[rng.integers(len(self._fitting))]

    def neighbours(self, architecture: Architecture) -> None:
        """Not known: mutations are tried until one fits."""

    def completable(self, prefix: Mapping[str, Value]) -> bool:
        """Whether an architecture that fits begins with these choices."""
        key = frozenset(prefix.items())
        if key not in self._completable:
            decision = self.space.next_decision(prefix)
            if decision is None:
                found = self.budget.admits(self._costs[self.space.architecture(prefix)])
            else:
                longer = ({**prefix, decision.name: option} for option in decision.options)
                found = any(self.completable(each) for each in longer)
            self._completable[key] = found
        return self._completable[key]

    def members(self) -> Iterator[Architecture]:
        """The architectures that fit."""
        return iter(self._fitting)


@lru_cache(maxsize=16)
def _listed(space: SearchSpace, task: Task) -> dict[Architecture, Cost]:
    """All architectures in the order of the space, with their costs."""
    return {each: each.cost(task) for each in space.enumerate()}
