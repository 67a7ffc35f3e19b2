"""Every layer with every allowed value of its fields; a new layer, field or value without an example is an error."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from searchspaces import UserError, layers
from searchspaces.calls import CALLS
from searchspaces.layers import (
    Act,
    Auxiliary,
    Chain,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Mean,
    Multiply,
    Norm,
    Pad,
    Pool,
    Resize,
    Shuffle,
    Slice,
    SqueezeExcite,
    Sum,
    Zero,
)
from searchspaces.node import Node, OneOf
from searchspaces.task import Shape

CHANNELS, SIDE = 8, 9
MAP, FLAT = (CHANNELS, SIDE, SIDE), (CHANNELS,)
OBLONG = (CHANNELS, 5, SIDE)
"""A map whose sides differ, and with them what `Pool.ceil` does."""
MADE_BY: dict[Shape, tuple[Node, ...]] = {
    MAP: (),
    OBLONG: (Conv(CHANNELS, 1, (2, 1)),),
    FLAT: (GlobalPool(), Flatten()),
}
"""What makes each of these inputs of a map."""
STRIDES = (1, 2, 3, 5, 9)
"""They make sides of 9, 5, 3, 2 and 1 pixels of a map."""

OPEN: dict[type[Node], dict[str, tuple[Any, ...]]] = {
    Conv: {
        "width": (8, 16),
        "kernel": (3, 1, 2, 5, (1, 3), (4, 3)),
        "stride": (1, 2, 3, (2, 1)),
        "groups": (1, 2, 8),
        "padding": (0, 1, (0, 2)),
        "dilation": (1, 2),
    },
    Linear: {"width": (5,), "drop_connect": (0.0, 0.5, 1)},
    Norm: {"eps": (1e-3, 1e-5)},
    layers.GroupNorm: {"groups": (4, 1, 8)},
    Act: {"scale": (1.0, 1.7, -2)},
    Pool: {"kernel": (3, 1, 2, 4), "stride": (2, 1, 3), "padding": (0, 1)},
    SqueezeExcite: {"reduced": (2, 12)},
    layers.SpatialTransformer: {"hidden": (6, 16), "width": (4, 0, 8), "kernel": (3, 1, 2)},
    Dropout: {"rate": (0.2, 0, 1)},
    Multiply: {"factor": (0.5, 3, -1.0)},
    Auxiliary: {"head": (Flatten(), Chain(GlobalPool(), Flatten(), Linear(3)))},
    Zero: {"stride": (1, 2, 4)},
    Slice: {"start": (0, 3), "stop": (6, 8)},
    layers.Maxout: {"pieces": (2, 1, 8)},
    layers.Gate: {"shift": (0.0, -2, 1.5)},
    Shuffle: {"groups": (2, 1, 8)},
    Pad: {"width": (12, 8)},
    Resize: {"factor": (1.3, 1, 0.5)},
}  # fmt: skip
"""Numbers and layers for the fields that take many; the first of each stands wherever another field is tried."""

WHOLLY: tuple[type[Node], ...] = (Norm, Act, Pool, Dropout, Slice)
"""Layers whose fields are tried in all combinations; those of the others one at a time."""

FLAT_TOO = (
    *(Linear, Norm, Act, layers.PReLU, layers.Maxout, layers.Gate, Dropout, layers.DropPath, Multiply, layers.Gain),
    *(Flatten, Identity, Auxiliary, Slice),
)
"""Layers that take flat vectors."""

_conv = Chain(Conv(8, 3), Norm(), Act())
_cell = Graph((GraphStep(_conv, (0,)), GraphStep(Pool("avg", 3, 1), (1,)), GraphStep(Identity(), (2, 3))), "cell", 2)
JOINS: tuple[Node, ...] = (
    Chain(),
    Chain(Chain(_conv, label="one"), Chain(label="two"), Chain(_conv, label="one")),
    *(join(*branches) for join in (Sum, Mean, Concat) for branches in ((_conv,), (Identity(), _conv, Conv(8, 1)))),
    *(
        Graph((GraphStep(_conv, (0,)), GraphStep(Identity(), (0, 1, 1), join), GraphStep(Conv(8), (2, 0), join)))
        for join in ("sum", "mean", "concat")
    ),
    Graph((GraphStep(_conv, (0,)), GraphStep(_cell, (0, 1), "apart"), GraphStep(_cell, (2, 1), "apart")), "cells"),
    Graph((GraphStep(Conv(8, 3), (0,)), GraphStep(Norm(), (1,)), GraphStep(Conv(8, 3), (2,), weights_of=1))),
    Graph((GraphStep(Conv(4), (0,)), GraphStep(Zero(), (0,)), GraphStep(Identity(), (1, 2), "concat"))),
)


def kinds() -> set[type[Node]]:
    """All layers and joins that are defined in `searchspaces`, without their abstract bases."""

    def below(kind: type[Node]) -> Iterator[type[Node]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    found = {each for each in below(Node) if each.__module__.startswith("searchspaces.")}
    return {each for each in found if getattr(layers, each.__name__, None) is each and each is not layers.Elementwise}


def values(kind: type[Node], name: str, hint: Any) -> tuple[Any, ...]:
    """The values to try of a field: all that its type lists, and those of `OPEN`."""
    closed, is_open = _listed(hint)
    tried = OPEN.get(kind, {}).get(name, ())
    if is_open and not tried:
        raise LookupError(f"{kind.__name__}.{name} has no example: add its values to OPEN")
    return (*closed, *tried)


def _listed(hint: Any) -> tuple[tuple[Any, ...], bool]:
    """The values that a type lists, and whether it has more."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(hint.__metadata__[0], OneOf):
        return hint.__metadata__[0].names, False
    if origin is Annotated:
        return _listed(arguments[0])
    if origin is Literal:
        return arguments, False
    if hint is bool:
        return (False, True), False
    if hint is NoneType:
        return (None,), False
    if origin in (Union, UnionType):
        parts = [_listed(each) for each in arguments]
        return tuple(value for listed, _ in parts for value in listed), any(more for _, more in parts)
    return (), True


