"""Regularized evolution, the search behind AmoebaNet.

Real et al. 2018, *Regularized Evolution for Image Classifier Architecture Search*, arXiv:1802.01548, Algorithm 1.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, final

from searchspaces import Architecture, UserError, architecture_from_json, nearest
from strategies.novelty import sample_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchspaces import SearchSpace
    from strategies.strategy import Outcome

_ATTEMPTS = 50  # tournaments held, at most, for a child that is new
_STEPS = 50  # further mutations of a child that is not


class _Member(NamedTuple):
    accuracy: float
    architecture: Architecture


@final
class RegularizedEvolution:
    """Mutate the winner of a tournament; the oldest dies, not the worst.

    Algorithm 1: a queue of `population` members, at first random; each cycle draws `tournament` of them uniformly with
    replacement, mutates one decision of the most accurate, trains the child, appends it on the right and removes the
    member on the left. Our departures:

    * Asks may run ahead of tells, as in the paper's own distributed runs (its sec. A). A member's age counts from the
      moment its outcome is *told*, not from when it was proposed: the queue holds the last `population` outcomes in the
      order in which they were told. Proposals are random while the trials that were told of as started or complete are
      fewer than `population`, and while fewer than `tournament` outcomes are known.
    * A child that was tried before is not proposed again: the cycle (tournament and mutation) is drawn anew, so that
      the proposal follows Algorithm 1 given that it is new. After 50 cycles without one, the last child is mutated
      further, up to 50 times, and after that a uniform draw takes its place.
    * Failed trials never join the queue. Pruned ones join with the accuracy at which they were stopped.

    Args:
        space: what may be proposed; a budget is its business.
        trials: how many the study plans; gives the default population, and nothing else.
        population: members alive at a time (P in the paper, which uses 100 of 20,000 trials). By default a fifth of
            `trials`, at least 10 and at most 100; 40 for 200 trials.
        tournament: draws that compete to be the parent (S in the paper, which uses 25). By default half of the
            population, at most 25: small populations, of short studies, want more pressure; 20 of 40.
        identity: chance of the paper's identity mutation, which trains the parent again. The paper has 0.05; here 0,
            since a study promises to train nothing twice. Above 0 is asking for such repetitions.
        start_from: architectures proposed before anything else, in order: names among `space.references`, or the JSON
            text of an architecture. They join the population as any other.

    Raises:
        UserError: a setting out of range, or an architecture in `start_from` that is unknown or does not fit.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        population: int | None = None,
        tournament: int | None = None,
        identity: float = 0.0,
        start_from: str | Sequence[str] = (),
    ) -> None:
        if population is None:
            population = min(max(trials // 5, 10), 100)
        if tournament is None:
            tournament = min(population // 2, 25)
        if population < 2:
            raise UserError(f"population must be at least 2, got {population}")
        if not 1 <= tournament <= population:
            raise UserError(f"tournament must be from 1 to the population ({population}), got {tournament}")
        if not 0.0 <= identity <= 1.0:
            raise UserError(f"identity is a probability in [0, 1], got {identity}")
        self._space = space
        self._population = population
        self._tournament = tournament
        self._identity = identity
        self._start_from = (start_from,) if isinstance(start_from, str) else tuple(start_from)
        self._seeds = read_seeds(space, self._start_from)
        self._alive: deque[_Member] = deque(maxlen=population)
        self._running: set[Architecture] = set()
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """As resolved; the number of trials is in them only through the population."""
        return {
            "population": self._population,
            "tournament": self._tournament,
            "identity": self._identity,
            "start_from": list(self._start_from),
        }

    @property
    def alive(self) -> tuple[Architecture, ...]:
        """The population, oldest first."""
        return tuple(member.architecture for member in self._alive)

    def ask(self, rng: np.random.Generator) -> Architecture:
        """A seed not yet tried, or a random architecture while the population fills, or a child.

        Raises:
            Exhausted: every architecture of the space was tried.
        """
        for seed in self._seeds:
            if seed not in self._known:
                return seed
        if len(self._alive) + len(self._running) < self._population or len(self._alive) < self._tournament:
            return sample_new(self._space, self._known, rng)
        if self._identity and rng.random() < self._identity:
            return self._parent(rng)
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
        """A started trial counts towards the first population; one that ends with an accuracy joins the queue."""
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


def read_seeds(space: SearchSpace, texts: Sequence[str]) -> tuple[Architecture, ...]:
    """Architectures to begin with: each a name among `space.references` or the JSON text of an architecture.

    Raises:
        UserError: one is unknown, or not in the space under its budget.
    """
    seeds = []
    for text in texts:
        seed = space.references.get(text) or space.whole.references.get(text)
        if seed is None and not text.lstrip().startswith("{"):
            raise UserError(f"start_from: {text!r} is no member of {space.name}{nearest(text, space.references)}")
        seed = seed or architecture_from_json(text, space.whole)
        seeds.append(space.architecture(seed.choices))
    return tuple(seeds)
