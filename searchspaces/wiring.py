"""Cells with free wiring, as in NASNet, AmoebaNet and PNASNet, and the networks stacked from them.

Zoph 2018, arXiv:1707.07012, sec. 3; Real 2019, arXiv:1802.01548, sec. 3; Liu 2018, arXiv:1712.00559. A cell has two
inputs, the outputs of the last cell and of the one before. Each of its pairs applies two operations to two states
(inputs or earlier pairs) and adds the results. States that no pair uses are concatenated in the output; used ones may
be too, as in the published NASNet-A, AmoebaNet-A and PNASNet-5. Layers are those of the authors' code
(tensorflow/models, tensorflow/tpu) with symmetric padding. Left out: combination by concatenation.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np

from searchspaces.layers import (
    Act,
    Chain,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    GlobalPool,
    Graph,
    GraphStep,
    Identity,
    Linear,
    Node,
    Norm,
    Pool,
    Shift,
)
from searchspaces.space import random_below, randoms_below
from searchspaces.task import Task

Half = tuple[int, str]
"""A state (0: the last cell, 1: the one before, 2: the first pair, ...) and the operation on it."""

OPERATIONS: Final = (
    "identity", "1x1", "3x3", "1x3+3x1", "1x7+7x1", "dil3x3", "sep3x3", "sep5x5", "sep7x7",
    "avg3x3", "max3x3", "max5x5", "max7x7",
)  # fmt: skip
"""NASNet's (1707.07012, sec. 3). Plain, factorised and dilated convolutions are bottlenecks, separable ones are applied
twice. An identity with stride 2 is a strided 1x1 convolution."""


@dataclass(frozen=True)
class Wiring:
    """The wiring of a cell.

    Attributes:
        pairs: two halves each; they may use any other pair, without cycles.
        kept: used states that are part of the output too.
    """

    pairs: tuple[tuple[Half, Half], ...]
    kept: tuple[int, ...] = ()

    @cached_property
    def used(self) -> frozenset[int]:
        """States that some pair uses."""
        return frozenset(state for pair in self.pairs for state, _ in pair)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """States that are concatenated in the output."""
        return tuple(s for s in range(len(self.pairs) + 2) if s not in self.used or s in self.kept)

    def canonical(self) -> Wiring:
        """The canonical form of the cell, the same for all equal cells.

        Cells are equal if they differ only in the order of the halves of a pair or in the order of the pairs. The
        canonical form is the smallest one: the first pair is the smallest that uses no other, and so on.
        """
        return _canonical(self)

    def _canonical(self) -> Wiring:
        count = len(self.pairs)
        found: list[tuple[tuple[tuple[Half, Half], ...], tuple[int, ...]]] = []

        def grow(new: dict[int, int], written: tuple[tuple[Half, Half], ...]) -> None:
            if len(written) == count:
                found.append((written, tuple(sorted(new[state] for state in self.kept if state in self.used))))
                return
            ready = []
            for index, ((a, op_a), (b, op_b)) in enumerate(self.pairs):
                if index + 2 not in new and a in new and b in new:
                    one, two = (new[a], op_a), (new[b], op_b)
                    ready.append(((one, two) if one <= two else (two, one), index))
            smallest = min(ready)[0]
            for pair, index in ready:  # equal pairs can differ only in the pairs that use them
                if pair == smallest:
                    grow({**new, index + 2: len(written) + 2}, (*written, pair))

        grow({0: 0, 1: 1}, ())
        return Wiring(*min(found))

    def downstream(self, index: int) -> set[int]:
        """The state of a pair and all states that depend on it."""
        reached = {index + 2}
        for _ in self.pairs:
            reached |= {i + 2 for i, pair in enumerate(self.pairs) if any(state in reached for state, _ in pair)}
        return reached


@lru_cache(maxsize=1 << 14)
def _canonical(wiring: Wiring) -> Wiring:
    return wiring._canonical()


class Wirings:
    """All distinct cells with a number of pairs: how many there are, and a uniform sample.

    A pattern says which pairs each pair uses. Summed over the patterns and their symmetries, the labellings (inputs,
    operations, kept states) that a symmetry leaves as they are, over the orders in which the pattern can be written,
    are the number of distinct cells (Burnside's lemma); a draw from that sum is uniform over them.

    Args:
        pairs: number of pairs in a cell.
        operations: operations on pairs.
        input_operations: operations on the inputs of the cell.

    >>> Wirings(1, ("a",), ("a",)).count  # 0+0, 1+1, each with the used input kept or not; 0+1 with any of 4
    8
    """

    def __init__(self, pairs: int, operations: tuple[str, ...], input_operations: tuple[str, ...]) -> None:
        self.pairs, self.operations, self.input_operations = pairs, operations, input_operations
        self._inputs = [(state, op) for state in (0, 1) for op in input_operations]

    @cached_property
    def _table(self) -> tuple[list[tuple[_Pattern, tuple[int, ...]]], list[int], int]:
        """Patterns with a symmetry each, their cumulative weights, and the common factor of the weights."""
        cases = [(pattern, turn, orders) for pattern, turns, orders in _patterns(self.pairs) for turn in turns]
        common = math.lcm(*(orders for _, _, orders in cases))
        weights = (self._labellings(pattern, turn) * common // orders for pattern, turn, orders in cases)
        return [(pattern, turn) for pattern, turn, _ in cases], list(itertools.accumulate(weights)), common

    @property
    def count(self) -> int:
        """The number of distinct cells."""
        _, sums, common = self._table
        return sums[-1] // common

    def _labellings(self, pattern: _Pattern, turn: tuple[int, ...]) -> int:
        """The number of labellings that a symmetry leaves unchanged; inputs 0 and 1 may be kept or not."""
        ops, cycles = len(self.operations), _cycles(turn)

        def without_inputs(halves: int) -> int:
            """Choices of inputs and operations, given the number of halves on the inputs of the cell."""
            ways = 1
            for cycle in cycles:
                uses = pattern[cycle[0]]
                if not uses:
                    ways *= halves * (halves + 1) // 2
                elif len(uses) == 1:
                    ways *= halves * ops + ops * (ops + 1) // 2
                else:
                    ways *= ops if _swapped(turn, cycle, uses) else ops * ops
            return ways

        one, none = without_inputs(len(self.input_operations)), without_inputs(0)
        both = without_inputs(2 * len(self.input_operations))
        used = set(itertools.chain.from_iterable(pattern))
        # each used input is kept or not: the sum over the sets of kept inputs, by inclusion and exclusion
        return (4 * both - 4 * one + none) << sum(cycle[0] in used for cycle in cycles)

    def draw(self, rng: np.random.Generator) -> Wiring:
        """A cell, drawn uniformly."""
        return self.labelled(rng).canonical()

    @property
    def cases(self) -> list[tuple[_Pattern, tuple[int, ...]]]:
        """What cells are drawn from: all patterns, each with each of its symmetries."""
        return self._table[0]

    def drawn_cases(self, count: int, rng: np.random.Generator) -> list[int]:
        """Indices of so many of `cases`, each case as often as the distinct cells ask for."""
        sums = self._table[1]
        return [bisect_right(sums, number) for number in randoms_below(sums[-1], count, rng)]

    def labelled(self, rng: np.random.Generator) -> Wiring:
        """A cell, drawn uniformly, but not in its canonical form."""
        cases, sums, _ = self._table
        return self.labelled_as(*cases[bisect_right(sums, random_below(sums[-1], rng))], rng)

    def labelled_as(self, pattern: _Pattern, turn: tuple[int, ...], rng: np.random.Generator) -> Wiring:
        """A cell of one of `cases`, drawn uniformly."""
        cycles = _cycles(turn)
        while True:
            pairs: list[tuple[Half, Half]] = [((0, ""), (0, ""))] * self.pairs
            for cycle in cycles:
                pair = self._pair(pattern[cycle[0]], _swapped(turn, cycle, pattern[cycle[0]]), rng)
                for index in cycle:
                    pairs[index] = pair
                    (a, op_a), (b, op_b) = pair
                    pair = (turn[a - 2] + 2 if a > 1 else a, op_a), (turn[b - 2] + 2 if b > 1 else b, op_b)
            used = {state for pair in pairs for state, _ in pair}
            kept = [state for state in (0, 1) if rng.integers(2)]
            if used.issuperset(kept):
                break
        for cycle in cycles:
            if cycle[0] + 2 in used and rng.integers(2):
                kept += [index + 2 for index in cycle]
        return Wiring(tuple(pairs), tuple(kept))

    def _pair(self, uses: tuple[int, ...], swapped: bool, rng: np.random.Generator) -> tuple[Half, Half]:
        """Inputs and operations of a pair that uses those pairs, drawn uniformly."""
        ops = self.operations
        if len(uses) == 2:
            first = ops[rng.integers(len(ops))]
            second = first if swapped else ops[rng.integers(len(ops))]
            return (uses[0] + 2, first), (uses[1] + 2, second)
        inputs = self._inputs
        if not uses:
            return _unordered(inputs, int(rng.integers(len(inputs) * (len(inputs) + 1) // 2)))
        state = uses[0] + 2
        index = int(rng.integers(len(inputs) * len(ops) + len(ops) * (len(ops) + 1) // 2))
        if index < len(inputs) * len(ops):
            return inputs[index // len(ops)], (state, ops[index % len(ops)])
        return _unordered([(state, op) for op in ops], index - len(inputs) * len(ops))


def _unordered(halves: list[Half], index: int) -> tuple[Half, Half]:
    """The unordered pair with that number; its halves may be equal."""
    larger = (math.isqrt(8 * index + 1) - 1) // 2
    return halves[larger], halves[index - larger * (larger + 1) // 2]


_Pattern = tuple[tuple[int, ...], ...]
"""For each pair, the earlier pairs that it uses: two at most."""


@cache
def _patterns(pairs: int) -> list[tuple[_Pattern, list[tuple[int, ...]], int]]:
    """All patterns, each with its symmetries and the number of topological orders of its pairs."""
    choices = ([c for size in range(3) for c in itertools.combinations(range(index), size)] for index in range(pairs))
    return [(p, _symmetries(p), _orders(p, frozenset())) for p in itertools.product(*choices)]


def _symmetries(pattern: _Pattern) -> list[tuple[int, ...]]:
    uses = [set(each) for each in pattern]
    turns = itertools.permutations(range(len(pattern)))
    return [turn for turn in turns if all({turn[u] for u in uses[p]} == uses[turn[p]] for p in range(len(pattern)))]


@lru_cache(maxsize=1 << 16)
def _orders(pattern: _Pattern, written: frozenset[int]) -> int:
    if len(written) == len(pattern):
        return 1
    ready = (p for p in range(len(pattern)) if p not in written and written.issuperset(pattern[p]))
    return sum(_orders(pattern, written | {p}) for p in ready)


@lru_cache(maxsize=1 << 10)
def _cycles(turn: tuple[int, ...]) -> list[list[int]]:
    """The cycles of a symmetry."""
    cycles: list[list[int]] = []
    for start in range(len(turn)):
        if not any(start in cycle for cycle in cycles):
            cycle = [start]
            while turn[cycle[-1]] != start:
                cycle.append(turn[cycle[-1]])
            cycles.append(cycle)
    return cycles


def _swapped(turn: tuple[int, ...], cycle: list[int], uses: tuple[int, ...]) -> bool:
    """Whether a full cycle of the symmetry maps the first of the two used pairs to the other."""
    if len(uses) < 2:
        return False
    at = uses[0]
    for _ in cycle:
        at = turn[at]
    return at != uses[0]


# The layers.

_EPS: Final = 0.001


@lru_cache(maxsize=1 << 12)
def _conv(width: int, kernel: int | tuple[int, int] = 1, stride: int | tuple[int, int] = 1, dilation: int = 1) -> Chain:
    return Chain(Act("relu"), Conv(width, kernel, stride, dilation=dilation), Norm(eps=_EPS))


@lru_cache(maxsize=1 << 12)
def _halved(width: int, act: bool) -> Chain:
    """Two strided 1x1 convolutions, one of them shifted by a pixel, concatenated: together they see more pixels."""
    paths = Concat(Conv(width // 2, 1, 2), Chain(Shift(), Conv(width - width // 2, 1, 2)))
    return Chain(*([Act("relu")] if act else []), paths, Norm(eps=_EPS))


@lru_cache(maxsize=1 << 14)
def operation(name: str, c_in: int, width: int, stride: int) -> Node:
    """One operation on a state of `c_in` channels."""
    if name == "identity":
        return Identity() if stride == 1 and c_in == width else _conv(width, 1, stride)
    return Chain(*_operation(name, c_in, width, stride), DropPath())


def _operation(name: str, c_in: int, width: int, stride: int) -> Iterator[Node]:
    kind, kernel = name[:3], int(name[-1])
    if kind == "sep":
        for channels, step in ((c_in, stride), (width, 1)):
            yield Chain(Act("relu"), Conv(channels, kernel, step, groups=channels), Conv(width), Norm(eps=_EPS))
    elif kind in ("max", "avg"):
        yield Pool("max" if kind == "max" else "avg", kernel, stride)
        if c_in != width:
            yield Chain(Conv(width), Norm(eps=_EPS))
    elif name == "1x1":
        yield _conv(width, 1, stride)
    else:
        inside = max(1, width * 3 // 8 if name == "1x3+3x1" else width // 4)
        yield _conv(inside)
        if "+" in name:
            kernel = int(name[2])
            yield _conv(inside, (1, kernel), (1, stride))
            yield _conv(inside, (kernel, 1), (stride, 1))
        else:
            yield _conv(inside, kernel, stride, 2 if kind == "dil" else 1)
        yield _conv(width)


@lru_cache(maxsize=1 << 14)
def cell(wiring: Wiring, width: int, stride: int, label: str, larger: bool = False, raw: int = 0) -> Graph:
    """One cell: a graph whose inputs are the outputs of the last cell and of the one before.

    Args:
        wiring: its pairs.
        width: channels of each state.
        stride: of the operations on its inputs.
        label: its name in tables.
        larger: whether the output of the cell before the last is twice as high and wide as that of the last.
        raw: for the first cell of a network, whose inputs are both the output of the stem: its channels; else 0.
    """
    inputs = 1 if raw else 2
    steps = [GraphStep(node, (value,)) for value, node in enumerate(entries(width, larger, raw))]
    states = [(inputs, width), (0, raw) if raw else (3, width)]  # value in the graph and channels of each state

    def valued(node: Node, value: int) -> int:
        if isinstance(node, Identity):
            return value
        steps.append(GraphStep(node, (value,)))
        return len(steps) - 1 + inputs

    for pair in wiring.pairs:
        halves = []
        for state, name in pair:
            value, channels = states[state]
            halves.append(valued(operation(name, channels, width, stride if state < 2 else 1), value))
        steps.append(GraphStep(_IDENTITY, tuple(halves)))
        states.append((len(steps) - 1 + inputs, width))
    ends = []
    for state in wiring.outputs:
        value, channels = states[state]
        ends.append(valued(ending(channels, width, stride if state < 2 else 1), value))
    steps.append(GraphStep(_IDENTITY, tuple(ends), "concat"))
    return Graph(tuple(steps), label, inputs)


def entries(width: int, larger: bool, raw: int) -> list[Node]:
    """What a cell does to its inputs before its pairs; arguments as of `cell`."""
    last = _conv(width)
    return [last] if raw else [last, _halved(width, act=True) if larger else _conv(width)]


def ending(channels: int, width: int, stride: int) -> Node:
    """What a state of so many channels goes through into the output of its cell."""
    if stride > 1:
        return _halved(width, act=False)
    return _IDENTITY if channels == width else Chain(Conv(width), Norm(eps=_EPS))


_IDENTITY: Final = Identity()


class Place(NamedTuple):
    """A cell's place in a network.

    Attributes:
        reduction: whether it is a reduction cell; a normal one otherwise.
        width: channels of each of its states.
        inputs: numbers of its inputs, the output of the last cell first: 0 is the output of the stem, 1 that of the
            first cell. The first cell has one.
        larger: as in `cell`.
        label: its name in tables.
    """

    reduction: bool
    width: int
    inputs: tuple[int, ...]
    larger: bool
    label: str

    @property
    def stride(self) -> int:
        """Of the operations on its inputs."""
        return 1 + self.reduction


@lru_cache(maxsize=1 << 12)
def places(width: int, repeats: tuple[int, ...], skip: bool, dropped: int) -> tuple[Place, ...]:
    """The cells of a network in order; arguments as of `stacked`, and how many of the first strides are left out."""
    found: list[Place] = []
    level, levels = 0, [0]  # how often each output so far was halved

    def add(reduction: bool, channels: int, before: int, label: str) -> None:
        nonlocal level
        last = len(found)
        inputs = (last, before) if last else (0,)
        found.append(Place(reduction, channels, inputs, bool(last) and levels[before] < level, label))
        level += reduction
        levels.append(level)

    for index in range(max(0, dropped - 1), 2):
        add(True, max(1, width >> (2 - index)), len(found) - 1, f"stem{index + 1}")
    for index, repeat in enumerate(repeats):
        earlier = len(found) - 1
        if index:
            add(True, width << index, earlier, f"reduction{index}")
        for number in range(repeat):
            before = earlier if skip and index and not number else len(found) - 1
            add(False, width << index, before, f"normal{index + 1}")
    return tuple(found)


def strides_dropped(made_for: int | None, repeats: tuple[int, ...]) -> int:
    """How many of the first strides are left out; arguments as of `stacked`."""
    if made_for is None:
        return 0
    strides = len(repeats) + 2
    return next((lost for lost in range(3) if -(-made_for // 2 ** (strides - lost)) >= 7), 3)


def stem(stem_width: int, dropped: int) -> Chain:
    """The first convolution, without its stride where strides are left out."""
    return Chain(Conv(stem_width, 3, padding=1 if dropped else 0, stride=1 if dropped else 2), Norm(eps=_EPS))


def head(classes: int, dropout: float) -> Chain:
    """The classifier."""
    return Chain(Act("relu"), GlobalPool(), Flatten(), Dropout(dropout), Linear(classes), label="head")


def stacked(
    normal: Wiring,
    reduction: Wiring,
    task: Task,
    *,
    width: int,
    repeats: tuple[int, ...],
    stem_width: int,
    skip: bool = False,
    dropout: float = 0.5,
    made_for: int | None = None,
) -> Chain:
    """The network of the papers: a stem, normal cells with reduction cells between them, a classifier.

    The stem is a strided convolution and two reduction cells of a quarter and half of the width; each further
    reduction cell doubles it. On small images the first strides, and with them the cells of the stem, are left out
    until the last feature map has at least 7 pixels a side: 32x32 keeps none of the three, as in the papers for CIFAR.

    Args:
        normal, reduction: wirings of the cells.
        task: images and classes.
        width: channels of each state of the first normal cells (F in the papers).
        repeats: normal cells before, between and after the reduction cells (N in the papers).
        stem_width: channels of the first convolution.
        skip: whether the second input of the cell after a reduction cell is that of the reduction cell, not its first.
        dropout: rate before the classifier.
        made_for: image size that decides which strides are left out; None keeps all of them.
    """
    dropped = strides_dropped(made_for, repeats)
    steps: list[GraphStep] = []
    for place in places(width, repeats, skip, dropped):
        wiring = reduction if place.reduction else normal
        raw = 0 if len(place.inputs) > 1 else stem_width
        node = cell(wiring, place.width, place.stride, place.label, place.larger, raw)
        steps.append(GraphStep(node, place.inputs) if raw else GraphStep(node, place.inputs, "apart"))
    return Chain(
        Chain(stem(stem_width, dropped), label="stem"), Graph(tuple(steps), "cells"), head(task.classes, dropout)
    )
