"""Spaces of chains of stages, and the architectures in them: declared, not programmed.

    Space("tiny", stem=Stage(conv_stem, width=16, stride=2),
          stages=[Stage(mbconv, width=choice(16, 24), depth=choice(1, 2), kernel=choice(3, 5), stride=2)],
          head=Stage(linear_head, width=128))

A stage repeats one cell; a cell is a function `cell(c_in, width, stride, **params) -> Node`. Anything may be
open: `choice(...)` decides once for the stage, `per_block(...)` for each block by itself; the cell itself may be open.
`same_as("stem.width")` takes the value of another decision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture
from searchspaces.budgeted.automaton import ChainState, Move, uncollected
from searchspaces.budgeted.chain import Chains
from searchspaces.budgeted.feasible import Feasible
from searchspaces.chain_costs import ChainCosts
from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Choices, Decision, Grammar, Value
from searchspaces.layers import Chain, Node, ShapeError
from searchspaces.stage import PUBLISHED, Choice, Known, Part, SameAs, Scale, Stage, cell_params, check_parameter
from searchspaces.task import Shape, Task

_BlockKey = tuple[int, int, Shape, Choices, Choices, Choices]
"""Of a block: the index of its stage, its stride, the shape it is given, and the choices for the stage, the block
and the space."""


class Space:
    """Architectures that are chains of stages.

    Args:
        name: what people type.
        stages: what scaling in depth repeats.
        stem: one stage or several, before.
        head: one stage or several, after; the last gives the logits.
        smallest_map: on small images the earliest strides are left out until the last feature map has at least this
            many pixels on each side, as if every stride rounded up. Where a cell's rounds down (Inception's reductions,
            DenseNet's transitions), the last map is a pixel smaller at some sizes, 28 among them.
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
        known = {key: Known(value.options, key) for key, value in shared.items() if isinstance(value, Choice)}
        known |= {key: Known((value,)) for key, value in fixed.items()}
        self._parts: list[Part] = []
        for section, several in sections.items():
            for index, stage in enumerate(several):
                part = Part(stage, stage.name or _label(section, index), section == "stage", fixed, known)
                self._parts.append(part)
                known = part.known
        self._declared = (name, tuple(sections.items()), smallest_map, tuple(shared.items()))
        labels = [part.label for part in self._parts]
        if len(set(labels)) != len(labels):
            raise UserError(f"space {name}: two stages have the same name: {labels}")
        for key, value in shared.items():
            check_parameter(f"space {name}", key, value)
            open_to = (part for part in self._parts if key not in part.stage.fields)
            if not any(key in cell_params(cell) for part in open_to for cell in part.stage.cells):
                raise UserError(f"space {name}: no cell takes {key!r}, or every stage sets it for itself")
            if isinstance(value, SameAs) or (isinstance(value, Choice) and value.per_block):
                raise UserError(f"space {name}: {key} is shared by the whole space: use choice(...)")
        self._shared = [Decision(key, value.options) for key, value in shared.items() if isinstance(value, Choice)]
        placed = [(part, *found) for part in self._parts for found in part.decisions()]
        self._places = {decision.name: (part, key, block) for part, decision, key, block in placed}
        self.grammar = Grammar((*self._shared, *(decision for _, decision, _, _ in placed)), self._matters)
        self._ties = any(part.tied for part in self._parts)
        self._needed = [
            {each.name for each in self._shared}.union(*(part.tied.values() for part in self._parts[index:]))
            for index in range(len(self._parts) + 1)
        ]
        self._taken = [
            frozenset().union(*map(cell_params, part.stage.cells)) - part.stage.fields.keys() for part in self._parts
        ]
        self._group = {name: index for index, part in enumerate(self._parts, 1) for name in _names(part)}
        self._walks: dict[tuple[Task, Scale], dict[object, tuple[Cost, Shape]]] = {}
        self._blocks: dict[tuple[Task, Scale], dict[_BlockKey, tuple[Cost, Shape]]] = {}
        self._tables: dict[tuple[Task, tuple[str, ...]], ChainCosts] = {}
        self._walked: tuple[Task, list[dict[ChainState, list[Move]]]] | None = None
        self._strides: dict[int, list[int]] = {}
        self._unranked: list[dict[int, Choices]] = [{} for _ in range(len(self._parts) + 1)]
        _ = self.references  # refuse a reference that is not a member at once

    def _matters(self, name: str, taken: Mapping[str, Value]) -> bool:
        if name not in self._places:
            return True  # shared by the whole space
        part, key, block = self._places[name]
        return part.matters(key, block, taken)

    of = budget = task = largest = None

    @property
    def whole(self) -> Space:
        """Itself: it has no budget."""
        return self

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
            "fixed": {
                part.label: {
                    **part.fixed,
                    **{key: {"same_as": name} for key, name in part.tied.items()},
                    "stride": part.stage.stride,
                }
                for part in self._parts
            },
            "smallest_map": self.smallest_map,
            "declared": {"shared": dict(self._parts[0].shared), "sections": self._labels()},
        }

    def _labels(self) -> dict[str, list[str]]:
        """The labels of the stages of each section, in order."""
        labels = iter(self._parts)
        return {section: [next(labels).label for _ in stages] for section, stages in self._declared[1]}

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

    @cached_property
    def published(self) -> Space:
        """The space whose networks keep their strides on images of every size; itself where none is ever left out."""
        if self.smallest_map <= 1:
            return self
        _, sections, _, shared = self._declared
        declared = dict(sections)
        return Space(
            f"{self.name}@{PUBLISHED}",
            stages=declared["stage"],
            stem=declared["stem"],
            head=declared["head"],
            references={name: dict(choices) for name, choices in self._declared_references.items()},
            doc=self.doc,
            **dict(shared),
        )

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
        strides = self.strides(task, scale)
        for index, (part, chosen) in enumerate(zip(self._parts, parts, strict=True)):
            blocks, shape = part.blocks(chosen, shared, shape, strides[index], task.classes, scale)
            if blocks:
                stages.append(Chain(*blocks, label=part.label))
            shared = self._carried(shared, chosen, index + 1)
        return Chain(*stages)

    def _carried(self, shared: Choices, chosen: Choices, after: int) -> Choices:
        """The choices for the whole space, and those that stages from `after` on are tied to."""
        if not self._ties:
            return shared
        return tuple(pair for pair in (*shared, *chosen) if pair[0] in self._needed[after])

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
            if self._ties:
                shared = self._carried(shared, chosen, index + 1)
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
        once, blocks = self._parts[index].plan(chosen, shared, scale)
        shared = self._around(index, shared)
        macs = params = activations = peak = 0
        latency = task.nothing.latency_us
        block, stride = 0, self.strides(task, scale)[index]
        while block < len(blocks):
            given, local = shape, blocks[block]
            cost, shape = self._known_block((index, stride, given, once, local, shared), task, scale)
            times, stride = 1, 1
            if block > 0 and shape == given:  # equal blocks that follow one another cost the same
                while block + times < len(blocks) and blocks[block + times] == local:
                    times += 1
            block += times
            macs += times * cost.macs
            params += times * cost.params
            activations += times * cost.activations
            if cost.peak_activation_bytes > peak:
                peak = cost.peak_activation_bytes
            if latency is not None:
                latency = None if cost.latency_us is None else latency + times * cost.latency_us
        return Cost(macs, params, activations, peak, latency), shape

    def _around(self, index: int, shared: Choices) -> Choices:
        """Those of the choices for the whole space that a block of a stage goes by: what its cells take, and groups, of
        which every scaled width is a multiple."""
        taken = self._taken[index]
        return tuple(pair for pair in shared if pair[0] in taken or pair[0] == "groups")

    def _known_block(self, key: _BlockKey, task: Task, scale: Scale) -> tuple[Cost, Shape]:
        known = self._blocks.get((task, scale))
        if known is None:
            known = self._blocks[task, scale] = {}
        found = known.get(key)
        if found is None:
            found = known[key] = self._block_cost(key, task, scale)
        return found

    def _block_cost(self, key: _BlockKey, task: Task, scale: Scale) -> tuple[Cost, Shape]:
        node, shape = self._block(key, task, scale), key[2]
        try:
            cost = node.cost(shape)
        except ShapeError as error:  # a mistake in a cell, which may be a person's own
            part, chosen = self._parts[key[0]], " ".join(f"{name}={value}" for name, value in (*key[3], *key[4]))
            hint = self._larger_images(node, shape, task)
            raise ShapeError(f"space {self.name}, {part.label} ({chosen}): {error}{hint}") from error
        if task.latency is not None:
            cost = replace(cost, latency_us=task.latency.part_us(node, shape))
        return cost, node.shape(shape)

    def _larger_images(self, node: Node, shape: Shape, task: Task) -> str:
        """What to do about a block that does not fit into its input; nothing where it would not fit a larger one."""
        try:
            node.shape((shape[0], *(64 * side for side in shape[1:])))
        except ShapeError:
            return ""
        rule = f"@{PUBLISHED}"
        fewer = (
            f"{self.name.removesuffix(rule)}, which leaves out strides" if self.name.endswith(rule) else "fewer strides"
        )
        return f"; images of {task.image_size} pixels are too small for it: use larger ones, or {fewer}"

    def _block(self, key: _BlockKey, task: Task, scale: Scale) -> Node:
        index, stride, shape, once, local, shared = key
        part = self._parts[index]
        own = {**part.fixed, **dict(once), **dict(local)}
        return part.block(own, shared, shape[0], stride, task.classes, scale)

    def blocks(self, task: Task) -> list[tuple[Node, Shape]]:
        """Every different block that some network of the space has, with the shape that it is given."""
        self.walked(task)
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
        name, option = self.grammar.changed(architecture.choices, rng)
        changed = self._group.get(name, 0)  # no other stage's decisions depend on it
        parts = list(architecture.parts)
        parts[changed] = self.grammars[changed].completed({**dict(parts[changed]), name: option}, rng)
        return Architecture(self, tuple(parts))

    def mutants(self, group: int, chosen: Choices) -> list[tuple[Choices, float]]:
        """All that `mutate` can make of a part of an architecture, with their chances up to one factor for all parts.

        Args:
            group: the index of the part.
            chosen: its choices.
        """
        return self.grammars[group].mutants(chosen)

    @cached_property
    def grammars(self) -> list[Grammar]:
        """The decisions shared by the whole space, and those of each stage."""
        groups: list[list[Decision]] = [[] for _ in range(len(self._parts) + 1)]
        for decision in self.decisions:
            groups[self._group.get(decision.name, 0)].append(decision)
        return [Grammar(tuple(group), self._matters) for group in groups]

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
        return Feasible(self, budget, task, partial(Chains, self))

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        shared, *parts = architecture.parts
        said = [" ".join(f"{name}={value}" for name, value in shared)] if shared else []
        for part, chosen in zip(self._parts, parts, strict=True):
            if chosen:
                said.append(f"{part.label} {' '.join(_brief(name, value) for name, value in chosen)}")
        return " | ".join(said)

    # The chain as an automaton, which `searchspaces.budgeted` counts and samples. A layer is a stage or, where blocks
    # decide for themselves, the stage's own decisions followed by one layer for each block.

    @cached_property
    def layers(self) -> list[tuple[int, int | None]]:
        """Index of the part (0: what is shared) and the block, or None for the stage's own decisions."""
        found: list[tuple[int, int | None]] = [(0, None)] if self._shared else []
        for index, part in enumerate(self._parts, 1):
            found.append((index, None))
            found += [(index, block) for block in range(part.stage.max_depth if part.each else 0)]
        return found

    def layer_of(self, name: str) -> int:
        """The layer in which a decision is taken."""
        _, _, block = self._places.get(name, (None, "", None))
        return self.layers.index((self._group.get(name, 0), block))

    def opens_others(self, name: str) -> bool:
        """Whether other decisions have an effect or not by what is chosen for this one."""
        return name in self._places and self._places[name][1] in ("depth", "cell")

    def cost_tables(self, task: Task, names: tuple[str, ...]) -> ChainCosts | None:
        """Costs of many architectures at once; None where a stage has too many sets of options to be numbered."""
        known = self._tables.get((task, names))
        if known is None:
            known = self._tables[task, names] = ChainCosts(self, task, names)
        return known if known.fits else None

    def walked(self, task: Task) -> list[dict[ChainState, list[Move]]]:
        """Of each layer its states, and all ways on from each; kept for the last task, as every budget on it asks."""
        if self._walked is None or self._walked[0] != task:
            found: list[dict[ChainState, list[Move]]] = []
            states = {ChainState(task.shape)}
            with uncollected():
                for layer in range(len(self.layers)):
                    found.append({state: self.moves(layer, state, task) for state in states})
                    states = {move.state for several in found[-1].values() for move in several}
            self._walked = task, found
        return self._walked[1]

    def __getstate__(self) -> dict[str, object]:
        """All but what is quickly made again, and large."""
        return {**self.__dict__, "_walked": None}

    def moves(self, layer: int, state: ChainState, task: Task) -> list[Move]:
        """All ways on from a state; costs are those of the blocks that become known with the move.

        The latency of a whole network besides its blocks comes with the first move.
        """
        index, block = self.layers[layer]
        if index == 0:
            every: Iterable[Choices] = (self._shared_choices(i) for i in range(self._sizes[0]))
        elif block is None:
            every = (chosen for chosen, _, _ in self._parts[index - 1].groups)
        elif state.stage:
            part = self._parts[index - 1]
            every = (part.named(local, block) for local in part.options[state.stage[:-1]])
        else:  # all its blocks are there already
            every = ((),)
        return [self.move(layer, state, chosen, task) for chosen in every]

    def move(self, layer: int, state: ChainState, chosen: Choices, task: Task) -> Move:
        """The way on from a state with these choices."""
        found = self._move(layer, state, chosen, task)
        if layer > 0 or task.latency is None:
            return found
        return Move(found.choices, Cost(latency_us=task.latency.base_us) + found.cost, found.state)

    def _move(self, layer: int, state: ChainState, chosen: Choices, task: Task) -> Move:
        index, block = self.layers[layer]
        shape, shared, nothing = state.shape, state.shared, task.nothing
        if index == 0:
            return Move(chosen, nothing, ChainState(shape, chosen))
        part, index = self._parts[index - 1], index - 1
        if not part.each:
            cost, after = self._stage_cost(index, chosen, shared, shape, task, Scale())
            return Move(chosen, cost, ChainState(after, self._carried(shared, chosen, index + 1)))
        if block is None:
            depth = part.once_of(chosen, shared)[1]
            if not depth:
                return Move(chosen, nothing, ChainState(shape, self._carried(shared, chosen, index + 1)))
            return Move(
                chosen, nothing, ChainState(shape, self._carried(shared, chosen, index), (*chosen, ("", depth)))
            )
        if not state.stage:
            return Move((), nothing, state)
        begun, depth = state.stage[:-1], int(state.stage[-1][1])
        once, _ = part.once_of(begun, shared)
        stride = self.strides(task, Scale())[index] if block == 0 else 1
        local = tuple((name.rpartition(".")[2], value) for name, value in chosen)
        key = (index, stride, shape, once, local, self._around(index, shared))
        cost, after = self._known_block(key, task, Scale())
        if block + 1 == depth:
            return Move(chosen, cost, ChainState(after, self._carried(shared, (), index + 1)))
        return Move(chosen, cost, ChainState(after, shared, state.stage, block + 1))

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


