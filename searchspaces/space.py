"""Spaces of chains of stages, and the architectures in them: declared, not programmed.

    Space("tiny", stem=Stage(conv_stem, width=16, stride=2),
          stages=[Stage(mbconv, width=choice(16, 24), depth=choice(1, 2), kernel=choice(3, 5), stride=2)],
          head=Stage(linear_head, width=128))

A stage repeats one cell; a cell is a function `cell(c_in, width, stride, **params) -> Node`. Anything may be
open: `choice(...)` decides once for the stage, `per_block(...)` for each block by itself; the cell itself may be open.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Choices, Decision, Grammar, Value
from searchspaces.layers import Chain, Node
from searchspaces.stage import Choice, Part, Scale, Stage, cell_params, local_names
from searchspaces.task import Shape, Task

if TYPE_CHECKING:
    from torch import nn

    from searchspaces.feasible import Feasible


@dataclass(frozen=True, slots=True)
class Architecture:
    """A space and one full set of choices: a value with a text form, from which the network follows.

    Attributes:
        space: where it lives.
        parts: the choices that matter, grouped as the space groups them.
    """

    space: SearchSpace
    parts: tuple[Choices, ...]

    @property
    def choices(self) -> dict[str, Value]:
        """Decision to chosen option; only decisions that have an effect."""
        return dict(itertools.chain.from_iterable(self.parts))

    def network(self, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers for a task."""
        return self.space.network(self, task, scale)

    def cost(self, task: Task, scale: Scale = Scale()) -> Cost:
        """What the network costs on one image of the task; remembered piece by piece, without torch."""
        return self.space.cost(self, task, scale)

    def build(self, task: Task, scale: Scale = Scale(), drop_path: float = 0.0) -> nn.Module:
        """A fresh torch module from images (batch, channels, height, width) to logits (batch, classes).

        Args:
            task: images and classes.
            scale: factors on width and depth.
            drop_path: rate of stochastic depth at the last block, rising linearly from 0.
        """
        from searchspaces.modules import build

        return build(self.network(task, scale), task.shape, drop_path)

    def to_json(self) -> str:
        """Its text form, which `from_json` reads."""
        of = getattr(self.space, "of", None)  # the network that the space is made of
        return json.dumps({"space": self.space.name, **({"of": of} if of else {}), "choices": self.choices})

    @staticmethod
    def from_json(text: str, space: SearchSpace | None = None) -> Architecture:
        """Read what `to_json` wrote.

        Args:
            text: the text form.
            space: where it lives; by default the space of that name among our own (a text never loads a file). Where
                the text says that its space is made `of` a network, where that network lives.

        Raises:
            UserError: if the text is not an architecture, or not one of that space.
        """
        try:
            read = json.loads(text)
            name, choices, of = read["space"], read["choices"], read.get("of")
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"not an architecture: {text[:80]!r} ({type(error).__name__}: {error})") from error
        if not isinstance(name, str) or not isinstance(choices, dict):
            raise UserError(f"not an architecture: {text[:80]!r}; it needs a space's name and choices")
        if space is None or (of is not None and space.name != name):
            from searchspaces.catalog import space_named, space_of

            space = space_named(name) if of is None else space_of(name, of, space)
        if space.name != name:
            raise UserError(f"this architecture is of space {name!r}, not of {space.name!r}")
        return space.architecture(choices)

    def words(self) -> str:
        """One line for a person, such as `act=silu | stage2 d2 w24 k3 e6 se0.25`."""
        return self.space.words(self)

    def __repr__(self) -> str:
        return f"Architecture({self.space.name}: {self.words()})"


