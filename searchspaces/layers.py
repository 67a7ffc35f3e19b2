"""The layer algebra: a network is a tree of small frozen values, the one source of truth for shape, cost and module.

Each node knows the shape it gives and what it costs on a shape; `searchspaces.modules` knows the torch module that it
is. Nodes are hashable and compare by what they compute, so costs of equal pieces on equal shapes are worked out once.

Leaves: Conv, Linear, Norm, Act, Pool, GlobalPool, SqueezeExcite, Dropout, DropPath, Flatten, Identity, Slice,
Shuffle, Pad, Resize, Shift, Scaled, Gain, Auxiliary.
Combinations: Chain (one after the other), Sum (branches added), Concat (branches side by side in channels),
Graph (free wiring).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from typing import Any, ClassVar, Final, Literal, TypeVar, dataclass_transform

from searchspaces.cost import Cost
from searchspaces.task import Shape, enlarged

FLOAT_BYTES: Final = 4
ACTIVATIONS: Final = (
    "relu", "relu6", "silu", "hard_swish", "mish", "elu", "leaky_relu", "gelu", "sigmoid", "hard_sigmoid", "tanh",
)  # fmt: skip
"""Activations that cost no MACs and no parameters; `silu` is swish."""


class ShapeError(Exception):
    """A node was given a shape it cannot take: a mistake in a cell, not in a choice."""


N = TypeVar("N")


class Node:
    """A piece of a network. Subclasses are frozen dataclasses made with `@_node`.

    A subclass says its `_shape`, its `_additive` costs and, where it is no plain layer, its `_peak`.
    """

    in_place: ClassVar[bool] = False
    """Whether the output may overwrite the input."""

    def shape(self, given: Shape) -> Shape:
        """The shape it gives for the shape it is given.

        Raises:
            ShapeError: if it cannot take that shape.
        """
        return _shape(self, given)

    def _shape(self, given: Shape) -> Shape:
        raise NotImplementedError

    def children(self) -> tuple[Node, ...]:
        """The nodes it is made of."""
        return ()

    def cost(self, given: Shape) -> Cost:
        """What it costs on one input of that shape.

        Raises:
            ShapeError: if it cannot take that shape.
        """
        return _cost(self, given)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        """MACs, parameters and activations."""
        return (0, 0, 0)

    def _peak(self, given: Shape, keep: bool) -> int:
        """Most numbers alive at once while it runs, its input included.

        Args:
            given: shape of the input.
            keep: whether someone else still needs the input afterwards.
        """
        size, out = math.prod(given), math.prod(self.shape(given))
        return size if self.in_place and not keep else size + out

    def _key(self) -> tuple[object, ...]:
        """What makes two nodes equal: their kind and their fields, labels aside."""
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
        # hashes of strings and types differ between processes: never carry one over
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_cached")}


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """Names of the fields that make two nodes of a kind, a subclass of `Node`, equal."""
    return tuple(each.name for each in fields(kind) if each.compare)


@lru_cache(maxsize=1 << 18)
def _shape(node: Node, given: Shape) -> Shape:
    return node._shape(given)


@lru_cache(maxsize=1 << 18)
def _cost(node: Node, given: Any) -> Cost:
    several = given and isinstance(given[0], tuple)  # a cell that takes several values apart
    keep: Any = (False,) * len(given) if several else False
    return Cost(*_additive(node, given), _peak(node, given, keep) * FLOAT_BYTES)


@lru_cache(maxsize=1 << 18)
def _additive(node: Node, given: Shape) -> tuple[int, int, int]:
    return node._additive(given)


@lru_cache(maxsize=1 << 16)
def _graph_shapes(graph: Graph, given: Any) -> tuple[list[Shape], list[Any]]:
    return graph._shapes(given)


@lru_cache(maxsize=1 << 18)
def _peak(node: Node, given: Shape, keep: bool) -> int:
    return node._peak(given, keep)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _node(cls: type[N]) -> type[N]:
    """A frozen dataclass that compares as `Node` says."""
    return dataclass(frozen=True, eq=False)(cls)


def _feature_map(node: Node, given: Shape) -> tuple[int, int, int]:
    if len(given) != 3:
        raise ShapeError(f"{node} needs channels, height and width, got shape {given}")
    return given


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


@_node
class Conv(Node):
    """A convolution.

    Attributes:
        width: output channels.
        kernel: side in pixels, or (height, width).
        stride: pixels between outputs, or (height, width).
        groups: the input's channels for a depthwise convolution.
        bias: whether each output channel has one.
        padding: pixels of zeros on each side, or (height, width); None keeps the size at stride 1 (odd kernels).
        dilation: pixels between the kernel's taps.
        standardized: weights standardized per output channel with a learnt gain (Brock 2021, arXiv:2102.06171,
            sec. 4.1), as networks without normalisation want.

    >>> Conv(64, kernel=7, stride=2).cost((3, 224, 224)).macs  # stem of ResNet-50
    118013952
    """

    width: int
    kernel: int | tuple[int, int] = 1
    stride: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = False
    padding: int | tuple[int, int] | None = None
    dilation: int = 1
    standardized: bool = False

    @property
    def kernel_hw(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return _pair(self.kernel)

    @property
    def stride_hw(self) -> tuple[int, int]:
        """Pixels between outputs, down and across."""
        return _pair(self.stride)

    @property
    def padding_hw(self) -> tuple[int, int]:
        """Zeros above and below, and left and right."""
        if self.padding is not None:
            return _pair(self.padding)
        return (self.kernel_hw[0] - 1) * self.dilation // 2, (self.kernel_hw[1] - 1) * self.dilation // 2

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = _feature_map(self, given)
        if channels % self.groups or self.width % self.groups:
            raise ShapeError(f"{self} cannot split {channels} channels into {self.groups} groups")
        (kernel_h, kernel_w), (pad_h, pad_w), dilation = self.kernel_hw, self.padding_hw, self.dilation
        out_h = (height + 2 * pad_h - dilation * (kernel_h - 1) - 1) // self.stride_hw[0] + 1
        out_w = (width + 2 * pad_w - dilation * (kernel_w - 1) - 1) // self.stride_hw[1] + 1
        if out_h < 1 or out_w < 1:
            raise ShapeError(f"{self} leaves nothing of an image of {height}x{width}")
        return (self.width, out_h, out_w)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        out = math.prod(self.shape(given))
        kernel_h, kernel_w = self.kernel_hw
        weights_per_output = given[0] // self.groups * kernel_h * kernel_w
        params = self.width * (weights_per_output + self.bias + self.standardized)
        return out * weights_per_output, params, out


@_node
class Linear(Node):
    """A fully connected layer on a flat vector.

    >>> Linear(1000).cost((1280,))
    Cost(macs=1280000, params=1281000, activations=0, peak_activation_bytes=9120, latency_us=None)
    """

    width: int
    bias: bool = True

    def _shape(self, given: Shape) -> Shape:
        if len(given) != 1:
            raise ShapeError(f"{self} needs a flat vector, got shape {given}; put Flatten() before it")
        return (self.width,)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        self.shape(given)
        return given[0] * self.width, self.width * (given[0] + self.bias), 0


class _Elementwise(Node):
    """A node that changes numbers but not the shape, and may do so in place."""

    in_place = True

    def _shape(self, given: Shape) -> Shape:
        return given


@_node
class Norm(_Elementwise):
    """Normalisation: `batch` (scale and shift per channel), or `local_response` (Krizhevsky 2012, sec. 3.3).

    Attributes:
        kind: which one.
        eps: added to the variance; None for the usual one of the kind (1e-5, and 1e-4 with k=2 for local response).
    """

    kind: Literal["batch", "local_response"] = "batch"
    eps: float | None = None

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, 2 * given[0] if self.kind == "batch" else 0, 0


@_node
class Act(_Elementwise):
    """An activation, one of `ACTIVATIONS`; `scale` multiplies its output."""

    kind: str = "relu"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise ShapeError(f"unknown activation {self.kind!r}; known: {', '.join(ACTIVATIONS)}")


@_node
class Dropout(_Elementwise):
    """Dropout of single numbers with the given rate, while training."""

    rate: float = 0.2


@_node
class DropPath(_Elementwise):
    """Stochastic depth (Huang 2016, arXiv:1603.09382): drops its whole input, per image, while training.

    Its rate is a matter of training, not of architecture: `build(..., drop_path=0.2)` sets it, rising linearly from
    the first such node of the network to the last (sec. 3, eq. 4).
    """


@_node
class Scaled(_Elementwise):
    """Its input times a constant: residual scaling (Szegedy 2016, arXiv:1602.07261, sec. 3.3)."""

    factor: float


@_node
class Gain(_Elementwise):
    """Its input times one learnt number, 0 at first: SkipInit (De & Smith 2020, arXiv:2002.10444)."""

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        return 0, 1, 0


@_node
class Identity(_Elementwise):
    """Nothing."""

    def _peak(self, given: Shape, keep: bool) -> int:
        return math.prod(given)


@_node
class Auxiliary(Identity):
    """Nothing, but the place of a second classifier that only training uses (Szegedy 2015, arXiv:1409.4842, sec. 5).

    It costs nothing and is not built, unless asked for: `build(..., auxiliary=True)`.

    Attributes:
        head: from the feature map that passes here to logits.
    """

    head: Node


@_node
class Pool(Node):
    """Pooling over windows; the average leaves padding out of the count.

    Attributes:
        kind: `max` or `avg`.
        kernel: side of the window in pixels.
        stride: pixels between windows.
        padding: pixels on each side; None keeps the size at stride 1 (odd kernels).
        ceil: whether a last, incomplete window counts.
    """

    kind: Literal["max", "avg"] = "max"
    kernel: int = 3
    stride: int = 2
    padding: int | None = None
    ceil: bool = False

    @property
    def padding_side(self) -> int:
        """Pixels of padding on each side."""
        return (self.kernel - 1) // 2 if self.padding is None else self.padding

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = _feature_map(self, given)
        sides = []
        for side in (height, width):
            free = side + 2 * self.padding_side - self.kernel
            count = (-(-free // self.stride) if self.ceil else free // self.stride) + 1
            if self.ceil and (count - 1) * self.stride >= side + self.padding_side:
                count -= 1  # as torch: the last window must start inside the image or its left padding
            sides.append(count)
        if min(sides) < 1:
            raise ShapeError(f"{self} leaves nothing of an image of {height}x{width}")
        return (channels, *sides)


@_node
class GlobalPool(Node):
    """Average (or largest) over the whole image: (c, h, w) to (c, 1, 1)."""

    kind: Literal["avg", "max"] = "avg"

    def _shape(self, given: Shape) -> Shape:
        channels, _, _ = _feature_map(self, given)
        return (channels, 1, 1)


@_node
class Flatten(Node):
    """A feature map as one flat vector; moves no memory."""

    in_place = True

    def _shape(self, given: Shape) -> Shape:
        return (math.prod(given),)

    def _peak(self, given: Shape, keep: bool) -> int:
        return math.prod(given)


@_node
class SqueezeExcite(Node):
    """Channels reweighted by what the whole image says (Hu 2018, arXiv:1709.01507, sec. 3).

    Attributes:
        reduced: channels between its two 1x1 convolutions, which have biases.
        act: activation between them.
        gate: `sigmoid` or `hard_sigmoid` after them.

    >>> SqueezeExcite(8).cost((32, 112, 112)).params  # first block of EfficientNet-B0: 32*8 + 8 + 8*32 + 32
    552
    """

    reduced: int
    act: str = "relu"
    gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"

    def _shape(self, given: Shape) -> Shape:
        return _feature_map(self, given)

    def _additive(self, given: Shape) -> tuple[int, int, int]:
        channels = given[0]
        macs = 2 * channels * self.reduced
        return macs, macs + self.reduced + channels, self.reduced + channels

    def _peak(self, given: Shape, keep: bool) -> int:
        size, gate = math.prod(given), given[0] + self.reduced  # the gate's two vectors
        return size + max(gate, given[0] + (size if keep else 0))


@_node
class Slice(Node):
    """Some of the channels: those from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def _shape(self, given: Shape) -> Shape:
        if not 0 <= self.start < self.stop <= given[0]:
            raise ShapeError(f"{self} does not lie within {given[0]} channels")
        return (self.stop - self.start, *given[1:])


