"""The networks of a table as a space: strategies can be compared on recorded accuracies without a space of one's own.

A network is known by its key in the table, and the fields of the key are its decisions. Nothing else is known of it: it
cannot be built, and its costs are those that the table recorded (`searchspaces.recorded_costs`), or unknown. A network
that has two keys, as some of NAS-Bench-201 have (Dong & Yang 2020, arXiv:2001.00326), is two members.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.feasible import Feasible
from searchspaces.cost import Budget, Cost
from searchspaces.errors import UserError
from searchspaces.grammar import Decision, Grammar, Value
from searchspaces.node import Node, ShapeError, layer
from searchspaces.stage import Scale
from searchspaces.task import Shape, Task

ABSENT: Final = ""
"""The option of a decision that a key has no field for."""

_NUMBER: Final = re.compile(r"(0|[1-9]\d*)(\.\d*[1-9])?")


@layer
class Unknown(Node):
    """A network of which only a key is known: it can be told from others, but neither costed nor built.

    Attributes:
        key: in its table.
    """

    key: str

    def _shape(self, given: Shape) -> Shape:
        raise ShapeError(f"network {self.key!r} is known only by its key in a table, and cannot be built")


@final
class RecordedSpace(SearchSpace):
    """Some networks by their keys, as `fields_of` reads them. A field that is the same in all keys is no decision.

    Members need not be all combinations of options: what is drawn, mutated to or completed is in the table. A mutation
    changes as few fields as lead to another member, and each of the members at that distance is equally likely.

    Args:
        keys: all different; at least two.
        name: of the space.

    Raises:
        UserError: there are fewer than two keys, or two of them have equal fields.
    """

    recorded_costs: tuple[str, ...] = ()

    def __init__(self, keys: Iterable[str], name: str = "table") -> None:
        self._keys = tuple(keys)
        if len(self._keys) < 2:
            raise UserError(f"a search needs two networks or more, and the table has {len(self._keys)}")
        self._name = name
        fields = fields_of(self._keys)
        names = dict.fromkeys(name for each in fields for name in each)
        columns = {name: [each.get(name, ABSENT) for each in fields] for name in names}
        decisions = (Decision(name, _options(column)) for name, column in columns.items())
        self._grammar = Grammar(tuple(each for each in decisions if len(each.options) > 1), lambda name, taken: True)
        kept = [(each.name, columns[each.name]) for each in self.decisions]
        parts = [tuple((name, column[place]) for name, column in kept) for place in range(len(fields))]
        self._members = tuple(Architecture(self, (each,)) for each in parts)
        self._places: dict[Any, int] = {}
        for place, each in enumerate(parts):
            if (twin := self._places.setdefault(each, place)) != place:
                raise UserError(
                    f"the keys {self._keys[twin]!r} and {self._keys[place]!r} of the table have equal fields"
                )
        self._rows = np.stack([self._grammar.encode(dict(each)) for each in parts])  # (networks, decisions)
        self._nearest = lru_cache(maxsize=4096)(self._find_nearest)  # of the members that were mutated

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def doc(self) -> str:
        """One line about the space, for a person."""
        return f"{self.size:,} networks of a table"

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The fields of the keys that are not the same in all of them."""
        return self._grammar.decisions

    @property
    def size(self) -> int:
        """The number of keys."""
        return len(self._keys)

    @property
    def references(self) -> dict[str, Architecture]:
        """None are known."""
        return {}

    def key(self, architecture: Architecture) -> str:
        """The key of a member in the table."""
        return self._keys[self._place(architecture)]

    def architecture(self, choices: Mapping[str, Value]) -> Architecture:
        """The network of a set of choices.

        Raises:
            UserError: a decision is unknown or missing, a value is not among its options, or the table has no such
                network.
        """
        found = Architecture(self, (self._grammar.canonical(choices),))
        if found not in self:
            raise UserError(f"the table has no network of {', '.join(f'{k}={v}' for k, v in choices.items())}")
        return found

    def network(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Node:
        """Its key in place of a tree of layers."""
        return Unknown(self.key(architecture))

    def cost(self, architecture: Architecture, task: Task, scale: Scale = Scale()) -> Cost:
        """Nothing that is known."""
        return Cost()

    def words(self, architecture: Architecture) -> str:
        """Its key."""
        return self.key(architecture)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One network, each equally likely."""
        return self._members[rng.integers(len(self._members))]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Another network, one of those that differ in the fewest fields."""
        near = self._nearest(self._place(architecture))
        return self._members[int(near[rng.integers(len(near))])]

    def next_decision(self, prefix: Mapping[str, Value]) -> Decision | None:
        """The first open decision, with the options that some network has after these choices."""
        open_ = next((each for each in self.decisions if each.name not in prefix), None)
        if open_ is None:
            return None
        left = np.ones(self.size, np.bool_)
        for place, each in enumerate(self.decisions):
            if each.name in prefix:
                left &= self._rows[:, place] == each.options.index(prefix[each.name])
        found = np.unique(self._rows[left, self.decisions.index(open_)])
        return Decision(open_.name, tuple(open_.options[index] for index in found))

    def encode(self, architecture: Architecture) -> npt.NDArray[np.int16]:
        """Index of the chosen option of each decision; shape (decisions,)."""
        row: npt.NDArray[np.int16] = self._rows[self._place(architecture)]
        return row

    def decode(self, vector: npt.NDArray[np.int16]) -> Architecture:
        """The architecture that `encode` was given."""
        return self.architecture(self._grammar.decode(vector))

    def enumerate(self) -> Iterator[Architecture]:
        """All networks, in the order of the keys."""
        return iter(self._members)

    def under(self, budget: Budget, task: Task = Task()) -> Feasible:
        """Refused, as costs are not known.

        Raises:
            UserError: always.
        """
        return Feasible(self, budget, task)

    def describe(self) -> dict[str, Any]:
        """The name, and a hash of the keys."""
        digest = hashlib.sha256(json.dumps(self._keys).encode()).hexdigest()
        return {"name": self._name, "networks": self.size, "keys": digest}

    def _place(self, architecture: Architecture) -> int:
        return self._places[architecture.parts[0]]

    def _find_nearest(self, place: int) -> npt.NDArray[np.intp]:
        """The places of the other members that differ in the fewest fields."""
        differing = (self._rows != self._rows[place]).sum(1)
        differing[place] = len(self.decisions) + 1
        return np.flatnonzero(differing == differing.min())

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and architecture.space is self
            and architecture.parts[0] in self._places
        )

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        return f"RecordedSpace({self._name}: {self.size:,} networks)"


