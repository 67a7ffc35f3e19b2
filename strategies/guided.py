"""Predictor-guided evolution: a Gaussian process picks, among many mutants, the one that is trained.

White et al. 2019, *BANANAS*, arXiv:1910.11858, Algorithm 1 (a predictor, an acquisition function, candidates mutated
from the best), and Wei et al. 2020, *NPENAS*, arXiv:2003.12857 (a predictor that screens the offspring). Departures:
the predictor is a Gaussian process instead of an ensemble of networks. On the tens to hundreds of noisy observations of
a study, it is calibrated and takes milliseconds. It models observation noise, so parents and the incumbent are chosen
by posterior mean rather than by a single observation. The acquisition function is the expected improvement.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from searchspaces import UserError
from strategies.novelty import sample_new
from strategies.start import StartFrom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.gaussian_process import GaussianProcessRegressor

    from searchspaces import Architecture, SearchSpace
    from strategies.strategy import Outcome

Matrix = npt.NDArray[np.float64]

REMEMBERED: Final = 600
"""Observations the predictor is conditioned on; beyond that, the best and the latest half. Bounds an ask's time."""

FITTED: Final = 150
"""Latest observations that the kernel's hyperparameters are fitted to, which is the slow part."""

EVALUATIONS: Final = 80
"""Evaluations of the marginal likelihood in one fit, at most; each takes milliseconds with `FITTED` observations."""

_GROWTH: Final = 1.3  # the hyperparameters are refitted when the number of observations has grown by this factor


