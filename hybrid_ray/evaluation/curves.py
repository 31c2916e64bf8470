"""Where a model errs: confusion, scores of each class, calibration, ROC and precision-recall points, residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.evaluation.intervals import wilson
from hybrid_ray.evaluation.statistics import CALIBRATION_BINS, Claims, Ranking
from hybrid_ray.evaluation.ties import Ties, rows_for_share
from hybrid_ray.types import AnyArray


def confusion_matrix(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Rows of each true class (first axis) by predicted class, int64 (n_classes, n_classes)."""
    n_classes = outputs.shape[1]
    cells = np.asarray(y, np.int64) * n_classes + outputs.argmax(axis=1)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class against the rest; NaN where one is not defined.

    Attributes
    ----------
    support, predicted : int
        Test rows of the class; rows predicted as it.
    precision, recall, f1, roc_auc, average_precision : float
    """

    support: int
    predicted: int
    precision: float
    recall: float
    f1: float
    roc_auc: float
    average_precision: float


def class_scores(y: AnyArray, outputs: AnyArray) -> list[ClassScores]:
    """Scores of every class, in code order. A precision without predictions or a recall without rows is NaN."""
    matrix = confusion_matrix(y, outputs)
    once = np.ones((1, len(y)))
    rows = []
    for code in range(outputs.shape[1]):
        hits, support, predicted = (int(v) for v in (matrix[code, code], matrix[code].sum(), matrix[:, code].sum()))
        ranking = Ranking.by(outputs[:, code], y == code)
        rows.append(
            ClassScores(
                support=support,
                predicted=predicted,
                precision=hits / predicted if predicted else float("nan"),
                recall=hits / support if support else float("nan"),
                f1=2 * hits / (support + predicted) if support + predicted else float("nan"),
                roc_auc=float(ranking.area(once)[0]),
                average_precision=float(ranking.precision(once)[0]),
            )
        )
    return rows


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose confidence fell between two bounds.

    Attributes
    ----------
    low, high : float
        Bounds of the bin.
    rows : int
    confidence : float
        Mean confidence of the rows.
    observed : float
        Share of the rows where what was claimed is so.
    observed_low, observed_high : float
        Ends of the 95 % Wilson interval of that share.
    """

    low: float
    high: float
    rows: int
    confidence: float
    observed: float
    observed_low: float
    observed_high: float


def calibration_bins(
    y: AnyArray, outputs: AnyArray, bins: int = CALIBRATION_BINS, ties: Ties | None = None
) -> list[CalibrationBin]:
    """Confidence against what came true, in bins of equal width; bins without rows are left out.

    Two classes: the probability of class 1 against its share. More: the probability of the predicted class against the
    share of rows where it was right. Of rows that go together an interval counts what they are worth.
    """
    claims = Claims.of(y, outputs, bins)
    rows = np.bincount(claims.bins, minlength=bins)
    true = np.bincount(claims.bins, weights=claims.came_true, minlength=bins)
    mass = np.bincount(claims.bins, weights=claims.confidence, minlength=bins)
    low, high = wilson(true, rows)
    if ties is not None:
        held = [np.flatnonzero(claims.bins == i) for i in range(bins)]
        counted = np.array([rows_for_share(claims.came_true[own], ties.take(own)) if len(own) else 0.0 for own in held])
        low, high = wilson(true / np.maximum(rows, 1) * counted, counted)
    return [
        CalibrationBin(
            low=i / bins,
            high=(i + 1) / bins,
            rows=int(rows[i]),
            confidence=float(mass[i] / rows[i]),
            observed=float(true[i] / rows[i]),
            observed_low=float(low[i]),
            observed_high=float(high[i]),
        )
        for i in np.flatnonzero(rows)
    ]


