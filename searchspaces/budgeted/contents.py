"""The interface of what is known of a space on a task: three kinds of it stand behind a space under a budget.

Chains of stages are counted by dynamic programming (`budgeted.chain`), small spaces are listed (`budgeted.listed`), and
of all others some draws are known (`budgeted.drawn`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from searchspaces.architecture import Architecture
from searchspaces.budgeted.neighbours import Neighbours
from searchspaces.cost import Budget
from searchspaces.grammar import Value


@dataclass(frozen=True, slots=True)
class Count:
    """How many architectures fit: at least `low`, at most `high`.

    Attributes:
        low, high: both inclusive; equal where the count is exact.
        of: the number of architectures without the budget.
        draws: 0 where they were counted; otherwise the draws behind the estimate, a 95 % confidence interval.
    """

    low: int
    high: int
    of: int
    draws: int = 0

    @property
    def share(self) -> float:
        """The middle of the bracket as a share of the whole."""
        return (self.low + self.high) / 2 / self.of

    def __str__(self) -> str:
        if self.low == self.high or self.high < 10**6:
            return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"
        low, high = f"{self.low:.3g}", f"{self.high:.3g}"
        return (high if low == high else f"{low} to {high}").replace("e+", "e")


class Contents(Protocol):
    """What is known of what a space holds on a task, and of what of it fits a budget."""

    @property
    def budget(self) -> Budget:
        """The budget, its percents replaced by shares of the largest known costs."""

    @property
    def draws(self) -> int:
        """The number of draws behind all that is known; 0 where costs and counts are exact."""

    @property
    def tries(self) -> int:
        """Draws without a hit after which sampling gives up."""

    def extremes(self, name: str) -> tuple[int, int]:
        """The smallest and the largest known value of a cost, fitting or not."""

    def fits(self) -> bool | None:
        """Whether something fits, where the budget overlaps the extremes; None where only sampling can tell."""

    def count(self, bins: int | None = None) -> Count:
        """The number of architectures that fit.

        Args:
            bins: that costs are sorted into, where they are; None for as many as a precise count needs.
        """

    def draw(self, rng: np.random.Generator) -> Architecture:
        """An architecture that may or may not fit; of those that do, each is equally likely."""

    def neighbours(self, architecture: Architecture) -> Neighbours | None:
        """What fits among all that one mutation makes of an architecture; None where only trying can tell."""

    def completable(self, prefix: Mapping[str, Value]) -> bool:
        """Whether an architecture that begins with these choices is known to fit."""

    def members(self) -> Iterator[Architecture]:
        """All architectures that fit, in the order of the space."""


def resolved(contents: Contents, budget: Budget) -> Budget:
    """A budget whose percents are of the largest known costs."""
    largest = {bound.cost: contents.extremes(bound.cost)[1] for bound in budget.bounds if bound.percent}
    return budget.resolved(largest) if budget.in_percent else budget
