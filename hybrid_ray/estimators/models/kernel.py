"""Support vector machines: fitted by libsvm, applied as one matrix product, probabilities by inner cross-validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR

from hybrid_ray.estimators.common import GRAM_ROWS
from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.types import AnyArray

Kernel = Literal["rbf", "linear"]

_CACHE_MB = 200


@dataclass(frozen=True)
class KernelRows:
    """Training rows under a kernel.

    Attributes
    ----------
    values : ndarray float64 (n, d)
    kernel : {"rbf", "linear"}
    gamma : float
        Of the rbf kernel.
    gram : ndarray (n, n) or None
        Kernel of every pair of rows, when it is small enough to be held.
    """

    values: AnyArray
    kernel: Kernel
    gamma: float
    gram: AnyArray | None

    @classmethod
    def make(cls, X: AnyArray, kernel: Kernel, gamma: float) -> KernelRows:
        """Rows float32 (n, d) under a kernel; ``gamma`` is relative to 1 / (d * variance)."""
        values = X.astype(np.float64)
        spread = float(values.var()) * values.shape[1]
        real = gamma / spread if spread > 0 else gamma
        gram = kernel_matrix(values, values, kernel, real) if len(values) <= GRAM_ROWS else None
        return cls(values, kernel, real, gram)

    def fit(self, machine: SVC | SVR, rows: AnyArray, targets: AnyArray, weights: AnyArray | None = None) -> AnyArray:
        """Fit libsvm on some rows; the support vectors come back as row numbers."""
        if self.gram is None:
            machine.set_params(kernel=self.kernel, gamma=self.gamma)
            inputs = self.values[rows]
        else:
            machine.set_params(kernel="precomputed")
            inputs = self.gram if len(rows) == len(self.gram) else self.gram[np.ix_(rows, rows)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(inputs, targets, sample_weight=weights)
        support: AnyArray = rows[machine.support_]
        return support

    def between(self, rows: AnyArray, support: AnyArray) -> AnyArray:
        """Kernel (m, s) between some rows and the support vectors."""
        if self.gram is not None:
            part: AnyArray = self.gram[np.ix_(rows, support)]
            return part
        return kernel_matrix(self.values[rows], self.values[support], self.kernel, self.gamma)


def kernel_matrix(A: AnyArray, B: AnyArray, kernel: Kernel, gamma: float) -> AnyArray:
    """Kernel float64 (n, m) between rows (n, d) and rows (m, d), both float64."""
    products: AnyArray = A @ B.T
    if kernel == "linear":
        return products
    # In place: with many rows the matrix is most of what a fit holds.
    distances = products
    distances *= -2.0
    distances += np.einsum("ij,ij->i", A, A)[:, None]
    distances += np.einsum("ij,ij->i", B, B)[None, :]
    np.maximum(distances, 0.0, out=distances)
    distances *= -gamma
    return np.exp(distances, out=distances)


def pair_weights(machine: SVC, n_classes: int) -> AnyArray:
    """Weights (s, n_pairs) of the support vectors in each one-against-one decision, libsvm's order of pairs.

    A decision is positive for the first class of its pair.
    """
    if n_classes == 2:
        return -machine.dual_coef_.T
    ends = np.cumsum(machine.n_support_)
    parts = [slice(int(end - count), int(end)) for end, count in zip(ends, machine.n_support_, strict=True)]
    weights = np.zeros((len(machine.support_), n_classes * (n_classes - 1) // 2))
    for column, (i, j) in enumerate(combinations(range(n_classes), 2)):
        weights[parts[i], column] = machine.dual_coef_[j - 1, parts[i]]
        weights[parts[j], column] = machine.dual_coef_[i, parts[j]]
    return weights


def class_scores(decisions: AnyArray, n_classes: int) -> AnyArray:
    """Score of each class (n, C): the mean over its opponents of the one-against-one decisions (n, n_pairs)."""
    scores = np.zeros((len(decisions), n_classes))
    for column, (i, j) in enumerate(combinations(range(n_classes), 2)):
        scores[:, i] += decisions[:, column]
        scores[:, j] -= decisions[:, column]
    return scores / (n_classes - 1)


class KernelClassifier(OwnClassifier):
    """Support vector classifier whose probabilities are calibrated on inner folds.

    One-against-one decisions become one score a class; slopes and offsets that turn scores into probabilities are
    fitted on rows that the inner machines did not see.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength.
    gamma : float, default=1.0
        Width of the rbf kernel, relative to 1 / (d * variance).
    kernel : {"rbf", "linear"}, default="rbf"
    class_weight : {"balanced"}, dict or None, default=None
    n_folds : int, default=3
        Inner folds of the calibration.
    max_iter : int, default=100000
        Steps of libsvm after which a fit is used as it is.
    random_state : int, default=0
        Seed of the inner folds.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    kept = ("classes_", "support_vectors_", "weights_", "intercepts_", "gamma_", "calibration_")

    def __init__(
        self,
        *,
        C: float = 1.0,
        gamma: float = 1.0,
        kernel: Kernel = "rbf",
        class_weight: ClassWeight = None,
        n_folds: int = 3,
        max_iter: int = 100_000,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.kernel = kernel
        self.class_weight = class_weight
        self.n_folds = n_folds
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        n_classes = len(self.classes_)
        rows = KernelRows.make(matrix, self.kernel, self.gamma)
        emphasis = self._emphasis(codes, self.class_weight)
        folds = inner_folds(codes, self.n_folds, self.random_state, groups)
        scores = np.zeros((len(codes), n_classes))
        for fold in range(self.n_folds):
            held = np.flatnonzero(folds == fold)
            support, weights, intercepts = self._machine(rows, np.flatnonzero(folds != fold), codes, emphasis)
            scores[held] = class_scores(rows.between(held, support) @ weights + intercepts, n_classes)
        scored = np.flatnonzero(folds >= 0)
        self.calibration_ = fit_calibration(
            scores[scored], codes[scored], None if emphasis is None else emphasis[scored]
        )
        support, self.weights_, self.intercepts_ = self._machine(rows, np.arange(len(codes)), codes, emphasis)
        self.support_vectors_ = rows.values[support]
        self.gamma_ = np.array([rows.gamma])
        return self

    def _machine(
        self, rows: KernelRows, chosen: AnyArray, codes: AnyArray, emphasis: AnyArray | None
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Support rows (s,), their weights (s, n_pairs) and intercepts (n_pairs,) of a fit on the chosen rows."""
        machine = SVC(C=self.C, max_iter=self.max_iter, cache_size=_CACHE_MB)
        support = rows.fit(machine, chosen, codes[chosen], None if emphasis is None else emphasis[chosen])
        self.n_iter_ = int(np.max(machine.n_iter_))
        n_classes = len(self.classes_)
        sign = -1.0 if n_classes == 2 else 1.0
        return support, pair_weights(machine, n_classes), sign * machine.intercept_

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X).astype(np.float64)
        kernel = kernel_matrix(matrix, self.support_vectors_, self.kernel, float(self.gamma_[0]))
        decisions = kernel @ self.weights_ + self.intercepts_
        return calibrated(class_scores(decisions, len(self.classes_)), self.calibration_)


class KernelRegressor(OwnRegressor):
    """Support vector regressor on a standardised target.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength.
    gamma : float, default=1.0
        Width of the rbf kernel, relative to 1 / (d * variance).
    epsilon : float, default=0.1
        Error that costs nothing, in deviations of the target.
    kernel : {"rbf", "linear"}, default="rbf"
    max_iter : int, default=100000
        Steps of libsvm after which a fit is used as it is.
    """

    kept = ("support_vectors_", "weights_", "intercepts_", "gamma_", "target_")

    def __init__(
        self,
        *,
        C: float = 1.0,
        gamma: float = 1.0,
        epsilon: float = 0.1,
        kernel: Kernel = "rbf",
        max_iter: int = 100_000,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.epsilon = epsilon
        self.kernel = kernel
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        rows = KernelRows.make(matrix, self.kernel, self.gamma)
        machine = SVR(C=self.C, epsilon=self.epsilon, max_iter=self.max_iter, cache_size=_CACHE_MB)
        support = rows.fit(machine, np.arange(len(values)), self._standardise(values))
        self.support_vectors_ = rows.values[support]
        self.weights_ = np.ascontiguousarray(machine.dual_coef_[0])
        self.intercepts_ = np.ascontiguousarray(machine.intercept_)
        self.n_iter_ = int(np.max(machine.n_iter_))
        self.gamma_ = np.array([rows.gamma])
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X).astype(np.float64)
        kernel = kernel_matrix(matrix, self.support_vectors_, self.kernel, float(self.gamma_[0]))
        return self._restore(kernel @ self.weights_ + self.intercepts_[0])
