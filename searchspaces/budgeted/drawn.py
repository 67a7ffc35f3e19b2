"""The contents of a large space that is no chain of stages: what some draws from it show.

It is sampled by rejection. Counts are estimates, and the smallest and largest costs are those that were found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import ceil, floor, sqrt
from typing import Final

import numpy as np

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.contents import Count, resolved
from searchspaces.cost import Budget, Cost
from searchspaces.grammar import Value
from searchspaces.task import Task

DRAWS: Final = 400
"""Draws from which costs and counts are estimated."""
FIRST: Final = 4
"""Decisions of the draws that fit which are known to be open."""
TRIES: Final = 2_500
"""Draws without a hit after which sampling gives up."""


class Drawn:
    """Draws from a space with their costs on a task.

    Args:
        space: what is drawn from.
        budget: may be in percent.
        task: what costs are counted on.
        extremes: members that are taken for the cheapest and the most expensive, besides the references.
    """

    draws = DRAWS
    tries = TRIES

    def __init__(self, space: SearchSpace, budget: Budget, task: Task, extremes: tuple[Architecture, ...] = ()) -> None:
        self.space, self.task = space, task
        self._members, self._costs, self._known = _drawn(space, task, extremes)
        self.budget = resolved(self, budget)
        self._completions: dict[frozenset[tuple[str, Value]], dict[str, Value]] = {}
        for member, cost in zip(self._members, self._costs, strict=True):
            if self.budget.admits(cost):
                self._begin_with(member.choices)
        self._first = dict(self._completions)

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest value of a cost among all known architectures."""
        known = [cost.whole(name) for cost in (*self._costs, *self._known)]
        return min(known), max(known)

    def fits(self) -> bool | None:
        """True where a known architecture fits; otherwise None."""
        return any(map(self.budget.admits, (*self._costs, *self._known))) or None

    def count(self, bins: int | None = None) -> Count:
        """An estimate of how many fit: Wilson's interval (1927) of their share, at 95 %."""
        hits, draws, z = sum(map(self.budget.admits, self._costs)), len(self._costs), 1.96
        middle = (hits + z * z / 2) / (draws + z * z)
        half = z / (draws + z * z) * sqrt(hits * (draws - hits) / draws + z * z / 4)
        low = floor(max(0.0, middle - half) * self.space.size) if hits else 1
        high = ceil(min(1.0, middle + half) * self.space.size) if hits < draws else self.space.size
        return Count(low, high, self.space.size, draws)

    def draw(self, rng: np.random.Generator) -> Architecture:
        """One of the whole space, each equally likely."""
        return self.space.sample(rng)

    def neighbours(self, architecture: Architecture) -> None:
        """Not known: mutations are tried until one fits."""

    def _begin_with(self, choices: Mapping[str, Value]) -> None:
        """Know how the first decisions of what fits go on: an option missed there would close most of the space."""
        prefix: dict[str, Value] = {}
        for _ in range(FIRST):
            if (decision := self.space.next_decision(prefix)) is None:
                return
            prefix[decision.name] = choices[decision.name]
            self._completions.setdefault(frozenset(prefix.items()), dict(choices))

    def completable(self, prefix: Mapping[str, Value], tries: int = 8) -> bool:
        """Whether a completion that fits is found near the known one of all choices but the last.

        The first decisions of draws that fit are known to be.
        """
        key = frozenset(prefix.items())
        if key not in self._completions:
            before = frozenset(list(prefix.items())[:-1])
            near = self._completions.get(before, {})
            if near and all(near.get(name) == value for name, value in prefix.items()):
                self._remember(key, near)  # the known completion begins with this choice too
                return True
            rng = np.random.default_rng(0)
            for attempt in range(tries):
                taken = self._completed({**near, **prefix} if attempt == 0 else prefix, rng)
                if self.budget.admits(self.space.architecture(taken).cost(self.task)):
                    self._remember(key, taken)
                    break
        return key in self._completions

    def _remember(self, prefix: frozenset[tuple[str, Value]], completion: dict[str, Value]) -> None:
        if len(self._completions) > 1 << 16:
            self._completions = dict(self._first)
        self._completions[prefix] = completion

    def _completed(self, prefix: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """The given choices, and random ones for the decisions that are open besides."""
        taken = dict(prefix)
        while (decision := self.space.next_decision(taken)) is not None:
            taken[decision.name] = decision.options[rng.integers(len(decision.options))]
        return taken

    def members(self) -> Iterator[Architecture]:
        """The architectures that fit, found by going through the whole space."""
        return (each for each in self.space.enumerate() if self.budget.admits(each.cost(self.task)))


@lru_cache(maxsize=16)
def _drawn(
    space: SearchSpace, task: Task, extremes: tuple[Architecture, ...]
) -> tuple[list[Architecture], list[Cost], list[Cost]]:
    """Draws, the same in every process, their costs, and those of members that are known by name or as extremes."""
    rng = np.random.default_rng(0)
    known = [each.cost(task) for each in (*space.references.values(), *extremes)]
    drawn = [space.sample(rng) for _ in range(DRAWS)]
    return drawn, [each.cost(task) for each in drawn], known
