"""Regularized (aging) evolution, the search behind AmoebaNet.

Real et al. 2018, *Regularized Evolution for Image Classifier Architecture Search*, arXiv:1802.01548, Algorithm 1.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, final

from searchspaces import UserError
from strategies.novelty import sample_new
from strategies.start import StartFrom, default_population

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

_ATTEMPTS = 50  # tournaments, at most, until a child is new
_STEPS = 50  # further mutations, at most, of the last child


class _Member(NamedTuple):
    accuracy: float
    architecture: Architecture


@final
class RegularizedEvolution:
    """Mutate the winner of a tournament; remove the oldest member of the population, not the worst.

    Algorithm 1: the population is a queue of `population` members, drawn at random at first. Each cycle samples
    `tournament` members uniformly with replacement, mutates one decision of the most accurate one, trains the child,
    appends it on the right and removes the member on the left. Departures from the paper:

    * Below 500 trials 7 members are drawn at random, not the whole population. Until it is full, no member is removed,
      and tournaments are among those that are there. With `startup` equal to `population` it is Algorithm 1.
    * Asks may run ahead of tells, as in the paper's own distributed runs (sec. A). A member's age counts from the time
      its outcome was *told*, not from its proposal: the queue holds the last `population` outcomes in the order of
      their tells. Proposals are random while fewer than `startup` trials have started or completed, and while fewer
      than `tournament` outcomes, or `startup` if that is less, are known.
    * A child that was tried before is not proposed again. The cycle (tournament and mutation) is repeated instead, so
      that proposals follow Algorithm 1 conditioned on being new. After 50 cycles without a new child, the last child is
      mutated up to 50 times more; after that, a uniform draw replaces it.
    * Failed trials do not join the population. Pruned trials join with the accuracy at which they were stopped.

    Args:
        space: what may be proposed; if it has a budget, only what fits.
        trials: planned trials; used only for the default population.
        population: members alive at a time (P in the paper, which uses 100 of 20,000 trials). By default a fifth of
            `trials`, at least 30 and at most 100; 40 for 200 trials.
        tournament: members that compete to become the parent (S in the paper, which uses 25). By default 25, as in the
            paper, or the population size if that is smaller: few trials need more selection pressure.
        startup: number of initial members drawn at random. By default the whole population if that is 100 or more, as
            in the paper; 7 for a smaller one.
        identity: probability of the paper's identity mutation, which trains the parent again. 0.05 in the paper; 0
            here, since a study trains no network twice. A positive value needs a study with `replicas`.
        start_from: architectures proposed before any other, in order: names among `space.references`, or architectures
            in JSON. They join the population like any other.

    Raises:
        UserError: a setting is out of range, or an architecture in `start_from` is unknown or does not fit.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        population: int | None = None,
        tournament: int | None = None,
        startup: int | None = None,
        identity: float = 0.0,
        start_from: str | Sequence[str] = (),
    ) -> None:
        if population is None:
            population = default_population(trials, least=30)
        if tournament is None:
            tournament = min(population, 25)
        if startup is None:
            startup = population if population >= 100 else min(population, 7)
        if population < 2:
            raise UserError(f"population must be at least 2, got {population}")
        if not 1 <= tournament <= population:
            raise UserError(f"tournament must be from 1 to the population ({population}), got {tournament}")
        if not 1 <= startup <= population:
            raise UserError(f"startup must be from 1 to the population ({population}), got {startup}")
        if not 0.0 <= identity <= 1.0:
            raise UserError(f"identity is a probability in [0, 1], got {identity}")
        self._space = space
        self._population = population
        self._tournament = tournament
        self._startup = startup
        self._needed = min(tournament, startup)  # outcomes
        self._identity = identity
        self._start = StartFrom(space, start_from)
        self._alive: deque[_Member] = deque(maxlen=population)
        self._running: set[Architecture] = set()
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Defaults resolved; the number of trials enters only through the population."""
        return {
            "population": self._population,
            "tournament": self._tournament,
            "startup": self._startup,
            "identity": self._identity,
            "start_from": self._start.setting,
        }

    @property
    def alive(self) -> tuple[Architecture, ...]:
        """The population, oldest first."""
        return tuple(member.architecture for member in self._alive)

    def ask(self, rng: np.random.Generator) -> Architecture:
        """An architecture of `start_from`, one of `startup` random ones, or a mutated parent.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        if (first := self._start.next(self._known)) is not None:
            return first
        if len(self._alive) + len(self._running) < self._startup or len(self._alive) < self._needed:
            return sample_new(self._space, self._known, rng)
        if self._identity and rng.random() < self._identity:
            return self._parent(rng)
        with contextlib.suppress(UserError):  # no neighbour fits the budget
            for _ in range(_ATTEMPTS):
                child = self._space.mutate(self._parent(rng), rng)
                if child not in self._known:
                    return child
            for _ in range(_STEPS):
                child = self._space.mutate(child, rng)
                if child not in self._known:
                    return child
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Count a started trial towards the first population; append one that ended with an accuracy to the queue."""
        self._known.add(architecture)
        if outcome.state == "running":
            self._running.add(architecture)
            return
        self._running.discard(architecture)
        if outcome.accuracy is not None:
            self._alive.append(_Member(outcome.accuracy, architecture))  # at maxlen the oldest falls off the left

    def _parent(self, rng: np.random.Generator) -> Architecture:
        drawn = rng.integers(len(self._alive), size=self._tournament)  # with replacement, as in the paper
        return max((self._alive[int(index)] for index in drawn), key=lambda member: member.accuracy).architecture
