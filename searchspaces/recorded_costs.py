"""A space whose networks cost what a table recorded, in place of what they are counted to cost.

A budget then means what it means in the table's paper, whatever that counted and wherever it measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.feasible import Feasible
from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Decision, Value
from searchspaces.stage import Scale
from searchspaces.task import Task

if TYPE_CHECKING:
    from searchspaces.layers import Node


@final
class RecordedCosts(SearchSpace):
    """A space with costs of a table. A budget may bound those alone.

    Args:
        space: the whole space.
        costs: what was recorded of each key: `Cost.whole` by name, the same names for all.
        key: gives the key of a member of `space`.

    Attributes:
        recorded_costs: the names.
    """

    def __init__(
        self, space: SearchSpace, costs: Mapping[str, Mapping[str, int]], key: Callable[[Architecture], str]
    ) -> None:
        self._space, self._key = space, key
        self._costs = {each: {_attribute(name): value for name, value in of.items()} for each, of in costs.items()}
        self.recorded_costs = tuple(next(iter(costs.values())))

    @property
    def name(self) -> str:
        """That of the space."""
        return self._space.name

    @property
    def doc(self) -> str:
        """One line about the space, for a person."""
        return self._space.doc

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those of the space."""
        return self._space.decisions

    @property
    def size(self) -> int:
        """The number of architectures."""
        return self._space.size

    @property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""
        return {name: self._own(member) for name, member in self._space.references.items()}

    @property
    def of(self) -> Mapping[str, Any] | None:
        """The network that the space consists of sizes of."""
        return self._space.of

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices."""
        return self._own(self._space.architecture(choices))

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers."""
        return self._space.network(self._plain(architecture), task, scale)

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """What was recorded, and as the space counts it what was not.

        Raises:
            UserError: the table has no entry for the architecture.
        """
        assert scale == Scale(), "costs are recorded of networks as they are"
        plain = self._plain(architecture)
        key = self._key(plain)
        if key not in self._costs:
            raise UserError(f"the table has no entry {key!r}, which would give its {' and '.join(self.recorded_costs)}")
        counted = self._space.cost(plain, task)
        return replace(counted, **self._costs[key])

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        return self._space.words(self._plain(architecture))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""
        return self._own(self._space.sample(rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture, one decision away."""
        return self._own(self._space.mutate(self._plain(architecture), rng))

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first open decision after a prefix of choices."""
        return self._space.next_decision(prefix)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision; shape (decisions,)."""
        return self._space.encode(self._plain(architecture))

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """The architecture that `encode` was given."""
        return self._own(self._space.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All members."""
        return map(self._own, self._space.enumerate())

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The members whose recorded costs fit a budget."""
        return Feasible(self, budget, task)

    def describe(self) -> dict[str, Any]:
        """The space, and which costs are recorded."""
        return {**self._space.describe(), "recorded_costs": list(self.recorded_costs)}

    def _own(self, architecture: Architecture) -> Architecture:
        return Architecture(self, architecture.parts)

    def _plain(self, architecture: Architecture) -> Architecture:
        return Architecture(self._space, architecture.parts)

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture.space is self
            and self._plain(architecture) in self._space
        )

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        return f"RecordedCosts({self._space!r}, {', '.join(self.recorded_costs)})"


def _attribute(name: str) -> str:
    """Of a `Cost`."""
    return "latency_us" if name == "latency_ms" else name