class SearchSpace(Protocol):
    """What strategies, studies and the command line know of a space."""

    @property
    def name(self) -> str:
        """What people type."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order."""

    @property
    def size(self) -> int:
        """How many architectures it holds."""

    @property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices; those without effect are dropped. Raises UserError if one is wrong."""

    def network(self, architecture: Architecture, task: Task, scale: Scale = ...) -> Node:
        """The tree of layers."""

    def cost(self, architecture: Architecture, task: Task, scale: Scale = ...) -> Cost:
        """What it costs on one image."""

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture, one decision away."""

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision still open after a prefix of choices, with the options that can be completed."""

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """What `encode` was given."""

    def enumerate(self) -> Iterator[Architecture]:
        """All of it; mind the size."""

    def under(self, budget: Budget, task: Task = ...) -> Feasible:
        """The part of the space that fits a budget on a task. Raises UserError if nothing does."""

    def describe(self) -> dict[str, Any]:
        """What the space is, as JSON: two spaces with equal descriptions hold the same architectures."""

    def __contains__(self, architecture: object) -> bool: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Move:
    """One way on from a state of a chain: what is chosen, what it costs, and where it leads."""

    choices: Choices
    cost: Cost
    state: State


@dataclass(frozen=True, slots=True)
class State:
    """All that the rest of a chain needs to know of what came before.

    Attributes:
        shape: of the feature map here.
        shared: choices made for the whole space.
        stage: choices of the stage whose blocks are being chosen; empty between stages.
        block: how many of that stage's blocks are there already.
    """

    shape: Shape
    shared: Choices = ()
    stage: Choices = ()
    block: int = 0


_BlockKey = tuple[int, bool, Shape, Choices, Choices, Choices]
"""Of a block: its stage, whether it is the first there, the shape it is given; what is chosen for the stage, the block
and the space."""


class Space:
    """Architectures that are chains of stages.

    Args:
        name: what people type.
        stages: what scaling in depth repeats.
        stem: one stage or several, before.
        head: one stage or several, after; the last gives the logits.
        smallest_map: on small images the earliest strides are left out until the last feature map has at least this
            many pixels on each side.
        references: choices of classic networks that are members, by name.
        doc: a line for a person.
        shared: parameters, fixed or open, of every cell that takes them and whose stage does not set them.

    Raises:
        UserError: if two stages share a name, a parameter is one that no cell takes, or a reference is not a member.
    """

    def __init__(
        self,
        name: str,
        *,
        stages: Iterable[Stage],
        stem: Stage | Iterable[Stage] = (),
        head: Stage | Iterable[Stage] = (),
        smallest_map: int = 1,
        references: Mapping[str, Mapping[str, Value]] | None = None,
        doc: str = "",
        **shared: Any,
    ) -> None:
        self.name, self.smallest_map, self.doc = name, smallest_map, doc
        self._declared_references = {key: tuple(value.items()) for key, value in (references or {}).items()}
        sections = {"stem": _stages(stem), "stage": _stages(stages), "head": _stages(head)}
        fixed = {key: value for key, value in shared.items() if not isinstance(value, Choice)}
        self._parts = [
            Part(stage, stage.name or _label(section, index), section == "stage", fixed)
            for section, several in sections.items()
            for index, stage in enumerate(several)
        ]
        self._declared = (name, tuple(sections.items()), smallest_map, tuple(shared.items()))
        labels = [part.label for part in self._parts]
        if len(set(labels)) != len(labels):
            raise UserError(f"space {name}: two stages have the same name: {labels}")
        for key, value in shared.items():
            open_to = (part for part in self._parts if key not in part.stage.fields)
            if not any(key in cell_params(cell) for part in open_to for cell in part.stage.cells):
                raise UserError(f"space {name}: no cell takes {key!r}, or every stage sets it for itself")
            if isinstance(value, Choice) and value.per_block:
                raise UserError(f"space {name}: {key} is shared by the whole space: use choice(...)")
        self._shared = [Decision(key, value.options) for key, value in shared.items() if isinstance(value, Choice)]
        placed = [(part, *found) for part in self._parts for found in part.decisions()]
        self._places = {decision.name: (part, key, block) for part, decision, key, block in placed}
        self.grammar = Grammar((*self._shared, *(decision for _, decision, _, _ in placed)), self._matters)
        self._group = {name: index for index, part in enumerate(self._parts, 1) for name in _names(part)}
        self._walks: dict[tuple[Task, Scale], dict[object, tuple[Cost, Shape]]] = {}
        self._blocks: dict[tuple[Task, Scale], dict[_BlockKey, tuple[Cost, Shape]]] = {}
        self._strides: dict[int, list[int]] = {}
        self._unranked: list[dict[int, Choices]] = [{} for _ in range(len(self._parts) + 1)]
        _ = self.references  # a reference that is no member is a mistake to be told at once

    def _matters(self, name: str, taken: Mapping[str, Value]) -> bool:
        if name not in self._places:
            return True  # shared by the whole space
        part, key, block = self._places[name]
        return part.matters(key, block, taken)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order: those shared by the whole space, then stage by stage."""
        return self.grammar.decisions

    @cached_property
    def _sizes(self) -> list[int]:
        return [math.prod(len(decision.options) for decision in self._shared), *(part.size for part in self._parts)]

    @cached_property
    def size(self) -> int:
        """How many architectures it holds."""
        return math.prod(self._sizes)

    @cached_property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""
        return {name: self.architecture(dict(choices)) for name, choices in self._declared_references.items()}

    def describe(self) -> dict[str, Any]:
        """What the space is, as JSON: two spaces with equal descriptions hold the same architectures."""
        return {
            "name": self.name,
            "decisions": {decision.name: list(decision.options) for decision in self.decisions},
            "fixed": {part.label: {**part.fixed, "stride": part.stage.stride} for part in self._parts},
            "smallest_map": self.smallest_map,
        }

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices; those without effect are dropped.

        Raises:
            UserError: if a decision is unknown or missing, or a value is not among its options.
        """
        return self.grouped(self.grammar.canonical(choices))

    def grouped(self, canonical: Choices) -> Architecture:
        """The architecture of choices that are canonical already; nothing is checked."""
        groups: list[list[tuple[str, Value]]] = [[] for _ in range(len(self._parts) + 1)]
        for pair in canonical:
            groups[self._group.get(pair[0], 0)].append(pair)
        return Architecture(self, tuple(map(tuple, groups)))

    def strides(self, task: Task, scale: Scale = Scale()) -> list[int]:
        """The stride of each stage, stem and head included, on the images of a task."""
        side = scale.unscaled(task.image_size)
        if side not in self._strides:
            self._strides[side] = self._strides_on(side)
        return self._strides[side]

    def _strides_on(self, image_size: int) -> list[int]:
        strides = [part.stage.stride for part in self._parts]
        for index, stride in enumerate(strides):
            if stride == 1:
                continue
            side = image_size
            for each in strides:
                side = -(-side // each)
            if side >= self.smallest_map:
                break
            strides[index] = 1
        return strides

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """The tree of layers: a chain of one labelled chain for each stage that is there."""
        shared, *parts = architecture.parts
        shape, stages = task.shape, []
        for part, chosen, stride in zip(self._parts, parts, self.strides(task, scale), strict=True):
            blocks = part.blocks(chosen, shared, shape[0], stride, task.classes, scale)
            if blocks:
                stages.append(Chain(*blocks, label=part.label))
                shape = stages[-1].shape(shape)
        return Chain(*stages)

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """What it costs on one image of the task."""
        walk = self._walks.setdefault((task, scale), {})
        shared, *parts = architecture.parts
        shape = task.shape
        macs = params = activations = peak = 0
        latency = None if task.latency is None else task.latency.base_us
        for index, chosen in enumerate(parts):
            if self._parts[index].each:  # too many sets of choices to remember: its blocks are remembered instead
                cost, shape = self._stage_cost(index, chosen, shared, shape, task, scale)
            else:
                key = (index, shape, chosen, shared)
                found = walk.get(key)
                if found is None:
                    found = walk[key] = self._stage_cost(index, chosen, shared, shape, task, scale)
                cost, shape = found
            macs += cost.macs
            params += cost.params
            activations += cost.activations
            if cost.peak_activation_bytes > peak:
                peak = cost.peak_activation_bytes
            if latency is not None:
                latency = None if cost.latency_us is None else latency + cost.latency_us
        return Cost(macs, params, activations, peak, latency)

    def _stage_cost(
        self, index: int, chosen: Choices, shared: Choices, shape: Shape, task: Task, scale: Scale
    ) -> tuple[Cost, Shape]:
        known = self._blocks.setdefault((task, scale), {})
        once, blocks = self._parts[index].plan(chosen, scale)
        macs = params = activations = peak = 0
        latency = task.nothing.latency_us
        for block, local in enumerate(blocks):
            key = (index, block == 0, shape, once, local, shared)
            found = known.get(key)
            if found is None:
                found = known[key] = self._block_cost(key, task, scale)
            cost, shape = found
            macs += cost.macs
            params += cost.params
            activations += cost.activations
            if cost.peak_activation_bytes > peak:
                peak = cost.peak_activation_bytes
            if latency is not None:
                latency = None if cost.latency_us is None else latency + cost.latency_us
        return Cost(macs, params, activations, peak, latency), shape

    def _block_cost(self, key: _BlockKey, task: Task, scale: Scale) -> tuple[Cost, Shape]:
        node, shape = self._block(key, task, scale), key[2]
        cost = node.cost(shape)
        if task.latency is not None:
            cost = replace(cost, latency_us=task.latency.part_us(node, shape))
        return cost, node.shape(shape)

    def _block(self, key: _BlockKey, task: Task, scale: Scale) -> Node:
        index, first, shape, once, local, shared = key
        part = self._parts[index]
        own = {**part.fixed, **dict(once), **dict(local)}
        stride = self.strides(task, scale)[index] if first else 1
        return part.block(own, shared, shape[0], stride, task.classes, scale)

    def blocks(self, task: Task) -> list[tuple[Node, Shape]]:
        """Every different block that some network of the space has, with the shape that it is given."""
        states = {State(task.shape)}
        for layer in range(len(self.layers)):
            states = {move.state for state in states for move in self.moves(layer, state, task)}
        known = self._blocks.get((task, Scale()), {})
        return list(dict.fromkeys((self._block(key, task, Scale()), key[2]) for key in known))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""
        if max(self._sizes) < 1 << 63:
            indices = rng.integers(self._sizes_array).tolist()
        else:
            indices = [random_below(size, rng) for size in self._sizes]
        return Architecture(self, tuple(map(self._unrank, range(len(indices)), indices)))

    @cached_property
    def _sizes_array(self) -> npt.NDArray[np.int64]:
        return np.array(self._sizes, dtype=np.int64)

    def _unrank(self, group: int, index: int) -> Choices:
        known = self._unranked[group]
        found = known.get(index)
        if found is None:
            found = self._parts[group - 1].unrank(index) if group else self._shared_choices(index)
            if len(known) < 1 << 14:
                known[index] = found
        return found

    def _shared_choices(self, index: int) -> Choices:
        chosen = []
        for decision in self._shared:
            index, digit = divmod(index, len(decision.options))
            chosen.append((decision.name, decision.options[digit]))
        return tuple(chosen)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One decision changed to another of its options, both drawn uniformly; newly opened ones drawn uniformly.

        Raises:
            UserError: if the space holds a single network.
        """
        return self.grouped(self.grammar.mutated(architecture.choices, rng))

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision still open after a prefix of choices; None when the architecture is complete."""
        return self.grammar.open(prefix)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""
        return self.grammar.encode(architecture.choices)

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """What `encode` was given."""
        return self.architecture(self.grammar.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All of it; mind the size."""
        return map(self.grouped, self.grammar.enumerate())

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The part of the space that fits a budget on a task: the same kind of thing.

        Raises:
            UserError: if nothing fits; the message has the space's smallest cost.
        """
        from searchspaces.feasible import Feasible

        return Feasible(self, budget, task)

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        shared, *parts = architecture.parts
        said = [" ".join(f"{name}={value}" for name, value in shared)] if shared else []
        for part, chosen in zip(self._parts, parts, strict=True):
            if chosen:
                said.append(f"{part.label} {' '.join(_brief(name, value) for name, value in chosen)}")
        return " | ".join(said)

    # The chain as an automaton: what `Feasible` counts and samples. A layer is a stage, or, where blocks decide for
    # themselves, the stage's own decisions followed by one layer for each block.

    @cached_property
    def layers(self) -> list[tuple[int, int | None]]:
        """Index of the part (0: what is shared) and the block, or None for the stage's own decisions."""
        found: list[tuple[int, int | None]] = [(0, None)] if self._shared else []
        for index, part in enumerate(self._parts, 1):
            found.append((index, None))
            found += [(index, block) for block in range(part.stage.max_depth if part.each else 0)]
        return found

    def moves(self, layer: int, state: State, task: Task) -> list[Move]:
        """All ways on from a state; costs are those of the blocks that become known with the move.

        What a whole network takes besides its blocks, where latency is a cost, comes with the first move.
        """
        found = self._moves(layer, state, task)
        if layer > 0 or task.latency is None:
            return found
        base = Cost(latency_us=task.latency.base_us)
        return [Move(move.choices, base + move.cost, move.state) for move in found]

    def _moves(self, layer: int, state: State, task: Task) -> list[Move]:
        index, block = self.layers[layer]
        nothing = task.nothing
        if index == 0:
            every = (self._shared_choices(i) for i in range(self._sizes[0]))
            return [Move(chosen, nothing, State(state.shape, chosen)) for chosen in every]
        part = self._parts[index - 1]
        if not part.each:
            found = []
            for chosen, _, _ in part.groups:
                cost, shape = self._stage_cost(index - 1, chosen, state.shared, state.shape, task, Scale())
                found.append(Move(chosen, cost, State(shape, state.shared)))
            return found
        if block is None:
            starts = []
            for chosen, depth, _ in part.groups:
                begun = State(state.shape, state.shared, (*chosen, ("", depth)))
                starts.append(Move(chosen, nothing, begun if depth else State(state.shape, state.shared)))
            return starts
        if not state.stage:  # all its blocks are there already
            return [Move((), nothing, state)]
        chosen, depth = state.stage[:-1], int(state.stage[-1][1])
        once = tuple(pair for pair in local_names((chosen,))[0] if pair[0] != "depth")
        found = []
        for local in part.options[chosen]:
            key = (index - 1, block == 0, state.shape, once, local, state.shared)
            known = self._blocks.setdefault((task, Scale()), {})
            if key not in known:
                known[key] = self._block_cost(key, task, Scale())
            cost, shape = known[key]
            then = (
                State(shape, state.shared, state.stage, block + 1) if block + 1 < depth else State(shape, state.shared)
            )
            found.append(Move(part.named(local, block), cost, then))
        return found

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture) or architecture.space != self:
            return False
        try:
            return self.architecture(architecture.choices) == architecture
        except UserError:
            return False

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Space) and self._declared == other._declared)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Space({self.name!r}, {self.size:,} architectures)"


