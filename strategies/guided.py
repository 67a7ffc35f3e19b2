"""Predictor-guided evolution: a Gaussian process picks, among many mutants, the one that is trained.

White et al. 2019, *BANANAS*, arXiv:1910.11858, Algorithm 1 (a predictor, an acquisition function, candidates mutated
from the best), and Wei et al. 2020, *NPENAS*, arXiv:2003.12857 (a predictor that screens the offspring). Departures:
the predictor is a Gaussian process instead of an ensemble of networks (`strategies.gaussian_process`). On the tens to
hundreds of noisy observations of a study, it is calibrated and takes milliseconds. It models observation noise, so
parents and the incumbent are chosen by posterior mean rather than by a single observation. The acquisition function is
the expected improvement.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np

from searchspaces import Task, UserError, rows_of
from strategies.features import Options
from strategies.gaussian_process import GaussianProcess, Kernel, Matrix
from strategies.novelty import sample_new
from strategies.rungs import FEWEST, Rungs
from strategies.start import StartFrom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from searchspaces import Architecture, Indices, Rows, SearchSpace
    from strategies.strategy import Outcome

REMEMBERED: Final = 600
"""Observations the predictor is conditioned on anew; of more, the best and the latest half. Bounds an ask's time."""

ADDED: Final = 200
"""Observations that are added to those before it is conditioned anew."""

FITTED: Final = 150
"""Latest observations that the kernel's hyperparameters are fitted to, which is the slow part."""

_GROWTH: Final = 1.3  # the hyperparameters are refitted when the number of observations has grown by this factor


class _Told(NamedTuple):
    """A trial that ended: with the final accuracy, a pruned one with that at its last step, a failed one with None."""

    architecture: Architecture
    accuracy: float | None
    reports: Mapping[int, float]
    pruned: bool


class _Observed(NamedTuple):
    """A final accuracy as a trial tells it, and the variance of its noise beyond that of a complete trial."""

    architecture: Architecture
    accuracy: float
    variance: float