@_node
class Shuffle(Node):
    """Channels of the groups interleaved (ShuffleNet, Zhang 2018, arXiv:1707.01083, sec. 3.1)."""

    groups: int

    def _shape(self, given: Shape) -> Shape:
        if given[0] % self.groups:
            raise ShapeError(f"{self} cannot split {given[0]} channels into {self.groups} groups")
        return given


@_node
class Pad(Node):
    """Zero channels appended up to `width` (shortcut A of He 2016, arXiv:1512.03385, sec. 3.3)."""

    width: int

    def _shape(self, given: Shape) -> Shape:
        if given[0] > self.width:
            raise ShapeError(f"{self} cannot hold {given[0]} channels")
        return (self.width, *given[1:])


@_node
class Resize(Node):
    """The image at `factor` times its side, bilinearly: how a network looks at the same image in a finer grid.

    >>> Resize(1.15).shape((3, 224, 224))
    (3, 258, 258)
    """

    factor: float

    def _shape(self, given: Shape) -> Shape:
        channels, height, width = _feature_map(self, given)
        return (channels, enlarged(height, self.factor), enlarged(width, self.factor))


@_node
class Shift(Node):
    """Moved one pixel up and left: the row and column at the end become zero (second path of NASNet's reduction)."""

    def _shape(self, given: Shape) -> Shape:
        return _feature_map(self, given)


