"""Everything in a space, one after the other: for spaces that are small enough to be tried whole.

As EfficientNet's factors were found (Tan & Le 2019, arXiv:1905.11946, sec. 3.3, step 1).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

from searchspaces import UserError
from strategies.strategy import Exhausted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

LARGEST: Final = 200_000
"""Architectures in a space, with what does not fit, that is gone through."""


@final
class Grid:
    """In the order in which the space lists what it holds; nothing is drawn.

    Args:
        space: what may be proposed; of one under a budget, what fits.

    Raises:
        UserError: the space is too large to be listed.
    """

    def __init__(self, space: SearchSpace) -> None:
        whole = space.whole
        if whole.size > LARGEST:
            raise UserError(
                f"grid tries everything, and {whole.name} holds {whole.size:,} architectures; it can be at most "
                f"{LARGEST:,}"
            )
        self._space = space
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """It has none."""
        return {}

    @cached_property
    def _members(self) -> list[Architecture]:
        return list(self._space.enumerate())

    def ask(self, rng: np.random.Generator) -> Architecture:
        """The first that was not told of; raises `Exhausted` when there is none."""
        for member in self._members:
            if member not in self._known:
                return member
        raise Exhausted(f"all {len(self._members)} architectures of {self._space.name} that fit were tried")

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Remember that the architecture was tried, whatever became of it."""
        self._known.add(architecture)
