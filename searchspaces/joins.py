"""How layers are joined: one after the other, in branches added, averaged or concatenated, or in a free graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import field
from functools import lru_cache
from typing import Any, Literal

from searchspaces.errors import UserError
from searchspaces.node import Count, Node, ShapeError, Shared, additive_costs, check_fields, layer, peak_values
from searchspaces.task import Shape


class Chain(Node):
    """Nodes one after the other; an empty chain is the identity.

    Attributes:
        nodes: in order.
        label: its name in tables and modules; not compared.
    """

    def __init__(self, *nodes: Node, label: str = "") -> None:
        _check_nodes(self, nodes)
        self.__dict__["nodes"] = nodes
        self.__dict__["label"] = label

    nodes: tuple[Node, ...]
    label: str

    def _key(self) -> tuple[object, ...]:
        return (Chain, self.nodes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Chain is frozen: cannot set {name}")

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.nodes))})"

    def children(self) -> tuple[Node, ...]:
        return self.nodes

    @property
    def is_view(self) -> bool:
        return all(node.is_view for node in self.nodes)

    def names(self) -> list[str]:
        """The name of each node in the module: its label if it has a free one, else its position."""
        names: list[str] = []
        for index, node in enumerate(self.nodes):
            label = getattr(node, "label", "") or str(index)
            names.append(label if label not in names else f"{label}_{index}")
        return names

    def steps(self, given: Shape) -> Iterator[tuple[Node, Shape]]:
        """Each node with the shape of its input."""
        for node in self.nodes:
            yield node, given
            given = node.shape(given)

    def _shape(self, given: Shape) -> Shape:
        for node in self.nodes:
            given = node.shape(given)
        return given

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        macs = params = activations = 0
        for node, shape in self.steps(given):
            more = additive_costs(node, shape)
            macs, params, activations = macs + more[0], params + more[1], activations + more[2]
        return macs, params, activations

    def _peak(self, given: Shape, keep: bool) -> int:
        peak = math.prod(given)
        kept, fresh = 0, True  # values kept beside the running map; whether that map still is the input itself
        for node, shape in self.steps(given):
            peak = max(peak, kept + peak_values(node, shape, keep and fresh))
            if fresh and keep and not node.is_view:
                kept, fresh = math.prod(given), False
        return peak


def _check_nodes(made: Node, nodes: tuple[object, ...]) -> None:
    for each in nodes:
        if not isinstance(each, Node):
            raise UserError(f"{type(made).__name__}: it joins layers, got {each!r}")


class _Branches(Node):
    """Branches on the same input, run in order."""

    def __init__(self, *branches: Node) -> None:
        _check_nodes(self, branches)
        if not branches:
            raise UserError(f"{type(self).__name__}: it needs at least one branch")
        self.__dict__["branches"] = branches

    branches: tuple[Node, ...]

    def _key(self) -> tuple[object, ...]:
        return (type(self), self.branches)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is frozen: cannot set {name}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.branches))})"

    def children(self) -> tuple[Node, ...]:
        return self.branches

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        costs = [additive_costs(branch, given) for branch in self.branches]
        return sum(c[0] for c in costs), sum(c[1] for c in costs), sum(c[2] for c in costs)

    def _peak(self, given: Shape, keep: bool) -> int:
        size = math.prod(given)
        viewed = any(branch.is_view for branch in self.branches)
        peak = done = 0
        for index, branch in enumerate(self.branches):
            needed = keep or viewed or any(not later.is_view for later in self.branches[index + 1 :])
            if branch.is_view:
                continue
            peak = max(peak, done + peak_values(branch, given, needed))
            done += math.prod(branch.shape(given))
        return max(peak, self._joined_peak(given, done + (size if keep or viewed else 0), keep))

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        raise NotImplementedError


class Sum(_Branches):
    """Branches of one shape, added: `Sum(Identity(), body)` is a residual block."""

    def _shape(self, given: Shape) -> Shape:
        shapes = {branch.shape(given) for branch in self.branches}
        if len(shapes) != 1:
            raise ShapeError(f"branches of a sum differ in shape: {sorted(shapes)}")
        return shapes.pop()

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        only_views = all(branch.is_view for branch in self.branches)  # then nothing may be overwritten
        return alive + (math.prod(given) if only_views else 0)


class Mean(Sum):
    """Branches of one shape, averaged: FractalNet's join (Larsson 2017, arXiv:1605.07648, sec. 3)."""


