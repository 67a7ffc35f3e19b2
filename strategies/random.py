"""Random search, without repetition: the baseline that every other strategy has to beat.

Li and Talwalkar 2019, arXiv:1902.07638, found it hard to beat on the search spaces of their day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from strategies.novelty import sample_new

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome


@final
class RandomSearch:
    """Uniform over what fits and was not tried."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """It has none."""
        return {}

    def ask(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture that was not told of; raises `Exhausted` when there is none."""
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Remember that the architecture was tried, whatever became of it."""
        self._known.add(architecture)
