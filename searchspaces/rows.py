"""Many architectures at once, as rows of a table: costed, drawn and mutated without a Python object for each.

A row is what `SearchSpace.encode` gives: the index of the chosen option of each decision, -1 where it has no effect.
What is drawn has the distribution of `sample` and `mutate`, but not their random numbers. Chains of stages and networks
of two cells are done in whole columns; other spaces one architecture after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from searchspaces.architecture import Architecture, SearchSpace
from searchspaces.budgeted.chain import Chains
from searchspaces.budgeted.feasible import COUNTED, Feasible
from searchspaces.chain_costs import Indices, Whole
from searchspaces.errors import UserError
from searchspaces.grammar import Grammar
from searchspaces.nasnet import NASNetSpace
from searchspaces.space import Space
from searchspaces.task import Task

ROUNDS: Final = 20
"""Times that rows outside of the budget are drawn or mutated anew before they are left to the space itself."""
AT_ONCE: Final = 1 << 11
"""Rows that are drawn or mutated at once, at most, where several are for each that is wanted."""
REMEMBERED: Final = 1 << 15
"""Architectures of a space that is no chain which are kept as objects, and parts of rows that were completed."""


def costs_of(space: SearchSpace, rows: Indices, task: Task, names: Sequence[str] = ("macs", "params")) -> Whole:
    """Exact costs of many architectures.

    Args:
        space: that they are members of, under a budget or not.
        rows: as `space.encode` gives them; shape (architectures, decisions).
        task: on which costs are counted.
        names: of costs in `COSTS`; latency is in whole microseconds.

    Returns:
        `Cost.whole` of each; shape (architectures, names).

    >>> from searchspaces import load_space
    >>> space = load_space("mbconv")
    >>> b0 = space.references["efficientnet_b0"]
    >>> costs_of(space, space.encode(b0)[None], Task()).tolist()
    [[385814752, 5288548]]
    """
    whole = space.whole
    if isinstance(whole, Space) and (tables := whole.cost_tables(task, tuple(names))) is not None:
        return tables.of(rows)
    if isinstance(whole, NASNetSpace) and all(name in COUNTED for name in names):
        return whole.cost_tables(task).of(rows)[:, [COUNTED.index(name) for name in names]]
    return _wholes(space, [whole.decode(row) for row in rows], task, names)


def _wholes(space: SearchSpace, members: Sequence[Architecture], task: Task, names: Sequence[str]) -> Whole:
    costs = [space.whole.cost(member, task) for member in members]
    return np.array([[cost.whole(name) for name in names] for cost in costs], np.int64).reshape(-1, len(names))


class Rows(Protocol):
    """Draws, mutates and costs rows of one space."""

    def sampled(self, count: int, rng: np.random.Generator) -> Indices:
        """So many architectures, each equally likely; shape (count, decisions)."""

    def mutated(self, rows: Indices, rng: np.random.Generator) -> Indices:
        """Of each row a different architecture, one decision away where such a one was found."""

    def costs(self, rows: Indices, task: Task) -> Whole:
        """MACs and parameters; shape (rows, 2)."""

    def member(self, row: Indices) -> Architecture:
        """The architecture of a row."""


def rows_of(space: SearchSpace) -> Rows:
    """The rows of any space, under a budget or not."""
    if isinstance(space.whole, Space):
        return _ChainRows(space, space.whole)
    if isinstance(space.whole, NASNetSpace) and not (isinstance(space, Feasible) and space.exact):
        return _WiredRows(space, space.whole)
    return _EachRow(space)


class _EachRow:
    """Rows of a space that is known by its methods only; remembers the architectures of those that it made."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._members: dict[bytes, Architecture] = {}

    def sampled(self, count: int, rng: np.random.Generator) -> Indices:
        return self._rows([self._space.sample(rng) for _ in range(count)])

    def mutated(self, rows: Indices, rng: np.random.Generator) -> Indices:
        return self._rows([self._space.mutate(self.member(row), rng) for row in rows])

    def costs(self, rows: Indices, task: Task) -> Whole:
        return _wholes(self._space, [self.member(row) for row in rows], task, ("macs", "params"))

    def member(self, row: Indices) -> Architecture:
        return self._members.get(row.tobytes()) or self._space.whole.decode(row)

    def _rows(self, members: Sequence[Architecture]) -> Indices:
        rows = np.array([self._space.encode(member) for member in members], np.int16)
        rows = rows.reshape(len(members), len(self._space.decisions))
        if len(self._members) > REMEMBERED:
            self._members.clear()
        self._members.update((row.tobytes(), member) for row, member in zip(rows, members, strict=True))
        return rows


