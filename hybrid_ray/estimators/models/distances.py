"""Detectors by the covariance of normal rows: how far a row is from their middle, or from the plane they lie in."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.covariance import LedoitWolf, MinCovDet

from hybrid_ray.estimators.models.detector import SHARED, OwnDetector
from hybrid_ray.types import AnyArray, FloatArray

_FLOOR = 1e-6
"""Variance of a direction, relative to the mean variance, that is taken for none."""
ROBUST_COLUMNS = 64
"""Columns above which the search for the most compact rows takes minutes."""


def directions(covariance: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Variances (d,), largest first and none below the floor, and the directions (d, d) that have them, as rows."""
    variances, columns = np.linalg.eigh(covariance)
    mean = float(variances.mean())
    least = _FLOOR * (mean if mean > 0 else 1.0)
    return np.maximum(variances[::-1], least), columns.T[::-1]


class CovarianceDetector(OwnDetector):
    """Mahalanobis distance from the middle of normal rows (Hotelling's T²).

    Parameters
    ----------
    robust : bool, default=False
        True: of the most compact half of the rows (minimum covariance determinant), where there are five rows a column,
        no more than ``ROBUST_COLUMNS`` and each varies; False: of all, shrunk (Ledoit and Wolf).
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    kept = (*SHARED, "mean_", "whitening_")

    def __init__(self, *, robust: bool = False, false_alarms: float = 0.01, random_state: int = 0) -> None:
        self.robust = robust
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        values = rows.astype(np.float64)
        n, d = values.shape
        compact = self.robust and d <= min(n // 5, ROBUST_COLUMNS) and bool(np.ptp(values, axis=0).all())
        shape = MinCovDet(random_state=self.random_state) if compact else LedoitWolf()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that do not vary, which the floor sees to
            shape.fit(values)
        variances, axes = directions(shape.covariance_)
        self.mean_, self.whitening_ = shape.location_, np.ascontiguousarray((axes / np.sqrt(variances)[:, None]).T)

    def _measure(self, rows: FloatArray) -> AnyArray:
        distances: AnyArray = np.linalg.norm((rows - self.mean_) @ self.whitening_, axis=1)
        return distances


class ResidualDetector(OwnDetector):
    """What is left of a row when it is drawn again from a few principal components of normal rows (Q, or SPE).

    Parameters
    ----------
    share : float, default=0.8
        Share of the variance that the components keep.
    whiten : bool, default=False
        True: each direction that is left counts by its own variance.
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    kept = (*SHARED, "mean_", "rest_")

    def __init__(
        self, *, share: float = 0.8, whiten: bool = False, false_alarms: float = 0.01, random_state: int = 0
    ) -> None:
        self.share = share
        self.whiten = whiten
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        values = rows.astype(np.float64)
        self.mean_ = values.mean(axis=0)
        centred = values - self.mean_
        variances, axes = directions(centred.T @ centred / len(values))
        grown = np.cumsum(variances) / variances.sum()
        # One component at least is kept, and one is left.
        kept = int(np.clip((grown < self.share).sum() + 1, 1, max(len(variances) - 1, 0)))
        left = axes[kept:] / (np.sqrt(variances[kept:])[:, None] if self.whiten else 1.0)
        self.rest_ = np.ascontiguousarray(left.T)

    def _measure(self, rows: FloatArray) -> AnyArray:
        residuals: AnyArray = np.linalg.norm((rows - self.mean_) @ self.rest_, axis=1)
        return residuals
