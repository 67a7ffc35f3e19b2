"""The part of a space that fits a budget: counted, and sampled exactly uniformly.

A chain of stages is an automaton whose states are feature-map shapes, and additive costs add up along its moves. Costs
are binned; for each state, `ways[r]` says in how many ways the chain can be finished within r bins (dynamic programming
from the end). Bins rounded down give a slight superset, which is sampled uniformly and whose few members over the edge
are rejected by their true cost: what is left is uniform. Bins rounded both ways bracket the count; bins of one make it
exact. Other bounds of the same budget are met by rejection.

Small spaces that are no chains are listed, which is exact too. Of all others what is known is what some draws say:
they are sampled by rejection, counts are estimates, and the smallest and largest costs are those that were found
(`Feasible.exact` is false, `Count.draws` says how many).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from math import ceil, floor, gcd, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from searchspaces.cost import ADDITIVE_COSTS, WHOLES, Bound, Budget, Cost, human, said
from searchspaces.errors import UserError
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.latency import refuse_unknown
from searchspaces.layers import Node
from searchspaces.space import Architecture, Move, SearchSpace, Space, State
from searchspaces.stage import Scale
from searchspaces.task import Task

SAMPLE_BINS: Final = 1 << 13
COUNT_BINS: Final = 1 << 18
"""Fine enough for brackets below 0.1 % on `mbconv`; takes a second or two."""
MAX_DRAWS: Final = 10_000
"""Draws without a hit after which sampling gives up; a quarter of them where the space is no chain."""
LISTED: Final = 20_000
"""Architectures in a space that is listed, at most."""
DRAWS: Final = 400
"""Draws from a space that is no chain, from which its costs and counts are estimated."""
_BLOCK: Final = 1 << 14
"""Bins that are summed at a time."""
_SEARCHED: Final = 2_000
"""States that are looked at before a prefix is taken to have no completion."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many architectures fit: at least `low`, at most `high`.

    Attributes:
        low, high: both inclusive; equal where the count is exact.
        of: how many there are without the budget.
        draws: 0 where it was counted; else the draws it was estimated from, with 95% confidence.
    """

    low: int
    high: int
    of: int
    draws: int = 0

    @property
    def share(self) -> float:
        """The middle of the bracket as a share of the whole."""
        return (self.low + self.high) / 2 / self.of

    def __str__(self) -> str:
        if self.low == self.high or self.high < 10**6:
            return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"
        low, high = f"{self.low:.3g}", f"{self.high:.3g}"
        return (high if low == high else f"{low} to {high}").replace("e+", "e")


class Feasible:
    """What of a space fits a budget on a task; the same kind of thing as a space.

    Attributes:
        smallest, largest: the least and the most of each cost in the whole space; in the part of it that was looked at
            where `exact` is false.

    Args:
        space: the whole of it.
        budget: its percents are of the space's largest costs.
        task: the deployment task, on which costs are counted.

    Raises:
        UserError: if nothing fits; the message has the space's smallest costs.
    """

    def __init__(self, space: SearchSpace, budget: Budget, task: Task) -> None:
        self.space, self.task = space, task
        self.name = space.name
        refuse_unknown((bound.cost for bound in budget.bounds), space, task)
        if task.latency is not None:
            task.latency.refuse_gaps(space)
        self._graph: _Automaton | _Listed | _Drawn
        if isinstance(space, Space):
            self._graph = _Automaton(space, task)
        else:
            self._graph = _Listed(space, task) if space.size <= LISTED else _Drawn(space, task)
        extremes = {name: self._graph.extremes(name) for name in task.costs}
        self.smallest = Cost.of({name: low for name, (low, _) in extremes.items()})
        self.largest = Cost.of({name: high for name, (_, high) in extremes.items()})
        self.budget = budget.resolved({name: high for name, (_, high) in extremes.items()})
        for bound in self.budget.bounds:
            low, high = extremes[bound.cost]
            if bound.most < low or bound.least > high:
                raise UserError(
                    f"budget {budget}: no architecture of {space.name} fits on {task}; {self._said_extremes(bound)}"
                )
        self._bound = self._sampled_bound(self._graph) if isinstance(self._graph, _Automaton) else None
        self._within: dict[object, bool] = {}
        if isinstance(self._graph, _Drawn) and not self._graph.fitting(self.budget):
            self.sample(np.random.default_rng(0))  # something must fit
        if isinstance(self._graph, _Listed) and not self._graph.fitting(self.budget):
            raise UserError(
                f"budget {self.budget}: none of the {space.size:,} architectures of {space.name} fits on {task}: widen "
                f"it ({self._said_extremes()})"
            )

    def _said_extremes(self, *bounds: Bound) -> str:
        """From where to where the bounded costs go in the whole space."""
        told = []
        for bound in bounds or self.budget.bounds:
            name, ends = bound.cost, [cost.whole(bound.cost) for cost in (self.smallest, self.largest)]
            low, high = (said(name, end) if name in WHOLES else f"{human(end)} ({end:,})" for end in ends)
            told.append(f"its {name} go from {low} to {high}")
        return "; ".join(told) + ("" if self.exact else f", as far as {DRAWS} draws tell")

    @property
    def exact(self) -> bool:
        """Whether costs and counts are known, and not estimated from draws."""
        return not isinstance(self._graph, _Drawn)

    def _sampled_bound(self, graph: _Automaton) -> Bound | None:
        """The additive bound that leaves least: it is sampled by dynamic programming, the others by rejection."""
        additive = [bound for bound in self.budget.bounds if bound.cost in ADDITIVE_COSTS]
        if len(additive) <= 1:
            return additive[0] if additive else None
        return min(additive, key=lambda bound: graph.ways(bound, SAMPLE_BINS).total)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order, with all options of the whole space."""
        return self.space.decisions

    @cached_property
    def count(self) -> Count:
        """How many architectures fit: `counted` with fine bins."""
        steps = len(self._graph.layers) if isinstance(self._graph, _Automaton) else 0
        return self.counted(COUNT_BINS * max(1, steps // 6))  # each step rounds once

    def counted(self, bins: int = SAMPLE_BINS) -> Count:
        """How many architectures fit.

        Exact where the budget has one additive bound and the bins can be of one; with one additive bound otherwise a
        bracket, the narrower the more bins; with several bounds, or a bound on the peak, only an upper end (low is 0).
        An estimate where the space is no chain.
        """
        if not isinstance(self._graph, _Automaton):
            return self._graph.count(self.budget)
        if self._bound is None:
            return Count(0, self.space.size, self.space.size)
        low, high = self._graph.count(self._bound, bins)
        return Count(low if len(self.budget.bounds) == 1 else 0, high, self.space.size)

    @property
    def size(self) -> int:
        """How many architectures fit, exactly or at most."""
        return self.count.high

    @cached_property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""
        return {name: member for name, member in self.space.references.items() if member in self}

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices.

        Raises:
            UserError: if a choice is wrong, or the architecture does not fit.
        """
        found = self.space.architecture(choices)
        cost = found.cost(self.task)
        if not self.budget.admits(cost):
            bounded = ", ".join(f"{b.cost} {said(b.cost, cost.whole(b.cost))}" for b in self.budget.bounds)
            raise UserError(f"{found.words()} does not fit {self.budget}: it has {bounded}")
        return found

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers."""
        return self.space.network(architecture, task, scale)

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """What it costs on one image."""
        return self.space.cost(architecture, task, scale)

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        return self.space.words(architecture)

    def describe(self) -> dict[str, Any]:
        """The whole space, the budget and the task, as JSON."""
        return {**self.space.describe(), "budget": str(self.budget), "task": str(self.task)}

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture that fits, each equally likely.

        Raises:
            UserError: if bounded draws found none.
        """
        draws = MAX_DRAWS if self.exact else MAX_DRAWS // 4
        for _ in range(draws):
            found = self._draw(rng)
            if self.budget.admits(found.cost(self.task)):
                return found
        raise UserError(
            f"budget {self.budget}: none of {draws:,} draws from {self.space.name} fits on {self.task}; if something "
            f"does, it is too rare to be found: widen the budget ({self._said_extremes()})"
        )

    def _draw(self, rng: np.random.Generator) -> Architecture:
        if isinstance(self._graph, _Listed):
            members = self._graph.fitting(self.budget)
            return members[rng.integers(len(members))]
        if self._bound is None or not isinstance(self._graph, _Automaton):
            return self.space.sample(rng)
        return self._graph.space.grouped(self._graph.ways(self._bound, SAMPLE_BINS).draw(rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture that fits: one decision away where that was found, otherwise the fewest found.

        Raises:
            UserError: if nothing else was found that fits.
        """
        tries = 200
        for reach in (1, 2, 3):
            for _ in range(tries):
                found = architecture
                for _ in range(reach):
                    found = self.space.mutate(found, rng)
                if found != architecture and self.budget.admits(found.cost(self.task)):
                    return found
        for _ in range(tries):
            found = self.sample(rng)
            if found != architecture:
                return found
        raise UserError(f"budget {self.budget}: {architecture.words()} seems to be all that fits")

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision still open, with the options after which some network still fits.

        Exact with upper bounds or one bound; where several bounds or a band leave so little that 2,000 states do not
        decide, an option may be missing, but none is offered that leads nowhere. Where the space is no chain, options
        are those for which a completion that fits was found in a few tries.
        """
        decision = self.space.next_decision(prefix)
        if decision is None:
            return None
        fits = (option for option in decision.options if self._completable({**prefix, decision.name: option}))
        return Decision(decision.name, tuple(fits))

    def _completable(self, prefix: Mapping[str, Value]) -> bool:
        if not isinstance(self._graph, _Automaton):
            return self._graph.completable(prefix, self.budget)
        key = frozenset(prefix.items())
        if key not in self._within:
            if len(self._within) > 1 << 16:
                self._within.clear()
            self._within[key] = self._graph.completable(prefix, self.budget, _SEARCHED)
        return self._within[key]

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""
        return self.space.encode(architecture)

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """What `encode` was given."""
        return self.space.decode(vector)

    def enumerate(self) -> Iterator[Architecture]:
        """All that fits; mind the size of the whole space."""
        if isinstance(self._graph, _Listed):
            return iter(self._graph.fitting(self.budget))
        return (each for each in self.space.enumerate() if self.budget.admits(each.cost(self.task)))

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The same space under another budget."""
        return Feasible(self.space, budget, task)

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture in self.space
            and self.budget.admits(architecture.cost(self.task))
        )

    def __repr__(self) -> str:
        return f"Feasible({self.space!r}, {self.budget}, {self.task})"


class _Listed:
    """A space that is no chain, but small, on a task: all that it holds."""

    def __init__(self, space: SearchSpace, task: Task) -> None:
        self.space = space
        self._costs = _listed(space, task)
        self._members: dict[Budget, tuple[Architecture, ...]] = {}
        self._completable: dict[tuple[frozenset[tuple[str, Value]], Budget], bool] = {}

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest cost."""
        known = [cost.whole(name) for cost in self._costs.values()]
        return min(known), max(known)

    def fitting(self, budget: Budget) -> tuple[Architecture, ...]:
        """What fits, in the space's order."""
        if budget not in self._members:
            self._members[budget] = tuple(each for each, cost in self._costs.items() if budget.admits(cost))
        return self._members[budget]

    def count(self, budget: Budget) -> Count:
        """How many fit."""
        hits = len(self.fitting(budget))
        return Count(hits, hits, self.space.size)

    def completable(self, prefix: Mapping[str, Value], budget: Budget) -> bool:
        """Whether some way to complete a prefix leads to what fits."""
        key = (frozenset(prefix.items()), budget)
        if key not in self._completable:
            decision = self.space.next_decision(prefix)
            if decision is None:
                found = budget.admits(self._costs[self.space.architecture(prefix)])
            else:
                longer = ({**prefix, decision.name: option} for option in decision.options)
                found = any(self.completable(each, budget) for each in longer)
            self._completable[key] = found
        return self._completable[key]


@lru_cache(maxsize=16)
def _listed(space: SearchSpace, task: Task) -> dict[Architecture, Cost]:
    """All architectures in the space's order, with their costs."""
    return {each: each.cost(task) for each in space.enumerate()}


class _Drawn:
    """A space that is no chain on a task: what some draws from it tell."""

    def __init__(self, space: SearchSpace, task: Task) -> None:
        self.space, self.task = space, task
        self._costs, self._members = _drawn(space, task)
        self._completions: dict[tuple[frozenset[tuple[str, Value]], Budget], dict[str, Value]] = {}

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest cost among all that is known."""
        known = [cost.whole(name) for cost in (*self._costs, *(cost for _, cost in self._members))]
        return min(known), max(known)

    def fitting(self, budget: Budget) -> bool:
        """Whether something known fits."""
        return any(map(budget.admits, self._costs)) or any(budget.admits(cost) for _, cost in self._members)

    def count(self, budget: Budget) -> Count:
        """How many fit: Wilson's interval (1927) of the share that does, at 95%."""
        hits, draws, z = sum(map(budget.admits, self._costs)), len(self._costs), 1.96
        middle = (hits + z * z / 2) / (draws + z * z)
        half = z / (draws + z * z) * sqrt(hits * (draws - hits) / draws + z * z / 4)
        low = floor(max(0.0, middle - half) * self.space.size) if hits else 1
        high = ceil(min(1.0, middle + half) * self.space.size) if hits < draws else self.space.size
        return Count(low, high, self.space.size, draws)

    def completable(self, prefix: Mapping[str, Value], budget: Budget, tries: int = 8) -> bool:
        """Whether a completion that fits is found near the one that is known of all choices but the last."""
        key = (frozenset(prefix.items()), budget)
        if key not in self._completions:
            before = frozenset(list(prefix.items())[:-1])
            near = self._completions.get((before, budget), {})
            rng = np.random.default_rng(0)
            for attempt in range(tries):
                taken = self._completed({**near, **prefix} if attempt == 0 else prefix, rng)
                if budget.admits(self.space.architecture(taken).cost(self.task)):
                    if len(self._completions) > 1 << 16:
                        self._completions.clear()
                    self._completions[key] = taken
                    break
        return key in self._completions

    def _completed(self, prefix: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """The choices given, and random ones for what is open besides."""
        taken = dict(prefix)
        while (decision := self.space.next_decision(taken)) is not None:
            taken[decision.name] = decision.options[rng.integers(len(decision.options))]
        return taken


@lru_cache(maxsize=16)
def _drawn(space: SearchSpace, task: Task) -> tuple[list[Cost], list[tuple[Architecture, Cost]]]:
    """Costs of some draws, always the same ones, and members that are known by name or as the space's extremes."""
    rng = np.random.default_rng(0)
    named = [*space.references.values(), *getattr(space, "extremes", ())]
    return [space.sample(rng).cost(task) for _ in range(DRAWS)], [(each, each.cost(task)) for each in named]


class _Automaton:
    """A chain space on a task: layers of states, and the moves between them."""

    def __init__(self, space: Space, task: Task) -> None:
        self.space, self.task = space, task
        self.start, self.nothing = State(task.shape), task.nothing
        self.layers: list[dict[State, list[Move]]] = []
        states = {self.start}
        for layer in range(len(space.layers)):
            moves = {state: space.moves(layer, state, task) for state in states}
            self.layers.append(moves)
            states = {move.state for several in moves.values() for move in several}
        self.ends = states
        self._layer_of = {
            name: layer
            for layer, moves in enumerate(self.layers)
            for several in moves.values()
            for move in several
            for name, _ in move.choices
        }
        self._moves_of: dict[tuple[int, State, Choices], Move | None] = {}
        self._searches: dict[Budget, _Search] = {}
        self._to_go: dict[str, list[dict[State, tuple[int, int]]]] = {}
        self._ways: dict[tuple[Bound, int], _Ways] = {}

    def to_go(self, name: str) -> list[dict[State, tuple[int, int]]]:
        """For each layer and state, the smallest and the largest cost from there to the end."""
        if name not in self._to_go:
            peak = name not in ADDITIVE_COSTS
            table: list[dict[State, tuple[int, int]]] = [dict.fromkeys(self.ends, (0, 0))]
            for moves in reversed(self.layers):
                after = table[0]
                here = {}
                for state, several in moves.items():
                    costs = [(move.cost.whole(name), *after[move.state]) for move in several]
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

    def ways(self, bound: Bound, bins: int) -> _Ways:
        """The table that a bound is sampled with."""
        key = (bound, bins)
        if key not in self._ways:
            self._ways[key] = _Ways(self, bound, bins, up=False)
        return self._ways[key]

    def count(self, bound: Bound, bins: int) -> tuple[int, int]:
        """At least and at most so many networks lie within a bound."""
        floor = _Ways(self, bound, bins, up=False, counts_only=True)
        if floor.exact:
            return floor.total, floor.total
        ceil = _Ways(self, bound, bins, up=True, counts_only=True)
        # within the upper end, less what is below the lower one
        low, high = ceil.within(bound.most), floor.within(bound.most)
        slack = floor.within(bound.most) >> 36 if floor.rough else 0  # far more than what floats lose in sums
        if bound.least > 0:
            low, high = low - floor.within(bound.least - 1), high - ceil.within(bound.least - 1)
        return max(0, low - slack), high + slack

    def completable(self, prefix: Mapping[str, Value], budget: Budget, searched: int) -> bool:
        """Whether some network that begins with these choices lies within a budget; False after `searched` states."""
        layer, state, spent, here = self._decided(prefix)
        search = self._searches.setdefault(budget, _Search(self, budget, searched))
        return search.completable(layer, state, [spent.whole(bound.cost) for bound in budget.bounds], here)

    def _decided(self, prefix: Mapping[str, Value]) -> tuple[int, State, Cost, Choices]:
        """How far a prefix decides wholly: the layer and state after that, the cost until there, and the rest of it."""
        given: list[list[tuple[str, Value]]] = [[] for _ in self.layers]
        for pair in prefix.items():
            given[self._layer_of[pair[0]]].append(pair)
        state, spent = self.start, self.nothing
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


class _Search:
    """Looks for a network within a budget, from a state of a chain on."""

    def __init__(self, graph: _Automaton, budget: Budget, searched: int) -> None:
        self._graph, self._searched = graph, searched
        self._names = [bound.cost for bound in budget.bounds]
        self._additive = np.array([name in ADDITIVE_COSTS for name in self._names])
        self._lower = np.array([float(bound.least) for bound in budget.bounds])
        self._upper = np.array([float(bound.most) for bound in budget.bounds])
        self._ways_on: dict[tuple[int, State, Choices], tuple[list[State], Any, Any, Any]] = {}

    def completable(self, layer: int, state: State, spent: Sequence[int], here: Choices) -> bool:
        """Whether the chain can be finished within the budget.

        Args:
            layer, state: from where on.
            spent: of each bounded cost.
            here: what is decided already of this layer's choices.
        """
        left = self._searched

        def reached(layer: int, state: State, spent: Any, here: Choices) -> bool:
            nonlocal left
            if layer == len(self._graph.layers):
                return bool(((self._lower <= spent) & (spent <= self._upper)).all())
            left -= 1
            states, costs, low, high = self._on(layer, state, here)
            after = self._joined(spent, costs)  # (moves, bounds)
            least, most = self._joined(after, low), self._joined(after, high)
            possible = ((least <= self._upper) & (most >= self._lower)).all(1)
            if len(self._names) == 1:  # an end of what is possible is a network: that it fits settles it
                ends = (possible & ((least >= self._lower) | (most <= self._upper)).all(1)).any()
                if ends:
                    return True
            off = np.abs((least + most - self._lower - self._upper) / (2 * self._upper)).max(1)
            order = np.argsort(np.where(possible, off, np.inf), kind="stable")[: int(possible.sum())]
            return any(left > 0 and reached(layer + 1, states[i], after[i], ()) for i in order.tolist())

        return reached(layer, state, np.array(spent, float), here)

    def _joined(self, before: Any, more: Any) -> Any:
        return np.where(self._additive, before + more, np.maximum(before, more))

    def _on(self, layer: int, state: State, here: Choices) -> tuple[list[State], Any, Any, Any]:
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


class _Ways:
    """For each layer and state: in how many ways the chain can be finished within r bins.

    Args:
        graph: the chain.
        bound: what is counted, and up to where.
        bins: how many.
        up: whether costs are rounded up to whole bins, and not down.
        counts_only: whether only `within` and `total` are wanted: only the first table is kept, and where the bins are
            not of one, floats do.
    """

    def __init__(self, graph: _Automaton, bound: Bound, bins: int, up: bool, counts_only: bool = False) -> None:
        self.graph, self.bound = graph, bound
        layers, name = graph.layers, bound.cost
        costs = {move.cost.whole(name) for moves in layers for several in moves.values() for move in several}
        unit = reduce(gcd, costs, 0) or 1
        upper = min(bound.most, graph.extremes(name)[1])
        per_bin = -(-upper // (unit * (bins - 1)))
        self.bin = unit * per_bin  # cost of one bin
        self.exact = per_bin == 1
        self.last = upper // self.bin
        steps = len(layers)
        # rounding down loses less than a bin at each move
        lower = bound.least
        self.first = -(-lower // self.bin) if self.exact else max(0, lower // self.bin - steps)
        bits = graph.space.size.bit_length()
        self.rough = counts_only and not self.exact and 64 <= bits < 1000
        self._number: Any = np.float64 if self.rough else np.uint64
        self._limbs = 1 if bits < 64 or self.rough else -(-bits // 32)
        self._up = up
        length = self.last + 1
        ones = np.zeros((self._limbs, length), self._number)
        ones[0] = 1
        self._tables: list[list[npt.NDArray[Any]]] = [[] for _ in range(steps)] + [[ones]]
        self._index: list[dict[State, int]] = [{} for _ in range(steps)] + [dict.fromkeys(graph.ends, 0)]
        for layer in reversed(range(steps)):
            self._fill(layer, length)
            if counts_only:
                self._tables[layer + 1] = []

    def _binned(self, cost: int) -> int:
        return -(-cost // self.bin) if self._up else cost // self.bin

    def _fill(self, layer: int, length: int) -> None:
        """States with the same costs ahead share one table."""
        name, after, known = self.bound.cost, self._index[layer + 1], {}
        for state, several in self.graph.layers[layer].items():
            merged: dict[tuple[int, int], int] = {}
            for move in several:
                key = (self._binned(move.cost.whole(name)), after[move.state])
                merged[key] = merged.get(key, 0) + 1
            signature = tuple(sorted(merged.items()))
            if signature not in known:
                known[signature] = len(self._tables[layer])
                self._tables[layer].append(self._summed(signature, layer + 1, length))
            self._index[layer][state] = known[signature]

    def _summed(self, signature: tuple[tuple[tuple[int, int], int], ...], after: int, length: int) -> npt.NDArray[Any]:
        """Exact whole numbers: limbs of 63 bits where one holds them all, else of 32, so that sums have room."""
        total = np.zeros((self._limbs, length), self._number)
        scratch = np.empty((self._limbs, _BLOCK), self._number)
        for start in range(0, length, _BLOCK):  # block by block, as caches like it
            stop = min(start + _BLOCK, length)
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
        return total

    def within(self, upper: Any) -> int:
        """Networks whose binned cost is at most that of `upper`."""
        last = int(upper) // self.bin
        if last < 0:
            return 0
        table = self._tables[0][self._index[0][self.graph.start]]
        return sum(int(limb) << (32 * i) for i, limb in enumerate(table[:, min(last, self.last)]))

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
    def _moves(self) -> list[dict[State, tuple[list[Move], npt.NDArray[np.int64], npt.NDArray[np.int64]]]]:
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
