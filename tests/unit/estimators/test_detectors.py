"""Detectors: their scores are those of the literature, and what they say of a row is how rare such a score is."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from hybrid_ray.estimators.models.distances import CovarianceDetector, ResidualDetector
from hybrid_ray.estimators.models.isolation import IsolationDetector
from hybrid_ray.estimators.models.nearness import LocalOutlierDetector, NeighbourDistanceDetector
from hybrid_ray.estimators.models.one_class import OneClassKernelDetector, OneClassLandmarkDetector


def rows(n, seed=0, d=5):
    """Normal rows: correlated columns."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 2))
    return (hidden @ np.random.default_rng(9).normal(size=(2, d)) + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def test_a_forest_scores_as_scikit_learn_does():
    X, fresh = rows(300), rows(50, 1)
    ours = IsolationDetector(n_estimators=40, random_state=3).fit(X)
    theirs = IsolationForest(n_estimators=40, max_samples=256, random_state=3).fit(X)
    np.testing.assert_allclose(ours.score_samples(fresh), -theirs.score_samples(fresh), rtol=1e-9)


def test_outlier_factors_are_those_of_scikit_learn():
    X, fresh = rows(200), rows(50, 1)
    ours = LocalOutlierDetector(n_neighbors=10).fit(X)
    theirs = LocalOutlierFactor(n_neighbors=10, novelty=True, algorithm="brute").fit(X)
    np.testing.assert_allclose(ours.score_samples(fresh), -theirs.score_samples(fresh), rtol=1e-4)


def test_distance_is_by_covariance():
    X, fresh = rows(200), rows(50, 1)
    known = LedoitWolf().fit(X.astype(np.float64))
    found = CovarianceDetector().fit(X).score_samples(fresh)
    np.testing.assert_allclose(found**2, known.mahalanobis(fresh.astype(np.float64)), rtol=1e-4)


def test_residuals_are_what_components_leave():
    X, fresh = rows(200), rows(50, 1)
    parts = PCA(2).fit(X)
    assert 0.6 < parts.explained_variance_ratio_.sum() < 0.999
    left = fresh - parts.inverse_transform(parts.transform(fresh))
    share = float(parts.explained_variance_ratio_.sum()) - 1e-3
    found = ResidualDetector(share=share).fit(X).score_samples(fresh)
    np.testing.assert_allclose(found, np.linalg.norm(left, axis=1), rtol=1e-3)


def test_a_row_that_breaks_how_columns_go_together_is_told_though_each_is_usual():
    X, fresh = rows(600), rows(300, 1)
    broken = np.random.default_rng(2).permuted(fresh, axis=0)
    for detector in (ResidualDetector(share=0.9), CovarianceDetector(), CovarianceDetector(robust=True)):
        said = detector.fit(X).predict_proba
        assert (said(broken)[:, 1] > 0.5).mean() > 0.6
        assert (said(fresh)[:, 1] > 0.5).mean() < 0.05


@pytest.mark.parametrize(
    "detector",
    [
        CovarianceDetector(),
        ResidualDetector(share=0.5),
        IsolationDetector(n_estimators=50),
        LocalOutlierDetector(),
        NeighbourDistanceDetector(),
        OneClassKernelDetector(),
        OneClassLandmarkDetector(n_landmarks=50),
    ],
    ids=lambda each: type(each).__name__,
)
def test_as_many_normal_rows_lie_above_a_half_as_false_alarms_are_borne(detector):
    fresh = rows(4000, 1)
    for borne in (0.05, 0.2):
        detector.set_params(false_alarms=borne).fit(rows(1500))
        assert (detector.predict(fresh) == 1).mean() == pytest.approx(borne, rel=0.4)


@pytest.mark.parametrize("detector", [NeighbourDistanceDetector(n_neighbors=5), LocalOutlierDetector(n_neighbors=5)])
def test_rows_that_go_together_do_not_make_each_other_look_normal(detector):
    """Twenty rows of a machine hardly differ: each is near to others that were fitted on, unless these are left out."""
    rng = np.random.default_rng(0)
    machines, fresh = np.repeat(rows(60), 20, axis=0), np.repeat(rows(200, 1), 20, axis=0)
    machines, fresh = (each + rng.normal(0, 1e-3, each.shape).astype(np.float32) for each in (machines, fresh))
    detector.set_params(false_alarms=0.1)
    alone = (detector.fit(machines).predict(fresh) == 1).mean()
    together = (detector.fit(machines, groups=np.repeat(np.arange(60), 20)).predict(fresh) == 1).mean()
    assert alone > 0.8
    assert together < 0.3


def test_scores_beyond_all_that_was_seen_still_differ():
    X = rows(300)
    away = np.float32(50) * np.arange(1, 6, dtype=np.float32)[:, None] * np.array([1, -1, 1, -1, 1], np.float32)
    said = CovarianceDetector().fit(X).predict_proba(away)[:, 1]
    assert (np.diff(said) > 0).all()
    assert 0.9 < said[0] < said[-1] < 1


def test_rows_that_are_all_the_same_are_learned():
    flat = np.ones((40, 3), np.float32)
    for detector in (CovarianceDetector(robust=True), ResidualDetector(), LocalOutlierDetector()):
        said = detector.fit(flat).predict_proba(np.array([[1, 1, 1], [9, 1, -5]], np.float32))
        assert said[0, 1] < 0.5 < said[1, 1]
