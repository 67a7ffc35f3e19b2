"""Spaces of chains of stages, and the architectures in them: declared, not programmed.

    Space("tiny", stem=Stage(conv_stem, width=16, stride=2),
          stages=[Stage(mbconv, width=choice(16, 24), depth=choice(1, 2), kernel=choice(3, 5), stride=2)],
          head=Stage(linear_head, width=128))

A stage repeats one cell; a cell is a function `cell(c_in, width, stride, **params) -> Node`. Anything may be open:
`choice(...)` decides once for the stage, `per_block(...)` for each block by itself, and the cell itself may be a choice.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError, nearest
from searchspaces.grammar import Choices, Decision, Grammar, Value
from searchspaces.layers import Chain, Node
from searchspaces.task import Shape, Task

if TYPE_CHECKING:
    from torch import nn

    from searchspaces.feasible import Feasible

Cell = Callable[..., Node]
"""`cell(c_in, width, stride, **params)`; one that takes `classes` is given the task's."""

_OWN: Final = ("c_in", "width", "stride")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is open: made by `choice` and `per_block`."""

    options: tuple[Any, ...]
    per_block: bool = False

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):
            raise UserError(f"a choice needs different options, got {self.options}")


def choice(*options: Any) -> Choice:
    """One of the options, decided once for the whole stage (or space)."""
    return Choice(options)


def per_block(*options: Any) -> Choice:
    """One of the options, decided for each block of the stage by itself."""
    return Choice(options, per_block=True)


@dataclass(frozen=True, slots=True)
class Scale:
    """Factors on a network's size: how a proxy shrinks a candidate, and how a family grows (arXiv:1905.11946, sec. 3).

    Attributes:
        width: on channels, which are then rounded to multiples of 8 and never lose more than a tenth.
        depth: on blocks of a stage, rounded up; stem and head keep theirs.

    >>> Scale(width=1.1).channels(40), Scale(depth=1.1).blocks(2)
    (48, 3)
    """

    width: float = 1.0
    depth: float = 1.0

    def channels(self, width: int) -> int:
        """Scaled channels; as in the reference implementation of EfficientNet."""
        if self.width == 1.0:
            return width
        scaled = width * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * scaled else rounded + 8

    def blocks(self, depth: int) -> int:
        """Scaled number of blocks."""
        return math.ceil(round(depth * self.depth, 9))


class Stage:
    """Blocks of one cell at one resolution; the first of them strides.

    Args:
        cell: a cell, or a choice of cells.
        width: output channels, or a choice.
        depth: blocks, or a choice; 0 leaves the stage out, and then it must not stride.
        stride: of the first block.
        name: of the stage in decisions; `stage3` and the like by default.
        params: what the cell takes besides, fixed or open. A cell that does not take one leaves it out.

    Raises:
        UserError: if a parameter is one that no cell takes, or an option cannot be.
    """

    def __init__(
        self,
        cell: Cell | Choice,
        *,
        width: int | Choice,
        depth: int | Choice = 1,
        stride: int = 1,
        name: str = "",
        **params: Any,
    ) -> None:
        self.cells: tuple[Cell, ...] = cell.options if isinstance(cell, Choice) else (cell,)
        self.stride, self.name = stride, name
        self.fields: dict[str, Any] = {"depth": depth, "cell": cell, "width": width, **params}
        self._check()

    def _check(self) -> None:
        where = f"stage {self.name}" if self.name else f"a stage of {self.cells[0].__name__}"
        taken = {cell: _params(cell) for cell in self.cells}
        if len({cell.__name__ for cell in self.cells}) != len(self.cells):
            raise UserError(f"{where}: two of its cells have the same name")
        for key in self.fields.keys() - {"depth", "cell", "width"}:
            if not any(key in params for params in taken.values()):
                known = set().union(*taken.values()) - {"classes"}
                raise UserError(f"{where}: no cell takes {key!r}{nearest(key, known)}")
        for key in ("depth", "width"):
            low = 0 if key == "depth" else 1
            for option in _options(self.fields[key]):
                if not isinstance(option, int) or option < low:
                    raise UserError(f"{where}: {key} must be a whole number of at least {low}, got {option!r}")
            if isinstance(self.fields[key], Choice) and self.fields[key].per_block:
                raise UserError(f"{where}: {key} is decided for the whole stage: use choice(...)")
        if 0 in _options(self.fields["depth"]) and self.stride != 1:
            raise UserError(f"{where}: with depth 0 among the options, stride must be 1, got {self.stride}")
        cell = self.fields["cell"]
        if isinstance(cell, Choice) and cell.per_block:
            for key, value in self.fields.items():
                if isinstance(value, Choice) and not value.per_block and key not in ("depth", "width"):
                    if not all(key in params for params in taken.values()):
                        raise UserError(f"{where}: the cell is per block, so {key!r} must be per_block(...) too")

    @property
    def max_depth(self) -> int:
        """Most blocks that it can have."""
        return int(max(_options(self.fields["depth"])))

    def _values(self) -> tuple[object, ...]:
        return (self.stride, self.name, tuple(self.fields.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


def _options(value: Any) -> tuple[Any, ...]:
    return value.options if isinstance(value, Choice) else (value,)


@lru_cache(maxsize=None)
def _params(cell: Cell) -> frozenset[str]:
    """Names of what a cell takes beyond channels and stride."""
    names = tuple(inspect.signature(cell).parameters)
    if names[:3] != _OWN:
        raise UserError(f"cell {cell.__name__} must take (c_in, width, stride, ...), it takes {names}")
    return frozenset(names[3:])


@lru_cache(maxsize=1 << 18)
def _block(cell: Cell, c_in: int, width: int, stride: int, params: tuple[tuple[str, Any], ...]) -> Node:
    return cell(c_in, width, stride, **dict(params))


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
        return json.dumps({"space": self.space.name, "choices": self.choices})

    @staticmethod
    def from_json(text: str, space: SearchSpace | None = None) -> Architecture:
        """Read what `to_json` wrote.

        Args:
            text: the text form.
            space: where it lives; by default the space of that name among our own (a text never loads a file).

        Raises:
            UserError: if the text is not an architecture, or not one of that space.
        """
        try:
            read = json.loads(text)
            name, choices = read["space"], read["choices"]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"not an architecture: {text[:80]!r} ({type(error).__name__}: {error})") from error
        if not isinstance(name, str) or not isinstance(choices, dict):
            raise UserError(f"not an architecture: {text[:80]!r}; it needs a space's name and choices")
        if space is None:
            from searchspaces.catalog import space_named

            space = space_named(name)
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

    def __contains__(self, architecture: object) -> bool: ...


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


class _Part:
    """One stage bound to its place in a space: which of its decisions matter, and the blocks that follow from them."""

    def __init__(self, stage: Stage, label: str, repeats: bool, shared: Mapping[str, Any]) -> None:
        self.stage, self.label, self.repeats = stage, label, repeats
        self.shared = shared
        self.cell_named = {cell.__name__: cell for cell in stage.cells}
        fields = {**stage.fields, "cell": _by_name(stage.fields["cell"])}
        self.fixed = {key: value for key, value in fields.items() if not isinstance(value, Choice)}
        opened = {key: value for key, value in fields.items() if isinstance(value, Choice)}
        self.once = {key: value.options for key, value in opened.items() if not value.per_block}
        self.each = {key: value.options for key, value in opened.items() if value.per_block}

    def decisions(self) -> Iterator[tuple[Decision, str, int | None]]:
        """Each decision with its key and its block (None: the whole stage)."""
        for key, options in self.once.items():
            yield Decision(f"{self.label}.{key}", options), key, None
        for block in range(self.stage.max_depth if self.each else 0):
            for key, options in self.each.items():
                yield Decision(f"{self.label}.block{block + 1}.{key}", options), key, block

    def matters(self, key: str, block: int | None, taken: Mapping[str, Value]) -> bool:
        """Whether a decision has an effect, given what was chosen before it."""
        if key == "depth":
            return True
        depth = int(self.fixed.get("depth", taken.get(f"{self.label}.depth", 1)))
        if (block or 0) >= depth:
            return False
        if key in ("width", "cell"):
            return True
        if "cell" in self.each:
            if block is None:
                return True  # every cell takes it: checked when the stage was made
            cell = taken.get(f"{self.label}.block{block + 1}.cell")
        else:
            cell = self.fixed.get("cell", taken.get(f"{self.label}.cell"))
        return cell is not None and key in _params(self.cell_named[str(cell)])

    @cached_property
    def groups(self) -> list[tuple[Choices, int, tuple[Choices, ...]]]:
        """Stage-wide choices, each with its depth and the choices (local names) that each block then has."""
        found = []
        for taken in self._taken(self.once, {}, f"{self.label}."):
            depth = int(self.fixed.get("depth", taken.get(f"{self.label}.depth", 1)))
            blocks = tuple(tuple(each.items()) for each in self._taken(self.each, taken, f"{self.label}.block1."))
            found.append((tuple(taken.items()), depth, _local(blocks) if depth else ((),)))
        return found

    def _taken(
        self, options: Mapping[str, tuple[Any, ...]], before: Mapping[str, Value], prefix: str
    ) -> Iterator[dict[str, Value]]:
        """All sets of choices for these keys that matter, by full names."""
        keys = list(options)

        def continued(taken: dict[str, Value], index: int) -> Iterator[dict[str, Value]]:
            if index == len(keys):
                yield taken
                return
            key = keys[index]
            if self.matters(key, 0 if options is self.each else None, {**before, **taken}):
                for option in options[key]:
                    yield from continued({**taken, prefix + key: option}, index + 1)
            else:
                yield from continued(taken, index + 1)

        return continued({}, 0)

    @cached_property
    def ends(self) -> list[int]:
        """How many sets of choices the groups up to each one hold."""
        return list(itertools.accumulate(len(blocks) ** depth for _, depth, blocks in self.groups))

    @property
    def size(self) -> int:
        """How many sets of choices there are."""
        return self.ends[-1]

    def unrank(self, index: int) -> Choices:
        """The set of choices with that number, from 0."""
        group = bisect_right(self.ends, index)
        once, depth, blocks = self.groups[group]
        rest = index - (self.ends[group - 1] if group else 0)
        if len(blocks) == 1 and not blocks[0]:
            return once
        chosen = list(once)
        for block in range(depth):
            rest, digit = divmod(rest, len(blocks))
            chosen += self.named(blocks[digit], block)
        return tuple(chosen)

    def named(self, local: Choices, block: int) -> Choices:
        """A block's choices under their full names."""
        return tuple((f"{self.label}.block{block + 1}.{key}", value) for key, value in local)

    def blocks(self, part: Choices, shared: Choices, c_in: int, stride: int, classes: int, scale: Scale) -> list[Node]:
        """The blocks of the stage."""
        once: dict[str, Any] = dict(self.fixed)
        each: dict[int, dict[str, Any]] = {}
        for name, value in part:
            key = name[len(self.label) + 1 :]
            if key.startswith("block") and "." in key:
                block, _, key = key.partition(".")
                each.setdefault(int(block[5:]) - 1, {})[key] = value
            else:
                once[key] = value
        depth = once["depth"]
        nodes = []
        for index in range(scale.blocks(depth) if self.repeats else depth):
            own = {**once, **each.get(min(index, depth - 1), {})}  # deeper than declared: more of the last block
            nodes.append(self.block(own, shared, c_in, stride if index == 0 else 1, classes, scale))
            c_in = scale.channels(own["width"])
        return nodes

    def block(
        self, own: Mapping[str, Any], shared: Choices, c_in: int, stride: int, classes: int, scale: Scale
    ) -> Node:
        """One block, from its own parameters (the cell's name and the width among them)."""
        cell = self.cell_named[own["cell"]]
        takes = _params(cell)
        around = {**self.shared, **dict(shared), "classes": classes}
        params = {key: around[key] for key in around if key in takes}
        params |= {key: _scaled(key, own[key], scale) for key in own if key in takes}
        return _block(cell, c_in, scale.channels(own["width"]), stride, tuple(params.items()))


