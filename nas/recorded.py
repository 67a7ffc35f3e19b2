"""What strategies are benchmarked on: a table or an estimator of one's own, and the space that belongs to it."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import field as _field
from typing import TYPE_CHECKING, Any, Final

from searchspaces import COSTS, SearchSpace, UserError, load_object, load_space, nearest
from searchspaces.cost import UNITS, WHOLES
from searchspaces.recorded import RecordedSpace
from searchspaces.recorded_costs import RecordedCosts

if TYPE_CHECKING:
    from estimators import Estimator, TableEstimator
    from searchspaces import Architecture

    Truth = Callable[[Architecture], float | None]

FIELD: Final = "test_acc"
"""Field of a table's accuracies by default."""
BARE: Final = ("random", "grid")
"""What can search networks of which nothing is known but a name."""


@dataclass(frozen=True)
class Recorded:
    """What is known of the accuracies on which strategies were run, and of the costs that a budget bounds.

    Attributes:
        entries: of the table.
        fewest, most: accuracies recorded in one entry.
        field, judge: where they are, and where the true accuracies are.
        estimator: in place of the table, of which the others are then None.
        options: where the space is what the table holds, how many options each decision has; None elsewhere.
        costs: field of the table by the cost that was recorded there, with its unit, as it was given.
    """

    entries: int | None
    fewest: int | None
    most: int | None
    field: str | None
    judge: str | None
    estimator: str | None
    options: tuple[int, ...] | None
    costs: dict[str, str]


@dataclass(frozen=True)
class RecordedCost:
    """A cost and the field of a table's entries where it was recorded.

    Attributes:
        cost: one of `COSTS`.
        field: its name in the table.
        unit: `K`, `M`, `G` or `T` where the numbers are thousands, millions, ...; milliseconds have none.

    >>> RecordedCost("macs", "flops", "M").whole(153.27331)
    153273310
    >>> RecordedCost("latency_ms", "pixel3").whole(8.4129)  # microseconds
    8413
    """

    cost: str
    field: str
    unit: str = ""

    def whole(self, number: float) -> int:
        """`Cost.whole` of a recorded number."""
        return round(number * WHOLES.get(self.cost, UNITS[self.unit]))

    def __str__(self) -> str:
        return f"{self.field}:{self.unit}" if self.unit else self.field


def parse_costs(text: str) -> tuple[RecordedCost, ...]:
    """Costs and the fields that they are in, as in `macs=flops:M,params=params`.

    Raises:
        UserError: a part has another form, or a cost is unknown or given twice.

    >>> [str(each) for each in parse_costs("macs=flops:M,latency_ms=pixel3")]
    ['flops:M', 'pixel3']
    """
    found: dict[str, RecordedCost] = {}
    for part in text.split(","):
        name, equals, field = (each.strip() for each in part.partition("="))
        name = name.replace("-", "_")
        if not (name and equals and field):
            raise UserError(f"cost: {part.strip()!r} does not look like 'macs=FIELD' or 'macs=FIELD:M'")
        if name not in COSTS:
            raise UserError(f"cost: unknown cost {name!r}{nearest(name, COSTS)}")
        if name in found:
            raise UserError(f"cost: {name} is given twice in {text!r}")
        plain, colon, unit = field.rpartition(":")
        scaled = bool(colon) and unit in UNITS and name not in WHOLES
        found[name] = RecordedCost(name, plain, unit) if scaled else RecordedCost(name, field)
    return tuple(found.values())