def leaf_examples(kind: type[Node]) -> list[Node]:
    """A leaf with each value of its fields, of `WHOLLY` in all combinations that are not refused."""
    tried = _tried(kind)
    found = dict.fromkeys(_one_at_a_time(kind))
    for combination in itertools.product(*tried.values()) if kind in WHOLLY else ():
        with contextlib.suppress(UserError):
            found[kind(**dict(zip(tried, combination, strict=True)))] = None
    return list(found)


def drawn_chain(draw: random.Random, longest: int = 3) -> Chain:
    """Leaves with drawn values, one after the other, on a map whose sides are drawn; each takes what is before it."""
    nodes: list[Node] = [Conv(draw.choice((1, 2, 4, 6, 8)), 1, (draw.choice(STRIDES), draw.choice(STRIDES)))]
    for _ in range(draw.randint(1, longest)):
        kind = draw.choice(list(CALLS))
        tried = {name: draw.choice(options) for name, options in _tried(kind).items()}
        with contextlib.suppress(UserError):
            node = kind(**tried)
            Chain(*nodes, node).shape(MAP)
            nodes.append(node)
    return Chain(*nodes)


def _tried(kind: type[Node]) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: values(kind, each.name, hints[each.name]) for each in fields(kind)}  # type: ignore[arg-type]


def _one_at_a_time(kind: type[Node]) -> list[Node]:
    """A leaf with each value of its fields, one at a time."""
    tried = _tried(kind)
    usual = {name: options[0] for name, options in tried.items()}
    singly = [{**usual, name: value} for name, options in tried.items() for value in options]
    return list(dict.fromkeys(kind(**each) for each in (usual, *singly)))


def on_map(node: Node, given: tuple[int, ...] = MAP) -> Node:
    """A network on a feature map: the features of a node beside those of its input, so that its logits differ."""
    before = MADE_BY[given]
    after = (GlobalPool(), Flatten()) if len(node.shape(given)) == 3 else ()
    return Concat(Chain(*before, node, *after), Chain(GlobalPool(), Flatten()))


EXAMPLES: dict[str, list[Node]] = {kind.__name__: leaf_examples(kind) for kind in CALLS} | {"joins": list(JOINS)}


def takes_flat(node: Node) -> bool:
    return type(node) in FLAT_TOO and node != Norm("local_response")


def everything() -> Node:
    """One network that has every layer with each value of its fields, and each join; small, as exports take long."""
    groups = []
    for before, nodes in _alike():
        group = Chain(*before, Concat(*nodes))
        groups.append(Chain(*group.nodes, GlobalPool(), Flatten()) if len(group.shape(MAP)) == 3 else group)
    return Chain(Concat(*groups), Linear(7))


def side_by_side() -> tuple[Node, list[tuple[Node, int]]]:
    """What `everything` has, and a few layers on oblong maps, with the values of each example in its output.

    The examples come with their numbers of values. They are neither pooled nor mixed, so that each
    can be compared at each pixel, on its own scale.
    """
    groups, examples = [], []
    for before, nodes in _alike(*((node, OBLONG) for node in oblong_examples(few=True))):
        groups.append(Chain(*before, Concat(*nodes), Flatten()))
        examples += [(node, math.prod(node.shape(Chain(*before).shape(MAP)))) for node in nodes]
    return Concat(*groups), examples


def oblong_examples(few: bool = False) -> list[Node]:
    """What is tried on an oblong map: each leaf with each value of its fields, each join, and each pool of which torch
    leaves out a window; of the leaves but one of each kind, and no join, where few are wanted.
    """
    leaves = [node for kind in CALLS if kind is not Linear for node in _one_at_a_time(kind)[: 1 if few else None]]
    cut = [
        node
        for node in leaf_examples(Pool)
        if isinstance(node, Pool) and any(node.windows(side)[1] for side in OBLONG[1:])
    ]
    return list(dict.fromkeys((*(() if few else JOINS), *leaves, *cut)))


def _alike(*more: tuple[Node, Shape]) -> Iterator[tuple[tuple[Node, ...], list[Node]]]:
    """Examples, and more of them, whose outputs can be concatenated, with what makes their input of a map."""
    tried: list[tuple[Node, Shape]] = [(node, MAP) for node in JOINS]
    for kind in CALLS:
        examples = _one_at_a_time(kind)
        if kind is SqueezeExcite:  # its activations are those of Act
            examples = list({node.gate: node for node in examples if isinstance(node, SqueezeExcite)}.values())
        tried += [(node, MAP) for node in examples if kind is not Linear]
        tried += [(node, FLAT) for node in examples if kind is Linear or (takes_flat(node) and node == examples[0])]
    parts: dict[tuple[Shape, Shape], list[Node]] = {}  # by input, and by height and width of the output
    for node, given in (*tried, *more):
        parts.setdefault((given, node.shape(given)[1:]), []).append(node)
    for (given, _), nodes in parts.items():
        yield MADE_BY[given], nodes
