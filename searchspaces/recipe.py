"""The space of one network's training recipes: its decisions are settings of the training, the network is always it.

So whatever searches for architectures tunes a recipe too: strategies, engines, the ledger, resuming. As the network is
the same in all trials, a study of this space allows replicas. What a setting means and which values are sensible, the
estimators know (`estimators.recipe_options`).

Left out: deciding the network and its recipe together. Under a budget such a space would have to be drawn from by
rejection, and one trial would say of neither whether it is good: a network wins by its recipe. Settings that regularize
rank differently in short trainings than in long ones, which correlated little where both were searched jointly (Zela et
al. 2018, arXiv:1807.06906). A search and then a study of the recipe of its best network are two commands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, Buildable, SearchSpace
from searchspaces.budgeted.feasible import Feasible
from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Decision, Grammar, Value
from searchspaces.node import Node
from searchspaces.stage import Scale
from searchspaces.task import Task

RECIPE: Final = "recipe"
"""The name of the space."""


@final
class RecipeSpace(SearchSpace):
    """All combinations of the options of some settings.

    Args:
        base: the network that is trained.
        settings: for each setting its options.

    Raises:
        UserError: there is no setting, or one has no options or the same twice.
    """

    def __init__(self, base: Buildable, settings: Mapping[str, tuple[Value, ...]]) -> None:
        if not settings:
            raise UserError("recipe: give at least one setting to tune")
        for name, options in settings.items():
            if not options or len(set(options)) < len(options):
                raise UserError(f"recipe: the options of {name} must be different, and at least one: {options}")
        self.base = base
        self._grammar = Grammar(tuple(Decision(name, tuple(several)) for name, several in settings.items()), _always)
        self._hash = hash(self.decisions)

    @property
    def name(self) -> str:
        """`recipe`."""
        return RECIPE

    @property
    def doc(self) -> str:
        """One line about the space, for a person."""
        return f"{self.size:,} recipes for the training of {self.base.words()}"

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The settings."""
        return self._grammar.decisions

    @property
    def size(self) -> int:
        """The number of recipes."""
        return math.prod(len(decision.options) for decision in self.decisions)

    @property
    def references(self) -> dict[str, Architecture]:
        """None."""
        return {}

    @property
    def of(self) -> dict[str, Any]:
        """The network and the options, as JSON values; `searchspaces.text_forms.space_of` reads them."""
        return {**json.loads(self.base.to_json()), "settings": {one.name: list(one.options) for one in self.decisions}}

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The recipe of a set of choices.

        Raises:
            UserError: a setting is unknown or missing, or a value is not among its options.
        """
        return Architecture(self, (self._grammar.canonical(choices),))

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers, which no recipe changes."""
        return self.base.network(task)

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """The cost of one image, which no recipe changes."""
        return self.base.cost(task)

    def words(self, architecture: Architecture) -> str:
        """The settings in one line."""
        return " ".join(f"{name}={value}" for name, value in architecture.choices.items())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One recipe, each equally likely."""
        return Architecture(self, (self._grammar.completed({}, rng),))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A recipe with another value of one setting.

        Raises:
            UserError: the space has no other recipe.
        """
        return Architecture(self, (self._grammar.mutated(architecture.choices, rng),))

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first setting that is not in the prefix."""
        return self._grammar.open(prefix)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each setting; shape (settings,)."""
        return self._grammar.encode(architecture.choices)

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """The recipe that `encode` was given."""
        return self.architecture(self._grammar.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All recipes: the grid."""
        return (Architecture(self, (choices,)) for choices in self._grammar.enumerate())

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """All recipes where the network fits a budget on a task.

        Raises:
            UserError: it does not fit.
        """
        return Feasible(self, budget, task)

    def describe(self) -> dict[str, Any]:
        """The network and the options, as JSON."""
        architecture = self.base.architecture
        return {"name": self.name, "of": self.of, "home": architecture and architecture.space.describe()}

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture) or architecture.space != self:
            return False
        try:
            return self.architecture(architecture.choices) == architecture
        except UserError:
            return False

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, RecipeSpace) and self._values() == other._values())

    def _values(self) -> tuple[object, ...]:
        return self.decisions, self.base.to_json(), self.base.architecture  # two of one classic are not equal

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"RecipeSpace({self.base.words()}: {self.size:,} recipes)"


def _always(name: str, taken: Mapping[str, Value]) -> bool:
    return True
