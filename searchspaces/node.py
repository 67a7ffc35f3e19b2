"""What every layer and every join has: an output shape, a cost, and fields that are checked when it is made.

Nodes are frozen, hashable and compare by what they compute, so equal pieces on equal shapes are costed once.
Left out: the torch module of a node, which `searchspaces.modules` makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from searchspaces.cost import Cost
from searchspaces.errors import UserError, nearest
from searchspaces.task import Shape

FLOAT_BYTES: Final = 4


class ShapeError(UserError):
    """A node cannot take the shape of its input: a mistake in a cell, not in a choice."""


N = TypeVar("N")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def layer(cls: type[N]) -> type[N]:
    """Make a subclass of `Node` a frozen dataclass that compares as `Node` does."""
    return dataclass(frozen=True, eq=False)(cls)


class Shared(type):
    """Makes equal calls return one object, so that a layer that many networks have is checked and hashed once.

    Objects are frozen, so one can stand in many trees.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        key: list[object] = [cls]
        for value in args:
            kind: Any = type(value)
            if kind is int or kind is str:
                key.append(value)
            elif type(kind) is Shared:
                key += kind, id(value)
            else:
                key.append(_exactly(value))
        for name, value in kwargs.items():
            key += name, _exactly(value)
        try:
            found = _MADE.get(made := tuple(key))
        except TypeError:  # an argument without a hash: it is refused
            return super().__call__(*args, **kwargs)
        if found is None:
            if len(_MADE) >= _MOST_MADE:
                _MADE.clear()
            found = _MADE[made] = super().__call__(*args, **kwargs)
        return found


_MADE: dict[tuple[object, ...], Any] = {}
_MOST_MADE: Final = 1 << 17


def _exactly(value: Any) -> object:
    """An argument with its type, as 1, 1.0 and True are different; a layer as itself, as labels are not compared."""
    kind = type(value)
    if kind is int or kind is str:
        return value
    if type(kind) is Shared:
        return kind, id(value)  # the object that is made keeps it alive
    return (kind, *map(_exactly, value)) if kind is tuple else (kind, value)


class Node(metaclass=Shared):
    """A piece of a network. Leaves and `Graph` are frozen dataclasses made with `@layer`.

    A subclass defines `_shape`, its `_additive` costs and, if it needs more memory than its input and output, `_peak`.
    Fields are checked against their types when a node is made; `Annotated[int, Within(1)]` bounds a number.
    """

    in_place: ClassVar[bool] = False
    """Whether the output may overwrite the input."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def is_view(self) -> bool:
        """Whether the output is the memory of the input, even when the input is kept."""
        return False

    def shape(self, given: Shape) -> Shape:
        """The output shape for an input shape.

        Raises:
            ShapeError: the node cannot take that input shape.
        """
        return _shape(self, given)

    def _shape(self, given: Shape) -> Shape:
        raise NotImplementedError

    def children(self) -> tuple[Node, ...]:
        """The nodes inside a join; a leaf has none."""
        return ()

    def cost(self, given: Shape) -> Cost:
        """The cost on one input of that shape.

        Raises:
            ShapeError: the node cannot take that input shape.
        """
        return _cost(self, given)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        """MACs, parameters and activations."""
        return (0, 0, 0)

    def _peak(self, given: Shape, keep: bool) -> int:
        """The largest number of values alive at once during the forward pass, the input included.

        Args:
            given: input shape.
            keep: whether the input is still needed afterwards.
        """
        size, out = math.prod(given), math.prod(self.shape(given))
        return size if self.in_place and not keep else size + out

    def _key(self) -> tuple[object, ...]:
        """What equality compares: the kind of node and its fields without labels."""
        key = self.__dict__.get("_cached_key")
        if key is None:
            kind: Any = type(self)
            key = self.__dict__["_cached_key"] = (kind, *(getattr(self, name) for name in _compared(kind)))
        return key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Node) and hash(self) == hash(other) and self._key() == other._key())

    def __hash__(self) -> int:
        value = self.__dict__.get("_cached_hash")
        if value is None:
            value = self.__dict__["_cached_hash"] = hash(self._key())
        return value

    def __getstate__(self) -> dict[str, object]:
        # hashes of strings and types differ between processes, so they are not pickled
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_cached")}


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """Names of the fields that equality compares, of a subclass of `Node`."""
    return tuple(each.name for each in fields(kind) if each.compare)


@lru_cache(maxsize=1 << 18)
def _shape(node: Node, given: Shape) -> Shape:
    return node._shape(given)


@lru_cache(maxsize=1 << 18)
def _cost(node: Node, given: Any) -> Cost:
    node.shape(given)  # refuses what it cannot take
    several = given and isinstance(given[0], tuple)  # a cell with several inputs
    keep: Any = (False,) * len(given) if several else False
    return Cost(*additive_costs(node, given), peak_values(node, given, keep) * FLOAT_BYTES)


@lru_cache(maxsize=1 << 18)
def additive_costs(node: Node, given: Shape) -> tuple[int, int, int]:
    """MACs, parameters and activations of a node, cached."""
    return node._additive(given)


@lru_cache(maxsize=1 << 18)
def peak_values(node: Node, given: Shape, keep: bool) -> int:
    """The peak of a node as in `Node._peak`, cached."""
    return node._peak(given, keep)


def feature_map(node: Node, given: Shape) -> tuple[int, int, int]:
    """Channels, height and width of an input.

    Raises:
        ShapeError: the input is not a feature map.
    """
    if len(given) != 3:
        raise ShapeError(f"{node} needs channels, height and width, got shape {given}")
    return given


# Fields that are checked.


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds of a number, as a mark in `Annotated`; of both numbers of a field that takes (height, width).

    Attributes:
        low, high: the smallest and the largest value.
        above: whether the value must be above `low`.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies within the bounds."""
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low = f" {'above' if self.above else 'of at least'} {self.low:g}" if self.low > -math.inf else ""
        return low + (f"{' and' * bool(low)} at most {self.high:g}" if self.high < math.inf else "")