class Chain(Node):
    """One after the other; an empty chain is the identity.

    Attributes:
        nodes: in order.
        label: what tables and modules call it; no part of what the network is.
    """

    def __init__(self, *nodes: Node, label: str = "") -> None:
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

    def names(self) -> list[str]:
        """What its module calls each node: its label, where it has one that is not taken, else its position."""
        names: list[str] = []
        for index, node in enumerate(self.nodes):
            label = getattr(node, "label", "") or str(index)
            names.append(label if label not in names else f"{label}_{index}")
        return names

    def steps(self, given: Shape) -> Iterator[tuple[Node, Shape]]:
        """Each node with the shape that it is given."""
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
            more = _additive(node, shape)
            macs, params, activations = macs + more[0], params + more[1], activations + more[2]
        return macs, params, activations

    def _peak(self, given: Shape, keep: bool) -> int:
        peak = math.prod(given)
        kept, fresh = 0, True  # what is kept beside the running map; whether that map still is the input itself
        for node, shape in self.steps(given):
            peak = max(peak, kept + _peak(node, shape, keep and fresh))
            if fresh and keep and not _is_view(node):
                kept, fresh = math.prod(given), False
        return peak


def _is_view(node: Node) -> bool:
    """Whether its output is its input's own memory, even when the input is kept."""
    if isinstance(node, Chain):
        return all(map(_is_view, node.nodes))
    return isinstance(node, (Identity, Flatten))


