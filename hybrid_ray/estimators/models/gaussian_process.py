"""Gaussian processes for few rows: fitted by scikit-learn, applied as one kernel and one matrix product."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from hybrid_ray.estimators.models.base import OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration
from hybrid_ray.estimators.models.kernel import kernel_matrix
from hybrid_ray.estimators.models.linear import total_variance
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.types import AnyArray


class ProcessClassifier(OwnClassifier):
    """Gaussian process classifier (Laplace's approximation), one class against the rest, calibrated on inner folds.

    Parameters
    ----------
    gamma : float, default=1.0
        Width of the rbf kernel, relative to 1 / (total variance of the columns).
    scale : float, default=3.0
        Prior deviation of the log odds.
    n_folds : int, default=3
        Inner folds of the calibration.
    random_state : int, default=0
        Seed of the inner folds.

    References
    ----------
    Rasmussen and Williams, "Gaussian processes for machine learning", 2006, algorithms 3.1 and 3.2.
    """

    kept = ("classes_", "rows_", "weights_", "gamma_", "calibration_")

    def __init__(self, *, gamma: float = 1.0, scale: float = 3.0, n_folds: int = 3, random_state: int = 0) -> None:
        self.gamma = gamma
        self.scale = scale
        self.n_folds = n_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        values = matrix.astype(np.float64)
        real = self.gamma / total_variance(values)
        folds = inner_folds(codes, self.n_folds, self.random_state, groups)
        scores = np.zeros((len(codes), len(self.classes_)))
        for fold in range(self.n_folds):
            held, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            weights = self._weights(values[training], codes[training], real)
            scores[held] = kernel_matrix(values[held], values[training], "rbf", real) @ weights
        scored = np.flatnonzero(folds >= 0)
        self.calibration_ = fit_calibration(scores[scored], codes[scored])
        self.weights_ = self._weights(values, codes, real)
        self.rows_ = values
        self.gamma_ = np.array([real])
        return self

    def _weights(self, values: AnyArray, codes: AnyArray, gamma: float) -> AnyArray:
        """Weights (n, C) of the training rows in each class's latent mean."""
        kernel = ConstantKernel(self.scale**2) * RBF(np.sqrt(0.5 / gamma))
        model = GaussianProcessClassifier(kernel, optimizer=None).fit(values, codes)
        binary = model.base_estimator_
        parts = [binary] if len(self.classes_) == 2 else binary.estimators_
        pulled = np.column_stack([part.y_train_ - part.pi_ for part in parts]) * self.scale**2
        return np.hstack([-pulled, pulled]) if len(parts) == 1 else pulled

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X).astype(np.float64)
        latent = kernel_matrix(matrix, self.rows_, "rbf", float(self.gamma_[0])) @ self.weights_
        return calibrated(latent, self.calibration_)


class ProcessRegressor(OwnRegressor):
    """Gaussian process regressor; width, size and noise are those of the largest marginal likelihood.

    Parameters
    ----------
    gamma : float, default=1.0
        Where the search for the kernel's width starts, relative to 1 / (total variance of the columns).
    noise : float, default=0.3
        Where the search for the noise starts, as a share of the target's variance.
    max_iter : int, default=20
        Steps of that search; 0: the start is used as it is.

    References
    ----------
    Rasmussen and Williams, "Gaussian processes for machine learning", 2006, algorithm 2.1 and section 5.4.
    """

    kept = ("rows_", "weights_", "gamma_", "target_")

    def __init__(self, *, gamma: float = 1.0, noise: float = 0.3, max_iter: int = 20) -> None:
        self.gamma = gamma
        self.noise = noise
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and values (n,)."""
        matrix, targets = self._training(X, y)
        values = matrix.astype(np.float64)
        length = float(np.sqrt(0.5 * total_variance(values) / self.gamma))
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(length, (1e-2 * length, 1e2 * length))
        kernel = kernel + WhiteKernel(self.noise, (1e-4, 1e1))
        self.n_iter_ = 1
        model = GaussianProcessRegressor(kernel, optimizer=self._optimiser if self.max_iter else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(values, self._standardise(targets))
        signal = model.kernel_.k1
        self.gamma_ = np.array([0.5 / signal.k2.length_scale**2])
        self.weights_ = np.ascontiguousarray(model.alpha_ * signal.k1.constant_value)
        self.rows_ = values
        return self

    def _optimiser(
        self, loss: Callable[..., tuple[float, AnyArray]], start: AnyArray, bounds: AnyArray
    ) -> tuple[AnyArray, float]:
        """The parameters of the least loss, within ``max_iter`` steps: scikit-learn's own takes as many as it likes."""
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": self.max_iter})
        self.n_iter_ = max(1, int(found.nit))
        return found.x, float(found.fun)

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X).astype(np.float64)
        return self._restore(kernel_matrix(matrix, self.rows_, "rbf", float(self.gamma_[0])) @ self.weights_)