@dataclass(frozen=True, slots=True)
class OneOf:
    """The names that a text field takes, as a mark in `Annotated`."""

    names: tuple[str, ...]


Count = Annotated[int, Within(1)]
Pixels = Annotated[int, Within(0)]
Sides = Annotated[int | tuple[int, int], Within(1)]
"""One number for both sides, or (height, width)."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """The allowed values of a field: a test, and the values in words; `names` are those of a text, and `numbers` says
    whether numbers or tuples of them are among the values."""

    allows: Callable[[Any], bool]
    words: str
    names: tuple[str, ...] = ()
    numbers: bool = False


def check_fields(made: Any) -> None:
    """Check the fields of a dataclass against their types; only the types of layers' own fields are known.

    Numbers of other libraries, such as numpy's, become Python's, so that costs are whole numbers that JSON knows.

    Raises:
        UserError: a field has a value that is not allowed.
    """
    kind: Any = type(made)
    for name, rule in _rules(kind):
        value = getattr(made, name)
        if not rule.allows(value):
            near = nearest(value, rule.names) if rule.names and isinstance(value, str) else ""
            hint = near if "mean" in near else ""
            raise UserError(f"{kind.__name__}: {name} must be {rule.words}, got {value!r}{hint}")
        if rule.numbers and type(value) not in _PLAIN:
            object.__setattr__(made, name, _plain(value))


_PLAIN: Final = frozenset((int, float, str, bool, NoneType))


def _plain(value: Any) -> Any:
    """A number, or a tuple of them, as Python's own; anything else as it is."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


@cache
def _rules(kind: Any) -> tuple[tuple[str, _Rule], ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = ((each.name, _rule(hints[each.name])) for each in fields(kind))
    return tuple((name, rule) for name, rule in found if rule is not None)


def _rule(hint: Any, within: Within = Within()) -> _Rule | None:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        mark = hint.__metadata__[0]
        return _names(mark.names) if isinstance(mark, OneOf) else _rule(arguments[0], mark)
    if origin is Literal:
        return _names(arguments)
    if origin in (Union, UnionType):
        rules = [rule for each in arguments if (rule := _rule(each, within)) is not None]
        return _Rule(
            lambda value: any(rule.allows(value) for rule in rules),
            _or(rule.words for rule in rules),
            numbers=any(rule.numbers for rule in rules),
        )
    if origin is tuple and (side := _rule(arguments[0], within)) is not None:
        count = None if Ellipsis in arguments else len(arguments)
        return _Rule(
            lambda value: isinstance(value, tuple) and count in (None, len(value)) and all(map(side.allows, value)),
            f"a tuple of {count} of them" if count else "a tuple of them",
            numbers=side.numbers,
        )
    if isinstance(hint, type) and issubclass(hint, Node):
        return _Rule(lambda value: isinstance(value, Node), "a layer")
    simple = {
        NoneType: _Rule(lambda value: value is None, "None"),
        bool: _Rule(lambda value: isinstance(value, bool), "True or False"),
        int: _Rule(lambda value: _is_whole(value) and within.holds(value), f"a whole number{within}", (), True),
        float: _Rule(lambda value: _is_number(value) and within.holds(value), f"a number{within}", (), True),
    }
    return simple.get(hint)


def _names(names: tuple[str, ...]) -> _Rule:
    return _Rule(lambda value: value in names, _or(map(repr, names)), names)


def _is_whole(value: object) -> bool:
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _or(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
