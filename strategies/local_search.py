"""Hill climbing with restarts, which few methods beat on small budgets of trials.

White et al. 2021, *Exploring the Loss Landscape in Neural Architecture Search*, arXiv:2005.02960, Algorithm 1 in the
variant that moves to the first neighbour that is better (`query_full_nbhd=False` in its code, naszilla). A neighbour
differs in one decision. Departures: once no neighbour is new, a climb begins anew at the best architecture with several
decisions changed (iterated local search: Lourenço et al. 2003, *Iterated Local Search*), where the code draws
`num_init` architectures anew, or goes on from the next best (`stop_at_minimum=False`); asks may run ahead of tells, and
then try several neighbours of the same architecture.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, final

from searchspaces import UserError
from strategies.novelty import sample_new
from strategies.start import StartFrom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

ATTEMPTS: Final = 100
"""Mutations that are drawn to find a neighbour that is new; a neighbourhood of 20 is missed one time in 170."""


@final
class LocalSearch:
    """Propose neighbours of an architecture until one is better, and go on from there.

    Args:
        space: what may be proposed.
        starts: number of uniform draws; the first climb begins at the best of them.
        kick: number of mutations of the best architecture from which each further climb starts.
        start_from: architectures proposed before any other, as in `RegularizedEvolution`.

    Raises:
        UserError: a setting is out of range, or an architecture in `start_from` is unknown or does not fit.
    """

    def __init__(
        self, space: SearchSpace, *, starts: int = 10, kick: int = 3, start_from: str | Sequence[str] = ()
    ) -> None:
        for name, value, low in (("starts", starts, 1), ("kick", kick, 2)):
            if value < low:
                raise UserError(f"{name} must be at least {low}, got {value}")
        self._space, self._starts, self._kick = space, starts, kick
        self._start = StartFrom(space, start_from)
        self._known: set[Architecture] = set()
        self._begins: dict[Architecture, bool] = {}  # of those under way, whether a climb begins anew with them
        self._here: tuple[Architecture, float] | None = None
        self._best: tuple[Architecture, float] | None = None
        self._ended = 0  # outcomes, as far as the first climb waits for them

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings as they were given."""
        return {"starts": self._starts, "kick": self._kick, "start_from": self._start.setting}

    def ask(self, rng: np.random.Generator) -> Architecture:
        """An architecture of `start_from`, a uniform draw until `starts` outcomes are known, then a new neighbour.

        Where none is found, the best architecture with `kick` mutations; where that is not new, a uniform draw.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        if (first := self._start.next(self._known)) is not None:
            return first
        with contextlib.suppress(UserError):  # no neighbour fits the budget
            if self._here is not None and self._ended >= self._starts:
                for _ in range(ATTEMPTS):
                    child = self._space.mutate(self._here[0], rng)
                    if child not in self._known and self._is_neighbour(child):
                        return child
            if self._best is not None and self._ended >= self._starts:
                child = self._best[0]
                for mutations in range(ATTEMPTS):
                    child = self._space.mutate(child, rng)
                    if mutations + 1 >= self._kick and child not in self._known:
                        return child
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Move to an architecture that is better, or with which a climb begins anew."""
        self._known.add(architecture)
        climbing = self._here is not None and self._ended >= self._starts
        if architecture not in self._begins:
            self._begins[architecture] = climbing and not self._is_neighbour(architecture)
        if outcome.state == "running":
            return
        begins_anew = self._begins.pop(architecture)
        self._ended += 1
        if outcome.state != "complete" or outcome.accuracy is None:
            return
        if self._best is None or outcome.accuracy > self._best[1]:
            self._best = architecture, outcome.accuracy
        if self._here is None or begins_anew or outcome.accuracy > self._here[1]:
            self._here = architecture, outcome.accuracy

    def _is_neighbour(self, architecture: Architecture) -> bool:
        """Whether it differs from where the climb is in one of the decisions that both have."""
        assert self._here is not None
        one, other = self._space.encode(self._here[0]), self._space.encode(architecture)
        return int(((one != other) & (one >= 0) & (other >= 0)).sum()) == 1
