"""Random search without repetition: the baseline that every other strategy has to beat.

Li & Talwalkar 2019, *Random Search and Reproducibility for Neural Architecture Search*, arXiv:1902.07638.
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
    """Uniform draws from the architectures that fit and have not been tried."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """It has none."""
        return {}

    def ask(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture that has not been tried; raises `Exhausted` when none is left."""
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Remember that the architecture has been tried, whatever its outcome."""
        self._known.add(architecture)