@final
class Guided:
    """Fit a predictor, generate candidates, propose the one with the largest expected improvement.

    Each ask fits the predictor to the complete trials, mutates the architectures with the best posterior mean, adds
    uniform draws, and proposes the candidate with the largest expected improvement over the best posterior mean.
    Running trials count as observed at their posterior mean (the kriging believer of Ginsbourger et al. 2010, *Kriging
    is well-suited to parallelize optimization*), which keeps asks that run ahead of tells diverse. Pruned trials are
    not fitted, since their last accuracy is not a full estimate; they are not proposed again.

    Args:
        space: what may be proposed.
        trials: planned trials; used only for the default of `startup`.
        startup: uniform draws before the predictor is used; by default a tenth of `trials`, from 5 to 30.
        candidates: candidates generated at each ask.
        parents: number of best architectures that are mutated.
        explore: share of the candidates that are uniform draws.
        start_from: architectures proposed before any other, as in `RegularizedEvolution`.

    Raises:
        UserError: a setting is out of range, or an architecture in `start_from` is unknown or does not fit.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        trials: int = 200,
        startup: int | None = None,
        candidates: int = 200,
        parents: int = 10,
        explore: float = 0.2,
        start_from: str | Sequence[str] = (),
    ) -> None:
        if startup is None:
            startup = min(max(trials // 10, 5), 30)
        for name, value, low in (("startup", startup, 2), ("candidates", candidates, 1), ("parents", parents, 1)):
            if value < low:
                raise UserError(f"{name} must be at least {low}, got {value}")
        if not 0.0 <= explore <= 1.0:
            raise UserError(f"explore is a fraction in [0, 1], got {explore}")
        self._space = space
        self._startup, self._candidates, self._parents, self._explore = startup, candidates, parents, explore
        self._start = StartFrom(space, start_from)
        self._columns = _Columns(space)
        self._running: list[Architecture] = []
        self._known: set[Architecture] = set()
        self._told: list[tuple[Architecture, float]] = []
        # caches; both follow from the outcomes
        self._kernel: tuple[int, _Kernel] | None = None
        self._fitted: tuple[int, _Predictor] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """Defaults resolved; the number of trials enters only through the startup."""
        return {
            "startup": self._startup,
            "candidates": self._candidates,
            "parents": self._parents,
            "explore": self._explore,
            "start_from": self._start.setting,
        }

    def ask(self, rng: np.random.Generator) -> Architecture:
        """An architecture of `start_from`, a uniform draw until `startup` outcomes are known, then the best candidate.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        if (first := self._start.next(self._known)) is not None:
            return first
        fallback = sample_new(self._space, self._known, rng)
        if len(self._told) < self._startup:
            return fallback
        predictor = self._predictor()
        tried = list(dict.fromkeys(architecture for architecture, _ in self._recent()))
        believed = predictor.mean(self._columns.of(tried))
        order = np.argsort(-believed, kind="stable")
        best = [tried[int(index)] for index in order[: self._parents]]
        pool = self._candidate_pool(best, fallback, rng)
        if self._running:
            predictor = predictor.given(self._columns.of(self._running))
        gain = predictor.expected_improvement(self._columns.of(pool), float(believed.max()))
        return pool[int(np.argmax(gain))]

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Add a complete trial to the observations; no trial is proposed again."""
        self._known.add(architecture)
        if outcome.state == "running":
            self._running.append(architecture)
            return
        if architecture in self._running:
            self._running.remove(architecture)
        if outcome.state == "complete" and outcome.accuracy is not None:
            self._told.append((architecture, outcome.accuracy))

    def believed(self, architectures: Sequence[Architecture]) -> Matrix:
        """Posterior mean of each accuracy; shape (architectures,)."""
        return self._predictor().mean(self._columns.of(architectures))

    def _candidate_pool(
        self, best: list[Architecture], fallback: Architecture, rng: np.random.Generator
    ) -> list[Architecture]:
        """New architectures: uniform draws, and the best mutated a geometric number of times (5/3 in the mean)."""
        pool = {fallback: None}
        drawn = round(self._explore * self._candidates)
        for number in range(self._candidates):
            if number < drawn:
                child = self._space.sample(rng)
            else:
                child = best[int(rng.integers(len(best)))]
                for _ in range(int(rng.geometric(0.6))):
                    child = self._space.mutate(child, rng)
            if child not in self._known:
                pool[child] = None
        return list(pool)

    def _recent(self) -> list[tuple[Architecture, float]]:
        """All observations; of more than `REMEMBERED`, the best and the latest half of that many."""
        if len(self._told) <= REMEMBERED:
            return self._told
        latest, earlier = self._told[-REMEMBERED // 2 :], self._told[: -REMEMBERED // 2]
        return sorted(earlier, key=lambda each: each[1])[-REMEMBERED // 2 :] + latest

    def _predictor(self) -> _Predictor:
        count = self._startup
        while (more := int(count * _GROWTH) + 1) <= len(self._told):
            count = more
        if self._kernel is None or self._kernel[0] != count:
            self._kernel = count, _Kernel(*self._table(self._told[:count][-FITTED:]))
        if self._fitted is None or self._fitted[0] != len(self._told):
            self._fitted = len(self._told), _Predictor(self._kernel[1], *self._table(self._recent()))
        return self._fitted[1]

    def _table(self, told: list[tuple[Architecture, float]]) -> tuple[Matrix, Matrix]:
        """Features (rows, columns) and accuracies (rows,)."""
        return self._columns.of([architecture for architecture, _ in told]), np.array([y for _, y in told])


class _Columns:
    """Features of architectures: one-hot options, the rank of numeric options, and log costs."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._decisions = space.decisions
        self._offsets = np.cumsum([0, *(len(each.options) + 1 for each in self._decisions)])
        self._ranked = [
            index
            for index, each in enumerate(self._decisions)
            if len(each.options) > 2 and all(isinstance(option, (int, float)) for option in each.options)
        ]
        self._task = space.task
        self._rows: dict[Architecture, Matrix] = {}

    def of(self, architectures: Sequence[Architecture]) -> Matrix:
        """Features (architectures, columns); one differing decision adds about 1 to the squared distance."""
        rows = []
        for architecture in architectures:
            row = self._rows.get(architecture)
            if row is None:
                row = self._rows[architecture] = self._row(architecture)
            rows.append(row)
        if len(self._rows) > 1 << 15:
            self._rows.clear()
        return np.array(rows)

    def _row(self, architecture: Architecture) -> Matrix:
        vector = self._space.encode(architecture).astype(int)  # (decisions,), -1 where inactive
        one_hot = np.zeros(self._offsets[-1])
        one_hot[self._offsets[:-1] + vector + 1] = np.sqrt(0.5)
        ranks = [
            (vector[index] / (len(self._decisions[index].options) - 1) if vector[index] >= 0 else 0.5)
            for index in self._ranked
        ]
        costs: list[float] = []
        if self._task is not None:
            cost = architecture.cost(self._task)
            costs = [float(np.log(max(cost.macs, 1))), float(np.log(max(cost.params, 1)))]
        return np.array([*one_hot, *ranks, *costs])