def randoms_below(size: int, count: int, rng: np.random.Generator) -> list[int]:
    """So many whole numbers from 0 to size - 1, each equally likely, however large; not those of `random_below`, on
    which seeded samples depend, but sooner.
    """
    bits, found = size.bit_length(), list[int]()
    length = -(-bits // 8)
    while missing := count - len(found):
        read, surplus = rng.bytes(missing * length), 8 * length - bits
        numbers = (int.from_bytes(read[at : at + length], "little") >> surplus for at in range(0, len(read), length))
        found += [number for number in numbers if number < size]
    return found


def _stages(given: Stage | Iterable[Stage]) -> tuple[Stage, ...]:
    return (given,) if isinstance(given, Stage) else tuple(given)


def _label(section: str, index: int) -> str:
    return f"stage{index + 1}" if section == "stage" else section if index == 0 else f"{section}{index + 1}"


def _names(part: Part) -> Iterator[str]:
    return (decision.name for decision, _, _ in part.decisions())


def _brief(name: str, value: Value) -> str:
    """`stage2.kernel`, 3 becomes k3; `stage2.block1.se`, 0.25 becomes b1.se0.25; an act of relu, act=relu."""
    *blocks, key = name.split(".")[1:]
    short = {"kernel": "k", "expansion": "e", "width": "w", "depth": "d", "se": "se", "cell": ""}.get(key, f"{key}=")
    return "".join(f"{block.replace('block', 'b')}." for block in blocks) + f"{short}{value}"


_LETTERS: Final = {
    "b": "block",
    "d": "depth (blocks)",
    "w": "width",
    "k": "kernel",
    "e": "expansion ratio",
    "se": "SE ratio",
}


def letters(words: str) -> list[str]:
    """What the letters in an architecture's words mean.

    >>> letters("act=relu6 | stage1 w16 k5 se0.25")
    ['w width', 'k kernel', 'se SE ratio']
    """
    return [f"{short} {long}" for short, long in _LETTERS.items() if re.search(rf"\b{short}\d", words)]