def fields_of(keys: Sequence[str]) -> list[dict[str, Value]]:
    """What keys say of their networks, by name.

    Digits, where every key is a number of the same several digits (NAS-Bench-Macro). The values of a JSON object, such
    as an architecture's text form. Otherwise what stands between characters other than letters, digits, underscores and
    points (NAS-Bench-201).

    >>> fields_of(["02", "21"])
    [{'digit1': 0, 'digit2': 2}, {'digit1': 2, 'digit2': 1}]
    >>> fields_of(["|conv_3x3~0|+|none~0|skip~1|"])[0]
    {'field1': 'conv_3x3', 'field2': 0, 'field3': 'none', 'field4': 0, 'field5': 'skip', 'field6': 1}
    >>> fields_of(['{"choices": {"stage1.kernel": 3, "widths": [8, 16]}}'])
    [{'choices.stage1.kernel': 3, 'choices.widths.1': 8, 'choices.widths.2': 16}]
    """
    if len({len(key) for key in keys}) == 1 and len(keys[0]) > 1 and all(re.fullmatch("[0-9]+", key) for key in keys):
        return [{f"digit{place}": int(digit) for place, digit in enumerate(key, 1)} for key in keys]
    objects = [_object(key) for key in keys]
    read = [dict(_leaves(each)) for each in objects if each is not None]
    if len(read) == len(keys):
        return read
    return [
        {f"field{place}": _value(field) for place, field in enumerate(re.findall(r"[\w.]+", key), 1)} for key in keys
    ]


def _object(key: str) -> dict[str, Any] | None:
    """The JSON object that a key is; None where it is none."""
    try:
        found = json.loads(key)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Value]]:
    """Values of a JSON document that are neither objects nor lists, with the way to them."""
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value, 1)
        for each, inner in inside:
            yield from _leaves(inner, f"{name}.{each}" if name else str(each))
    else:
        yield name, ABSENT if value is None else value


def _value(field: str) -> Value:
    """A number where it is written as one and reads back the same.

    >>> [_value(each) for each in ("3", "0.25", "03", "conv_3x3")]
    [3, 0.25, '03', 'conv_3x3']
    """
    match = _NUMBER.fullmatch(field)
    return field if match is None else float(field) if match[2] else int(field)


def _options(column: Sequence[Value]) -> tuple[Value, ...]:
    """All different values: numbers in their order, others in that of the keys."""
    found = tuple(dict.fromkeys(column))
    numbers = [each for each in found if isinstance(each, int | float)]
    return tuple(sorted(numbers)) if len(numbers) == len(found) else found
