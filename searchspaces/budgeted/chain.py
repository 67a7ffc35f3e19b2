"""The contents of a space of chains: counted, and sampled exactly uniformly.

A chain of stages is an automaton: its states are the shapes of feature maps with the choices that later stages depend
on, and additive costs add up along its moves. `budgeted.ways` counts networks by dynamic programming over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from searchspaces.architecture import Architecture
from searchspaces.budgeted.automaton import ChainState, Move
from searchspaces.budgeted.completion import Completion
from searchspaces.budgeted.contents import Count, resolved
from searchspaces.budgeted.neighbours import Neighbourhood, Neighbours, StageSpace
from searchspaces.budgeted.ways import Ways
from searchspaces.cost import ADDITIVE_COSTS, Bound, Budget, Cost
from searchspaces.grammar import Choices, Value
from searchspaces.task import Task

SAMPLE_BINS: Final = 1 << 13
COUNT_BINS: Final = 1 << 18
"""Fine enough for brackets below 0.1 % on `mbconv`; takes a second or two. No more architectures than this are counted
one by one."""
TRIES: Final = 10_000
"""Draws without a hit after which sampling gives up."""


class ChainSpace(StageSpace, Protocol):
    """What is asked of a space of chains."""

    @property
    def size(self) -> int:
        """The number of architectures."""

    def walked(self, task: Task) -> list[dict[ChainState, list[Move]]]:
        """Of each layer its states, and all ways on from each."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One of all architectures, each equally likely."""

    def grouped(self, canonical: Choices) -> Architecture:
        """The architecture of choices that are in order and have an effect."""

    def enumerate(self) -> Iterator[Architecture]:
        """All members."""