@final
class Guided:
    """Fit a predictor, generate candidates, propose the one with the largest expected improvement.

    Each ask fits the predictor to the trials that ended, mutates the architectures with the best posterior mean, adds
    uniform draws, and proposes the candidate with the largest expected improvement over the best posterior mean.
    Running trials count as observed at their posterior mean (the kriging believer of Ginsbourger et al. 2010, *Kriging
    is well-suited to parallelize optimization*), which keeps asks that run ahead of tells diverse. A pruned trial
    counts as observed at what complete trials with its last accuracy at that step came to, with the noise of this
    prediction (`strategies.rungs`); it is not proposed again. A failed trial counts as observed at the worst accuracy
    of the complete ones (the floor padding of Wakabayashi et al. 2022, *Bayesian optimization with experimental failure
    for high-throughput materials growth*): unobserved, networks that cannot be trained would keep the largest expected
    improvement.

    Args:
        space: what may be proposed.
        trials: planned trials; used only for the default of `startup`.
        startup: uniform draws before the predictor is used; by default a tenth of `trials`, from 5 to 30.
        candidates: candidates generated per proposal; by default 200, or 25 if each of them is scored.
        parents: number of best architectures that are mutated.
        explore: share of the candidates that are uniform draws.
        score: name of a zero-cost score, such as `naswot`, that the predictor gets as an additional feature. The study
            computes it for every candidate (`score_by`).
        task: on which the cost features are counted, as in `32x32x3:10`; by default that of the budget, if there is
            one. A study without a budget gives its own.
        start_from: architectures proposed before any other, as in `RegularizedEvolution`.

    Raises:
        UserError: a setting is out of range, an architecture in `start_from` is unknown or does not fit, or `task` is
            not that of the budget.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        startup: int | None = None,
        candidates: int | None = None,
        parents: int = 10,
        explore: float = 0.2,
        score: str | None = None,
        task: str | None = None,
        start_from: str | Sequence[str] = (),
    ) -> None:
        if startup is None:
            startup = min(max(trials // 10, 5), 30)
        if candidates is None:
            candidates = 200 if score is None else 25
        for name, value, low in (("startup", startup, 2), ("candidates", candidates, 1), ("parents", parents, 1)):
            if value < low:
                raise UserError(f"{name} must be at least {low}, got {value}")
        if not 0.0 <= explore <= 1.0:
            raise UserError(f"explore is a fraction in [0, 1], got {explore}")
        self._space = space
        self._startup, self._candidates, self._parents, self._explore = startup, candidates, parents, explore
        if task is not None and space.task is not None and Task.parse(task) != replace(space.task, latency=None):
            raise UserError(f"guided: costs are counted on the task of the budget, {space.task}, not on {task}")
        self._score, self._task = score, task
        self._start = StartFrom(space, start_from)
        self._rows = rows_of(space)
        counted_on = space.task or (Task() if task is None else Task.parse(task))
        self._columns = _Columns(space, self._rows, counted_on)
        self._running: dict[Architecture, None] = {}
        self._known: set[Architecture] = set()
        self._told: list[_Told] = []
        self._complete, self._ready = 0, 0  # how many are complete; how many were told when the startup was over
        # a cache, which follows from the outcomes: the process, the number of trials at which it was conditioned anew,
        # how many it has taken since, and the architecture of each of its observations
        self._fitted: tuple[GaussianProcess, int, int, list[Architecture]] | None = None
        self._kernel: tuple[int, Kernel] | None = None
        self._rungs: tuple[int, Rungs] | None = None
        self._worst: float | None = None  # accuracy of the complete ones among those that the rungs are of

    @property
    def settings(self) -> Mapping[str, Any]:
        """Defaults resolved; the number of trials enters only through the startup."""
        return {
            "startup": self._startup,
            "candidates": self._candidates,
            "parents": self._parents,
            "explore": self._explore,
            "start_from": self._start.setting,
            **({} if self._score is None else {"score": self._score}),
            **({} if self._task is None else {"task": self._task}),
        }

    def score_by(self, score: Callable[[Architecture], float]) -> None:
        """Take what computes the score; it must give an architecture the same number each time."""
        self._columns.score = score

    def ask(self, rng: np.random.Generator) -> Architecture:
        """An architecture of `start_from`, a uniform draw until `startup` outcomes are known, then the best candidate.

        Raises:
            Exhausted: every architecture of the space has been tried.
            UserError: there is a `score`, and nothing to compute it.
        """
        if self._score is not None and self._columns.score is None:
            raise UserError(f"guided: score={self._score} is computed by a study, or by what `score_by` is given")
        if (first := self._start.next(self._known)) is not None:
            return first
        fallback = sample_new(self._space, self._known, rng)
        if not self._ready:
            return fallback
        process, observed = self._process()
        believed = process.mean_of_observed()
        order = np.argsort(-believed, kind="stable")
        best: dict[Architecture, None] = {}
        for index in order.tolist():
            best[observed[index]] = None
            if len(best) == self._parents:
                break
        pool = self._candidate_pool(list(best), rng)
        if self._running:
            process = process.given(self._columns.of(list(self._running)))
        gain = process.expected_improvement(self._columns.of_rows(pool), float(believed.max()))
        for index in np.argsort(-gain, kind="stable"):
            found = self._rows.member(pool[index])
            if found not in self._known:
                return found
        return fallback

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Add a trial that ended to the observations; none is proposed again."""
        self._known.add(architecture)
        if outcome.state == "running":
            self._running[architecture] = None
            return
        self._running.pop(architecture, None)
        pruned = outcome.state == "pruned"
        if not pruned or (outcome.reports and outcome.accuracy is not None):
            self._told.append(_Told(architecture, outcome.accuracy, dict(outcome.reports), pruned))
        self._complete += not pruned and outcome.accuracy is not None
        if not self._ready and len(self._told) >= self._startup and self._complete >= min(self._startup, FEWEST):
            self._ready = len(self._told)
            self._columns.standardize([each.architecture for each in self._told])

    def believed(self, architectures: Sequence[Architecture]) -> Matrix:
        """Posterior mean of each accuracy; shape (architectures,). Before two trials are complete, all are equal."""
        if self._complete < 2:
            return np.zeros(len(architectures))
        process, _ = self._process()
        return process.kernel.warp.back(process.mean(self._columns.of(architectures)))

    def _candidate_pool(self, best: list[Architecture], rng: np.random.Generator) -> Indices:
        """Candidates (rows, decisions): uniform draws, and the best mutated a geometric number of times (mean 5/3)."""
        drawn = round(self._explore * self._candidates)
        parents, times = self._columns.rows(best), rng.geometric(0.6, self._candidates - drawn)
        children = parents[rng.integers(len(best), size=len(times))]
        for step in range(times.max(initial=0)):
            changed = times > step
            children[changed] = self._rows.mutated(children[changed], rng)
        return np.concatenate([self._rows.sampled(drawn, rng), children])

    def _process(self) -> tuple[GaussianProcess, list[Architecture]]:
        """The predictor after all observations, and whose observations it has.

        It takes one observation after the other, and is conditioned anew at numbers of observations that depend on
        nothing else: a resumed study does the same sums as an unbroken one.
        """
        anew = self._anew()
        if self._fitted is None or self._fitted[1] != anew:
            recent = self._recent(anew)
            process = GaussianProcess(self._kernel_at(anew), *self._table(recent))
            self._fitted = process, anew, anew, [each.architecture for each in recent]
        process, _, taken, observed = self._fitted
        for each in self._observed(self._told[taken:], anew):
            process.add(*self._table([each]))
            observed.append(each.architecture)
        self._fitted = process, anew, len(self._told), observed
        return process, observed

    def _anew(self) -> int:
        """The last number of trials at which the predictor was conditioned anew."""
        fitted = self._fitted_at(len(self._told))
        return fitted + (len(self._told) - fitted) // ADDED * ADDED

    def _fitted_at(self, told: int) -> int:
        """The last number of trials to which hyperparameters were fitted."""
        if not self._ready:
            return told
        count = self._ready
        while (more := int(count * _GROWTH) + 1) <= told:
            count = more
        return count

    def _kernel_at(self, told: int) -> Kernel:
        count = self._fitted_at(told)
        if self._kernel is None or self._kernel[0] != count:
            self._kernel = (
                count,
                Kernel(
                    *self._table(self._observed(self._told[:count], count)[-FITTED:]), doubtful=self._columns.doubtful
                ),
            )
        return self._kernel[1]

    def _recent(self, count: int) -> list[_Observed]:
        """Of the first so many trials; of more than `REMEMBERED`, the best and the latest half of that many."""
        told = self._observed(self._told[:count], count)
        if len(told) <= REMEMBERED:
            return told
        latest, earlier = told[-REMEMBERED // 2 :], told[: -REMEMBERED // 2]
        return sorted(earlier, key=lambda each: each.accuracy)[-REMEMBERED // 2 :] + latest

    def _observed(self, told: Sequence[_Told], count: int) -> list[_Observed]:
        """What trials tell of final accuracies, by the complete ones among the first so many."""
        if self._rungs is None or self._rungs[0] != count:
            complete = [
                (each.reports, each.accuracy)
                for each in self._told[:count]
                if not each.pruned and each.accuracy is not None
            ]
            self._rungs = count, Rungs(complete)
            self._worst = min((accuracy for _, accuracy in complete), default=None)
        observed = []
        for each in told:
            at_end: tuple[float, float] | None
            if each.accuracy is None:
                at_end = None if self._worst is None else (self._worst, 0.0)
            elif each.pruned:
                at_end = self._rungs[1].at_end(max(each.reports), each.accuracy)
            else:
                at_end = each.accuracy, 0.0
            if at_end is not None:
                observed.append(_Observed(each.architecture, *at_end))
        return observed

    def _table(self, observed: Sequence[_Observed]) -> tuple[Matrix, Matrix, Matrix]:
        """Features (rows, columns), accuracies (rows,) and variances (rows,)."""
        features = self._columns.of([each.architecture for each in observed])
        return features, np.array([each.accuracy for each in observed]), np.array([each.variance for each in observed])


class _Columns:
    """Features of architectures: one-hot options, the rank of numeric options, log costs, and a score if there is one.

    Args:
        space: whose architectures they are, under a budget or not.
        rows: of the space.
        task: on which costs are counted.

    Attributes:
        score: computes it.
    """

    score: Callable[[Architecture], float] | None = None

    def __init__(self, space: SearchSpace, rows: Rows, task: Task) -> None:
        self._space, self._rows, self._task = space, rows, task
        self._options = Options(space.decisions)
        self._known: dict[Architecture, Indices] = {}
        self._first: Sequence[Architecture] = ()
        self._usual: tuple[float, float] | None = None  # centre and deviation of their scores

    def standardize(self, first: Sequence[Architecture]) -> None:
        """From now on there is a column of scores, with the centre and the deviation of these architectures' scores."""
        self._first = first

    @property
    def doubtful(self) -> int:
        """Last columns that may tell nothing: the score, if there is one."""
        return int(self.score is not None and bool(self._first))

    def rows(self, architectures: Sequence[Architecture]) -> Indices:
        """Indices of options (architectures, decisions), -1 where inactive."""
        for architecture in architectures:
            if architecture not in self._known:
                self._known[architecture] = self._space.encode(architecture)
        return np.array([self._known[architecture] for architecture in architectures])

    def of(self, architectures: Sequence[Architecture]) -> Matrix:
        """Features (architectures, columns)."""
        return self.of_rows(self.rows(architectures))

    def of_rows(self, rows: Indices) -> Matrix:
        """Features (rows, columns)."""
        costs = np.log(np.maximum(self._rows.costs(rows, self._task), 1))
        return np.concatenate([*self._options.of(rows), costs, *self._scores(rows)], axis=1)

    def _scores(self, rows: Indices) -> list[Matrix]:
        """The column (rows, 1) of standardized scores, within four deviations; none where there is no score."""
        if self.score is None or not self.doubtful:
            return []
        if self._usual is None:
            first = _tame(list(map(self.score, self._first)))
            finite = first[np.isfinite(first)]
            self._usual = (float(finite.mean()), float(finite.std()) or 1.0) if finite.size else (0.0, 1.0)
        centre, deviation = self._usual
        scores = _tame([self.score(self._rows.member(row)) for row in rows])
        return [np.clip((scores - centre) / deviation, -4, 4)[:, None]]


def _tame(scores: Sequence[float]) -> Matrix:
    """Scores on a scale that is linear near 0 and logarithmic far from it, as some span many powers of ten."""
    tamed: Matrix = np.arcsinh(np.array(scores, float))
    return tamed