class _Columns(ABC):
    """Rows that are drawn and changed in whole columns, again and again until they fit the budget.

    Args:
        space: under a budget or not.

    Attributes:
        surplus: how many times as many are drawn at first as are wanted under a budget.
    """

    surplus = 1.0

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        # in a band most do not fit, and what a round costs hardly depends on the number of its rows
        self._band = space.budget is not None and any(bound.lower for bound in space.budget.bounds)

    def sampled(self, count: int, rng: np.random.Generator) -> Indices:
        found = np.zeros((0, len(self._space.decisions)), np.int16)
        wanted = count if self._space.budget is None else round(self.surplus * count)
        for _ in range(ROUNDS):
            if len(found) == count or (rows := self._drawn(wanted, rng)) is None:
                break
            fits = self._fits(rows)
            found = np.concatenate([found, rows[fits]])[:count]
            wanted = min((count - len(found)) * len(rows) // max(int(fits.sum()), 1) + 1, AT_ONCE)
        rest = [self._space.encode(self._space.sample(rng)) for _ in range(count - len(found))]
        return np.concatenate([found, *(row[None] for row in rest)])

    def mutated(self, rows: Indices, rng: np.random.Generator) -> Indices:
        found, left, each = rows.copy(), np.arange(len(rows)), 1
        for _ in range(ROUNDS):
            parents = rows[left.repeat(each)]
            children = self._changed(parents, rng)
            fits = (self._fits(children) & (children != parents).any(1)).reshape(-1, each)
            some, first = fits.any(1), fits.argmax(1)
            found[left[some]] = children.reshape(*fits.shape, rows.shape[1])[some, first[some]]
            left = left[~some]
            if not left.size:
                return found
            each = self._each(fits, len(left))
        for index in left:
            found[index] = self._space.encode(self._space.mutate(self.member(rows[index]), rng))
        return found

    def _each(self, fits: npt.NDArray[np.bool_], wanted: int) -> int:
        """How many to draw for each row that is wanted, after a round of which these fit."""
        if not self._band:
            return 1
        return max(1, min(2 * fits.size // max(int(fits.sum()), 1), AT_ONCE // max(wanted, 1)))

    def costs(self, rows: Indices, task: Task) -> Whole:
        return costs_of(self._space, rows, task)

    def member(self, row: Indices) -> Architecture:
        return self._space.whole.decode(row)

    @abstractmethod
    def _drawn(self, count: int, rng: np.random.Generator) -> Indices | None:
        """So many rows, those that fit each equally likely; None where the space draws one after the other."""

    @abstractmethod
    def _changed(self, rows: Indices, rng: np.random.Generator) -> Indices:
        """Each row one decision away, which need neither fit nor differ."""

    def _fits(self, rows: Indices) -> npt.NDArray[np.bool_]:
        """Whether each row lies within the budget."""
        budget, task = self._space.budget, self._space.task
        if budget is None or task is None:
            return np.ones(len(rows), bool)
        costs = costs_of(self._space, rows, task, [bound.cost for bound in budget.bounds])
        within = [
            (bound.least <= cost) & (cost <= bound.most) for bound, cost in zip(budget.bounds, costs.T, strict=True)
        ]
        fits: npt.NDArray[np.bool_] = np.all(within, axis=0)
        return fits


class _WiredRows(_Columns):
    """Rows of a space of two cells with free wiring that is drawn from.

    Args:
        space: under a budget or not.
        whole: the whole space.
    """

    surplus = 1.5  # what a round costs hardly depends on the number of its rows

    def __init__(self, space: SearchSpace, whole: NASNetSpace) -> None:
        super().__init__(space)
        self._wired = whole.rows

    def _drawn(self, count: int, rng: np.random.Generator) -> Indices:
        return self._wired.drawn(count, rng)

    def _changed(self, rows: Indices, rng: np.random.Generator) -> Indices:
        return self._wired.changed(rows, rng)


class _ChainRows(_Columns):
    """Rows of a space of chains.

    Args:
        space: under a budget or not.
        chain: the whole space.
    """

    def __init__(self, space: SearchSpace, chain: Space) -> None:
        super().__init__(space)
        self._chain = chain
        if isinstance(space, Feasible) and isinstance(space.contents, Chains):
            for names in (("macs", "params"), tuple(bound.cost for bound in space.budget.bounds)):
                if (tables := chain.cost_tables(space.task, names)) is not None:
                    tables.learn(space.contents.layers)
        self._lengths = np.array([len(each.options) for each in chain.decisions])
        ends = np.cumsum([0, *(len(grammar.decisions) for grammar in chain.grammars)]).tolist()
        slices = zip(map(slice, ends, ends[1:]), chain.grammars, strict=True)
        self._groups = [group for group in slices for _ in group[1].decisions]  # of each decision
        self._closed: dict[tuple[int, bytes], Indices] = {}  # parts of rows in which a change opened nothing
        self._opens = np.array([chain.opens_others(each.name) for each in chain.decisions])

    def _drawn(self, count: int, rng: np.random.Generator) -> Indices | None:
        if not (isinstance(self._space, Feasible) and isinstance(self._space.contents, Chains)):
            return None
        drawn = self._space.contents.draw_many(count, rng)
        return np.array([self._chain.grammar.encode(dict(choices)) for choices in drawn], np.int16)

    def _changed(self, rows: Indices, rng: np.random.Generator) -> Indices:
        """One decision of each row changed to another of its options, as in `Grammar.mutated`."""
        changeable = (rows >= 0) & (self._lengths > 1)
        number = changeable.sum(1)
        if not number.all():
            raise UserError("nothing can be mutated: the space holds a single network")
        column = (changeable.cumsum(1) > rng.integers(number)[:, None]).argmax(1)
        every, lengths = np.arange(len(rows)), self._lengths[column]
        children = rows.copy()
        children[every, column] = (rows[every, column] + 1 + rng.integers(lengths - 1)) % lengths
        for row in np.flatnonzero(self._opens[column]):
            columns, grammar = self._groups[column[row]]
            children[row, columns] = self._completed(columns, grammar, children[row, columns], rng)
        return children

    def _completed(self, columns: slice, grammar: Grammar, part: Indices, rng: np.random.Generator) -> Indices:
        """A stage's part of a row with what has an effect, and random options of what is newly open."""
        key = columns.start, part.tobytes()
        found = self._closed.get(key)
        if found is None:
            given = grammar.decode(part)
            taken = dict(grammar.completed(given, rng))
            found = grammar.encode(taken)
            if taken.keys() <= given.keys():  # nothing was drawn
                if len(self._closed) >= REMEMBERED:
                    self._closed.clear()
                self._closed[key] = found
        return found
