"""A stage: blocks of one cell, with whatever is open declared by `choice` and `per_block`."""

from __future__ import annotations

import inspect
import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, Final

from searchspaces.errors import UserError, nearest
from searchspaces.grammar import Choices, Decision, Value
from searchspaces.layers import Node, ShapeError
from searchspaces.task import Shape

Cell = Callable[..., Node]
"""`cell(c_in, width, stride, **params)`; one that takes `classes` is given the task's."""

_OWN: Final = ("c_in", "width", "stride")

PUBLISHED: Final = "published"
"""The rule for strides that leaves none out; spaces under it have it at the end of their names, after an @."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is open: made by `choice` and `per_block`."""

    options: tuple[Any, ...]
    per_block: bool = False

    def __post_init__(self) -> None:
        for each in self.options:
            if not (each is None or callable(each) or type(each) in (int, float, bool, str)) or each != each:
                raise UserError(f"an option must be a number, a string, true, false or a cell, got {each!r}")
        if not self.options or len(set(self.options)) != len(self.options):
            raise UserError(f"a choice needs distinct options, got {self.options}")


def choice(*options: Any) -> Choice:
    """One of the options, decided once for the whole stage (or space)."""
    return Choice(options)


def per_block(*options: Any) -> Choice:
    """One of the options, decided for each block of the stage by itself."""
    return Choice(options, per_block=True)


@dataclass(frozen=True, slots=True)
class SameAs:
    """A value that follows another decision: made by `same_as`."""

    name: str


def same_as(name: str) -> Any:
    """The value of another decision, such as `same_as("stem.width")`: no decision of its own.

    Args:
        name: a decision of an earlier stage or of the whole space, or an earlier one of the same stage. It must be
            decided once and always have an effect. The name of a fixed value gives that value.
    """
    return SameAs(name)


