"""Clusterers beyond their contract: numbers by size, unseen rows, likelihoods."""

import numpy as np
import pytest
from optuna.trial import FixedTrial
from sklearn.mixture import GaussianMixture

from hybrid_ray.estimators.models import clusterers
from hybrid_ray.estimators.models.clusterers import CentredClusterer, MixtureClusterer, by_size
from hybrid_ray.estimators.models.nearby import DenseClusterer, MergedClusterer, without_small
from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.testing.estimators import agreement, toy_rows

load_plugins()


def uneven():
    """Clusters of 90, 60 and 30 rows."""
    X, codes = toy_rows("clustering", n=270)
    kept = np.concatenate([np.flatnonzero(codes == code)[:n] for code, n in enumerate((30, 90, 60))])
    return X[kept], codes[kept]


@pytest.mark.parametrize(
    "model", [CentredClusterer(n_clusters=3), MixtureClusterer(n_clusters=3), MergedClusterer(n_clusters=3)]
)
def test_clusters_are_numbered_by_size(model):
    X, codes = uneven()
    found = model.fit(X).predict(X)
    assert np.bincount(found).tolist() == [90, 60, 30]
    assert agreement(found, codes) == 1.0


def test_clusters_of_one_size_are_numbered_by_their_means():
    X = np.array([[3.0], [1.0], [2.0], [9.0]], np.float32)
    assert by_size(np.array([0, 1, 2, -1]), X).tolist() == [1, 2, 0]


def test_there_are_no_more_clusters_than_rows_that_differ():
    X = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]], np.float32), 10, axis=0)
    model = CentredClusterer(n_clusters=6, n_init=2).fit(X)
    assert model.n_clusters_ == 2
    np.testing.assert_allclose(model.predict_proba(X).max(axis=1), 1.0)


def test_many_rows_go_by_mini_batches(monkeypatch):
    monkeypatch.setattr(clusterers, "MANY_ROWS", 100)
    X, codes = toy_rows("clustering", n=600)
    assert agreement(CentredClusterer(n_clusters=3).fit(X).predict(X), codes) == 1.0


@pytest.mark.parametrize("covariance", ["spherical", "diag", "tied", "full"])
def test_likelihood_and_parameters_are_those_of_scikit_learn(covariance):
    X, _ = toy_rows("clustering")
    wide = X.astype(np.float64)
    model = MixtureClusterer(n_clusters=3, covariance=covariance, n_init=1, regularisation=1e-4).fit(X)
    known = GaussianMixture(3, covariance_type=covariance, random_state=0, reg_covar=1e-4 * wide.var(axis=0).mean())
    known.fit(wide)
    expected = -2 * model.log_likelihood(X).sum() + model.n_parameters * np.log(len(X))
    assert expected == pytest.approx(known.bic(wide), rel=1e-5)
    assert CentredClusterer(n_clusters=3).fit(X).log_likelihood(X) is None


def test_as_many_rows_are_dense_as_asked():
    X, codes = toy_rows("clustering")
    rng = np.random.default_rng(0)
    scattered = np.concatenate([X, rng.uniform(-20, 20, (60, X.shape[1])).astype(np.float32)])
    model = DenseClusterer(dense=0.7, min_samples=5).fit(scattered)
    assert abs(len(model.rows_) / len(scattered) - 0.7) < 0.05
    assert model.n_clusters_ == 3
    assert agreement(model.predict(X), codes) == 1.0
    assert set(model.predict(scattered[len(X) :])) <= {0, 1, 2}, "there is no cluster of noise"


def test_small_clusters_are_none():
    assert without_small(np.array([0, 0, 0, 1, -1, -1]), 0.2).tolist() == [0, 0, 0, -1, -1, -1]


def test_rows_that_are_all_noise_are_one_cluster():
    X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    model = DenseClusterer(dense=0.5, min_samples=5, smallest=1.0).fit(X)
    assert model.n_clusters_ == 1
    np.testing.assert_array_equal(model.predict_proba(X), 1.0)


@pytest.mark.parametrize("asked", [3, 4])
def test_a_spec_bounds_the_numbers_that_are_tried(asked):
    bounds = {"min_clusters": 3, "max_clusters": 4}
    trial = FixedTrial({"n_clusters": asked})
    found = ESTIMATORS.get("kmeans").space(PrefixedTrial(trial, "", bounds), "clustering")
    assert found == bounds | {"n_clusters": asked}
    assert trial.distributions["n_clusters"].low == 3
    assert trial.distributions["n_clusters"].high == 4
