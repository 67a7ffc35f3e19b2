"""A chain of stages as an automaton: states, moves between them, and what may be asked of both."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from searchspaces.cost import Cost
from searchspaces.grammar import Choices
from searchspaces.task import Shape


@dataclass(frozen=True, slots=True)
class ChainState:
    """All that the rest of a chain depends on.

    Attributes:
        shape: of the feature map.
        shared: choices for the whole space, and those of earlier stages that later stages repeat.
        stage: choices of the stage whose blocks are being chosen; empty between stages.
        block: the number of blocks of that stage that are chosen.
    """

    shape: Shape
    shared: Choices = ()
    stage: Choices = ()
    block: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """One way on from a state: what is chosen, what it costs, and the next state."""

    choices: Choices
    cost: Cost
    state: ChainState


class Automaton(Protocol):
    """Layers of states.

    Attributes:
        layers: for each layer, the moves on from each of its states.
        start: the state before the first layer.
        ends: the states after the last layer.
        size: the number of ways from the start to an end.
    """

    layers: list[dict[ChainState, list[Move]]]
    start: ChainState
    ends: set[ChainState]
    size: int

    def to_go(self, name: str) -> list[dict[ChainState, tuple[int, int]]]:
        """For each layer and state, the smallest and the largest cost from there to the end."""

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest cost of a whole network."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, in any thread.

    Moves are millions of tuples without a cycle, and it would walk them all again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
