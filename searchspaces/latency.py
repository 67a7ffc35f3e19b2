"""What parts of networks take on a device, measured once: with it, latency is a cost that adds up like any other.

After ProxylessNAS (Cai et al. 2019, arXiv:1812.00332, sec. 3.3 and appendix B) and Once-for-All (Cai et al. 2020,
arXiv:1908.09791): every different block is measured alone on the shape that it is given, and a network takes the sum.
A block alone costs a session's overhead, which is taken off, and finds its weights in the cache, where those of a whole
network displace each other; so a line, fitted on networks measured whole, leads from the sum to the prediction.

Predictions are whole microseconds, block by block: sums are exact, and the same everywhere. Measuring itself is in
`estimators.latency`. Left out: what two neighbours save by being run together, of which a sum can know nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searchspaces.cost import COSTS, Cost
from searchspaces.errors import UserError
from searchspaces.files import read_json
from searchspaces.layers import Chain, GraphStep, Node
from searchspaces.own_code import typed_as
from searchspaces.task import Shape, Task

if TYPE_CHECKING:
    from searchspaces.architecture import SearchSpace

FORMAT: Final = 1
"""Raised when an older `nas` would misread what a newer one writes."""

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "format": (int,),
    "space": (str,),
    "task": (str,),
    "how": (dict,),
    "overhead_us": (float, int, type(None)),
    "line": (dict, type(None)),
    "check": (dict, type(None)),
    "parts": (dict,),
}
_HOW: Final = ("runtime", "device", "threads", "batch")


ENDLESS_US: Final = 1e15
"""Thirty years, in microseconds: no part of a network takes so long, and sums and products of less are finite."""


FILE: Final = "latency.json"
"""The file of a table in commands that make one."""


@dataclass(frozen=True, slots=True)
class Line:
    """From the sum of a network's parts to what it takes as a whole.

    Attributes:
        intercept_us: at least 0: what a network costs besides its parts.
        slope: above 0.
    """

    intercept_us: float
    slope: float

    def __call__(self, sum_us: float) -> float:
        """The prediction, in microseconds, unrounded."""
        return self.intercept_us + self.slope * sum_us


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Measured parts of a space's networks; equal where all that it says is.

    Attributes:
        space: the name of the one whose parts were measured.
        task: the images that its networks take.
        how: `runtime`, `device`, `threads`, `batch`, `versions` and `processor` of the measurement.
        parts: median microseconds of each, by `part_name`; the overhead is in them.
        overhead_us: of running nothing.
        line: None until all parts are measured, and whole networks.
        check: what the line was fitted on and how well it predicts other networks, as JSON values.
        file: that it was read from, as typed; no part of what it says.
    """

    space: str
    task: Task
    how: Mapping[str, Any]
    parts: Mapping[str, float] = field(default_factory=dict)
    overhead_us: float | None = None
    line: Line | None = None
    check: Mapping[str, Any] | None = None
    file: str | None = None
    _known: dict[tuple[Node, Shape], int | None] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def base_us(self) -> int:
        """What a whole network takes besides its parts."""
        assert self.line is not None, "the table is not finished"
        return round(self.line.intercept_us)

    def part_us(self, node: Node, given: Shape) -> int | None:
        """What a part adds to the prediction, in whole microseconds; None where it was not measured."""
        key = (node, given)
        if key not in self._known:
            measured = self.parts.get(part_name(node, given))
            assert self.line is not None, "the table is not finished"
            self._known[key] = None if measured is None else round(self.line.slope * self.alone_us(measured))
        return self._known[key]

    def alone_us(self, measured: float) -> float:
        """A measured part without the overhead."""
        return max(0.0, measured - (self.overhead_us or 0.0))

    def network_us(self, network: Node, given: Shape) -> int | None:
        """The prediction for a whole network; None where a part of it was not measured."""
        total = self.base_us
        for node, shape in parts_of(network, given):
            more = self.part_us(node, shape)
            if more is None:
                return None
            total += more
        return total

    def on(self, task: Task) -> Task:
        """The task with the latency that this table tells.

        Raises:
            UserError: the table is of another task, or not finished.
        """
        if str(task) != str(self.task):
            raise UserError(
                f"the latency table is of networks on {self.task}, and costs are counted on {task}: give --task "
                f"{self.task}, or measure again: {command(self.space, task)}"
            )
        if self.line is None:
            raise UserError(
                f"the latency table is incomplete: it has {len(self.parts):,} parts and no check yet; resume with: "
                f"{command(self.space, task, self.file)}"
            )
        return replace(task, latency=self)

    def refuse_gaps(self, space: SearchSpace) -> None:
        """Refuse a space some of whose parts were not measured.

        Raises:
            UserError: parts are missing from the table, or the space is not a chain of stages.
        """
        wanted = space_parts(space, self.task)
        missing = [name for name in wanted if name not in self.parts]
        if missing:
            raise UserError(
                f"the latency table, measured for {self.space}, lacks {len(missing):,} of the {len(wanted):,} parts of "
                f"{space.name}: {command(space.name, self.task)}"
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that it says: sha256 in hex."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        line = None if self.line is None else {"intercept_us": self.line.intercept_us, "slope": self.line.slope}
        return {
            "format": FORMAT,
            "space": self.space,
            "task": str(self.task),
            "how": dict(self.how),
            "overhead_us": self.overhead_us,
            "line": line,
            "check": None if self.check is None else dict(self.check),
            "parts": dict(self.parts),
        }

    def text(self) -> str:
        """As it is kept in a file."""
        return json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def read(path: str | Path) -> LatencyTable:
        """What a file holds.

        Raises:
            UserError: it cannot be read, is not a latency table, is damaged or of a newer version.
        """
        read = read_json(Path(path), "the latency table")
        try:
            return replace(_checked(read), file=str(path))
        except UserError as error:
            raise UserError(f"{str(path)!r} is not a latency table: {error}") from error

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, LatencyTable) and self.fingerprint == other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def _checked(read: Any) -> LatencyTable:
    """The table of what a file holds, which may be anything."""
    found = read.get("format") if isinstance(read, dict) else None
    if not isinstance(found, int) or found < 1:
        raise UserError("it has no format")
    if found > FORMAT:
        raise UserError(f"it was written by a newer nas (format {found}; this one reads {FORMAT}): upgrade nas-toolkit")
    for name, kinds in _KINDS.items():
        if name not in read:
            raise UserError(f"it has no {name!r}")
        if not isinstance(read[name], kinds):
            raise UserError(f"{name!r} cannot be {str(read[name])!r}")
    for name in _HOW:
        if name not in read["how"]:
            raise UserError(f"'how' has no {name!r}")
    for name, value in [*read["parts"].items(), ("overhead_us", read["overhead_us"] or 0.0)]:
        if not _is_number(value) or not 0 <= value < ENDLESS_US:
            raise UserError(f"{name!r} cannot take {value!r} microseconds")
    line = None
    if read["line"] is not None:
        ends = [read["line"].get(name) for name in ("intercept_us", "slope")]
        if not all(map(_is_number, ends)) or not 0 <= ends[0] < ENDLESS_US or not 0 < ends[1] < ENDLESS_US:
            raise UserError(f"'line' cannot be {read['line']!r}")
        line = Line(*map(float, ends))
    return LatencyTable(
        read["space"], Task.parse(read["task"]), read["how"], read["parts"], read["overhead_us"], line, read["check"]
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def known_costs(space: SearchSpace, task: Task) -> tuple[str, ...]:
    """Names of the costs of a space's networks on a task: of recorded networks, those that were recorded."""
    recorded: tuple[str, ...] | None = getattr(space.whole, "recorded_costs", None)
    return task.costs if recorded is None else recorded


def refuse_unknown(costs: Iterable[str], space: SearchSpace, task: Task) -> None:
    """Refuse costs that are not known on a task.

    Raises:
        UserError: a latency is asked for without a table; the message has the command that makes one. Or a cost of
            recorded networks was not recorded.
    """
    known = known_costs(space, task)
    unknown = [cost for cost in costs if cost in COSTS and cost not in known]
    if unknown and hasattr(space.whole, "recorded_costs"):
        cost = unknown[0]
        raise UserError(
            f"{cost} is not among the recorded costs of {space.name}: name its field in the table, as in "
            f"--cost {cost}=FIELD"
        )
    if "latency_ms" in unknown:
        raise UserError(
            f"latency_ms needs a latency table, measured on the device: {command(space.name, task)}; then give it: "
            "--latency latency.json"
        )


def command(space: str, task: Task, file: str | None = None) -> str:
    """What a person types to make a table.

    Args:
        space: its name; a person's own is typed as the `file.py:object` that it was loaded from.
        task: the images.
        file: of the table.
    """
    words = ["nas", "measure", "--space", typed_as(space) or space, "--task", str(task), "--out", file or FILE]
    return shlex.join(words)


def space_parts(space: SearchSpace, task: Task) -> dict[str, tuple[Node, Shape]]:
    """Every different part of a space's networks, by name and in the order of the names.

    Raises:
        UserError: the space is not a chain of stages: its networks have no parts that come again.
    """
    blocks = getattr(space, "blocks", None)
    if blocks is None:
        raise UserError(
            f"space {space.name} is not a chain of stages: its {space.size:.3g} networks share too few parts to be "
            "measured once, so it has no latency table; measure whole networks instead: nas measure NETWORK"
        )
    return dict(sorted((part_name(node, given), (node, given)) for node, given in blocks(task)))


def network_cost(network: Node, task: Task) -> Cost:
    """What a network of any make costs on one image of a task; its latency where all its parts were measured."""
    cost = network.cost(task.shape)
    return cost if task.latency is None else replace(cost, latency_us=task.latency.network_us(network, task.shape))


def parts_of(network: Node, given: Shape) -> list[tuple[Node, Shape]]:
    """The blocks of a network, as spaces make them: a chain of one labelled chain for each stage."""
    stages = list(network.steps(given)) if isinstance(network, Chain) else [(network, given)]
    found: list[tuple[Node, Shape]] = []
    for stage, shape in stages:
        found += stage.steps(shape) if isinstance(stage, Chain) and stage.label else [(stage, shape)]
    return found


def part_name(node: Node, given: Shape) -> str:
    """A part and the shape that it is given, as text, the same in every process and version.

    >>> from searchspaces.layers import Act, Conv
    >>> part_name(Chain(Conv(16, 3, stride=2), Act("silu")), (3, 32, 32))
    "3x32x32 Chain(Conv(16, kernel=3, stride=2), Act(kind='silu'))"
    """
    return f"{'x'.join(map(str, given))} {_spelled(node)}"


def _spelled(value: Any) -> str:
    """A node without its labels and without what is as usual."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_spelled, value))})"
    if not isinstance(value, Node | GraphStep):
        return repr(value)
    if isinstance(value, Node) and not is_dataclass(value):
        said = list(map(_spelled, value.children()))
    else:
        said = []
        for each in fields(value):
            part = getattr(value, each.name)
            if each.default is MISSING:
                said.append(_spelled(part))
            elif each.compare and part != each.default:
                said.append(f"{each.name}={_spelled(part)}")
    kind = type(value).__name__
    return f"{_NAMES.get(kind, kind)}({', '.join(said)})"


_NAMES: Final = {"GraphStep": "Step", "Multiply": "Scaled"}
"""Names in tables that differ from those of the classes, which were renamed."""
