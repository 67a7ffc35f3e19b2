"""The predictor of `guided`: a Gaussian process that takes one more observation in a millisecond.

Rasmussen & Williams 2006, *Gaussian Processes for Machine Learning*: the posterior by a Cholesky factor (Alg. 2.1),
which grows by a row for each new observation (Osborne 2010, *Bayesian Gaussian Processes for Sequential Prediction*,
appendix B), and leave-one-out predictions (eqs. 5.10 to 5.12). The kernel is a linear trend, a Matern 5/2 kernel and
white noise; its hyperparameters are those of maximum marginal likelihood, by scikit-learn, and stay while observations
are added.

Some networks train to nothing: far below all others, they stretch every scale and bend the fit. So accuracies are also
looked at with everything below a fence on a logarithmic scale, and of the two the fit is kept that predicts each
observation above the fence better from all others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

EVALUATIONS: Final = 80
"""Evaluations of the marginal likelihood in one fit, at most; each takes milliseconds with 150 observations."""
FENCE: Final = 4.0
"""Distances from the median to the upper quartile that the fence lies below the median; 2.7 deviations of a normal
distribution, so that a fence among networks that all train is at one in 300 of them."""


@dataclass(frozen=True, slots=True)
class Warp:
    """Accuracies as the process sees them: as they are, or with those below a fence on a logarithmic scale.

    Attributes:
        fence: an accuracy; minus infinity leaves all as they are.
        scale: of the logarithm, in accuracy.
    """

    fence: float = -math.inf
    scale: float = 1.0

    @staticmethod
    def of(accuracies: Matrix) -> Warp:
        """The warp whose fence lies below the greater part of the accuracies."""
        median, upper = np.quantile(accuracies, [0.5, 0.75])
        known = np.unique(accuracies)  # on few images many tie, also from the median to the upper quartile
        scale = max(float(upper - median), float(np.diff(known).min(initial=1.0)), 1e-6)
        return Warp(float(median) - FENCE * scale, scale)

    def __call__(self, accuracies: Matrix) -> Matrix:
        """The accuracies warped."""
        below = np.maximum(self.fence - accuracies, 0.0)
        warped: Matrix = np.where(below > 0, self.fence - self.scale * np.log1p(below / self.scale), accuracies)
        return warped

    def slope(self, accuracies: Matrix) -> Matrix:
        """The derivative of the warp at accuracies, in (0, 1]."""
        below = np.maximum(self.fence - accuracies, 0.0)
        slope: Matrix = 1 / (1 + below / self.scale)
        return slope

    def back(self, warped: Matrix) -> Matrix:
        """The accuracies of warped ones."""
        below = np.maximum(self.fence - warped, 0.0)
        accuracies: Matrix = np.where(below > 0, self.fence - self.scale * np.expm1(below / self.scale), warped)
        return accuracies


@final
class Kernel:
    """Hyperparameters that were fitted to observations.

    Args:
        features: (observations, columns).
        accuracies: (observations,), in [0, 1].
        variances: (observations,) of the noise that an observation has beyond that of all; by default none.
        doubtful: how many of the last columns are left out if the observations are predicted better without them.

    Attributes:
        warp: of the accuracies.
        trend, height, length: variance of the linear trend, and variance and length of the Matern kernel.
        noise: variance of the noise, as a share of the observations' variance.
        spread: their deviation.
    """

    def __init__(
        self, features: Matrix, accuracies: Matrix, variances: Matrix | None = None, doubtful: int = 0
    ) -> None:
        variances = np.zeros(len(accuracies)) if variances is None else variances
        self._centre, varies = features.mean(0), features.std(0) > 1e-9
        columns = [varies]
        if doubtful:
            columns.append(varies & (np.arange(len(varies)) < len(varies) - doubtful))
        warps, centred = _warps(accuracies), features - self._centre
        fits = [
            (used, (warp, *_fitted(centred[:, used], warp(accuracies), variances * warp.slope(accuracies) ** 2)))
            for used in columns
            for warp in warps
        ]
        self._varies, chosen = fits[0]
        if len(fits) > 1:
            counted = accuracies >= warps[-1].fence  # which no warp alters
            self._varies, chosen = max(
                fits, key=lambda fit: _predicted(centred[:, fit[0]], accuracies, variances, counted, *fit[1])
            )
        self.warp, self.trend, self.height, self.length, self.noise = chosen
        self.spread = float(self.warp(accuracies).std()) or 1.0

    def shares(self, accuracies: Matrix, variances: Matrix) -> Matrix:
        """Variances of accuracies as shares of the observations' variance, on the scale of the warp."""
        shares: Matrix = variances * (self.warp.slope(accuracies) / self.spread) ** 2
        return shares

    def scaled(self, features: Matrix) -> Matrix:
        """Centred features, without the columns that never varied or did not help."""
        scaled: Matrix = (features - self._centre)[:, self._varies]
        return scaled

    def between(self, some: Matrix, others: Matrix) -> Matrix:
        """Covariances (some, others) of the noiseless accuracy, from scaled features."""
        return _covariances(some, others, self.trend, self.height, self.length)

    def variances(self, features: Matrix) -> Matrix:
        """Prior variances (rows,) of the noiseless accuracy, from scaled features."""
        variances: Matrix = self.trend * np.einsum("ij,ij->i", features, features) + self.height
        return variances


