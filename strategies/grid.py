"""Grid search: every architecture of a space that is small enough, in order.

EfficientNet's scaling coefficients were found this way (Tan & Le 2019, arXiv:1905.11946, sec. 4, step 1).
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
"""Largest size of a space, before its budget, that is enumerated."""


@final
class Grid:
    """Propose every architecture in the order in which the space enumerates them; nothing is random.

    Args:
        space: what may be proposed; if it has a budget, only what fits.

    Raises:
        UserError: the space is too large to enumerate.
    """

    def __init__(self, space: SearchSpace) -> None:
        whole = space.whole
        if whole.size > LARGEST:
            raise UserError(
                f"grid search tries every architecture, and {whole.name} has {whole.size:,}; at most {LARGEST:,} are "
                "allowed"
            )
        self._space = space
        self._known: set[Architecture] = set()
        self._first = 0  # no earlier member is new

    @property
    def settings(self) -> Mapping[str, Any]:
        """It has none."""
        return {}

    @cached_property
    def _members(self) -> list[Architecture]:
        return list(self._space.enumerate())

    def ask(self, rng: np.random.Generator) -> Architecture:
        """The first architecture that has not been tried; raises `Exhausted` when none is left."""
        for index in range(self._first, len(self._members)):
            if self._members[index] not in self._known:
                self._first = index
                return self._members[index]
        raise Exhausted(f"all {len(self._members)} architectures of {self._space.name} that fit have been tried")

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Remember that the architecture has been tried, whatever its outcome."""
        self._known.add(architecture)
