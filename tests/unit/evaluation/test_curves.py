"""Confusion, class scores, calibration, ROC and precision-recall points, residuals and the naive baseline."""

import numpy as np
import pytest
from sklearn import metrics as sk

from hybrid_ray.evaluation.baselines import naive_outputs
from hybrid_ray.evaluation.curves import (
    calibration_bins,
    class_scores,
    confusion_matrix,
    precision_recall_points,
    residuals,
    roc_points,
)
from hybrid_ray.evaluation.metrics import METRICS

ECE = METRICS["expected_calibration_error"]


@pytest.fixture
def classes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 500)
    outputs = rng.dirichlet(np.ones(5), 500)
    outputs[np.arange(500), y] += 0.5
    return y, outputs / outputs.sum(axis=1, keepdims=True)


def test_confusion_is_scikit_learns(classes):
    y, outputs = classes
    expected = sk.confusion_matrix(y, outputs.argmax(axis=1), labels=range(5))
    assert np.array_equal(confusion_matrix(y, outputs), expected)


def test_class_scores_are_scikit_learns_and_nan_where_undefined(classes):
    y, outputs = classes
    rows = class_scores(y, outputs)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        y, outputs.argmax(axis=1), labels=range(5), zero_division=0
    )
    for code in range(4):
        row = rows[code]
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
            (precision[code], recall[code], f1[code], support[code])
        )
        assert row.roc_auc == pytest.approx(sk.roc_auc_score(y == code, outputs[:, code]))
        assert row.average_precision == pytest.approx(sk.average_precision_score(y == code, outputs[:, code]))
    absent = rows[4]
    assert absent.support == 0
    assert np.isnan([absent.recall, absent.roc_auc, absent.average_precision]).all()


def test_honest_probabilities_are_calibrated_and_boastful_ones_are_not():
    rng = np.random.default_rng(1)
    p = rng.uniform(size=20_000)
    y = (rng.uniform(size=20_000) < p).astype(int)
    honest = calibration_bins(y, np.stack([1 - p, p], axis=1))
    assert ECE.score(y, np.stack([1 - p, p], axis=1)) < 0.02
    assert np.mean([b.observed_low <= b.confidence <= b.observed_high for b in honest]) >= 0.8
    boast = np.where(p > 0.5, 0.99, 0.01)
    assert ECE.score(y, np.stack([1 - boast, boast], axis=1)) > 0.2


def test_calibration_of_many_classes_is_about_the_predicted_class(classes):
    y, outputs = classes
    bins = calibration_bins(y, outputs)
    assert sum(b.rows for b in bins) == len(y)
    hits = sum(b.observed * b.rows for b in bins)
    assert hits == pytest.approx((outputs.argmax(axis=1) == y).sum())
    assert all(b.low <= b.confidence <= b.high for b in bins)


def test_a_probability_of_one_falls_in_the_last_bin():
    bins = calibration_bins(np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert [(b.low, b.observed) for b in bins] == [(0.0, 0.0), (0.9, 1.0)]


def test_roc_points_hold_the_area():
    rng = np.random.default_rng(2)
    positive = rng.uniform(size=4000) < 0.3
    score = positive + rng.normal(0, 1, 4000)
    points = roc_points(score, positive)
    assert len(points) <= 120
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(sk.roc_auc_score(positive, score), abs=0.005)


def test_roc_points_of_ties_and_of_one_class():
    assert roc_points(np.full(6, 0.5), np.arange(6) < 3).tolist() == [[0, 0], [1, 1]]
    assert len(roc_points(np.arange(4.0), np.ones(4, bool))) == 0


def test_the_error_is_the_gap_of_the_bins_averaged_over_rows(classes):
    y, outputs = classes
    bins = calibration_bins(y, outputs)
    expected = sum(b.rows * abs(b.confidence - b.observed) for b in bins) / len(y)
    assert ECE.score(y, outputs) == pytest.approx(expected)


def test_precision_recall_points_are_scikit_learns_and_hold_the_average_precision():
    rng = np.random.default_rng(4)
    positive = rng.uniform(size=90) < 0.3
    score = np.round(positive + rng.normal(0, 1, 90), 1)
    points = precision_recall_points(score, positive)
    precision, recall, _ = sk.precision_recall_curve(positive, score)
    assert points == pytest.approx(np.stack([recall, precision], axis=1)[:-1][::-1])
    area = (np.diff(np.r_[0, points[:, 0]]) * points[:, 1]).sum()
    assert area == pytest.approx(sk.average_precision_score(positive, score))
    assert len(precision_recall_points(np.arange(4000.0), np.arange(4000) % 3 == 0)) <= 120
    assert len(precision_recall_points(np.arange(4.0), np.zeros(4, bool))) == 0


def test_residuals_keep_every_row_in_the_histogram_and_few_as_points():
    rng = np.random.default_rng(3)
    y = rng.normal(100, 20, 5000)
    outputs = (y + rng.standard_t(2, 5000) * 3)[:, None]
    found = residuals(y, outputs)
    assert sum(found.counts) == 5000
    assert len(found.points) == 600
    assert found.quantiles["50"] == pytest.approx(np.median(outputs[:, 0] - y))
    assert found == residuals(y, outputs)


def test_residuals_of_a_perfect_model():
    y = np.arange(5.0)
    counts = residuals(y, y[:, None]).counts
    assert counts[len(counts) // 2] == 5


def test_the_naive_baseline_is_the_shares_or_the_mean():
    y = np.array([0, 2, 2, 2])
    outputs = naive_outputs(y, "multiclass", 4, 3)
    assert outputs.tolist() == [[0.25, 0, 0.75, 0]] * 3
    assert naive_outputs(np.array([1.0, 3.0]), "regression", 1, 2).tolist() == [[2.0], [2.0]]
