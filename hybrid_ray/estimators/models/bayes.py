"""Gaussian naive Bayes with calibrated probabilities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from hybrid_ray.estimators.models.base import OwnClassifier
from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.types import AnyArray


class BayesClassifier(OwnClassifier):
    """Gaussian naive Bayes.

    Features that depend on each other push plain naive Bayes to probabilities of 0 and 1. Here slopes and offsets
    fitted on inner folds pull its log densities back.

    Parameters
    ----------
    var_smoothing : float, default=3.0
        Share of the largest variance of a feature that is added to every variance.
    calibrate : bool, default=True
        False: the plain posterior.
    n_folds : int, default=3
        Inner folds of the calibration.
    random_state : int, default=0
        Seed of the inner folds.
    """

    kept = ("classes_", "squared_", "linear_", "constant_", "calibration_")

    def __init__(
        self, *, var_smoothing: float = 3.0, calibrate: bool = True, n_folds: int = 3, random_state: int = 0
    ) -> None:
        self.var_smoothing = var_smoothing
        self.calibrate = calibrate
        self.n_folds = n_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        values = matrix.astype(np.float64)
        n_classes = len(self.classes_)
        self.calibration_ = np.stack([np.ones(n_classes), np.zeros(n_classes)])
        if self.calibrate:
            folds = inner_folds(codes, self.n_folds, self.random_state, groups)
            scores = np.zeros((len(codes), n_classes))
            for fold in range(self.n_folds):
                held, rest = folds == fold, folds != fold
                scores[held] = _joint(values[held], *self._densities(values[rest], codes[rest]))
            scored = folds >= 0
            self.calibration_ = fit_calibration(scores[scored], codes[scored])
        self.squared_, self.linear_, self.constant_ = self._densities(values, codes)
        return self

    def _densities(self, values: AnyArray, codes: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Log density of a class as a quadratic: weights of x², weights of x (d, C), and constants (C,)."""
        member = np.eye(len(self.classes_))[codes]
        counts = member.sum(axis=0)
        means = (member.T @ values) / counts[:, None]
        variances = np.stack([values[codes == c].var(axis=0) for c in range(len(counts))])
        variances += self.var_smoothing * max(float(values.var(axis=0).max()), 1e-12)
        constant = np.log(counts / counts.sum()) - 0.5 * (np.log(2 * np.pi * variances) + means**2 / variances).sum(1)
        return np.ascontiguousarray(-0.5 / variances.T), np.ascontiguousarray((means / variances).T), constant

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        values = self._matrix(X).astype(np.float64)
        return calibrated(_joint(values, self.squared_, self.linear_, self.constant_), self.calibration_)


def _joint(values: AnyArray, squared: AnyArray, linear: AnyArray, constant: AnyArray) -> AnyArray:
    """Log joint density (n, C), a row's mean taken off: only differences between classes matter."""
    joint = (values**2) @ squared + values @ linear + constant
    centred: AnyArray = joint - joint.mean(axis=1, keepdims=True)
    return centred