@dataclass(frozen=True)
class Source:
    """Where accuracies, costs and networks come from, as a person gave it: another process can open it, functions of a
    file included. It opens its files once; a new one of the same paths opens them anew, as they may have changed.

    Attributes:
        table: a JSON file, as `TableEstimator` reads it; the mean of a network's accuracies is its true accuracy. Or
            `file.py:object`, a person's own estimator or surrogate, whose `mean(architecture)`, if it has one, is the
            true accuracy in [0, 1].
        space: a name, `file.py:object`, or a space; by default the networks of the table, whose decisions are the
            fields of their keys (`searchspaces.recorded`).
        key: `file.py:function` that gives an architecture's key in the table; by default its text form.
        unit, field: of the table, as for `TableEstimator`.
        judge: field of the true accuracies, such as those on test images where `field` has those on validation images;
            by default `field`.
        cost: costs and the fields of the table where they are recorded, as in `macs=flops:M,latency_ms=pixel3`: a
            budget then bounds these, in place of what a network is counted to cost.

    Raises:
        UserError: some of them do not go together.
    """

    table: str
    space: str | SearchSpace | None = None
    key: str | None = None
    unit: str = "fraction"
    field: str = FIELD
    judge: str | None = None
    cost: str | None = None
    _made: str = _field(init=False, repr=False, default_factory=lambda: secrets.token_hex(8))  # kept where it is copied

    def __post_init__(self) -> None:
        of_table = (self.key, self.unit, self.field, self.judge, self.cost)
        if self._own and of_table != (None, "fraction", FIELD, None, None):
            raise UserError("key, unit, field, judge and cost are for a table; an estimator takes none of them")
        if self._own and self.space is None:
            raise UserError("an estimator needs a space: add --space")
        if self.key is not None and self.space is None:
            raise UserError("--key gives the key of a network of a space: give --space, or leave both out")

    @property
    def _own(self) -> bool:
        """Whether it is a person's own estimator."""
        return ".py:" in self.table

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one, for the runs of a process
    def opened(self) -> tuple[Estimator, Truth | None]:
        """The estimator, and the true accuracies where they are known.

        Raises:
            UserError: the table or the estimator cannot be read, or it has no such field or judge.
        """
        from studies.origins import estimator_from

        if self._own:
            own = estimator_from(self.table, "", "auto", {})[1]
            return own, getattr(own, "mean", None)
        observed = self._table(self.field)
        if self.judge is None:
            return observed, observed.mean
        if not observed.has_fields:
            raise UserError(f"judge {self.judge!r}: not all entries of {self.table!r} are objects with fields")
        return observed, self._table(self.judge).mean

    @functools.lru_cache(maxsize=1)  # noqa: B019 - the space is asked for by its costs, which it remembers
    def whole(self) -> SearchSpace:
        """The space without a budget, with the costs that were recorded."""
        space = self._plain()
        if self.cost is None:
            return space
        table, costs = self._table(self.field), parse_costs(self.cost)
        columns = {each.cost: {key: each.whole(n) for key, n in table.numbers(each.field).items()} for each in costs}
        recorded = {key: {name: column[key] for name, column in columns.items()} for key in table.keys}
        return RecordedCosts(space, recorded, table.key_of)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - its members know it by identity
    def _plain(self) -> SearchSpace:
        """The space that was given, or what the table holds."""
        from estimators import TableEstimator

        if self.space is not None:
            return load_space(self.space)
        return RecordedSpace(TableEstimator(self.table, self.unit, self.field).keys)

    def refuse_bare(self, strategies: Iterable[str]) -> None:
        """Refuse strategies that learn from what networks have in common, where a table lists names alone.

        Raises:
            UserError: its keys have one field, and a strategy is not in `BARE`.
        """
        learning = [each for each in strategies if each not in BARE]
        if isinstance(self._plain(), RecordedSpace) and len(self._plain().decisions) == 1 and learning:
            raise UserError(
                f"the keys of {self.table!r} differ in only one field, so networks have nothing in common that "
                f"{learning[0]} could learn from: give --space and --key, or --strategies random"
            )

    @functools.lru_cache(maxsize=2)  # noqa: B019 - what is observed, and what judges
    def _table(self, field: str) -> TableEstimator:
        from estimators import TableEstimator

        function: Any = None if self.key is None else load_object(self.key)
        if function is not None and not callable(function):
            raise UserError(
                f"{self.key} is a {type(function).__name__}, not a function from an architecture to its key"
            )
        if isinstance(space := self._plain(), RecordedSpace):
            function = space.key
        return TableEstimator(self.table, self.unit, field, function)

    def recorded(self) -> Recorded:
        """What is known of the accuracies and costs."""
        if self._own:
            return Recorded(None, None, None, None, None, self.table, None, {})
        space = self._plain()
        options = tuple(len(each.options) for each in space.decisions) if isinstance(space, RecordedSpace) else None
        costs = {} if self.cost is None else {each.cost: str(each) for each in parse_costs(self.cost)}
        table = self._table(self.field)
        return Recorded(*table.recorded, self.field, self.judge or self.field, None, options, costs)