def multiple_of_8(channels: float, least: float = 0.9, groups: int = 1) -> int:
    """The nearest multiple of 8 that keeps at least a share `least` of the channels (Howard 2019, arXiv:1905.02244).

    Of 8 and of a number of groups, where these share the channels.

    >>> multiple_of_8(58.7), multiple_of_8(19.2), multiple_of_8(19.2, least=0), multiple_of_8(36, groups=3)
    (56, 24, 16, 48)
    """
    step = math.lcm(8, groups)
    rounded = max(step, int(channels + step / 2) // step * step)
    return rounded if rounded >= least * channels else rounded + step


def scaled_inside(width: int, unscaled: int | None, inside: float, groups: int) -> tuple[int, int]:
    """Channels within a block, and their groups: of a scaled block those of the block as it is declared, of which the
    channels stay a multiple.

    Else a factor of 1.05 on widths could halve the groups and double the block's MACs.

    Args:
        width: output channels.
        unscaled: those of the block as it is declared; None if it is not scaled.
        inside: channels over `width`.
        groups: at most; fewer where the channels are not a multiple.

    >>> scaled_inside(256, None, 0.5, 32), scaled_inside(272, 256, 0.5, 32), scaled_inside(72, 64, 0.25, 32)
    ((128, 32), (128, 32), (16, 16))
    """
    channels, of_declared = (max(1, int(each * inside)) for each in (width, unscaled or width))
    groups = math.gcd(groups, of_declared)
    return max(groups, int(channels + groups / 2) // groups * groups), groups


@dataclass(frozen=True, slots=True)
class Scale:
    """Factors on a network's size: how a proxy shrinks a candidate, and how a family grows (arXiv:1905.11946, sec. 3).

    Attributes:
        width: on channels, which are then rounded to multiples of 8 and never lose more than a tenth.
        depth: on blocks of a stage, rounded up; stem and head keep theirs.
        resolution: what the image is larger by than the one that the network was made for: strides that small images
            leave out stay left out, so that a network keeps its shape when its image grows.
        dropout: rate before the classifier, of a head that has dropout; None is the head's own. Larger members of a
            family have more (EfficientNet-B0 0.2, B7 0.5).

    >>> Scale(width=1.1).channels(40), Scale(depth=1.1).blocks(2)
    (48, 3)
    """

    width: float = 1.0
    depth: float = 1.0
    resolution: float = 1.0
    dropout: float | None = None

    def told(self) -> dict[str, float]:
        """The factors by name, for files and JSON; that on the image, and dropout, only where they change something."""
        told = {"width": self.width, "depth": self.depth}
        told |= {"resolution": self.resolution} if self.resolution != 1 else {}
        return told | ({} if self.dropout is None else {"dropout": self.dropout})

    def unscaled(self, image_size: int) -> int:
        """The side of the image that the network was made for."""
        return round(image_size / self.resolution)

    def channels(self, width: int, groups: int = 1) -> int:
        """Scaled channels, as in the reference implementation of EfficientNet; a multiple of the groups if they are."""
        if self.width == 1.0:
            return width
        return multiple_of_8(width * self.width, groups=groups if width % groups == 0 else 1)

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
        if isinstance(cell, SameAs):
            raise UserError(f"stage {name}: its cell cannot be the same as another; declare a choice of cells")
        self.cells: tuple[Cell, ...] = cell.options if isinstance(cell, Choice) else (cell,)
        for each in self.cells:
            if not callable(each) or not hasattr(each, "__name__"):
                raise UserError(f"stage {name}: a cell must be a function with a name (def), got {each!r}")
        self.stride, self.name = stride, name
        self.fields: dict[str, Any] = {"depth": depth, "cell": cell, "width": width, **params}
        self._check()

    def _check(self) -> None:
        where = f"stage {self.name}" if self.name else f"a stage of {self.cells[0].__name__}"
        taken = {cell: cell_params(cell) for cell in self.cells}
        if type(self.stride) is not int or self.stride < 1:
            raise UserError(
                f"{where}: stride must be a whole number of at least 1 and is never open, got {self.stride!r}"
            )
        if "." in self.name:
            raise UserError(f"{where}: a stage name must not contain '.', which separates stage and decision")
        if len({cell.__name__ for cell in self.cells}) != len(self.cells):
            raise UserError(f"{where}: two of its cells have the same name")
        for key in self.fields.keys() - {"depth", "cell", "width"}:
            if not any(key in params for params in taken.values()):
                known = set().union(*taken.values()) - {"classes"}
                raise UserError(f"{where}: no cell takes {key!r}{nearest(key, known)}")
            check_parameter(where, key, self.fields[key])
        for key in ("depth", "width"):
            low = 0 if key == "depth" else 1
            for option in () if isinstance(self.fields[key], SameAs) else _options(self.fields[key]):
                if not isinstance(option, int) or option < low:
                    raise UserError(f"{where}: {key} must be a whole number of at least {low}, got {option!r}")
            if isinstance(self.fields[key], Choice) and self.fields[key].per_block:
                raise UserError(f"{where}: {key} is decided for the whole stage: use choice(...)")
        if 0 in _options(self.fields["depth"]) and self.stride != 1:
            raise UserError(f"{where}: with depth 0 among the options, stride must be 1, got {self.stride}")
        cell = self.fields["cell"]
        if isinstance(self.fields["depth"], SameAs) and any(
            isinstance(value, Choice) and value.per_block for value in self.fields.values()
        ):
            raise UserError(f"{where}: with decisions per block, its depth cannot be the same as another")
        if isinstance(cell, Choice) and cell.per_block:
            for key, value in self.fields.items():
                once = isinstance(value, Choice) and not value.per_block and key not in ("depth", "width")
                if once and not all(key in params for params in taken.values()):
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


def check_parameter(where: str, key: str, value: Any) -> None:
    """Check a fixed value or a choice of a cell's parameter.

    Raises:
        UserError: it is the task's, or cannot be kept, as equal blocks are made once and choices are written as JSON.
    """
    if key == "classes":
        raise UserError(f"{where}: classes are those of the task and cannot be set, got {value!r}")
    for option in value.options if isinstance(value, Choice) and key != "cell" else ():
        if callable(option):
            called = getattr(option, "__name__", repr(option))
            raise UserError(
                f"{where}: {key} cannot be a choice of functions such as {called}: only cells can; give names, and let "
                "the cell look them up"
            )
    try:
        hash(value)
    except TypeError as error:
        hint = f": use {tuple(value)!r}" if isinstance(value, list) else ""
        raise UserError(f"{where}: {key} cannot be {value!r}, which can be changed{hint}") from error


def _options(value: Any) -> tuple[Any, ...]:
    return value.options if isinstance(value, Choice) else (value,)


@cache
def cell_params(cell: Cell) -> frozenset[str]:
    """Names of what a cell takes beyond channels and stride."""
    names = tuple(inspect.signature(cell).parameters)
    if names[:3] != _OWN:
        raise UserError(f"cell {cell.__name__} must take (c_in, width, stride, ...), it takes {names}")
    return frozenset(names[3:])


@cache
def _required(cell: Cell) -> tuple[str, ...]:
    """Names of what a cell takes beyond channels and stride and has no default for."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    taken = list(inspect.signature(cell).parameters.values())[3:]
    return tuple(each.name for each in taken if each.default is each.empty and each.kind not in several)


@lru_cache(maxsize=1 << 18, typed=True)  # an expansion of 6.0 is rounded otherwise than one of 6
def _block(cell: Cell, c_in: int, width: int, stride: int, /, **params: Any) -> Node:
    return cell(c_in, width, stride, **params)


@dataclass(frozen=True, slots=True)
class Known:
    """What a later value can be tied to.

    Attributes:
        options: of the decision; one value where it is fixed.
        root: the full name of the decision; empty where the value is fixed.
        wrong: why nothing can be tied to it; empty where something can.
    """

    options: tuple[Any, ...]
    root: str = ""
    wrong: str = ""


class Part:
    """One stage at its place in a space: which of its decisions have an effect, and the blocks that follow from them.

    Args:
        stage: as declared.
        label: its name in decisions.
        repeats: whether scaling in depth repeats its blocks.
        shared: fixed parameters of the whole space.
        known: for each decision that the stage may be tied to, its options; for each fixed value, that value alone.
            Values of the stage that are tied to a tied value are tied to the decision behind it.

    Raises:
        UserError: a value is tied to a name that is not known.
    """

    def __init__(
        self, stage: Stage, label: str, repeats: bool, shared: Mapping[str, Any], known: Mapping[str, Known]
    ) -> None:
        self.stage, self.label, self.repeats = stage, label, repeats
        self.shared = shared
        self.cell_named = {cell.__name__: cell for cell in stage.cells}
        for name, cell in self.cell_named.items():
            for key in _required(cell):
                if key != "classes" and key not in stage.fields and key not in known:
                    raise UserError(f"{label}: the cell {name} needs {key!r}, which is not set")
        fields = {**stage.fields, "cell": _by_name(stage.fields["cell"])}
        self.known = dict(known)
        self.tied: dict[str, str] = {}
        for key, value in fields.items():
            if isinstance(value, SameAs):
                fields[key] = self._tie(key, value.name)
            elif key != "cell":
                self._declare(key, value)
        self.fixed = {key: value for key, value in fields.items() if not isinstance(value, Choice | SameAs)}
        opened = {key: value for key, value in fields.items() if isinstance(value, Choice)}
        self.once = {key: value.options for key, value in opened.items() if not value.per_block}
        self.each = {key: value.options for key, value in opened.items() if value.per_block}
        self._named: dict[tuple[Choices, int], Choices] = {}
        self._plans: dict[Choices, tuple[Choices, int]] = {}
        self._pairs: dict[object, tuple[str, Value]] = {}

    def _declare(self, key: str, value: Any) -> None:
        """Make a value of this stage known to those that are tied to it."""
        wrong, name = "", f"{self.label}.{key}"
        if isinstance(value, Choice) and value.per_block:
            wrong = "is decided for each block"
        elif key != "depth" and 0 in _options(self.stage.fields["depth"]):
            wrong = "has no effect where its stage is left out"
        elif key not in ("depth", "width") and not all(key in cell_params(cell) for cell in self.stage.cells):
            wrong = "has no effect with some of its cells"
        self.known[name] = Known(_options(value), name if isinstance(value, Choice) else "", wrong)

    def _tie(self, key: str, name: str) -> Any:
        """The fixed value behind a name, or the tie to a decision.

        Raises:
            UserError: there is no such name before this one, or nothing can be tied to it.
        """
        where = f"{self.label}.{key}"
        if name not in self.known:
            known = nearest(name, self.known)
            raise UserError(f"{where} cannot be the same as {name!r}: no such decision before it{known}")
        target = self.known[name]
        if target.wrong:
            raise UserError(f"{where} cannot be the same as {name!r}, which {target.wrong}")
        least = 1 if key in ("depth", "width") else None
        for option in target.options if least else ():
            if not isinstance(option, int) or option < 1:
                raise UserError(
                    f"{where} cannot be the same as {name!r}, which can be {option!r}: at least 1 is needed"
                )
        self.known[where] = target
        if not target.root:
            return target.options[0]
        self.tied[key] = target.root
        return SameAs(target.root)

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
        return cell is not None and key in cell_params(self.cell_named[str(cell)])

    @cached_property
    def groups(self) -> list[tuple[Choices, int, tuple[Choices, ...]]]:
        """Stage-wide choices, each with its depth and the choices (local names) that each block then has."""
        found = []
        none: tuple[Choices, ...] = ((),)
        for taken in self._taken(self.once, (), f"{self.label}."):
            depth = int(self.fixed.get("depth", dict(taken).get(f"{self.label}.depth", 1)))
            blocks = none
            if self.each and depth:
                blocks = local_names(tuple(self._taken(self.each, taken, f"{self.label}.block1.")))
            found.append((taken, depth, blocks))
        return found

    @cached_property
    def options(self) -> dict[Choices, tuple[Choices, ...]]:
        """What each block can choose (local names), by what is chosen once."""
        return {chosen: blocks for chosen, _, blocks in self.groups}

    def _taken(self, options: Mapping[str, tuple[Any, ...]], before: Choices, prefix: str) -> Iterator[Choices]:
        """All sets of choices for these keys that matter, by full names; many, so they share their pairs."""
        keys, block = list(options), 0 if options is self.each else None
        pairs = {key: [(prefix + key, option) for option in options[key]] for key in keys}
        asked = 1 + max((index for index, key in enumerate(keys) if key in ("depth", "cell")), default=-1)

        def continued(taken: Choices, index: int) -> Iterator[Choices]:
            known = dict((*before, *taken))
            if index == asked:  # what is left depends on nothing more, so it is a plain product
                left = [pairs[key] for key in keys[index:] if self.matters(key, block, known)]
                for rest in itertools.product(*left):
                    yield taken + rest
            elif self.matters(keys[index], block, known):
                for pair in pairs[keys[index]]:
                    yield from continued((*taken, pair), index + 1)
            else:
                yield from continued(taken, index + 1)

        return continued((), 0)

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
        found = self._named.get((local, block))
        if found is None:
            found = tuple((f"{self.label}.block{block + 1}.{key}", value) for key, value in local)
            self._named[local, block] = found
        return found

    @cached_property
    def _places(self) -> dict[str, tuple[int, str]]:
        """The block (-1: the whole stage) and the key of each full name."""
        return {decision.name: (-1 if block is None else block, key) for decision, key, block in self.decisions()}

    def plan(self, part: Choices, shared: Choices, scale: Scale) -> tuple[Choices, list[Choices]]:
        """What is chosen or tied once, depth aside, and what each block chooses, in order, under local names.

        A stage scaled to be deeper than declared has more of its last block.
        """
        once, depth = self.once_of(part, shared)
        blocks: list[Choices] = [()] * depth
        if self.each:
            each: list[list[tuple[str, Value]]] = []
            for name, value in part:
                block, key = self._places[name]
                if block >= 0:
                    if block == len(each):
                        each.append([])
                    each[block].append((key, value))
            blocks = list(map(tuple, each)) or blocks
        count = scale.blocks(depth) if self.repeats else depth
        return once, blocks[:count] + blocks[-1:] * (count - depth)

    def once_of(self, part: Choices, shared: Choices) -> tuple[Choices, int]:
        """What is chosen or tied once, under local names without the depth, and the depth.

        Args:
            part: choices of the stage.
            shared: choices for the whole space, and those of earlier stages that this one is tied to.
        """
        found = self._plans.get(part)
        if found is None:
            depth, local = self.fixed.get("depth", 0), []  # 0: the depth is tied
            for name, value in part:
                block, key = self._places[name]
                if key == "depth":
                    depth = value
                elif block < 0:  # one pair for all sets of choices that have it
                    local.append(self._pairs.setdefault((key, value, type(value)), (key, value)))
            found = tuple(local), int(depth)
            if not self.each:  # otherwise there are too many to be remembered
                self._plans[part] = found
        if not self.tied:
            return found
        once, depth = found
        values = {**dict(shared), **dict(part)}
        tied = {key: values[name] for key, name in self.tied.items()}
        return (*once, *((key, tied[key]) for key in tied if key != "depth")), int(tied.get("depth", depth))

    def blocks(
        self, part: Choices, shared: Choices, given: Shape, stride: int, classes: int, scale: Scale
    ) -> tuple[list[Node], Shape]:
        """The blocks of the stage on a shape, and the shape after them."""
        once, each = self.plan(part, shared, scale)
        nodes = []
        for index, local in enumerate(each):
            own = {**self.fixed, **dict(once), **dict(local)}
            node = self.block(own, shared, given[0], stride if index == 0 else 1, classes, scale)
            nodes.append(node)
            given = node.shape(given)
        return nodes, given

    def block(
        self, own: Mapping[str, Any], shared: Choices, c_in: int, stride: int, classes: int, scale: Scale
    ) -> Node:
        """One block, from its own parameters (the cell's name and the width among them)."""
        cell = self.cell_named[own["cell"]]
        takes = cell_params(cell)
        around = {**self.shared, **dict(shared), "classes": classes}
        params = {key: _scaled(key, value, scale) for key, value in {**around, **own}.items() if key in takes}
        if scale.dropout is not None and takes >= {"classes", "dropout"}:
            params["dropout"] = scale.dropout
        if scale.width != 1 and "unscaled" in takes:
            params.setdefault("unscaled", own["width"])
        groups = around.get("groups", 1)  # of the whole network
        width = scale.channels(own["width"], groups if isinstance(groups, int) and groups > 0 else 1)
        try:
            made: object = _block(cell, c_in, width, stride, **params)
        except Exception as error:  # a person's own cell can raise anything
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            kind = ShapeError if isinstance(error, ShapeError) else UserError
            raise kind(f"{self._called(own, c_in, width, stride, params)} fails: {reason}") from error
        if not isinstance(made, Node):
            called = self._called(own, c_in, width, stride, params)
            raise UserError(f"{called} must return a layer of searchspaces.layers, got {made!r}")
        return made

    def _called(self, own: Mapping[str, Any], c_in: int, width: int, stride: int, params: Mapping[str, Any]) -> str:
        """The call of a cell, in words."""
        taken = {"c_in": c_in, "width": width, "stride": stride, **params}
        return f"{self.label}: the cell {own['cell']}({', '.join(f'{key}={taken[key]!r}' for key in taken)})"


def _scaled(key: str, value: Any, scale: Scale) -> Any:
    """Parameters whose name ends in `_width` are channels too."""
    return scale.channels(value) if key.endswith("_width") else value


def _by_name(cell: Cell | Choice) -> Any:
    if isinstance(cell, Choice):
        return Choice(tuple(each.__name__ for each in cell.options), cell.per_block)
    return cell.__name__


def local_names(blocks: tuple[Choices, ...]) -> tuple[Choices, ...]:
    return tuple(tuple((name.rpartition(".")[2], value) for name, value in block) for block in blocks)