def roc_points(score: AnyArray, positive: AnyArray, limit: int = 120) -> AnyArray:
    """Corners of a ROC curve.

    Parameters
    ----------
    score : ndarray (n,)
        Higher means more probably positive.
    positive : ndarray of bool (n,)
    limit : int, default 120
        Points to keep at most, evenly along the curve.

    Returns
    -------
    ndarray of float64 (m, 2)
        False and true positive rate from (0, 0) to (1, 1); empty where one side has no rows.
    """
    ranking = Ranking.by(np.asarray(score), np.asarray(positive))
    true, every = (counts[0, ::-1] for counts in ranking.counts(np.ones((1, len(score)))))
    false = every - true
    if not true.sum() or not false.sum():
        return np.empty((0, 2))
    points = np.stack([np.r_[0, np.cumsum(false)] / false.sum(), np.r_[0, np.cumsum(true)] / true.sum()], axis=1)
    turn = np.diff(points, axis=0)
    straight = turn[:-1, 0] * turn[1:, 1] == turn[:-1, 1] * turn[1:, 0]
    return _thinned(points[np.r_[True, ~straight, True]], limit)


def precision_recall_points(score: AnyArray, positive: AnyArray, limit: int = 120) -> AnyArray:
    """Corners of a precision-recall curve.

    Parameters
    ----------
    score : ndarray (n,)
        Higher means more probably positive.
    positive : ndarray of bool (n,)
    limit : int, default 120
        Points to keep at most, evenly along the curve.

    Returns
    -------
    ndarray of float64 (m, 2)
        Recall and precision at each threshold, from the highest; the area under them as steps is the average precision.
        Empty where there are no positives.
    """
    ranking = Ranking.by(np.asarray(score), np.asarray(positive))
    true, every = (counts[0, ::-1] for counts in ranking.counts(np.ones((1, len(score)))))
    if not true.sum():
        return np.empty((0, 2))
    hits = np.cumsum(true)
    return _thinned(np.stack([hits / hits[-1], hits / np.cumsum(every)], axis=1), limit)


def _thinned(points: AnyArray, limit: int) -> AnyArray:
    """Points of a curve, at most some, evenly along it."""
    if len(points) <= limit:
        return points
    along = np.r_[0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))]
    kept = np.searchsorted(along, np.linspace(0, along[-1], limit))
    return points[np.unique(np.clip(kept, 0, len(points) - 1))]


@dataclass(frozen=True)
class Residuals:
    """Predicted minus true values of a regression.

    Attributes
    ----------
    points : list of (float, float)
        True and predicted values of a sample of rows.
    quantiles : dict of str to float
        Quantiles of the residuals of all rows, by percentage: ``"5"``, ``"50"``, ``"95"``.
    counts : list of int
        Histogram of the residuals of all rows; rows beyond its ends stand in the first and last bin.
    edges : list of float
    """

    points: list[tuple[float, float]]
    quantiles: dict[str, float]
    counts: list[int]
    edges: list[float]


def residuals(y: AnyArray, outputs: AnyArray, limit: int = 600, seed: int = 0) -> Residuals:
    """Residuals of a regression, with at most ``limit`` rows as points."""
    true, predicted = np.asarray(y, np.float64), outputs[:, 0]
    errors = predicted - true
    kept = np.sort(np.random.default_rng(seed).permutation(len(true))[:limit])
    reach = float(np.quantile(np.abs(errors), 0.99)) or 1.0
    bins = int(np.clip(1.4 * np.sqrt(len(true)), 7, 41)) | 1
    edges = np.linspace(-reach, reach, bins + 1)
    counts, _ = np.histogram(np.clip(errors, -reach, reach), edges)
    shares = (5, 25, 50, 75, 95)
    return Residuals(
        points=[(float(true[i]), float(predicted[i])) for i in kept],
        quantiles={str(q): float(v) for q, v in zip(shares, np.percentile(errors, shares), strict=True)},
        counts=[int(c) for c in counts],
        edges=[float(e) for e in edges],
    )