class _Branches(Node):
    """Branches that start from the same input, run in order."""

    def __init__(self, *branches: Node) -> None:
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
        costs = [_additive(branch, given) for branch in self.branches]
        return sum(c[0] for c in costs), sum(c[1] for c in costs), sum(c[2] for c in costs)

    def _peak(self, given: Shape, keep: bool) -> int:
        size = math.prod(given)
        viewed = any(map(_is_view, self.branches))
        peak = done = 0
        for index, branch in enumerate(self.branches):
            needed = keep or viewed or any(not _is_view(later) for later in self.branches[index + 1 :])
            if _is_view(branch):
                continue
            peak = max(peak, done + _peak(branch, given, needed))
            done += math.prod(branch.shape(given))
        return max(peak, self._joined_peak(given, done + (size if keep or viewed else 0), keep))

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        raise NotImplementedError


class Sum(_Branches):
    """Branches of one shape, added: `Sum(Identity(), body)` is a residual."""

    def _shape(self, given: Shape) -> Shape:
        shapes = {branch.shape(given) for branch in self.branches}
        if len(shapes) != 1:
            raise ShapeError(f"branches of a sum differ in shape: {sorted(shapes)}")
        return shapes.pop()

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        only_views = all(map(_is_view, self.branches))  # then nothing may be overwritten
        return alive + (math.prod(given) if only_views else 0)


class Mean(Sum):
    """Branches of one shape, averaged: FractalNet's join (Larsson 2017, arXiv:1605.07648, sec. 3)."""