class _Kernel:
    """A linear trend, a Matern 5/2 kernel and white noise, with hyperparameters of maximum marginal likelihood."""

    def __init__(self, features: Matrix, accuracies: Matrix) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

        self._centre, self._varies = features.mean(0), features.std(0) > 1e-9
        prior = (
            ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(0.0, "fixed")
            + ConstantKernel(0.5, (1e-3, 1e2)) * Matern(2.0, (0.5, 20.0), nu=2.5)
            + WhiteKernel(0.2, (1e-3, 1e1))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hyperparameter at its bound is fine
            fitted = GaussianProcessRegressor(prior, optimizer=_bounded, normalize_y=True).fit(
                self.scaled(features), accuracies
            )
        self._fitted = fitted.kernel_

    def scaled(self, features: Matrix) -> Matrix:
        """Centred features, without the columns that never varied."""
        scaled: Matrix = (features - self._centre)[:, self._varies]
        return scaled

    def process(self, features: Matrix, accuracies: Matrix) -> GaussianProcessRegressor:
        """The process with these hyperparameters, conditioned on observations with scaled features."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        return GaussianProcessRegressor(self._fitted, optimizer=None, normalize_y=True).fit(features, accuracies)

    @property
    def noise(self) -> float:
        """Noise variance, as a share of the observations' variance."""
        return float(self._fitted.k2.noise_level)


def _bounded(objective: Any, start: Matrix, bounds: Matrix) -> tuple[Matrix, float]:
    """scikit-learn's own optimizer, L-BFGS-B, with a bounded number of evaluations."""
    from scipy.optimize import minimize

    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxfun": EVALUATIONS})
    return found.x, float(found.fun)


class _Predictor:
    """A Gaussian process conditioned on observations."""

    def __init__(self, kernel: _Kernel, features: Matrix, accuracies: Matrix) -> None:
        self._kernel, self._features, self._accuracies = kernel, features, accuracies
        self._process = kernel.process(kernel.scaled(features), accuracies)

    def mean(self, features: Matrix) -> Matrix:
        """Posterior mean of the accuracy; shape (rows,)."""
        mean: Matrix = self._process.predict(self._kernel.scaled(features))
        return mean

    def given(self, features: Matrix) -> _Predictor:
        """The same predictor with these rows added as observations, each at its posterior mean."""
        observed = np.concatenate([self._accuracies, self.mean(features)])
        return _Predictor(self._kernel, np.concatenate([self._features, features]), observed)

    def expected_improvement(self, features: Matrix, best: float) -> Matrix:
        """Expected improvement of the noiseless accuracy over `best` (Jones et al. 1998, eq. 15); shape (rows,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a variance rounded below zero is clipped
            mean, deviation = self._process.predict(self._kernel.scaled(features), return_std=True)
        noise = self._kernel.noise * self._process._y_train_std**2
        deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-18))
        z = (mean - best) / deviation
        below = 0.5 * (1 + np.array([math.erf(each) for each in z / math.sqrt(2)]))
        gain: Matrix = deviation * (z * below + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
        return gain