def _predicted(
    scaled: Matrix,
    accuracies: Matrix,
    variances: Matrix,
    counted: npt.NDArray[np.bool_],
    warp: Warp,
    trend: float,
    height: float,
    length: float,
    noise: float,
) -> float:
    """The sum of the logarithms of the densities of the accuracies that count, each given all others."""
    from scipy.linalg import cho_factor, cho_solve

    values = warp(accuracies)
    spread = values.std() or 1.0
    own = variances * (warp.slope(accuracies) / spread) ** 2
    covariance = _covariances(scaled, scaled, trend, height, length) + np.diag(noise + own)
    inverse = cho_solve(cho_factor(covariance, lower=True), np.eye(len(values)))
    variance = 1 / np.diag(inverse)
    error = inverse @ ((values - values.mean()) / spread) * variance
    density = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance) - math.log(spread)
    return float(density[counted].sum())


def _warps(accuracies: Matrix) -> list[Warp]:
    """As they are; and with a fence, if any of them is below it."""
    fenced = Warp.of(accuracies)
    return [Warp(), fenced] if accuracies.min() < fenced.fence else [Warp()]


def _fitted(scaled: Matrix, values: Matrix, variances: Matrix) -> tuple[float, float, float, float]:
    """Variance of the trend, height and length of the Matern kernel, and noise, for values that are normalized."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    prior = (
        ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(0.0, "fixed")
        + ConstantKernel(0.5, (1e-3, 1e2)) * Matern(2.0, (0.5, 20.0), nu=2.5)
        + WhiteKernel(0.2, (1e-3, 1e1))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a hyperparameter at its bound is fine
        own = 1e-10 + variances / (values.std() or 1.0) ** 2  # scikit-learn's own jitter
        process = GaussianProcessRegressor(prior, alpha=own, optimizer=_bounded, normalize_y=True)
        found = process.fit(scaled, values).kernel_
    both, white = found.k1, found.k2
    return (
        float(both.k1.k1.constant_value),
        float(both.k2.k1.constant_value),
        float(both.k2.k2.length_scale),
        float(white.noise_level),
    )


def _bounded(objective: Callable[..., Any], start: Matrix, bounds: Matrix) -> tuple[Matrix, float]:
    """scikit-learn's own optimizer, L-BFGS-B, with a bounded number of evaluations."""
    from scipy.optimize import minimize

    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxfun": EVALUATIONS})
    return found.x, float(found.fun)


def _covariances(some: Matrix, others: Matrix, trend: float, height: float, length: float) -> Matrix:
    """A linear trend and a Matern 5/2 kernel (Rasmussen & Williams, eq. 4.17)."""
    products: Matrix = some @ others.T
    far = np.einsum("ij,ij->i", some, some)[:, None] + np.einsum("ij,ij->i", others, others)
    scratch = 2 * products  # results go where there is room: making arrays takes longer than the sums
    far -= scratch
    np.maximum(far, 0.0, out=far)
    far *= 5 / length**2
    np.sqrt(far, out=far)
    np.square(far, out=scratch)
    scratch /= 3
    scratch += 1 + far
    scratch *= height
    np.negative(far, out=far)
    scratch *= np.exp(far, out=far)
    products *= trend
    products += scratch
    return products


