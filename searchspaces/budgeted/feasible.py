"""The part of a space that fits a budget on a task: the same kind of thing as a space.

What it knows of the space is its `Contents`, of which there are three kinds; it does not ask which one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.contents import Contents, Count
from searchspaces.budgeted.drawn import Drawn
from searchspaces.budgeted.listed import LISTED, Listed
from searchspaces.cost import COSTS_IN_WORDS, WHOLES, Bound, Budget, Cost, human, said
from searchspaces.errors import NothingFitsError, UserError
from searchspaces.grammar import Decision, Value
from searchspaces.latency import known_costs, refuse_unknown
from searchspaces.layers import Node
from searchspaces.stage import Scale
from searchspaces.task import Task

COUNTED: Final = ("macs", "params", "activations")
"""What `Counting` tells, in this order."""


@runtime_checkable
class Counting(Protocol):
    """A space that tells additive costs sooner than all costs."""

    def additive(self, architecture: Architecture, task: Task) -> tuple[int, int, int]:
        """MACs, parameters and activations on one image of the task."""


class Feasible:
    """The members of a space that fit a budget on a task.

    Attributes:
        whole: the space without the budget.
        contents: what is known of the space.
        budget: without percents.
        task: on which costs are counted.
        smallest, largest: the smallest and the largest value of each cost in the whole space; among the known
            architectures where `exact` is false.

    Args:
        space: the whole space.
        budget: its percents are of the largest costs in the space.
        task: the deployment task, on which costs are counted.
        contents: makes what is known of the space from the budget and the task; by default the space is listed where
            it is small, and drawn from otherwise.

    Raises:
        UserError: nothing fits; the message has the smallest costs in the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        budget: Budget,
        task: Task,
        contents: Callable[[Budget, Task], Contents] | None = None,
    ) -> None:
        self.whole, self.task = space, task
        self.name, self.doc, self.of = space.name, space.doc, space.of
        refuse_unknown((bound.cost for bound in budget.bounds), space, task)
        if task.latency is not None:
            task.latency.refuse_gaps(space)
        self.contents = contents(budget, task) if contents else known(space, budget, task)
        self.budget = self.contents.budget
        self._counting: Counting | None = None  # if the bounds are on what it tells
        if isinstance(space, Counting) and all(bound.cost in COUNTED for bound in self.budget.bounds):
            self._counting = space
        self._limits = [(bound.cost, bound.least, bound.most) for bound in self.budget.bounds]
        extremes = {name: self.contents.extremes(name) for name in known_costs(space, task)}
        self.smallest = Cost.of({name: low for name, (low, _) in extremes.items()})
        self.largest = Cost.of({name: high for name, (_, high) in extremes.items()})
        for bound in self.budget.bounds:
            low, high = extremes[bound.cost]
            if bound.most < low or bound.least > high:
                none = f"budget {budget.words()}: no architecture of {space.name} fits on {task}"
                words = f"{none}; {self._ranges(bound)}"
                raise NothingFitsError(words, bound.most if bound.cost == "macs" and bound.most < low else None)
        fits = self.contents.fits()
        if fits is None:
            self.sample(np.random.default_rng(0))
        elif not fits:
            raise UserError(
                f"budget {self.budget.words()}: none of the {space.size:,} architectures of {space.name} fits on "
                f"{task}: widen it ({self._ranges()})"
            )

    def _ranges(self, *bounds: Bound) -> str:
        """The range of each bounded cost in the whole space."""
        told, named = [], {**COSTS_IN_WORDS, "latency_ms": "milliseconds"}
        for bound in bounds or self.budget.bounds:
            name, ends = bound.cost, [cost.whole(bound.cost) for cost in (self.smallest, self.largest)]
            low, high = (said(name, end) if name in WHOLES else f"{human(end)} ({end:,})" for end in ends)
            told.append(f"its {named.get(name, name)} range from {low} to {high}")
        return "; ".join(told) + ("" if self.exact else f" in {self.draws} draws")

    @property
    def draws(self) -> int:
        """The number of draws behind costs and counts; 0 where they are exact."""
        return self.contents.draws

    @property
    def exact(self) -> bool:
        """Whether costs and counts are exact, and not estimated from draws."""
        return not self.draws

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order, with all options of the whole space."""
        return self.whole.decisions

    @cached_property
    def count(self) -> Count:
        """The number of architectures that fit, as precisely as is worth the time."""
        return self.contents.count()

    def counted(self, bins: int = 1 << 13) -> Count:
        """The number of architectures that fit.

        Exact for listed spaces, for a chain of no more architectures than bins, and where the budget has one additive
        bound and bins can be of one. For a chain with one additive bound otherwise a bracket, the narrower the more
        bins; with several bounds, or a bound on the peak, only an upper end (low is 0). An estimate where the space is
        drawn from.

        Args:
            bins: that the costs of a chain are sorted into.
        """
        return self.contents.count(bins)

    @property
    def size(self) -> int:
        """The number of architectures that fit, exactly or at most."""
        return self.count.high

    @cached_property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""
        return {name: member for name, member in self.whole.references.items() if member in self}

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices.

        Raises:
            UserError: a choice is wrong, or the architecture does not fit.
        """
        found = self.whole.architecture(choices)
        cost = found.cost(self.task)
        if not self.budget.admits(cost):
            bounded = ", ".join(f"{b.cost} {said(b.cost, cost.whole(b.cost))}" for b in self.budget.bounds)
            raise UserError(f"{found.words()} does not fit {self.budget}: its costs are {bounded}")
        return found

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers."""
        return self.whole.network(architecture, task, scale)

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """The cost of one image."""
        return self.whole.cost(architecture, task, scale)

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        return self.whole.words(architecture)

    def describe(self) -> dict[str, Any]:
        """The whole space, the budget and the task, as JSON."""
        return {**self.whole.describe(), "budget": str(self.budget), "task": str(self.task)}

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture that fits, each equally likely.

        Raises:
            UserError: a bounded number of draws found none.
        """
        for _ in range(self.contents.tries):
            found = self.contents.draw(rng)
            if self._admits(found):
                return found
        raise UserError(
            f"budget {self.budget}: none of {self.contents.tries:,} draws from {self.name} fits on {self.task}; if any "
            f"does, it is too rare to be found: widen the budget ({self._ranges()})"
        )

    def _admits(self, architecture: Architecture) -> bool:
        """Whether a member of the whole space fits."""
        if self._counting is None:
            return self.budget.admits(architecture.cost(self.task))
        counts = self._counting.additive(architecture, self.task)
        return all(least <= counts[COUNTED.index(name)] <= most for name, least, most in self._limits)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture that fits: one decision away where one was found, otherwise as few as were found.

        Raises:
            UserError: nothing else was found that fits.
        """
        neighbours = self.contents.neighbours(architecture)
        if neighbours is not None and neighbours.ends:
            return neighbours.draw(rng)
        tries = 200
        for reach in (1, 2, 3) if neighbours is None else (2, 3):
            for _ in range(tries):
                found = architecture
                for _ in range(reach):
                    found = self.whole.mutate(found, rng)
                if found != architecture and self._admits(found):
                    return found
        for _ in range(tries):
            found = self.sample(rng)
            if found != architecture:
                return found
        raise UserError(f"budget {self.budget}: {architecture.words()} is the only architecture found that fits")

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first open decision, with the options after which some network still fits.

        Exact for listed spaces, and for chains with upper bounds or one bound. Where several bounds or a band leave so
        little that a bounded search does not find it, an option may be missing, but every option that is offered can be
        completed. In a space that is drawn from, an option is offered where a few tries found a completion that fits.
        """
        decision = self.whole.next_decision(prefix)
        if decision is None:
            return None
        fits = (each for each in decision.options if self.contents.completable({**prefix, decision.name: each}))
        return Decision(decision.name, tuple(fits))

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""
        return self.whole.encode(architecture)

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """The architecture that `encode` was given."""
        return self.whole.decode(vector)

    def enumerate(self) -> Iterator[Architecture]:
        """All members that fit. Check the size of the whole space first."""
        return self.contents.members()

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The same space under another budget."""
        return self.whole.under(budget, task)

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture in self.whole
            and self.budget.admits(architecture.cost(self.task))
        )

    def __repr__(self) -> str:
        return f"Feasible({self.whole!r}, {self.budget}, {self.task})"


def known(
    space: SearchSpace, budget: Budget, task: Task, extremes: Callable[[], tuple[Architecture, ...]] = tuple
) -> Contents:
    """The contents of a space that is no chain: listed where it is small, drawn from otherwise.

    Args:
        space: the whole space.
        budget: may be in percent.
        task: on which costs are counted.
        extremes: gives members that are taken for the cheapest and the most expensive, besides the references.
    """
    return Listed(space, budget, task) if space.size <= LISTED else Drawn(space, budget, task, extremes())