def _scaled(key: str, value: Any, scale: Scale) -> Any:
    """Parameters whose name ends in `_width` are channels too."""
    return scale.channels(value) if key.endswith("_width") else value


def _by_name(cell: Cell | Choice) -> Any:
    if isinstance(cell, Choice):
        return Choice(tuple(each.__name__ for each in cell.options), cell.per_block)
    return cell.__name__


def _local(blocks: tuple[Choices, ...]) -> tuple[Choices, ...]:
    return tuple(tuple((name.rpartition(".")[2], value) for name, value in block) for block in blocks)


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
        UserError: if two stages have one name, a shared parameter is one that no cell takes, or a reference is no member.
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
            _Part(stage, stage.name or _label(section, index), section == "stage", fixed)
            for section, several in sections.items()
            for index, stage in enumerate(several)
        ]
        self._declared = (name, tuple(sections.items()), smallest_map, tuple(shared.items()))
        labels = [part.label for part in self._parts]
        if len(set(labels)) != len(labels):
            raise UserError(f"space {name}: two stages have the same name: {labels}")
        for key, value in shared.items():
            if not any(key in _params(cell) for part in self._parts for cell in part.stage.cells):
                raise UserError(f"space {name}: no cell takes {key!r}")
            if isinstance(value, Choice) and value.per_block:
                raise UserError(f"space {name}: {key} is shared by the whole space: use choice(...)")
        self._shared = [Decision(key, value.options) for key, value in shared.items() if isinstance(value, Choice)]
        placed = [(part, *found) for part in self._parts for found in part.decisions()]
        places = {decision.name: (part, key, block) for part, decision, key, block in placed}

        def matters(name: str, taken: Mapping[str, Value]) -> bool:
            if name not in places:
                return True  # shared by the whole space
            part, key, block = places[name]
            return part.matters(key, block, taken)

        self.grammar = Grammar((*self._shared, *(decision for _, decision, _, _ in placed)), matters)
        self._group = {name: index for index, part in enumerate(self._parts, 1) for name in _names(part)}
        self._walks: dict[tuple[Task, Scale], dict[object, tuple[Cost, Shape]]] = {}
        self._unranked: list[dict[int, Choices]] = [{} for _ in range(len(self._parts) + 1)]
        _ = self.references  # a reference that is no member is a mistake to be told at once

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
        return self._grouped(self.grammar.canonical(choices))

    def _grouped(self, canonical: Choices) -> Architecture:
        groups: list[list[tuple[str, Value]]] = [[] for _ in range(len(self._parts) + 1)]
        for pair in canonical:
            groups[self._group.get(pair[0], 0)].append(pair)
        return Architecture(self, tuple(map(tuple, groups)))

    def strides(self, task: Task) -> list[int]:
        """The stride of each stage, stem and head included, on the images of a task."""
        strides = [part.stage.stride for part in self._parts]
        for index, stride in enumerate(strides):
            if stride == 1:
                continue
            side = task.image_size
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
        for part, chosen, stride in zip(self._parts, parts, self.strides(task), strict=True):
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
        for index, chosen in enumerate(parts):
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
        return Cost(macs, params, activations, peak)

    def _stage_cost(
        self, index: int, chosen: Choices, shared: Choices, shape: Shape, task: Task, scale: Scale
    ) -> tuple[Cost, Shape]:
        cost = Cost()
        stride = self.strides(task)[index]
        for block in self._parts[index].blocks(chosen, shared, shape[0], stride, task.classes, scale):
            cost += block.cost(shape)
            shape = block.shape(shape)
        return cost, shape

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
        return self._grouped(self.grammar.mutated(architecture.choices, rng))

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
        return map(self._grouped, self.grammar.enumerate())

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
        """All ways on from a state; costs are those of the blocks that become known with the move."""
        index, block = self.layers[layer]
        if index == 0:
            every = (self._shared_choices(i) for i in range(self._sizes[0]))
            return [Move(chosen, Cost(), State(state.shape, chosen)) for chosen in every]
        part, stride = self._parts[index - 1], self.strides(task)[index - 1]
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
                starts.append(Move(chosen, Cost(), begun if depth else State(state.shape, state.shared)))
            return starts
        if not state.stage:  # all its blocks are there already
            return [Move((), Cost(), state)]
        once, depth = state.stage[:-1], int(state.stage[-1][1])
        options = next(blocks for chosen, _, blocks in part.groups if chosen == once)
        found = []
        for local in options:
            own = {**part.fixed, **dict(_local((once,))[0]), **dict(local)}
            node = part.block(own, state.shared, state.shape[0], stride if block == 0 else 1, task.classes, Scale())
            shape = node.shape(state.shape)
            then = State(shape, state.shared, state.stage, block + 1) if block + 1 < depth else State(shape, state.shared)
            found.append(Move(part.named(local, block), node.cost(state.shape), then))
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


def _names(part: _Part) -> Iterator[str]:
    return (decision.name for decision, _, _ in part.decisions())


def _brief(name: str, value: Value) -> str:
    """`stage2.kernel`, 3 becomes k3; `stage2.block1.se`, 0.25 becomes b1.se0.25."""
    *blocks, key = name.split(".")[1:]
    short = {"kernel": "k", "expansion": "e", "width": "w", "depth": "d", "cell": ""}.get(key, key)
    return "".join(f"{block.replace('block', 'b')}." for block in blocks) + f"{short}{value}"
