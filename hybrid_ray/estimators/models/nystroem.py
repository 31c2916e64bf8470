"""Support vector machines for many rows: an rbf kernel seen through landmarks, then a linear machine.

The kernel between a row and the landmarks replaces the kernel between all pairs of rows: a fit costs O(n m^2) instead
of O(n^2 d), a prediction one kernel row and one matrix product.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import LinearSVC, LinearSVR

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration
from hybrid_ray.estimators.models.kernel import kernel_matrix
from hybrid_ray.estimators.models.linear import total_variance
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.types import AnyArray, FloatArray

_CHUNK = 8192
"""Rows whose kernel is held at a time at prediction."""


class LandmarkMachine(OwnEstimator):
    """What both machines share: the landmarks, and how a fitted linear machine is applied.

    References
    ----------
    Williams and Seeger, "Using the Nystrom method to speed up kernel machines", NIPS 2000.
    """

    gamma: float
    n_landmarks: int
    max_iter: int
    random_state: int

    def _features(self, matrix: FloatArray) -> AnyArray:
        """Rows as the landmarks see them, float64 (n, m); keeps ``landmarks_``, ``gamma_`` and the map."""
        values = matrix.astype(np.float64)
        real = self.gamma / total_variance(values)
        mapping = Nystroem(
            kernel="rbf",
            gamma=real,
            n_components=min(self.n_landmarks, len(values)),
            random_state=self.random_state,
        )
        features: AnyArray = mapping.fit_transform(values)
        self.landmarks_ = np.ascontiguousarray(mapping.components_)
        self.gamma_ = np.array([real])
        self._map = mapping.normalization_.T
        return features

    def _keep(self, coefficients: AnyArray, intercepts: AnyArray) -> None:
        """Take a linear machine (k, m) on the features as weights (m, k) on the kernel."""
        self.weights_ = np.ascontiguousarray(self._map @ coefficients.T)
        self.intercepts_ = np.atleast_1d(np.asarray(intercepts, np.float64))
        del self._map

    def _decisions(self, matrix: FloatArray) -> AnyArray:
        """Decisions float64 (n, k)."""
        found = np.empty((len(matrix), self.weights_.shape[1]))
        for start in range(0, len(matrix), _CHUNK):
            part = matrix[start : start + _CHUNK].astype(np.float64)
            kernel = kernel_matrix(part, self.landmarks_, "rbf", float(self.gamma_[0]))
            found[start : start + _CHUNK] = kernel @ self.weights_ + self.intercepts_
        return found


class LandmarkClassifier(LandmarkMachine, OwnClassifier):
    """Support vector classifier on landmarks, one class against the rest, calibrated on inner folds.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength.
    gamma : float, default=1.0
        Width of the rbf kernel, relative to 1 / (total variance of the columns).
    n_landmarks : int, default=300
        Training rows that the kernel is measured from.
    class_weight : {"balanced"}, dict or None, default=None
    n_folds : int, default=3
        Inner folds of the calibration.
    max_iter : int, default=1000
        Steps of liblinear after which a fit is used as it is.
    random_state : int, default=0
        Draws the landmarks and the inner folds.
    """

    kept = ("classes_", "landmarks_", "weights_", "intercepts_", "gamma_", "calibration_")

    def __init__(
        self,
        *,
        C: float = 1.0,
        gamma: float = 1.0,
        n_landmarks: int = 300,
        class_weight: ClassWeight = None,
        n_folds: int = 3,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.n_landmarks = n_landmarks
        self.class_weight = class_weight
        self.n_folds = n_folds
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        emphasis = self._emphasis(codes, self.class_weight)
        features = self._features(matrix)
        folds = inner_folds(codes, self.n_folds, self.random_state, groups)
        scores = np.zeros((len(codes), len(self.classes_)))
        for fold in range(self.n_folds):
            held, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            inner = self._machine(features[training], codes[training], None if emphasis is None else emphasis[training])
            scores[held] = _both_sides(features[held] @ inner.coef_.T + inner.intercept_)
        scored = np.flatnonzero(folds >= 0)
        self.calibration_ = fit_calibration(
            scores[scored], codes[scored], None if emphasis is None else emphasis[scored]
        )
        machine = self._machine(features, codes, emphasis)
        self.n_iter_ = int(np.max(machine.n_iter_))
        self._keep(machine.coef_, machine.intercept_)
        return self

    def _machine(self, features: AnyArray, codes: AnyArray, emphasis: AnyArray | None) -> LinearSVC:
        machine = LinearSVC(C=self.C, dual=False, max_iter=self.max_iter, random_state=self.random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return machine.fit(features, codes, sample_weight=emphasis)

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        return calibrated(_both_sides(self._decisions(matrix)), self.calibration_)


class LandmarkRegressor(LandmarkMachine, OwnRegressor):
    """Support vector regressor on landmarks, on a standardised target.

    Parameters
    ----------
    C : float, default=1.0
    gamma : float, default=1.0
        Width of the rbf kernel, relative to 1 / (total variance of the columns).
    epsilon : float, default=0.1
        Error that costs nothing, in deviations of the target.
    n_landmarks : int, default=300
    max_iter : int, default=1000
    random_state : int, default=0
        Draws the landmarks.
    """

    kept = ("landmarks_", "weights_", "intercepts_", "gamma_", "target_")

    def __init__(
        self,
        *,
        C: float = 1.0,
        gamma: float = 1.0,
        epsilon: float = 0.1,
        n_landmarks: int = 300,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.epsilon = epsilon
        self.n_landmarks = n_landmarks
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        machine = LinearSVR(
            C=self.C,
            epsilon=self.epsilon,
            loss="squared_epsilon_insensitive",
            dual=False,
            max_iter=self.max_iter,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(self._features(matrix), self._standardise(values))
        self.n_iter_ = int(np.max(machine.n_iter_))
        self._keep(machine.coef_[None, :], machine.intercept_)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        return self._restore(self._decisions(matrix)[:, 0])


def _both_sides(decisions: AnyArray) -> AnyArray:
    """Score of each class (n, C) from decisions against the rest, of which two classes have one."""
    return np.hstack([-decisions, decisions]) if decisions.shape[1] == 1 else decisions
