"""A fit on a stream is the fit on the matrix, whatever the batches are."""

import numpy as np
import pytest

from hybrid_ray.estimators.base import Effort, EstimatorTags
from hybrid_ray.estimators.knn import KNN
from hybrid_ray.estimators.lightgbm import LightGBM
from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor
from hybrid_ray.estimators.models.streamed import class_weights
from hybrid_ray.estimators.models.xgb import XGBoostClassifier, XGBoostRegressor
from hybrid_ray.estimators.streaming import Team
from hybrid_ray.estimators.xgboost import XGBoost
from hybrid_ray.types import BOTH

FAMILY = {"XGBoost": XGBoost, "LightGBM": LightGBM}
FEW = {"n_estimators": 30, "learning_rate": 0.2, "refit_rows": 5000}


class Listed:
    """A stream over a matrix that lies in memory, cut at uneven places."""

    def __init__(self, X, labels, cuts=()):
        self.X, self.labels, self.n_features = X, labels, X.shape[1]
        self.bounds = [0, *cuts, len(X)]

    def __iter__(self):
        for start, stop in zip(self.bounds, self.bounds[1:], strict=False):
            yield self.X[start:stop].copy()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)).astype(np.float32)
    score = X[:, 0] + 0.5 * X[:, 1] * X[:, 2] + rng.normal(0, 0.4, 3000)
    return X, np.digitize(score, [-0.8, 0.9]).astype(np.int64), 1e4 + 100 * score


def regrown(model, stream, counts, tmp_path):
    family = next(f for name, f in FAMILY.items() if type(model).__name__.startswith(name))
    return family.fit_stream(model, stream, Team(counts, tmp_path))


@pytest.mark.parametrize("cuts", [(), (700, 701, 1900)])
@pytest.mark.parametrize("kind", [XGBoostClassifier, LightGBMClassifier])
def test_classes_on_a_stream_as_on_the_matrix(kind, cuts, rows, tmp_path):
    X, y, _ = rows
    whole = kind(**FEW, class_weight="balanced").fit(X, y)  # its last fit uses all rows
    model = regrown(whole, Listed(X, y, cuts), np.bincount(y), tmp_path)
    # Bins of several batches are merged sketches: a threshold may differ by a row.
    np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X), atol=0.08 if cuts else 1e-6)
    assert np.abs(model.predict_proba(X) - whole.predict_proba(X)).mean() < 0.01


@pytest.mark.parametrize("kind", [XGBoostRegressor, LightGBMRegressor])
def test_numbers_on_a_stream_as_on_the_matrix(kind, rows, tmp_path):
    X, _, y = rows
    whole = kind(**FEW).fit(X, y)
    model = regrown(whole, Listed(X, y, (1000, 2500)), None, tmp_path)
    assert np.abs(model.predict(X) - whole.predict(X)).mean() < 0.03 * y.std()
    np.testing.assert_array_equal(model.rounds_, whole.rounds_)


@pytest.mark.parametrize("kind", [XGBoostClassifier, LightGBMClassifier])
def test_a_sample_decides_the_rounds_and_all_rows_the_trees(kind, rows, tmp_path):
    X, y, _ = rows
    few = y[:300] > 0
    model = kind(**FEW).fit(X[:300], few)
    grown = regrown(model, Listed(X[:2500], y[:2500], (900,)), np.bincount(y[:2500]), tmp_path)
    assert grown.classes_.tolist() == [0, 1, 2]  # the sample knew of two
    assert grown.rounds_ == model.rounds_
    assert (grown.predict(X[2500:]) == y[2500:]).mean() > 0.75
    family = FAMILY["XGBoost" if kind is XGBoostClassifier else "LightGBM"]
    again = family.load(family.dump(grown))
    np.testing.assert_array_equal(again.predict_proba(X), grown.predict_proba(X))


def test_a_class_without_rows_is_refused(rows, tmp_path):
    X, y, _ = rows
    model = XGBoostClassifier(n_estimators=2).fit(X, y)
    with pytest.raises(ValueError, match="must count rows of two classes or more"):
        regrown(model, Listed(X, y), np.array([5, 0]), tmp_path)


def test_weights_of_classes():
    np.testing.assert_allclose(class_weights(np.array([6, 2]), "balanced"), [8 / 12, 2.0])
    np.testing.assert_allclose(class_weights(np.array([6, 2]), {1: 3.0}), [1.0, 3.0])


def test_a_family_that_needs_its_matrix_says_so(rows, tmp_path):
    X, _, y = rows
    with pytest.raises(TypeError, match="only a family whose tags say streams"):
        KNN.fit_stream(None, Listed(X, y), Team(None, tmp_path))


def test_bytes_of_a_fit():
    tags = EstimatorTags(BOTH, copies=2.0, pairs=10, columns=3)
    assert tags.fit_bytes(100, 5) == 2 * 4 * 100 * 5 + 8 * (100 * 3 + 2 * 10 * 10)


def test_seconds_of_a_fit_grow_with_rows_or_with_their_square():
    effort = Effort(start=0.5, rows=0.25)
    assert EstimatorTags(BOTH, effort=effort).fit_s(4000) == 1.5
    assert EstimatorTags(BOTH, effort=effort, pairs=10).fit_s(4000) == 4.5
    assert EstimatorTags(BOTH, effort=effort, max_rows=2000).fit_s(4000) == 1.0  # of more rows a sample is fitted
