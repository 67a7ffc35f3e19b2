"""Multi-objective evolution: the Pareto front between accuracy and costs.

Deb et al. 2002, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE Transactions on Evolutionary
Computation 6(2), sec. III.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from searchspaces import COSTS, Architecture, Task, UserError, nearest
from searchspaces.latency import refuse_unknown
from strategies.novelty import sample_new
from strategies.start import StartFrom, default_population

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
    """Steady-state NSGA-II: binary crowded tournaments, uniform crossover, mutation, non-dominated sorting.

    Departures from the paper:

    * The population is in a steady state: one child joins at a time and the worst member leaves. The paper replaces
      whole generations, which would make asynchronous workers wait.
    * There is no constraint handling, since every child fits the budget. A child that was tried before is made again.
    * Crossover is uniform: each decision is taken from either parent with equal probability. A child that does not fit
      is assembled again from the options that can still fit, those of a parent where possible.
    * Mutation flips each of the n decisions with probability 1/n (a binomial number of mutations).
    * Proposals are random while fewer than `population` trials have started or have an accuracy, and while fewer than
      two outcomes are known. Failed trials do not join the population. Pruned trials join with the accuracy at which
      they were stopped.

    Args:
        space: what may be proposed; if it has a budget, only what fits.
        trials: planned trials; used only for the default population.
        objectives: "accuracy", which is maximized, and names of costs, which are minimized; at least two, as a list or
            as in "accuracy,macs".
        population: members alive at a time. By default a fifth of `trials`, at least 10 and at most 100.
        crossover: probability that a child has two parents; 0.9 as in the paper.
        start_from: architectures proposed before any other, as in `RegularizedEvolution`.

    Raises:
        UserError: a setting is out of range, or an architecture in `start_from` is unknown or does not fit.
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
            population = default_population(trials)
        if population < 2:
            raise UserError(f"population must be at least 2, got {population}")
        if not 0.0 <= crossover <= 1.0:
            raise UserError(f"crossover is a probability in [0, 1], got {crossover}")
        self._space = space
        self._objectives = tuple(objectives)
        self._population = population
        self._crossover = crossover
        self._start = StartFrom(space, start_from)
        self._alive: list[_Member] = []  # best first
        self._running: set[Architecture] = set()
        self._known: set[Architecture] = set()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Defaults resolved; the number of trials enters only through the population."""
        return {
            "objectives": list(self._objectives),
            "population": self._population,
            "crossover": self._crossover,
            "start_from": self._start.setting,
        }

    @property
    def alive(self) -> tuple[Architecture, ...]:
        """The population, best first."""
        return tuple(member.architecture for member in self._alive)

    def ask(self, rng: np.random.Generator) -> Architecture:
        """An architecture of `start_from`, a random one while the population fills, or a child.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        if (first := self._start.next(self._known)) is not None:
            return first
        if len(self._alive) + len(self._running) < self._population or len(self._alive) < 2:
            return sample_new(self._space, self._known, rng)
        for _ in range(_ATTEMPTS):
            child = self._parent(rng)
            if rng.random() < self._crossover:
                child = self._crossed(child, self._parent(rng), rng)
            count = len(self._space.decisions)
            with contextlib.suppress(UserError):  # nothing else was found that fits the budget
                for _ in range(int(rng.binomial(count, 1 / count))):
                    child = self._space.mutate(child, rng)
            if child not in self._known:
                return child
        return sample_new(self._space, self._known, rng)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Add a trial that ended with an accuracy to the population; if it is full, remove the worst member."""
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
        """The winner of a binary tournament; the population is sorted, best first."""
        return self._alive[int(rng.integers(len(self._alive), size=2).min())].architecture

    def _crossed(self, one: Architecture, other: Architecture, rng: np.random.Generator) -> Architecture:
        parents = (one.choices, other.choices)
        pairs = [(name, [parent[name] for parent in parents if name in parent]) for name in parents[0] | parents[1]]
        try:
            return self._space.architecture({name: values[int(rng.integers(len(values)))] for name, values in pairs})
        except UserError:  # it does not fit, or needs a decision that neither parent has
            return self._composed(parents, rng) or one

    def _composed(self, parents: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Architecture | None:
        chosen: dict[str, Any] = {}
        while (decision := self._space.next_decision(chosen)) is not None:
            inherited = [parent[decision.name] for parent in parents if parent.get(decision.name) in decision.options]
            among = inherited or decision.options
            if not among:  # with several bounds, no completion of the prefix was found
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