@final
class GaussianProcess:
    """A process conditioned on observations.

    Args:
        kernel: with its hyperparameters.
        features: (observations, columns).
        accuracies: (observations,), in [0, 1].
        variances: (observations,) of the noise that an observation has beyond that of all; by default none.

    Attributes:
        kernel: as given.
    """

    def __init__(self, kernel: Kernel, features: Matrix, accuracies: Matrix, variances: Matrix | None = None) -> None:
        from scipy.linalg import cholesky

        self.kernel, self._warped, self._features = kernel, kernel.warp(accuracies), kernel.scaled(features)
        self._noises = self._noises_of(accuracies, variances)
        covariance = kernel.between(self._features, self._features) + np.diag(self._noises)
        self._factor = np.ascontiguousarray(cholesky(covariance, lower=True, overwrite_a=True, check_finite=False))
        self._weigh()

    def __len__(self) -> int:
        return len(self._warped)

    def add(self, features: Matrix, accuracies: Matrix, variances: Matrix | None = None) -> None:
        """Take more observations (rows, columns), as if they had been there from the start."""
        self._add(features, self.kernel.warp(accuracies), self._noises_of(accuracies, variances))

    def _noises_of(self, accuracies: Matrix, variances: Matrix | None) -> Matrix:
        """The whole noise of observations, as a share of the observations' variance."""
        more = 0.0 if variances is None else self.kernel.shares(accuracies, variances)
        return np.full(len(accuracies), self.kernel.noise) + more

    def _add(self, features: Matrix, warped: Matrix, noises: Matrix) -> None:
        from scipy.linalg import cholesky

        new, old = self.kernel.scaled(features), len(self)
        across = _solved(self._factor, self.kernel.between(self._features, new))  # (old, new)
        within = self.kernel.between(new, new) + np.diag(noises) - across.T @ across
        factor = np.empty((old + len(new),) * 2)
        factor[:old, :old], factor[old:, :old], factor[:old, old:] = self._factor, across.T, 0.0
        factor[old:, old:] = cholesky(within, lower=True, check_finite=False)
        self._factor = factor
        self._features = np.concatenate([self._features, new])
        self._warped = np.concatenate([self._warped, warped])
        self._noises = np.concatenate([self._noises, noises])
        self._weigh()

    def given(self, features: Matrix) -> GaussianProcess:
        """This process with more observations, each at its posterior mean."""
        other = object.__new__(GaussianProcess)
        other.kernel, other._factor, other._features = self.kernel, self._factor, self._features
        other._warped, other._noises = self._warped, self._noises
        other._add(features, self.mean(features), np.full(len(features), self.kernel.noise))
        return other

    def mean(self, features: Matrix) -> Matrix:
        """Posterior mean (rows,) of the accuracy, on the scale of the warp."""
        across = self.kernel.between(self.kernel.scaled(features), self._features)
        mean: Matrix = self._centre + self._spread * (across @ self._weights)
        return mean

    def mean_of_observed(self) -> Matrix:
        """Posterior mean (observations,) at the observations themselves."""
        mean: Matrix = self._warped - self._spread * self._noises * self._weights
        return mean

    def without(self, luck: float) -> tuple[Matrix, Matrix]:
        """Posterior mean and deviation (observations,) of the accuracy of each observation, less a part of its noise.

        What the choices do not tell of a network is in the noise as well as what another training would change. With
        all of the noise for luck the mean is `mean_of_observed`; with none of it, what was observed. Below the fence of
        a warp, where a little on its scale is much accuracy, luck is as little accuracy as above it, and the deviation
        is that of the tangent. It holds what the mean of all is known to (eq. 2.42, of one constant): where the process
        finds no differences the mean is all that it has to tell, and is no better than the observations make it.

        Args:
            luck: variance of the accuracy that is to be left out of each observation, at most that of the noise of all;
                the noise that an observation has beyond that is left out too.
        """
        accuracies = self.kernel.warp.back(self._warped)
        luck_of = np.minimum(self.kernel.shares(accuracies, np.full(len(self), luck)), self.kernel.noise)
        luck_of += self._noises - self.kernel.noise
        inverse = _solved(self._factor, np.eye(len(self)))
        means = self.kernel.warp.back(self._warped - self._spread * luck_of * self._weights)
        told, of_mean = np.einsum("ij,ij->j", inverse, inverse), inverse.T @ inverse.sum(1)
        variances = luck_of - luck_of**2 * (told - of_mean**2 / of_mean.sum())
        return means, self._spread * np.sqrt(np.maximum(variances, 0.0)) / self.kernel.warp.slope(accuracies)

    def expected_improvement(self, features: Matrix, best: float) -> Matrix:
        """Expected improvement (rows,) of the noiseless accuracy over `best` (Jones et al. 1998, eq. 15)."""
        from scipy.special import ndtr

        scaled = self.kernel.scaled(features)
        across = self.kernel.between(scaled, self._features)
        mean = self._centre + self._spread * (across @ self._weights)
        told = _solved(self._factor, across.T)
        variance = self.kernel.variances(scaled) - np.einsum("ij,ij->j", told, told)
        deviation = self._spread * np.sqrt(np.maximum(variance, 1e-18))
        z = (mean - best) / deviation
        gain: Matrix = deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
        return gain

    def _weigh(self) -> None:
        """The weight of each observation in a posterior mean, on the scale of normalized observations."""
        self._centre, self._spread = float(self._warped.mean()), float(self._warped.std()) or 1.0
        normalized = (self._warped - self._centre) / self._spread
        self._weights = _solved(self._factor, _solved(self._factor, normalized), transposed=True)


def _solved(factor: Matrix, values: Matrix, transposed: bool = False) -> Matrix:
    """The solution x of `factor @ x = values`, or of its transpose; the factor is lower triangular, in C order."""
    from scipy.linalg import solve_triangular

    # handed over as its transpose, which is in Fortran's order and not copied
    solved: Matrix = solve_triangular(factor.T, values, lower=False, trans=0 if transposed else 1, check_finite=False)
    return solved
