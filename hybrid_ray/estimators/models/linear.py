"""Linear models: fitted by scikit-learn, kept and applied as one matrix.

A penalty is relative to the total variance of the columns: as if rows had been brought to a mean squared length of 1.
The same value then suits ten standardised features and ten thousand; an absolute one would leave wide features all but
unpenalised. Left out, it is chosen of ``STRENGTHS`` on training rows that were held out.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.types import AnyArray, FloatArray

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Values of C (of 1 / alpha for numbers) that are tried, from the strongest penalty to the weakest."""
_FOLDS = 3
_CHOICE_CELLS = 4_000_000
"""Up to this many training values all inner folds judge a penalty, above it one of them."""
_CHOICE_ITERATIONS = 100
_PATIENCE = 2
_TINY = 1e-15


def total_variance(X: AnyArray) -> float:
    """Sum of the variances of the columns of (n, d): the mean squared length of the centred rows; 1 for none."""
    total = float(X.var(axis=0).sum())
    return total if total > 0 else 1.0


class LinearClassifier(OwnClassifier):
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    C : float or None, default=None
        Inverse of the penalty's strength, relative to 1 / (total variance of the columns); None: the one of
        ``STRENGTHS`` with the least log loss on inner folds.
    class_weight : {"balanced"}, dict or None, default=None
        ``"balanced"``: every class counts the same.
    max_iter : int, default=1000
        Iterations of L-BFGS; a fit that stops there is used as it is.
    random_state : int, default=0
        Seed of the inner folds.
    """

    kept = ("classes_", "coef_", "intercept_")

    def __init__(
        self,
        *,
        C: float | None = None,
        class_weight: ClassWeight = None,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        values = matrix.astype(np.float64)
        weights = self._emphasis(codes, self.class_weight)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scale = total_variance(values)
            self.C_ = self._chosen(matrix, codes, weights, scale, groups) if self.C is None else self.C
            model = LogisticRegression(C=self.C_ / scale, max_iter=self.max_iter)
            model.fit(values, codes, sample_weight=weights)
        self.n_iter_ = int(model.n_iter_.max())
        self.coef_ = np.ascontiguousarray(model.coef_.T)
        self.intercept_ = np.ascontiguousarray(model.intercept_)
        return self

    def _chosen(
        self, matrix: FloatArray, codes: AnyArray, weights: AnyArray | None, scale: float, groups: AnyArray | None
    ) -> float:
        """The strength of the least loss on inner folds.

        Each fit starts where the stronger penalty ended; two steps without a gain end the path, whose weak end is slow.
        """
        folds = inner_folds(codes, _FOLDS, self.random_state, groups)
        # Of few groups a fold may have no row.
        judged = np.unique(folds[folds >= 0])[: _FOLDS if matrix.size <= _CHOICE_CELLS else 1]
        iterations = min(self.max_iter, _CHOICE_ITERATIONS)
        models = [LogisticRegression(max_iter=iterations, warm_start=True) for _ in judged]
        best, chosen, worse = np.inf, STRENGTHS[0], 0
        for strength in STRENGTHS:
            loss = 0.0
            for fold, model in zip(judged, models, strict=True):
                held, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
                emphasis = None if weights is None else weights[training]
                model.set_params(C=strength / scale).fit(matrix[training], codes[training], sample_weight=emphasis)
                proba = model.predict_proba(matrix[held])[np.arange(len(held)), codes[held]]
                losses = -np.log(np.maximum(proba, _TINY))
                loss += float(losses.sum() if weights is None else losses @ weights[held])
            worse = 0 if loss < best else worse + 1
            if worse == _PATIENCE:
                break
            if loss < best:
                best, chosen = loss, strength
        return chosen

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
    alpha : float or None, default=None
        Strength of the L2 penalty, relative to the total variance of the columns; None: the inverse of the one of
        ``STRENGTHS`` with the least squared error when each row is left out.
    """

    kept = ("coef_", "intercept_")

    def __init__(self, *, alpha: float | None = None) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, targets = self._training(X, y)
        values = matrix.astype(np.float64)
        scale = total_variance(values)
        model: Any
        if self.alpha is None:
            # One row left out at a time would be known by its copies.
            folds = None if groups is None else inner_folds(np.zeros(len(values), np.int64), _FOLDS, 0, groups)
            parts = None if folds is None or folds.max() < 0 else PredefinedSplit(folds)
            model = RidgeCV(alphas=[scale / strength for strength in STRENGTHS], cv=parts).fit(values, targets)
            self.alpha_ = float(model.alpha_) / scale
        else:
            model = Ridge(alpha=self.alpha * scale).fit(values, targets)
            self.alpha_ = self.alpha
        self.coef_ = np.ascontiguousarray(model.coef_)
        self.intercept_ = np.atleast_1d(np.asarray(model.intercept_, np.float64))
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        values: AnyArray = self._matrix(X).astype(np.float64) @ self.coef_ + self.intercept_[0]
        return values
