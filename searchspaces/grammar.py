"""Ordered decisions, some of which matter only after certain earlier choices.

What every kind of space shares: complete, check, mutate, encode and decode full sets of choices. A choice that has no
effect (the kernel of a block that is not there) is not part of a set, so equal networks have equal sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from searchspaces.errors import UserError, nearest

Value = int | float | str | bool
"""What can be chosen: a JSON value."""
Choices = tuple[tuple[str, Value], ...]
"""Names of decisions and what was chosen, in the order of the decisions."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One named choice.

    Attributes:
        name: such as `stage3.kernel`.
        options: what there is to choose from, all different.
    """

    name: str
    options: tuple[Value, ...]


@dataclass(frozen=True)
class Grammar:
    """Decisions in order, and when each of them matters.

    Attributes:
        decisions: in the order in which they are taken.
        matters: whether a decision has an effect, given choices for those before it.
    """

    decisions: tuple[Decision, ...]
    matters: Callable[[str, Mapping[str, Value]], bool]

    @cached_property
    def _named(self) -> dict[str, Decision]:
        return {decision.name: decision for decision in self.decisions}

    @cached_property
    def _places(self) -> dict[str, tuple[int, dict[Value, int]]]:
        """Of each decision its place, and the index of each of its options."""
        return {
            decision.name: (place, {option: index for index, option in enumerate(decision.options)})
            for place, decision in enumerate(self.decisions)
        }

    def open(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision that matters and is not in the prefix; None when all are taken."""
        for decision in self.decisions:
            if decision.name not in prefix and self.matters(decision.name, prefix):
                return decision
        return None

    def canonical(self, given: Mapping[str, Value]) -> Choices:
        """The choices that matter, checked and in order.

        Raises:
            UserError: if a decision is unknown or missing, or a value is not among its options.
        """
        for name in given:
            if name not in self._named:
                raise UserError(f"unknown decision {name!r}{nearest(name, self._named)}")
        taken: dict[str, Value] = {}
        for decision in self.decisions:
            if self.matters(decision.name, taken):
                if decision.name not in given:
                    raise UserError(f"no choice for {decision.name}; it must be {_listed(decision.options)}")
                taken[decision.name] = _checked(decision, given[decision.name])
        return tuple(taken.items())

    def completed(self, given: Mapping[str, Value], rng: np.random.Generator) -> Choices:
        """The choices given where they matter, and random ones where a decision is still open."""
        taken: dict[str, Value] = {}
        for decision in self.decisions:
            if self.matters(decision.name, taken):
                if decision.name in given:
                    taken[decision.name] = given[decision.name]
                else:
                    taken[decision.name] = decision.options[rng.integers(len(decision.options))]
        return tuple(taken.items())

    def mutated(self, choices: Mapping[str, Value], rng: np.random.Generator) -> Choices:
        """One decision changed to another of its options, both drawn uniformly; newly opened ones drawn uniformly.

        Raises:
            UserError: if there is nothing to change.
        """
        name, option = self.changed(choices, rng)
        return self.completed({**choices, name: option}, rng)

    def changed(self, choices: Mapping[str, Value], rng: np.random.Generator) -> tuple[str, Value]:
        """A decision of those that are taken, and another of its options, both drawn uniformly.

        Raises:
            UserError: if there is nothing to change.
        """
        named = self._named
        changeable = [name for name in choices if len(named[name].options) > 1]
        if not changeable:
            raise UserError("nothing can be mutated: the space holds a single network")
        name = changeable[rng.integers(len(changeable))]
        others = [option for option in named[name].options if option != choices[name]]
        return name, others[rng.integers(len(others))]

    def mutants(self, choices: Choices) -> list[tuple[Choices, float]]:
        """All that `mutated` can lead to from choices that are canonical, with their chances up to one factor."""
        found = []
        for name, value in choices:
            others = [option for option in self._named[name].options if option != value]
            for option in others:
                every = list(self._completions({**dict(choices), name: option}, {}, 0))
                found += [(completed, chance / len(others)) for completed, chance in every]
        return found

    def _completions(
        self, given: Mapping[str, Value], taken: dict[str, Value], first: int
    ) -> Iterator[tuple[Choices, float]]:
        """All that `completed` can lead to from a prefix, with their chances."""
        for index in range(first, len(self.decisions)):
            decision = self.decisions[index]
            if self.matters(decision.name, taken):
                if decision.name in given:
                    taken = {**taken, decision.name: given[decision.name]}
                    continue
                for option in decision.options:
                    for completed, chance in self._completions(given, {**taken, decision.name: option}, index + 1):
                        yield completed, chance / len(decision.options)
                return
        yield tuple(taken.items()), 1.0

    def encode(self, choices: Mapping[str, Value]) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""
        vector = np.full(len(self.decisions), -1, np.int16)
        for name, value in choices.items():
            place, index = self._places[name]
            vector[place] = index[value]
        return vector

    def decode(self, vector: npt.NDArray[np.int16]) -> dict[str, Value]:
        """What `encode` was given."""
        pairs = zip(self.decisions, vector.tolist(), strict=True)
        return {decision.name: decision.options[index] for decision, index in pairs if index >= 0}

    def enumerate(self) -> Iterator[Choices]:
        """All sets of choices; mind their number."""

        def continued(taken: dict[str, Value], first: int) -> Iterator[Choices]:
            for index in range(first, len(self.decisions)):
                decision = self.decisions[index]
                if self.matters(decision.name, taken):
                    for option in decision.options:
                        yield from continued({**taken, decision.name: option}, index + 1)
                    return
            yield tuple(taken.items())

        return continued({}, 0)


def _checked(decision: Decision, value: Value) -> Value:
    for option in decision.options:
        if option == value and isinstance(option, bool) == isinstance(value, bool):
            return option
    raise UserError(f"{decision.name} must be {_listed(decision.options)}, got {value!r}")


def _listed(options: tuple[Value, ...]) -> str:
    *first, last = map(str, options)
    return f"{', '.join(first)} or {last}" if first else last