class Concat(_Branches):
    """Branches side by side in channels: Inception, DenseNet."""

    def _shape(self, given: Shape) -> Shape:
        shapes = [branch.shape(given) for branch in self.branches]
        if len({shape[1:] for shape in shapes}) != 1:
            raise ShapeError(f"branches of a concat differ in height or width: {shapes}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _joined_peak(self, given: Shape, alive: int, keep: bool) -> int:
        return alive + math.prod(self.shape(given))


@_node
class Step:
    """One value of a `Graph`: `node` on the joined values that `inputs` name.

    Attributes:
        node: what is done.
        inputs: which values it takes: 0 is the graph's input, 1 the first step's output, ...
        join: how several inputs become one; `apart`: they do not, `node` is a `Graph` of as many inputs.
        weights_of: the value of an earlier, equal step whose parameters it shares (PolyNet); None has its own.
    """

    node: Node
    inputs: tuple[int, ...]
    join: Literal["sum", "mean", "concat", "apart"] = "sum"
    weights_of: int | None = None

    def _values(self) -> tuple[object, ...]:
        return (self.node, self.inputs, self.join if len(self.inputs) > 1 else "sum", self.weights_of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


@_node
class Graph(Node):
    """Free wiring: each step works on earlier values; the last step's value is the output (NASNet, Res2Net).

    Attributes:
        steps: in the order they run.
        label: what tables and modules call it; no part of what the network is.
        inputs: how many values it is given; the first step's output then has that number. With several (a cell of
            NASNet has two) it can only be a step of another graph, that joins `apart`.
    """

    steps: tuple[Step, ...]
    label: str = field(default="", compare=False)
    inputs: int = 1

    def __post_init__(self) -> None:
        for index, step in enumerate(self.steps):
            known = index + self.inputs
            if not step.inputs or not all(0 <= value < known for value in step.inputs):
                there = f"only values 0 to {known - 1} are there"
                raise ShapeError(f"step {index} of a graph takes {step.inputs}, but {there}")
            shared = step.weights_of
            if shared is not None and not (
                self.inputs <= shared < known and self.steps[shared - self.inputs].node == step.node
            ):
                raise ShapeError(f"step {index} of a graph cannot share the weights of value {shared}: no equal step")

    def children(self) -> tuple[Node, ...]:
        return tuple(step.node for step in self.steps)

    def shapes(self, given: Any) -> tuple[list[Shape], list[Any]]:
        """The shape of each value (inputs first), and the joined shape (or shapes apart) that each node is given."""
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
        _, joined = self.shapes(given)
        costs = [_additive(step.node, shape) for step, shape in zip(self.steps, joined, strict=True)]
        params = sum(cost[1] for step, cost in zip(self.steps, costs, strict=True) if step.weights_of is None)
        return sum(c[0] for c in costs), params, sum(c[2] for c in costs)

    def _peak(self, given: Any, keep: Any) -> int:
        """As of any node; with several inputs, `keep` says of each whether someone else still needs it."""
        values, joined = self.shapes(given)
        end, first = len(self.steps), self.inputs
        last_use = {index: step for step, each in enumerate(self.steps) for index in each.inputs}
        for index, kept in enumerate((keep,) if first == 1 else keep):
            if kept:
                last_use[index] = end
        last_use[first + end - 1] = end
        sizes = [math.prod(shape) for shape in values]
        peak = alive = sum(sizes[:first])  # numbers held by the values that are still needed
        for index, (step, shape) in enumerate(zip(self.steps, joined, strict=True)):
            inputs = set(step.inputs)
            freed = {value for value in inputs if last_use[value] == index}
            after = alive - sum(sizes[value] for value in freed)
            if len(step.inputs) == 1 or step.join == "apart":
                others = alive - sum(sizes[value] for value in inputs)
                needed: Any = tuple(value not in freed for value in step.inputs)
                peak = max(peak, others + _peak(step.node, shape, needed if len(needed) > 1 else needed[0]))
            else:
                in_place = step.join != "concat" and bool(freed)
                peak = max(peak, alive + (0 if in_place else math.prod(shape)))
                if not isinstance(step.node, Identity):
                    peak = max(peak, after + _peak(step.node, shape, False))
            alive = after + (sizes[first + index] if first + index in last_use else 0)
        return peak


def leaves(node: Node, given: Shape) -> Iterator[tuple[Node, Shape]]:
    """The leaves of a tree in the order they run, each with the shape that it is given."""
    if isinstance(node, Chain):
        for child, shape in node.steps(given):
            yield from leaves(child, shape)
    elif isinstance(node, _Branches):
        for branch in node.branches:
            yield from leaves(branch, given)
    elif isinstance(node, Graph):
        for step, shape in zip(node.steps, node.shapes(given)[1], strict=True):
            yield from leaves(step.node, shape)
    else:
        yield node, given
