import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.forest import ForestClassifier, ForestRegressor, features_at_a_split
from hybrid_ray.types import State


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1), X[:, 0] * 3


def test_probabilities_are_scikit_learns_and_one_vote_for_the_class_shares(rows):
    X, y, _ = rows
    ours = ForestClassifier(n_estimators=25, random_state=3).fit(X, y)
    theirs = RandomForestClassifier(25, max_features=3, random_state=3).fit(X, y)
    expected = (25 * theirs.predict_proba(X) + np.bincount(y) / len(y)) / 26
    np.testing.assert_allclose(ours.predict_proba(X), expected, atol=1e-12)
    assert ours.predict_proba(X).min() > 0


def test_values_are_scikit_learns(rows):
    X, _, y = rows
    ours = ForestRegressor(extra=True, n_estimators=25, random_state=3).fit(X, y)
    theirs = ExtraTreesRegressor(25, max_features=6, random_state=3).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-6)


@pytest.mark.parametrize(("n", "factor", "expected"), [(1, 0.5, 1), (9, 1.0, 3), (9, 10.0, 9), (1280, 1.0, 36)])
def test_features_at_a_split(n, factor, expected):
    assert features_at_a_split(n, factor) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("node.left_child", 10**6, "left_child must name a later node"),
        ("node.right_child", 0, "right_child must name a later node"),
        ("node.feature", 99, "one of 9 features"),
        ("node.feature", -5, "one of 9 features"),
    ],
)
def test_a_damaged_forest_is_refused_before_it_is_followed(rows, name, value, message):
    X, y, _ = rows
    state = ForestClassifier(n_estimators=3).fit(X, y).pack()
    damaged = state.tensors[name].copy()
    damaged[0] = value
    with pytest.raises(ArtifactError, match=message):
        ForestClassifier.unpack(State(state.meta, state.tensors | {name: damaged}))


def test_a_forest_without_nodes_is_refused(rows):
    X, y, _ = rows
    state = ForestClassifier(n_estimators=3).fit(X, y).pack()
    kept = {name: array for name, array in state.tensors.items() if name != "node.threshold"}
    with pytest.raises(ArtifactError, match="must hold its nodes"):
        ForestClassifier.unpack(State(state.meta, kept))
