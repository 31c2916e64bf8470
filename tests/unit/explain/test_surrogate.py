"""The line that stands for a graph's estimators changes as they do, and tells features apart as far as they do."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from hybrid_ray.explain.surrogate import linear_surrogate

RNG = np.random.default_rng(3)
NOTHING, ROW = RNG.normal(size=(2, 30)).astype(np.float32)


def change(answers):
    none, every = answers(np.stack([NOTHING, ROW]))
    return float(every) - float(none)


def test_a_linear_function_is_found():
    slopes = RNG.normal(size=30)
    weights = linear_surrogate(lambda X: X @ slopes + 5, NOTHING, ROW)
    np.testing.assert_allclose(weights, slopes, atol=0.02)


def test_whatever_is_asked_the_change_is_the_answers_own():
    X = RNG.normal(size=(200, 30))
    forest = RandomForestClassifier(20, random_state=0).fit(X, X[:, 4] + X[:, 9] ** 2 > 1)
    for answers in (
        lambda X: forest.predict_proba(X)[:, 1],
        lambda X: np.sin(9 * X).sum(axis=1),
        lambda X: X[:, 0] > 0,
    ):
        weights = linear_surrogate(answers, NOTHING, ROW)
        assert weights @ (ROW.astype(np.float64) - NOTHING) == pytest.approx(change(answers), abs=1e-6)


def test_the_feature_that_a_forest_looks_at_gets_most():
    X = RNG.normal(size=(300, 30))
    forest = RandomForestClassifier(50, random_state=0, max_features=None).fit(X, X[:, 7] > 0)
    nothing, row = np.where(np.arange(30) == 7, [[-1.0], [1.0]], [NOTHING, ROW])
    weights = linear_surrogate(lambda X: forest.predict_proba(X)[:, 1], nothing, row)
    added = weights * (row - nothing)
    assert added[7] > 0.9 * added.sum()


def test_with_few_features_they_are_shapley_values():
    """An interaction is divided in halves."""
    nothing, row = np.zeros(3), np.array([1.0, 2.0, 4.0])
    weights = linear_surrogate(lambda X: X[:, 0] * X[:, 1] + X[:, 2], nothing, row, pairs=2000)
    np.testing.assert_allclose(weights * row, [1, 1, 4], atol=0.05)


def test_a_feature_that_does_not_move_gets_nothing():
    row = ROW.copy()
    row[5:] = NOTHING[5:]
    weights = linear_surrogate(lambda X: (X**3).sum(axis=1), NOTHING, row)
    assert not weights[5:].any()
    assert weights[:5].all()
    assert not linear_surrogate(lambda X: X.sum(axis=1), NOTHING, NOTHING).any()
    row[1:] = NOTHING[1:]
    (only,) = np.flatnonzero(linear_surrogate(lambda X: 3 * X[:, 0], NOTHING, row))
    assert only == 0


def test_one_seed_gives_one_line():
    first, again, other = (linear_surrogate(lambda X: np.sin(X).prod(axis=1), NOTHING, ROW, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
