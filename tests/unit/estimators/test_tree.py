"""Single trees and AdaBoost, beside scikit-learn's own."""

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from hybrid_ray.estimators.models import adaboost
from hybrid_ray.estimators.models.adaboost import BoostedClassifier, BoostedRegressor
from hybrid_ray.estimators.models.tree import TreeClassifier, TreeRegressor


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    noisy = X + 0.7 * rng.normal(size=X.shape)
    return X, (noisy[:, 0] > 0).astype(int) + (noisy[:, 1] > 1), noisy[:, 0] * 3 + np.abs(noisy[:, 2])


def test_without_smoothing_probabilities_are_scikit_learns(rows):
    X, y, _ = rows
    ours = TreeClassifier(smoothing=0.0, min_samples_leaf=7).fit(X, y)
    theirs = DecisionTreeClassifier(min_samples_leaf=7, random_state=0).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


def test_smoothing_is_an_m_estimate(rows):
    X, y, _ = rows
    theirs = DecisionTreeClassifier(min_samples_leaf=7, random_state=0).fit(X, y)
    size = theirs.tree_.n_node_samples[theirs.apply(X)][:, None]
    expected = (size * theirs.predict_proba(X) + 4.0 * np.bincount(y) / len(y)) / (size + 4.0)
    ours = TreeClassifier(smoothing=4.0, min_samples_leaf=7).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), expected, atol=1e-12)


def test_smoothing_helps_on_rows_that_the_tree_did_not_see(rows):
    X, y, _ = rows
    losses = [
        log_loss(y[300:], TreeClassifier(smoothing=m, min_samples_leaf=2).fit(X[:300], y[:300]).predict_proba(X[300:]))
        for m in (1e-9, 5.0)
    ]
    assert losses[1] < 0.5 * losses[0]


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_pruning_does_not_depend_on_the_unit(rows, unit):
    X, y, values = rows
    sizes = [TreeRegressor(pruning=p).fit(X, values * unit).trees_[0].node_count for p in (0.0, 0.003, 0.03, 1.0)]
    plain = [TreeRegressor(pruning=p).fit(X, values).trees_[0].node_count for p in (0.0, 0.003, 0.03, 1.0)]
    assert sizes == plain
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == 1
    assert TreeClassifier(pruning=1.0).fit(X, y).trees_[0].node_count == 1


def test_values_are_scikit_learns(rows):
    X, _, y = rows
    theirs = DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(TreeRegressor().fit(X, y).predict(X), theirs.predict(X), atol=1e-9)


def test_votes_are_scikit_learns(rows):
    X, y, _ = rows
    theirs = AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=20, learning_rate=0.5, random_state=3)
    theirs.fit(X, y)
    ours = BoostedClassifier(n_estimators=20, random_state=3).fit(X, y)
    votes = adaboost._votes(ours.trees_, X)
    np.testing.assert_allclose(votes.sum(axis=1), 1.0)
    np.testing.assert_allclose((3 * votes - 1) / 2, theirs.decision_function(X), atol=1e-9)


def test_votes_are_calibrated_on_rows_that_the_trees_did_not_see(rows):
    X, y, _ = rows
    ours = BoostedClassifier(n_estimators=60).fit(X[:400], y[:400])
    theirs = AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=60, learning_rate=0.5, random_state=0)
    theirs.fit(X[:400], y[:400])
    loss = log_loss(y[400:], ours.predict_proba(X[400:]))
    assert loss < log_loss(y[400:], theirs.predict_proba(X[400:])) - 0.05
    assert loss < log_loss(y[400:], np.tile(np.bincount(y) / len(y), (200, 1))) - 0.1


def test_medians_are_scikit_learns(rows):
    X, _, y = rows
    ours = BoostedRegressor(n_estimators=20, random_state=3).fit(X, y)
    tree = DecisionTreeRegressor(max_depth=4)
    theirs = AdaBoostRegressor(tree, n_estimators=20, learning_rate=0.5, random_state=3).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-9)


def test_boosting_that_finds_nothing_gives_the_class_shares():
    y = np.arange(90) % 3
    proba = BoostedClassifier().fit(np.ones((90, 2)), y).predict_proba(np.ones((4, 2)))
    np.testing.assert_allclose(proba, 1 / 3, atol=0.02)