class Chains:
    """A space of chains under a budget on a task: layers of states, and the moves between them."""

    draws = 0
    tries = TRIES

    def __init__(self, space: ChainSpace, budget: Budget, task: Task) -> None:
        self.space, self.task, self.size = space, task, space.size
        self.start, self.layers = ChainState(task.shape), space.walked(task)
        self.ends = {move.state for several in self.layers[-1].values() for move in several}
        self._layer_of = {
            name: layer
            for layer, moves in enumerate(self.layers)
            for several in moves.values()
            for move in several
            for name, _ in move.choices
        }
        self._moves_of: dict[tuple[int, ChainState, Choices], Move | None] = {}
        self._within: dict[frozenset[tuple[str, Value]], bool] = {}
        self._to_go: dict[str, list[dict[ChainState, tuple[int, int]]]] = {}
        self._ways: dict[Bound, Ways] = {}
        self.budget = resolved(self, budget)
        self._completion = Completion(self, self.budget)
        narrow = any(bound.lower for bound in self.budget.bounds)  # else most mutations fit, and trying is quicker
        whole_stages = all(block is None for _, block in space.layers)
        self._neighbourhood = Neighbourhood(space, self.budget, task) if narrow and whole_stages else None

    def to_go(self, name: str) -> list[dict[ChainState, tuple[int, int]]]:
        """For each layer and state, the smallest and the largest cost from there to the end."""
        if name not in self._to_go:
            peak = name not in ADDITIVE_COSTS
            table: list[dict[ChainState, tuple[int, int]]] = [dict.fromkeys(self.ends, (0, 0))]
            for moves in reversed(self.layers):
                after = table[0]
                here = {}
                for state, several in moves.items():
                    different = {(move.cost, move.state) for move in several}
                    costs = [(cost.whole(name), *after[then]) for cost, then in different]
                    if peak:
                        here[state] = min(max(c, low) for c, low, _ in costs), max(max(c, high) for c, _, high in costs)
                    else:
                        here[state] = min(c + low for c, low, _ in costs), max(c + high for c, _, high in costs)
                table.insert(0, here)
            self._to_go[name] = table
        return self._to_go[name]

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest cost of a whole network."""
        return self.to_go(name)[0][self.start]

    def fits(self) -> bool | None:
        """Whether something fits, exactly where networks are few; None where no bound alone leaves out all of many."""
        bounds = self.budget.bounds
        if len(bounds) == 1 and bounds[0].least == 0:
            return True  # as the extremes say
        if self.size <= COUNT_BINS:
            return self.completable({}) or self._one_by_one() > 0
        return False if self._bound is not None and self._sampled(self._bound).total == 0 else None

    @cached_property
    def _bound(self) -> Bound | None:
        """The additive bound that leaves least: it is sampled by dynamic programming, the others by rejection."""
        additive = [bound for bound in self.budget.bounds if bound.cost in ADDITIVE_COSTS]
        if len(additive) <= 1:
            return additive[0] if additive else None
        return min(additive, key=lambda bound: self._sampled(bound).total)

    def _sampled(self, bound: Bound) -> Ways:
        """The table that a bound is sampled with."""
        if bound not in self._ways:
            self._ways[bound] = Ways(self, bound, SAMPLE_BINS, up=False)
        return self._ways[bound]

    def count(self, bins: int | None = None) -> Count:
        """The number of architectures that fit.

        Exact where there are no more architectures than bins, or the budget has one additive bound and bins can be of
        one. With one additive bound otherwise a bracket, the narrower the more bins. With several bounds, or a bound on
        the peak, only an upper end (low is 0).
        """
        bins = bins or COUNT_BINS * max(1, len(self.layers) // 6)  # each layer rounds once
        if self.size <= min(bins, COUNT_BINS):
            exactly = self._one_by_one()
            return Count(exactly, exactly, self.size)
        if self._bound is None:
            return Count(0, self.size, self.size)
        low, high = self._counted(self._bound, bins)
        return Count(low if len(self.budget.bounds) == 1 else 0, high, self.size)

    def _one_by_one(self) -> int:
        """How many architectures fit, from all the different costs that their first layers have."""
        bounds, adds = self.budget.bounds, [bound.cost in ADDITIVE_COSTS for bound in self.budget.bounds]
        reached: dict[ChainState, dict[tuple[int, ...], int]] = {self.start: {(0,) * len(bounds): 1}}
        for moves in self.layers:
            after: dict[ChainState, dict[tuple[int, ...], int]] = {}
            for state, spent in reached.items():
                for move in moves[state]:
                    costs = [move.cost.whole(bound.cost) for bound in bounds]
                    there = after.setdefault(move.state, {})
                    for before, ways in spent.items():
                        added = zip(before, costs, adds, strict=True)
                        total = tuple(one + other if adding else max(one, other) for one, other, adding in added)
                        there[total] = there.get(total, 0) + ways
            reached = after
        return sum(
            ways
            for spent in reached.values()
            for costs, ways in spent.items()
            if all(bound.least <= cost <= bound.most for bound, cost in zip(bounds, costs, strict=True))
        )

    def _counted(self, bound: Bound, bins: int) -> tuple[int, int]:
        """At least and at most how many networks lie within a bound."""
        floor = Ways(self, bound, bins, up=False, counts_only=True)
        if floor.exact:
            return floor.total, floor.total
        ceil = Ways(self, bound, bins, up=True, counts_only=True)
        # within the upper end, less what is below the lower one
        low, high = ceil.within(bound.most), floor.within(bound.most)
        slack = floor.within(bound.most) >> 36 if floor.rough else 0  # far more than what floats lose in sums
        if bound.least > 0:
            low, high = low - floor.within(bound.least - 1), high - ceil.within(bound.least - 1)
        return max(0, low - slack), high + slack

    def draw(self, rng: np.random.Generator) -> Architecture:
        """One of those whose binned cost lies within a bound, a slight superset, each equally likely."""
        if self._bound is None:
            return self.space.sample(rng)
        return self.space.grouped(self._sampled(self._bound).draw(rng))

    def draw_many(self, count: int, rng: np.random.Generator) -> list[Choices]:
        """So many draws as `draw` makes them, at once and with other random numbers."""
        if self._bound is None:
            return [tuple(self.space.sample(rng).choices.items()) for _ in range(count)]
        return self._sampled(self._bound).draw_many(count, rng)

    def neighbours(self, architecture: Architecture) -> Neighbours | None:
        """The neighbours that fit; None without a lower bound, or where blocks decide for themselves."""
        return self._neighbourhood.of(architecture) if self._neighbourhood else None

    def completable(self, prefix: Mapping[str, Value]) -> bool:
        """Whether some network that begins with these choices fits; False where a bounded search finds none."""
        key = frozenset(prefix.items())
        if key not in self._within:
            if len(self._within) > 1 << 16:
                self._within.clear()
            layer, state, spent, here = self._decided(prefix)
            paid = [spent.whole(bound.cost) for bound in self.budget.bounds]
            self._within[key] = self._completion.possible(layer, state, paid, here)
        return self._within[key]

    def _decided(self, prefix: Mapping[str, Value]) -> tuple[int, ChainState, Cost, Choices]:
        """How far a prefix decides whole layers: the layer and state after them, their cost, and the other choices."""
        given: list[list[tuple[str, Value]]] = [[] for _ in self.layers]
        for pair in prefix.items():
            given[self._layer_of[pair[0]]].append(pair)
        state, spent = self.start, self.task.nothing
        for layer, pairs in enumerate(given):
            here = tuple(pairs)
            key = (layer, state, here)
            if key not in self._moves_of:
                decided = [move for move in self.layers[layer][state] if dict(move.choices) == dict(here)]
                self._moves_of[key] = decided[0] if decided else None
            move = self._moves_of[key]
            if move is None:
                return layer, state, spent, here
            state, spent = move.state, spent + move.cost
        return len(self.layers), state, spent, ()

    def members(self) -> Iterator[Architecture]:
        """The architectures that fit, found by going through the whole space."""
        return (each for each in self.space.enumerate() if self.budget.admits(each.cost(self.task)))
