"""The space `nasnet`: every input and every operation of a normal and a reduction cell is a decision.

Zoph 2018, arXiv:1707.07012, sec. 3 (pairs, operations, stacking); Real 2019, arXiv:1802.01548, sec. 3.2 (mutation).
Cells that differ only in the order of a pair's halves, or of the pairs, are one architecture: see `Wiring.canonical`.
Beyond the papers, a used state may be an output of its cell too, as it is in the published networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture
from searchspaces.budgeted.feasible import Feasible, known
from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError, nearest
from searchspaces.grammar import Choices, Decision, Grammar, Value
from searchspaces.layers import Chain
from searchspaces.stage import PUBLISHED, Scale
from searchspaces.task import Task
from searchspaces.wiring import OPERATIONS, Half, Wiring, Wirings, stacked
from searchspaces.wiring_costs import Counts, Frame, Parts, WiringCosts
from searchspaces.wiring_rows import WiredRows

CELLS: Final = ("normal", "reduction")

# The published cells, as tensorflow/models and tensorflow/tpu have them.
NASNET_A: Final = (
    Wiring(
        (
            ((0, "sep5x5"), (1, "sep3x3")),
            ((1, "sep5x5"), (1, "sep3x3")),
            ((0, "avg3x3"), (1, "identity")),
            ((1, "avg3x3"), (1, "avg3x3")),
            ((0, "sep3x3"), (0, "identity")),
        ),
        kept=(1,),
    ),
    Wiring(
        (
            ((0, "sep5x5"), (1, "sep7x7")),
            ((0, "max3x3"), (1, "sep7x7")),
            ((0, "avg3x3"), (1, "sep5x5")),
            ((3, "identity"), (2, "avg3x3")),
            ((2, "sep3x3"), (0, "max3x3")),
        ),
        kept=(3,),
    ),
)
AMOEBANET_A: Final = (
    Wiring(
        (
            ((0, "avg3x3"), (0, "max3x3")),
            ((1, "sep3x3"), (1, "identity")),
            ((0, "identity"), (1, "avg3x3")),
            ((0, "sep3x3"), (2, "sep5x5")),
            ((5, "avg3x3"), (0, "sep3x3")),
        ),
        kept=(1,),
    ),
    Wiring(
        (
            ((1, "sep3x3"), (0, "avg3x3")),
            ((0, "max3x3"), (2, "sep7x7")),
            ((1, "max3x3"), (0, "max3x3")),
            ((4, "sep3x3"), (0, "1x7+7x1")),
            ((1, "avg3x3"), (0, "sep7x7")),
        ),
        kept=(2, 4),
    ),
)
PNASNET_5: Final = Wiring(
    (
        ((1, "sep5x5"), (1, "max3x3")),
        ((0, "sep7x7"), (0, "max3x3")),
        ((0, "sep5x5"), (0, "sep3x3")),
        ((4, "sep3x3"), (0, "max3x3")),
        ((1, "sep3x3"), (0, "identity")),
    ),
    kept=(4,),
)

REMEMBERED: Final = 1 << 14
"""Cells and frames that are kept once they were read, written or counted."""

NARROWEST: Final = 8
"""The smallest width (F) that the first reduction cell can be made with."""


class NASNetSpace:
    """Networks stacked from two cells with free wiring.

    Args:
        name: what people type.
        pairs: in each cell (B in the papers).
        operations: of `wiring.OPERATIONS`.
        width: options for the channels of a state of the first normal cells (F).
        repeats: options for the normal cells between reductions (N).
        stem_width: options for the channels of the first convolution.
        references: members by name: normal cell, reduction cell, and the other choices.
        doc: a line for a person.
        keeps_strides: whether all strides are kept on small images.

    Raises:
        UserError: a width is too small for large images, or no whole number.
    """

    def __init__(
        self,
        name: str,
        *,
        pairs: int = 5,
        operations: tuple[str, ...] = OPERATIONS,
        width: tuple[int, ...],
        repeats: tuple[int, ...],
        stem_width: tuple[int, ...],
        references: Mapping[str, tuple[Wiring, Wiring, Mapping[str, Value]]] | None = None,
        doc: str = "",
        keeps_strides: bool = False,
    ) -> None:
        for each in width:
            if not isinstance(each, int) or each < NARROWEST:
                raise UserError(
                    f"{name}: each width must be a whole number of at least {NARROWEST}, as the first reduction cell "
                    f"on large images has a quarter of it, in two halves; got {each!r}"
                )
        for op in operations:
            if op not in OPERATIONS:
                raise UserError(f"{name}: unknown operation {op!r}{nearest(op, OPERATIONS)}")
        if not operations:
            raise UserError(f"{name}: it needs at least one operation")
        self.name, self.pairs, self.operations, self.doc = name, pairs, operations, doc
        self.keeps_strides = keeps_strides
        self._members = dict(references or {})
        self._frame = (
            Decision("width", width),
            Decision("repeats", repeats),
            Decision("stem_width", stem_width),
            Decision("skip", (False, True)),
        )
        self._states = ("last", "before", *(f"pair{index + 1}" for index in range(pairs)))
        self._inputs = {
            cell: tuple(f"{cell}.pair{index + 1}.input{half}" for index in range(pairs) for half in (1, 2))
            for cell in CELLS
        }
        self.grammar = Grammar(
            (*self._frame, *(d for cell in CELLS for d in self._cell_decisions(cell))), self._matters
        )
        # on a reduction cell's inputs an identity is a strided 1x1 convolution: there the two would be one
        strided = tuple(op for op in operations if not (op == "1x1" and "identity" in operations))
        self._cells = {
            "normal": Wirings(pairs, operations, operations),
            "reduction": Wirings(pairs, operations, strided),
        }
        self._names = {
            cell: [
                (f"{cell}.pair{index + 1}.input{half}", f"{cell}.pair{index + 1}.op{half}")
                for index in range(pairs)
                for half in (1, 2)
            ]
            for cell in CELLS
        }
        self._keeps = {cell: [f"{cell}.{state}.keep" for state in self._states] for cell in CELLS}
        lengths = [len(self._frame), *(2 * len(self._names[cell]) + len(self._states) - 1 for cell in CELLS)]
        self._ends = [0, *accumulate(lengths)]  # of an architecture's parts in a vector
        self._forget()

    def _forget(self) -> None:
        """Empty what is only remembered."""
        self._costs: dict[tuple[Architecture, Task, Scale], Cost] = {}
        self._frames: dict[tuple[Choices, Task], Frame] = {}
        self._tables: dict[Task, WiringCosts] = {}
        self._parts: dict[tuple[str, Wiring], Choices] = {}  # of cells as they are written
        self._wired: dict[tuple[str, Choices], tuple[Wiring, Parts]] = {}  # of parts
        self._vectors: dict[tuple[int, Choices], npt.NDArray[np.int16]] = {}  # of parts

    of = budget = task = largest = None

    @property
    def whole(self) -> NASNetSpace:
        """Itself: it has no budget."""
        return self

    @cached_property
    def published(self) -> NASNetSpace:
        """The space whose networks keep their strides on images of every size."""
        frame = {decision.name: decision.options for decision in self._frame if decision.name != "skip"}
        return NASNetSpace(
            f"{self.name}@{PUBLISHED}",
            pairs=self.pairs,
            operations=self.operations,
            references=self._members,
            doc=self.doc,
            keeps_strides=True,
            **frame,  # type: ignore[arg-type]
        )

    def _cell_decisions(self, cell: str) -> Iterator[Decision]:
        for index in range(self.pairs):
            for half in (1, 2):
                yield Decision(f"{cell}.pair{index + 1}.input{half}", self._states[: index + 2])
                yield Decision(f"{cell}.pair{index + 1}.op{half}", self.operations)
        for state in self._states[:-1]:  # no pair can use the last one
            yield Decision(f"{cell}.{state}.keep", (False, True))

    def _matters(self, name: str, taken: Mapping[str, Value]) -> bool:
        if not name.endswith(".keep"):
            return True
        cell, state, _ = name.split(".")
        return any(taken.get(each) == state for each in self._inputs[cell])

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in order: the frame, the normal cell, the reduction cell."""
        return self.grammar.decisions

    @cached_property
    def size(self) -> int:
        """How many architectures it holds, exactly."""
        size = 1
        for decision in self._frame:
            size *= len(decision.options)
        return size * self._cells["normal"].count * self._cells["reduction"].count

    @cached_property
    def references(self) -> dict[str, Architecture]:
        """Classic networks that are members, by name."""
        return {
            name: self._architecture(tuple(frame.items()), {"normal": normal, "reduction": reduction})
            for name, (normal, reduction, frame) in self._members.items()
        }

    @cached_property
    def extremes(self) -> tuple[Architecture, ...]:
        """Those to be taken for the cheapest (average pooling, or nothing, in a row) and the dearest.

        The cheapest cells have one output or few, without a convolution where that can be; in the dearest all pairs
        have the dearest operation, and all states are outputs.
        """
        free = "avg3x3" if "avg3x3" in self.operations else self.operations[0]
        dear = "sep7x7" if "sep7x7" in self.operations else self.operations[-1]
        last = range(2, self.pairs + 1)
        row = Wiring((((0, free), (1, free)), *(((state, free), (state, free)) for state in last)))
        full = Wiring((((0, dear), (1, dear)),) * self.pairs, (0, 1))
        found = []
        for end, cell in ((0, row), (-1, full)):
            for skip in (False, True):
                frame: dict[str, Value] = {d.name: sorted(d.options)[end] for d in self._frame if d.name != "skip"}
                frame["skip"] = skip
                found.append(self._architecture(tuple(frame.items()), {"normal": cell, "reduction": cell}))
        return tuple(found)

    def describe(self) -> dict[str, Any]:
        """What the space is, as JSON: two spaces with equal descriptions hold the same architectures."""
        frame = {decision.name: list(decision.options) for decision in self._frame}
        strides = {"strides": PUBLISHED} if self.keeps_strides else {}
        return {"name": self.name, "pairs": self.pairs, "operations": list(self.operations), **frame, **strides}

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The architecture of a set of choices, canonical; those without effect are dropped.

        Raises:
            UserError: if a decision is unknown or missing, or a value is not among its options.
        """
        taken = dict(self.grammar.canonical(choices))
        frame = tuple((decision.name, taken[decision.name]) for decision in self._frame)
        return self._architecture(frame, {cell: self._wiring(taken, cell) for cell in CELLS})

    def _wiring(self, taken: Mapping[str, Value], cell: str) -> Wiring:
        """The cell of a set of choices."""

        halves: list[Half] = [
            (self._states.index(str(taken[state])), str(taken[op])) for state, op in self._names[cell]
        ]
        kept = (state for state, name in enumerate(self._keeps[cell]) if taken.get(name))
        return Wiring(tuple(zip(halves[::2], halves[1::2], strict=True)), tuple(kept))

    def _architecture(self, frame: Choices, cells: Mapping[str, Wiring]) -> Architecture:
        """The architecture of two cells, which need not be canonical."""
        return Architecture(self, (frame, *(self._written(cell, wiring) for cell, wiring in cells.items())))

    def _written(self, cell: str, wiring: Wiring) -> Choices:
        """The choices of a cell, which need not be canonical; remembered."""
        key = cell, wiring
        if key not in self._parts:
            if len(self._parts) >= REMEMBERED:
                self._parts.clear()
            if cell == "reduction" and "identity" in self.operations:
                pairs = (tuple((s, "identity" if s < 2 and op == "1x1" else op) for s, op in p) for p in wiring.pairs)
                wiring = Wiring(tuple((one, two) for one, two in pairs), wiring.kept)
            wiring = wiring.canonical()
            chosen: list[tuple[str, Value]] = []
            halves = (half for pair in wiring.pairs for half in pair)
            for (state, op), names in zip(halves, self._names[cell], strict=True):
                chosen += (names[0], self._states[state]), (names[1], op)
            chosen += [(self._keeps[cell][state], state in wiring.kept) for state in sorted(wiring.used)]
            self._parts[key] = tuple(chosen)
        return self._parts[key]

    def _read(self, cell: str, part: Choices) -> tuple[Wiring, Parts]:
        """The cell of an architecture's part, and what of it costs depend on; remembered."""
        key = cell, part
        if key not in self._wired:
            if len(self._wired) >= REMEMBERED:
                self._wired.clear()
            wiring = self._wiring(dict(part), cell)
            self._wired[key] = wiring, Parts.of(wiring)
        return self._wired[key]

    def wirings(self, architecture: Architecture) -> dict[str, Wiring]:
        """The normal and the reduction cell."""
        return {cell: self._read(cell, part)[0] for cell, part in zip(CELLS, architecture.parts[1:], strict=True)}

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Chain:
        """The tree of layers: stem, cells, head."""
        frame, cells = dict(architecture.parts[0]), self.wirings(architecture)
        return stacked(
            cells["normal"],
            cells["reduction"],
            task,
            width=scale.channels(int(frame["width"])),
            repeats=(scale.blocks(int(frame["repeats"])),) * 3,
            stem_width=scale.channels(int(frame["stem_width"])),
            skip=bool(frame["skip"]),
            dropout=0.5 if scale.dropout is None else scale.dropout,
            made_for=None if self.keeps_strides else scale.unscaled(task.image_size),
        )

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """What it costs on one image of the task; remembered."""
        key = (architecture, task, scale)
        if key not in self._costs:
            if len(self._costs) > 1 << 14:
                self._costs.clear()
            self._costs[key] = self.network(architecture, task, scale).cost(task.shape)
        return self._costs[key]

    def additive(self, architecture: Architecture, task: Task) -> Counts:
        """MACs, parameters and activations on one image of the task, sooner than `cost`."""
        frame, *cells = architecture.parts
        normal, reduction = (self._read(cell, part)[1] for cell, part in zip(CELLS, cells, strict=True))
        return self._counted_frame(frame, task).counts(normal, reduction)

    def _counted_frame(self, frame: Choices, task: Task) -> Frame:
        """The costs of a frame; remembered."""
        key = frame, task
        if key not in self._frames:
            if len(self._frames) >= REMEMBERED:
                self._frames.clear()
            chosen: dict[str, Any] = dict(frame)
            made_for = None if self.keeps_strides else task.image_size
            self._frames[key] = Frame(
                task, chosen["width"], (chosen["repeats"],) * 3, chosen["stem_width"], chosen["skip"], made_for
            )
        return self._frames[key]

    def cost_tables(self, task: Task) -> WiringCosts:
        """MACs, parameters and activations of many architectures at once."""
        if task not in self._tables:

            def frame(indices: list[int]) -> Frame:
                pairs = zip(self._frame, indices, strict=True)
                return self._counted_frame(tuple((d.name, d.options[index]) for d, index in pairs), task)

            options = tuple(len(decision.options) for decision in self._frame)
            self._tables[task] = WiringCosts(options, frame, self.pairs, self.operations)
        return self._tables[task]

    @cached_property
    def rows(self) -> WiredRows:
        """Draws and mutates many architectures at once."""
        return WiredRows(self.decisions, len(self._frame), [self._cells[cell] for cell in CELLS])

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, each equally likely."""
        frame = tuple((d.name, d.options[rng.integers(len(d.options))]) for d in self._frame)
        return self._architecture(frame, {cell: wirings.draw(rng) for cell, wirings in self._cells.items()})

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One step of AmoebaNet's search: a cell, one of its pairs and one of the pair's halves, all drawn uniformly.

        Mostly (0.45) the half's state is replaced by another one, from which no circle arises; or (0.45) its operation.
        Where the paper changes nothing (0.05), a mutant must differ: with 0.1 one of the other decisions is changed,
        an output of a cell or the frame.
        """
        while True:
            kind = rng.random()
            frame, cells = dict(architecture.parts[0]), self.wirings(architecture)
            if kind < 0.9:
                cell = CELLS[rng.integers(2)]
                cells[cell] = self._rewired(cells[cell], kind < 0.45, rng)
                mutant = self._architecture(tuple(frame.items()), cells)
            else:
                choices = architecture.choices
                frame_and_outputs = (d for d in self.decisions if d in self._frame or d.name.endswith(".keep"))
                others = [d for d in frame_and_outputs if d.name in choices and len(d.options) > 1]
                decision = others[rng.integers(len(others))]
                options = [option for option in decision.options if option != choices[decision.name]]
                mutant = self.architecture({**choices, decision.name: options[rng.integers(len(options))]})
            if mutant != architecture:
                return mutant

    def _rewired(self, wiring: Wiring, state: bool, rng: np.random.Generator) -> Wiring:
        """One half with another state (one from which no circle arises), or with another operation."""
        pairs = [list(pair) for pair in wiring.pairs]
        index, side = int(rng.integers(self.pairs)), int(rng.integers(2))
        old, op = pairs[index][side]
        if state or len(self.operations) == 1:
            others = sorted(set(range(self.pairs + 2)) - wiring.downstream(index) - {old})
            pairs[index][side] = others[rng.integers(len(others))], op
        else:
            operations = [each for each in self.operations if each != op]
            pairs[index][side] = old, operations[rng.integers(len(operations))]
        return Wiring(tuple((one, two) for one, two in pairs), wiring.kept)

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first decision still open after a prefix of choices; several ways may lead to one architecture."""
        return self.grammar.open(prefix)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision, -1 where it has no effect; shape (decisions,)."""
        return np.concatenate([self._encoded(number, part) for number, part in enumerate(architecture.parts)])

    def _encoded(self, number: int, part: Choices) -> npt.NDArray[np.int16]:
        """The vector of one of an architecture's parts; remembered."""
        key = number, part
        if key not in self._vectors:
            if len(self._vectors) >= REMEMBERED:
                self._vectors.clear()
            start, end = self._ends[number : number + 2]
            self._vectors[key] = self.grammar.encode(dict(part))[start:end]
        return self._vectors[key]

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """What `encode` was given."""
        return self.architecture(self.grammar.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All of it; mind the size."""
        for choices in self.grammar.enumerate():
            found = self.architecture(dict(choices))
            if found.choices == dict(choices):
                yield found

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """The part of the space that fits a budget on a task, found by drawing.

        Raises:
            UserError: if nothing was found that fits.
        """
        return Feasible(self, budget, task, partial(known, self, extremes=lambda: self.extremes))

    def words(self, architecture: Architecture) -> str:
        """One line for a person."""
        frame = " ".join(f"{name}={value}" for name, value in architecture.parts[0])
        return " | ".join((frame, *(f"{cell} {self._said(w)}" for cell, w in self.wirings(architecture).items())))

    def _said(self, wiring: Wiring) -> str:
        pairs = ("+".join(f"{op}({self._states[state]})" for state, op in pair) for pair in wiring.pairs)
        kept = "".join(f" keep {self._states[state]}" for state in wiring.kept)
        return "; ".join(pairs) + kept

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture.space == self
            and architecture == self.architecture(architecture.choices)
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, NASNetSpace) and self.describe() == other.describe())

    def __hash__(self) -> int:
        return hash(self.name)

    def __getstate__(self) -> dict[str, object]:
        remembered = ("_costs", "_frames", "_tables", "_parts", "_wired", "_vectors")
        return {**self.__dict__, **{name: {} for name in remembered}}  # keys that hold it would be hashed before it is

    def __repr__(self) -> str:
        return f"NASNetSpace({self.name!r}, {self.size:,} architectures)"


def nasnet_space() -> NASNetSpace:
    """The space `nasnet`: NASNet's operations, five pairs in each cell, networks from tiny to NASNet-A large."""

    def frame(width: int, repeats: int, stem_width: int, skip: bool = False) -> dict[str, Value]:
        return {"width": width, "repeats": repeats, "stem_width": stem_width, "skip": skip}

    return NASNetSpace(
        "nasnet",
        doc="cells with free wiring, as NASNet and AmoebaNet have them",
        width=(8, 12, 16, 24, 32, 44, 50, 168, 190),
        repeats=(1, 2, 3, 4, 5, 6),
        stem_width=(16, 32, 96),
        references={
            "nasnetamobile": (*NASNET_A, frame(44, 4, 32)),
            "nasnetalarge": (*NASNET_A, frame(168, 6, 96, skip=True)),
            "amoebanet_a_mobile": (*AMOEBANET_A, frame(50, 4, 32)),
            "amoebanet_a": (*AMOEBANET_A, frame(190, 6, 32)),
        },
    )
