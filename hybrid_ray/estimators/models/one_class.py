"""One-class support vector machines: fitted by libsvm, or on landmarks by stochastic gradients for many rows."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.svm import OneClassSVM

from hybrid_ray.estimators.models.detector import SHARED, OwnDetector
from hybrid_ray.estimators.models.kernel import kernel_matrix
from hybrid_ray.estimators.models.linear import total_variance
from hybrid_ray.types import AnyArray, FloatArray

_CHUNK = 8192
"""Rows whose kernel is held at a time."""


class _RbfDetector(OwnDetector):
    """Minus a weighted sum of rbf kernels around some rows."""

    kept = (*SHARED, "centres_", "weights_", "gamma_")

    def _measure(self, rows: FloatArray) -> AnyArray:
        found = np.empty(len(rows))
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK].astype(np.float64)
            kernel = kernel_matrix(part, self.centres_, "rbf", float(self.gamma_[0]))
            found[start : start + _CHUNK] = -(kernel @ self.weights_)
        return found


class OneClassKernelDetector(_RbfDetector):
    """How far outside a row is of the region that holds normal rows, by a one-class support vector machine.

    Parameters
    ----------
    nu : float, default=0.05
        Share of normal rows that may lie outside.
    gamma : float, default=0.3
        Width of the rbf kernel, relative to 1 / (total variance of the columns).
    max_iter : int, default=100000
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    def __init__(
        self,
        *,
        nu: float = 0.05,
        gamma: float = 0.3,
        max_iter: int = 100_000,
        false_alarms: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.nu = nu
        self.gamma = gamma
        self.max_iter = max_iter
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        values = rows.astype(np.float64)
        self.gamma_ = np.array([self.gamma / total_variance(values)])
        machine = OneClassSVM(nu=self.nu, gamma=float(self.gamma_[0]), max_iter=self.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(values)
        self.centres_ = np.ascontiguousarray(machine.support_vectors_)
        self.weights_ = np.ascontiguousarray(machine.dual_coef_[0]) / np.abs(machine.dual_coef_).sum()


class OneClassLandmarkDetector(_RbfDetector):
    """The same seen through landmarks, fitted by stochastic gradients: its time grows with the rows, not their square.

    Parameters
    ----------
    nu : float, default=0.05
    gamma : float, default=0.3
    n_landmarks : int, default=200
        Training rows that the kernel is measured from.
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    def __init__(
        self,
        *,
        nu: float = 0.05,
        gamma: float = 0.3,
        n_landmarks: int = 200,
        false_alarms: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.nu = nu
        self.gamma = gamma
        self.n_landmarks = n_landmarks
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        values = rows.astype(np.float64)
        self.gamma_ = np.array([self.gamma / total_variance(values)])
        mapping = Nystroem(
            gamma=float(self.gamma_[0]),
            n_components=min(self.n_landmarks, len(values)),
            random_state=self.random_state,
        )
        seen = mapping.fit_transform(values)
        machine = SGDOneClassSVM(nu=self.nu, average=True, random_state=self.random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(seen)
        self.centres_ = np.ascontiguousarray(mapping.components_)
        self.weights_ = np.ascontiguousarray(mapping.normalization_.T @ np.ravel(machine.coef_))