class Concat(_Branches):
    """Branches concatenated in channels: Inception, DenseNet."""

    def _shape(self, given: Shape) -> Shape:
        shapes = [branch.shape(given) for branch in self.branches]
        if len({shape[1:] for shape in shapes}) != 1:
            raise ShapeError(f"branches of a concat differ in height or width: {shapes}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        return alive + math.prod(self.shape(given))


@layer
class GraphStep(metaclass=Shared):
    """One step of a `Graph`: it applies `node` to the values with the numbers in `inputs`, joined.

    Attributes:
        node: the layer.
        inputs: numbers of values: 0 is the input of the graph, 1 the output of the first step, ...
        join: how several inputs become one; with `apart` they stay several, and `node` is a `Graph` with as many.
        weights_of: the value of an earlier, equal step whose parameters it shares (PolyNet); None for its own.
    """

    node: Node
    inputs: tuple[int, ...]
    join: Literal["sum", "mean", "concat", "apart"] = "sum"
    weights_of: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def _values(self) -> tuple[object, ...]:
        return (self.node, self.inputs, self.join if len(self.inputs) > 1 else "sum", self.weights_of)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, GraphStep) and self._values() == other._values())

    def __hash__(self) -> int:
        value: int | None = self.__dict__.get("_cached_hash")
        if value is None:
            value = self.__dict__["_cached_hash"] = hash(self._values())
        return value

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_cached_hash"}


@layer
class Graph(Node):
    """Free wiring: each step takes earlier values; the value of the last step is the output (NASNet, Res2Net).

    Attributes:
        steps: in the order they run.
        label: its name in tables and modules; not compared.
        inputs: how many inputs it has; the output of the first step is the value with that number. With several
            (a NASNet cell has two) it can only be the node of a step of another graph that joins `apart`.
    """

    steps: tuple[GraphStep, ...]
    label: str = field(default="", compare=False)
    inputs: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps:
            raise UserError("Graph: it needs at least one step")
        for index, step in enumerate(self.steps):
            known = index + self.inputs
            if not step.inputs or not all(0 <= value < known for value in step.inputs):
                raise ShapeError(f"step {index} of a graph takes {step.inputs}, but has only values 0 to {known - 1}")
            shared = step.weights_of
            if shared is not None and not (
                self.inputs <= shared < known and self.steps[shared - self.inputs].node == step.node
            ):
                raise ShapeError(f"step {index} of a graph cannot share the weights of value {shared}: no equal step")

    def children(self) -> tuple[Node, ...]:
        return tuple(step.node for step in self.steps)

    def shapes(self, given: Any) -> tuple[list[Shape], list[Any]]:
        """The shape of each value, inputs first, and the input shape of each node: several where it joins `apart`."""
        return _graph_shapes(self, given)

    def _shapes(self, given: Any) -> tuple[list[Shape], list[Any]]:
        values: list[Shape] = [given] if self.inputs == 1 else list(given)
        joined: list[Any] = []
        for step in self.steps:
            inputs = [values[index] for index in step.inputs]
            if step.join == "concat":
                if len({shape[1:] for shape in inputs}) != 1:
                    raise ShapeError(f"inputs of a concat differ in height or width: {inputs}")
                joined.append((sum(shape[0] for shape in inputs), *inputs[0][1:]))
            elif step.join == "apart" and len(inputs) > 1:
                joined.append(tuple(inputs))
            else:
                if len(set(inputs)) != 1:
                    raise ShapeError(f"inputs of a {step.join} differ in shape: {inputs}")
                joined.append(inputs[0])
            if step.weights_of is not None and joined[step.weights_of - self.inputs] != joined[-1]:
                raise ShapeError(f"weights shared between {joined[step.weights_of - self.inputs]} and {joined[-1]}")
            values.append(step.node.shape(joined[-1]))
        return values, joined

    def _shape(self, given: Any) -> Shape:
        return self.shapes(given)[0][-1]

    def _additive(self, given: Any) -> tuple[int, int, int]:
        macs = params = activations = 0
        for step, shape in zip(self.steps, self.shapes(given)[1], strict=True):
            cost = additive_costs(step.node, shape)
            macs += cost[0]
            params += cost[1] if step.weights_of is None else 0
            activations += cost[2]
        return macs, params, activations

    def _peak(self, given: Any, keep: Any) -> int:
        """As for any node; with several inputs, `keep` has a value for each."""
        values, joined = self.shapes(given)
        first = self.inputs
        wiring = tuple([step.inputs for step in self.steps])
        sizes = [math.prod(shape) for shape in values]
        peak = alive = sum(sizes[:first])  # sizes of the values that are still needed
        for step, shape, (freed, needed, stays), made in zip(
            self.steps, joined, _lives(wiring, (keep,) if first == 1 else keep), sizes[first:], strict=True
        ):
            after = alive
            for value in freed:
                after -= sizes[value]
            if len(step.inputs) == 1 or step.join == "apart":
                others = alive - sum([sizes[value] for value in set(step.inputs)])
                peak = max(peak, others + peak_values(step.node, shape, needed))
            else:
                in_place = step.join != "concat" and bool(freed)
                peak = max(peak, alive + (0 if in_place else math.prod(shape)))
                peak = max(peak, after + peak_values(step.node, shape, False))
            alive = after + (made if stays else 0)
        return peak


