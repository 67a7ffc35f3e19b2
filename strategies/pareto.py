"""Multi-objective evolution: the front between accuracy and costs.

Deb et al. 2002, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE Transactions on Evolutionary
Computation 6(2), sec. III.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from searchspaces import COSTS, Architecture, Task, UserError, nearest
from searchspaces.latency import refuse_unknown
from strategies.evolution import read_seeds
from strategies.novelty import sample_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchspaces import SearchSpace
    from strategies.strategy import Outcome

_ATTEMPTS: Final = 50  # children made, at most, until one is new


class _Member(NamedTuple):
    architecture: Architecture
    values: tuple[float, ...]  # of the objectives, each to be maximized


@final
class ParetoEvolution:
    """Cross two winners of crowded tournaments and mutate the child; whoever is dominated or crowded dies.

    Departures from NSGA-II: one child at a time joins the population and the worst of them all leaves it (a steady
    state, which workers that end in any order want), where the paper replaces generations. Constraints need no
    handling: every child fits. One that was tried before is made anew.

    * Crossover is uniform: decision by decision, the choice of either parent with equal chance. A child that does not
      fit is put together anew from options that can still fit: of either parent where possible, any otherwise.
    * Mutation changes as many decisions as n flips of a coin with chance 1/n give, n being the number of decisions.
    * Proposals are random while the trials that were told of as started or with an accuracy are fewer than
      `population`, and while fewer than two outcomes are known. Failed trials never join; pruned ones do with the
      accuracy at which they were stopped.

    Args:
        space: what may be proposed; a budget is its business.
        trials: how many the study plans; gives the default population, and nothing else.
        objectives: "accuracy", which is maximized, and names of costs, which are minimized; at least two, in a list or
            as in "accuracy,macs".
        population: members alive at a time. By default a fifth of `trials`, at least 10 and at most 100.
        crossover: chance that a child has two parents; 0.9 as in the paper.
        start_from: architectures proposed before anything else, as in `RegularizedEvolution`.

    Raises:
        UserError: a setting out of range, or an architecture in `start_from` that is unknown or does not fit.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        objectives: str | Sequence[str] = ("accuracy", "macs"),
        population: int | None = None,
        crossover: float = 0.9,
        start_from: str | Sequence[str] = (),
    ) -> None:
        if isinstance(objectives, str):
            objectives = objectives.split(",")
        allowed = ("accuracy", *COSTS)
        for name in objectives:
            if name not in allowed:
                raise UserError(f"unknown objective {name!r}{nearest(name, allowed)}")
        refuse_unknown(objectives, space, space.task or Task())
        if len(set(objectives)) < max(2, len(objectives)):
            raise UserError(f"objectives must be two or more different ones, got {', '.join(objectives)}")
        if population is None:
            population = min(max(trials // 5, 10), 100)
        if population < 2:
            raise UserError(f"population must be at least 2, got {population}")
        if not 0.0 <= crossover <= 1.0:
            raise UserError(f"crossover is a probability in [0, 1], got {crossover}")
        self._space = space
        self._objectives = tuple(objectives)
        self._population = population
        self._crossover = crossover
        self._start_from = (start_from,) if isinstance(start_from, str) else tuple(start_from)
        self._seeds = read_seeds(space, self._start_from)
        self._alive: list[_Member] = []  # best first
        self._running: set[Architecture] = set()
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """As resolved; the number of trials is in them only through the population."""
        return {
            "objectives": list(self._objectives),
            "population": self._population,
            "crossover": self._crossover,
            "start_from": list(self._start_from),
        }

    @property
    def alive(self) -> tuple[Architecture, ...]:
        """The population, best first."""
        return tuple(member.architecture for member in self._alive)

    def ask(self, rng: np.random.Generator) -> Architecture:
        """A seed not yet tried, or a random architecture while the population fills, or a child.

        Raises:
            Exhausted: every architecture of the space was tried.
        """
        for seed in self._seeds:
            if seed not in self._known:
                return seed
        if len(self._alive) + len(self._running) < self._population or len(self._alive) < 2:
            return sample_new(self._space, self._known, rng)
        for _ in range(_ATTEMPTS):
            child = self._parent(rng)
            if rng.random() < self._crossover:
                child = self._crossed(child, self._parent(rng), rng)
            count = len(self._space.decisions)
            for _ in range(int(rng.binomial(count, 1 / count))):
                child = self._space.mutate(child, rng)
            if child not in self._known:
                return child
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """A trial that ends with an accuracy joins the population; where that is too many, the worst leaves it."""
        self._known.add(architecture)
        if outcome.state == "running":
            self._running.add(architecture)
            return
        self._running.discard(architecture)
        if outcome.accuracy is None:
            return
        cost = outcome.cost or architecture.cost(self._space.task or Task())
        told = {"accuracy": outcome.accuracy, **{name: -float(value) for name, value in cost.told().items()}}
        members = [*self._alive, _Member(architecture, tuple(told[name] for name in self._objectives))]
        order = crowded_order(np.array([member.values for member in members]))
        self._alive = [members[int(index)] for index in order[: self._population]]

    def _parent(self, rng: np.random.Generator) -> Architecture:
        """The winner of a binary tournament; the population is in order, best first."""
        return self._alive[int(rng.integers(len(self._alive), size=2).min())].architecture

    def _crossed(self, one: Architecture, other: Architecture, rng: np.random.Generator) -> Architecture:
        parents = (one.choices, other.choices)
        pairs = [(name, [parent[name] for parent in parents if name in parent]) for name in parents[0] | parents[1]]
        try:
            return self._space.architecture({name: values[int(rng.integers(len(values)))] for name, values in pairs})
        except UserError:  # it does not fit, or a decision matters that did not in either parent
            return self._composed(parents, rng) or one

    def _composed(self, parents: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Architecture | None:
        chosen: dict[str, Any] = {}
        while (decision := self._space.next_decision(chosen)) is not None:
            inherited = [parent[decision.name] for parent in parents if parent.get(decision.name) in decision.options]
            among = inherited or decision.options
            if not among:  # several bounds at once may leave a prefix without a way on that was found
                return None
            chosen[decision.name] = among[int(rng.integers(len(among)))]
        return self._space.architecture(chosen)


def crowded_order(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Indices from best to worst by the crowded comparison of NSGA-II (sec. III-B): first the rank, then the distance.

    Args:
        values: (points, objectives), each objective to be maximized.

    >>> crowded_order(np.array([[0.0, 0.0], [3.0, 1.0], [2.0, 2.0], [2.1, 1.9], [1.0, 3.0]])).tolist()
    [1, 4, 2, 3, 0]
    """
    no_worse = np.asarray((values[:, None] >= values[None]).all(axis=2))  # (points, points)
    dominates = no_worse & ~no_worse.T
    ranks = np.zeros(len(values), dtype=np.int64)
    left = np.arange(len(values))
    while len(left):
        dominated = np.asarray(dominates[np.ix_(left, left)].any(axis=0))
        left = left[dominated]
        ranks[left] += 1
    distance = np.zeros(len(values))
    for rank in range(int(ranks.max()) + 1):
        front = np.flatnonzero(ranks == rank)
        for objective in values[front].T:
            order = np.argsort(objective, kind="stable")
            spread = objective[order[-1]] - objective[order[0]] or 1.0
            distance[front[order[[0, -1]]]] = np.inf
            distance[front[order[1:-1]]] += (objective[order[2:]] - objective[order[:-2]]) / spread
    return np.lexsort((-distance, ranks))