def random_below(size: int, rng: np.random.Generator) -> int:
    """A whole number from 0 to size - 1, each equally likely, however large."""
    if size < 1 << 63:
        return int(rng.integers(size))
    words = -(-size.bit_length() // 32)
    while True:
        number = 0
        for word in rng.integers(1 << 32, size=words).tolist():
            number = number << 32 | word
        number >>= words * 32 - size.bit_length()
        if number < size:
            return number


def _stages(given: Stage | Iterable[Stage]) -> tuple[Stage, ...]:
    return (given,) if isinstance(given, Stage) else tuple(given)


def _label(section: str, index: int) -> str:
    return f"stage{index + 1}" if section == "stage" else section if index == 0 else f"{section}{index + 1}"


def _names(part: Part) -> Iterator[str]:
    return (decision.name for decision, _, _ in part.decisions())


def _brief(name: str, value: Value) -> str:
    """`stage2.kernel`, 3 becomes k3; `stage2.block1.se`, 0.25 becomes b1.se0.25."""
    *blocks, key = name.split(".")[1:]
    short = {"kernel": "k", "expansion": "e", "width": "w", "depth": "d", "cell": ""}.get(key, key)
    return "".join(f"{block.replace('block', 'b')}." for block in blocks) + f"{short}{value}"
