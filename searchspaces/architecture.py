"""An architecture, and what the rest of the toolkit knows of a search space and of anything that can be built.

`Architecture` is a space and one full set of choices. `SearchSpace` is the interface of a space: a person's own class
that has it is accepted wherever a space is. `Buildable` is the interface of what can be costed and built: an
architecture, a scaled one (`searchspaces.scaling`) and a classic network (`searchspaces.classics`).
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.layers import Node
from searchspaces.stage import Scale
from searchspaces.task import Task

if TYPE_CHECKING:
    from torch import nn

    from searchspaces.budgeted.feasible import Feasible


@runtime_checkable
class Buildable(Protocol):
    """A network that can be costed and built for any task: an architecture, scaled or not, or a classic network."""

    @property
    def task(self) -> Task | None:
        """The images and classes that it is made for; None where it is made for none in particular."""

    @property
    def architecture(self) -> Architecture | None:
        """The member of a space that it is, before scaling; None where no space holds it."""

    @property
    def scale(self) -> Scale:
        """Factors on the width and depth of its architecture."""

    @property
    def paper(self) -> str | None:
        """Where it was published; None where it was not."""

    def network(self, task: Task) -> Node:
        """The tree of layers for a task."""

    def cost(self, task: Task) -> Cost:
        """The cost of one image of a task."""

    def build(self, task: Task, *, drop_path: float = ..., auxiliary: bool = ...) -> nn.Module:
        """A new torch module from images (batch, channels, height, width) to logits (batch, classes)."""

    def words(self) -> str:
        """One line for a person."""

    def to_json(self) -> str:
        """Its text form, which `searchspaces.text_forms` reads."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A space and one full set of choices: a value with a text form, from which the network follows.

    Attributes:
        space: the space that it is a member of.
        parts: the choices that have an effect, grouped as the space groups them.
    """

    space: SearchSpace
    parts: tuple[Choices, ...]

    @property
    def choices(self) -> dict[str, Value]:
        """The chosen option of each decision that has an effect."""
        return dict(itertools.chain.from_iterable(self.parts))

    @property
    def task(self) -> None:
        """An architecture is made for no task in particular."""

    @property
    def architecture(self) -> Architecture:
        """Itself."""
        return self

    @property
    def scale(self) -> Scale:
        """It is not scaled."""
        return Scale()

    @property
    def paper(self) -> None:
        """It was not published."""

    def network(self, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers for a task."""
        return self.space.network(self, task, scale)

    def cost(self, task: Task, scale: Scale = Scale()) -> Cost:
        """The cost of one image of the task, computed without torch. Costs of equal blocks are computed once."""
        return self.space.cost(self, task, scale)

    def build(self, task: Task, scale: Scale = Scale(), drop_path: float = 0.0, auxiliary: bool = False) -> nn.Module:
        """A new torch module from images (batch, channels, height, width) to logits (batch, classes).

        Args:
            task: images and classes.
            scale: factors on width and depth.
            drop_path: rate of stochastic depth at the last block, rising linearly from 0.
            auxiliary: whether to build the auxiliary heads of its family (`searchspaces.auxiliary_heads`), whose logits
                a module in training mode returns too: (logits, *those of the heads).

        Raises:
            UserError: the network gives no logits for the classes of the task.
        """
        from searchspaces.auxiliary_heads import with_heads
        from searchspaces.modules import build

        network = self.network(task, scale)
        given = network.shape(task.shape)
        if given != (task.classes,):
            raise UserError(
                f"space {self.space.name}: its networks give {' x '.join(map(str, given))} values, not a logit for "
                f"each of {task.classes:,} classes: it needs a classifier, as in head=Stage(conv_head, width=...)"
            )
        if auxiliary:
            network = with_heads(network, task.shape, task.classes)
        return build(network, task.shape, drop_path, auxiliary)

    def to_json(self) -> str:
        """Its text form, which `architecture_from_json` reads."""
        of = self.space.of
        return json.dumps({"space": self.space.name, **({"of": of} if of else {}), "choices": self.choices})

    def words(self) -> str:
        """One line for a person, such as `act=silu | stage2 d2 w24 k3 e6 se0.25`."""
        return self.space.words(self)

    def __repr__(self) -> str:
        return f"Architecture({self.space.name}: {self.words()})"


class SearchSpace(Protocol):
    """What strategies, studies and the command line know of a space.

    A class of one's own need not inherit from it. One that does inherits the properties of a whole space: `doc`, `of`,
    `whole`, `budget`, `task` and `largest`.
    """

    @property
    def name(self) -> str:
        """The name that people type."""

    @property
    def doc(self) -> str:
        """One line about the space, for a person."""
        return ""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order."""

    @property
    def size(self) -> int:
        """The number of architectures."""

    @property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""

    @property
    def of(self) -> Mapping[str, Any] | None:
        """The network that the space consists of sizes of, as JSON values; None for all spaces but `scaling`."""
        return None

    @property
    def whole(self) -> SearchSpace:
        """The space without its budget; the space itself where it has none."""
        return self

    @property
    def budget(self) -> Budget | None:
        """The budget that all members fit; None for a whole space."""
        return None

    @property
    def task(self) -> Task | None:
        """The task on which the budget is counted; None for a whole space."""
        return None

    @property
    def largest(self) -> Cost | None:
        """The largest value of each cost in the whole space, where a budget required it; None for a whole space."""
        return None

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices, without those that have no effect.

        Raises:
            UserError: a decision is unknown or missing, or a value is not among its options.
        """

    def network(self, architecture: Architecture, task: Task, scale: Scale = ...) -> Node:
        """The tree of layers."""

    def cost(self, architecture: Architecture, task: Task, scale: Scale = ...) -> Cost:
        """The cost of one image."""

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture, one decision away.

        Raises:
            UserError: the space has no other architecture.
        """

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first open decision after a prefix of choices, with the options that can be completed."""

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """The architecture that `encode` was given."""

    def enumerate(self) -> Iterator[Architecture]:
        """All members. Check `size` first."""

    def under(self, budget: Budget, task: Task = ...) -> Feasible:
        """The members that fit a budget on a task; `searchspaces.Feasible(space, budget, task)` serves any space.

        Raises:
            UserError: nothing fits.
        """

    def describe(self) -> dict[str, Any]:
        """What the space is, as JSON: two spaces with equal descriptions hold the same architectures."""

    def __contains__(self, architecture: object) -> bool: ...

    def __hash__(self) -> int: ...


def checked_space(found: Any, given: str) -> SearchSpace:
    """An object that a person gave as a space.

    Args:
        found: the object.
        given: what the person typed, for the message.

    Raises:
        UserError: it lacks a part of `SearchSpace`.
    """
    parts = [name for name in vars(SearchSpace) if not name.startswith("_")]
    missing = [name for name in parts if inspect.getattr_static(found, name, _MISSING) is _MISSING]
    if isinstance(found, type) or missing:
        lacks = f": it has no {', '.join(missing)}" if missing else ""
        raise UserError(f"{given} is a {type(found).__name__}, not a search space (searchspaces.SearchSpace){lacks}")
    space: SearchSpace = found
    return space


_MISSING = object()