@lru_cache(maxsize=1 << 12)
def _lives(wiring: tuple[tuple[int, ...], ...], keep: tuple[bool, ...]) -> list[tuple[tuple[int, ...], Any, bool]]:
    """For each step of a graph: the inputs that nothing needs after it, whether each input is needed, and the output.

    Args:
        wiring: the inputs of each step.
        keep: for each input of the graph, whether it is still needed afterwards.
    """
    end, first = len(wiring), len(keep)
    last_use = {index: step for step, inputs in enumerate(wiring) for index in inputs}
    last_use |= {index: end for index, kept in enumerate(keep) if kept}
    last_use[first + end - 1] = end
    lives = []
    for step, inputs in enumerate(wiring):
        freed = tuple({value for value in inputs if last_use[value] == step})
        needed = tuple(value not in freed for value in inputs)
        lives.append((freed, needed if len(needed) > 1 else needed[0], first + step in last_use))
    return lives


@lru_cache(maxsize=1 << 16)
def _graph_shapes(graph: Graph, given: Any) -> tuple[list[Shape], list[Any]]:
    return graph._shapes(given)


def leaves(node: Node, given: Shape) -> Iterator[tuple[Node, Shape]]:
    """The leaves of a tree in the order they run, each with its input shape."""
    return ((leaf, shape) for leaf, shape, _ in uses(node, given))


def uses(node: Node, given: Shape, own: bool = True) -> Iterator[tuple[Node, Shape, bool]]:
    """As `leaves`, with whether the parameters are its own and not those of an equal leaf before it."""
    if isinstance(node, Chain):
        for child, shape in node.steps(given):
            yield from uses(child, shape, own)
    elif isinstance(node, _Branches):
        for branch in node.branches:
            yield from uses(branch, given, own)
    elif isinstance(node, Graph):
        for step, shape in zip(node.steps, node.shapes(given)[1], strict=True):
            yield from uses(step.node, shape, own and step.weights_of is None)
    else:
        yield node, given, own
