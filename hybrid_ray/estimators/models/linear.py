"""Linear models: fitted by scikit-learn, kept and applied as one matrix.

A penalty is relative to the total variance of the columns: as if rows had been brought to a mean squared length of 1.
The same value then suits ten standardised features and ten thousand; an absolute one would leave wide features all but
unpenalised.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.types import AnyArray


def total_variance(X: AnyArray) -> float:
    """Sum of the variances of the columns of (n, d): the mean squared length of the centred rows; 1 for none."""
    total = float(X.var(axis=0).sum())
    return total if total > 0 else 1.0


class LinearClassifier(OwnClassifier):
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the penalty's strength, relative to 1 / (total variance of the columns).
    class_weight : {"balanced"}, dict or None, default=None
        ``"balanced"``: every class counts the same.
    max_iter : int, default=1000
        Iterations of L-BFGS; a fit that stops there is used as it is.
    """

    kept = ("classes_", "coef_", "intercept_")

    def __init__(self, *, C: float = 1.0, class_weight: ClassWeight = None, max_iter: int = 1000) -> None:
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and labels (n,)."""
        matrix, codes = self._training(X, y)
        values = matrix.astype(np.float64)
        model = LogisticRegression(C=self.C / total_variance(values), max_iter=self.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(values, codes, sample_weight=self._emphasis(codes, self.class_weight))
        self.n_iter_ = int(model.n_iter_.max())
        self.coef_ = np.ascontiguousarray(model.coef_.T)
        self.intercept_ = np.ascontiguousarray(model.intercept_)
        return self

    def decision_function(self, X: Any) -> AnyArray:
        """Log odds: (n,) for two classes, else (n, C)."""
        scores: AnyArray = self._matrix(X).astype(np.float64) @ self.coef_ + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        proba: AnyArray = softmax(scores, axis=1)
        return proba


class LinearRegressor(OwnRegressor):
    """Ridge regression.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the L2 penalty, relative to the total variance of the columns.
    """

    kept = ("coef_", "intercept_")

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and values (n,)."""
        matrix, targets = self._training(X, y)
        values = matrix.astype(np.float64)
        model = Ridge(alpha=self.alpha * total_variance(values)).fit(values, targets)
        self.coef_ = np.ascontiguousarray(model.coef_)
        self.intercept_ = np.atleast_1d(np.asarray(model.intercept_, np.float64))
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        values: AnyArray = self._matrix(X).astype(np.float64) @ self.coef_ + self.intercept_[0]
        return values
