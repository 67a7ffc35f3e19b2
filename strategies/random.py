"""Random search without repetition: the baseline that every other strategy has to beat.

Li & Talwalkar 2019, *Random Search and Reproducibility for Neural Architecture Search*, arXiv:1902.07638.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from searchspaces import UserError
from strategies.novelty import sample_new
from strategies.start import read_architectures
from strategies.strategy import Exhausted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome


@final
class RandomSearch:
    """Uniform draws from the architectures that fit and have not been tried.

    Args:
        space: what may be proposed; if it has a budget, only what fits.
        among: draw only from these: names from `space.references` or architectures in JSON; by default the whole space.

    Raises:
        UserError: one of `among` is unknown, or is not in the space under its budget; or it is empty.
    """

    def __init__(self, space: SearchSpace, *, among: Sequence[str] | None = None) -> None:
        if among is not None and not among:
            raise UserError("among is empty, so there is nothing to draw; leave it out to draw from the whole space")
        self._space = space
        self._texts = None if among is None else tuple(among)
        self._among = None if self._texts is None else read_architectures(space, self._texts, "among")
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it draws among, where that is not all of the space."""
        return {} if self._texts is None else {"among": list(self._texts)}

    def ask(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture that has not been tried; raises `Exhausted` when none is left."""
        if self._among is None:
            return sample_new(self._space, self._known, rng)
        new = [each for each in self._among if each not in self._known]
        if not new:
            raise Exhausted(f"all {len(self._among)} listed architectures have been tried")
        return new[int(rng.integers(len(new)))]

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Remember that the architecture has been tried, whatever its outcome."""
        self._known.add(architecture)
