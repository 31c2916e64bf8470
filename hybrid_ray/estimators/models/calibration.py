"""Scores of classes into probabilities: Platt's method, for any number of classes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from hybrid_ray.types import AnyArray

_RIDGE = 1e-6


def fit_calibration(scores: AnyArray, codes: AnyArray, weights: AnyArray | None = None) -> AnyArray:
    """Slope and offset of each class, so that ``calibrated(scores, ...)`` has the smallest log loss.

    Parameters
    ----------
    scores : ndarray (n, C)
        Scores of rows that the scoring model was not fitted on.
    codes : ndarray of int (n,)
    weights : ndarray (n,), optional
        Weight of each row.

    Returns
    -------
    ndarray (2, C)
        Slopes, never negative, and offsets.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999: targets are pulled off 0 and 1 by class counts.
    Guo et al., "On calibration of modern neural networks", ICML 2017: vector scaling.
    """
    n_classes = scores.shape[1]
    unit = float(scores.std()) or 1.0
    z = scores / unit
    counts = np.bincount(codes, minlength=n_classes)[codes][:, None]
    targets = (np.eye(n_classes)[codes] * counts + 1.0 / n_classes) / (counts + 1.0)
    share = np.full(len(z), 1.0 / len(z)) if weights is None else weights / weights.sum()

    def loss(point: AnyArray) -> tuple[float, AnyArray]:
        slopes, offsets = point.reshape(2, n_classes)
        logits = z * slopes + offsets
        logs = log_softmax(logits, axis=1)
        slack = (np.exp(logs) - targets) * share[:, None]
        value = -float((share[:, None] * targets * logs).sum()) + _RIDGE * float(point @ point)
        return value, np.concatenate([(slack * z).sum(axis=0), slack.sum(axis=0)]) + 2 * _RIDGE * point

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    bounds = [(0.0, None)] * n_classes + [(None, None)] * n_classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    result: AnyArray = found.x.reshape(2, n_classes)
    result[0] /= unit
    return result


def calibrated(scores: AnyArray, calibration: AnyArray) -> AnyArray:
    """Class probabilities (n, C) of scores (n, C)."""
    proba: AnyArray = softmax(scores * calibration[0] + calibration[1], axis=1)
    return proba
