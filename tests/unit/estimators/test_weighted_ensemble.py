from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.base import clone

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.weighted_ensemble import EnsembleClassifier, EnsembleRegressor
from hybrid_ray.estimators.weighted_ensemble import WeightedEnsemble, WeightedEnsembleParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.testing.estimators import stored, toy_rows
from hybrid_ray.types import State

load_plugins()
KNN = {"knn": {"n_neighbors": 1, "metric": "euclidean"}}


def test_a_member_that_knows_its_rows_by_heart_is_weighed_by_rows_it_has_not_seen():
    """One neighbour is perfect on the rows it was fitted on, and useless on others: columns are mostly noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 40)).astype(np.float32)
    y = (X[:, 0] + 0.7 * rng.normal(size=300) > 0).astype(np.int64)
    model = EnsembleClassifier(members=("knn", "logistic"), member_params=KNN, solver="convex").fit(X, y)
    weights = dict(zip(model.families_, model.weights_, strict=True))
    assert weights["logistic"] > 0.9
    assert sum(weights.values()) == pytest.approx(1.0)


def test_copies_of_a_row_do_not_make_a_member_that_knows_rows_by_heart_look_good():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 40)).astype(np.float32)
    y = (X[:, 0] + 0.7 * rng.normal(size=200) > 0).astype(np.int64)
    rows = np.repeat(np.arange(200), 3)
    found = []
    for groups in (rows, None):
        model = EnsembleClassifier(members=("knn", "logistic"), member_params=KNN, solver="convex")
        model.fit(X[rows], y[rows], groups=groups)
        found.append(dict(zip(model.families_, model.weights_, strict=True)).get("knn", 0.0))
    assert found[0] < 0.1
    assert found[1] > 0.3


@pytest.mark.parametrize("solver", ["greedy", "convex", "uniform"])
def test_members_that_know_different_things_are_better_together(solver):
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, size=(400, 2)).astype(np.float32)
    y = 2 * X[:, 0] + 2 * np.sign(X[:, 1]) + 0.1 * rng.normal(size=400)
    members = ("ridge", "decision_tree")
    mixed = EnsembleRegressor(members=members, solver=solver).fit(X[:200], y[:200])
    alone = [EnsembleRegressor(members=(name,)).fit(X[:200], y[:200]) for name in members]
    errors = [np.square(model.predict(X[200:]) - y[200:]).mean() for model in (mixed, *alone)]
    assert errors[0] < max(errors[1:])
    if solver == "uniform":
        np.testing.assert_array_equal(mixed.weights_, [0.5, 0.5])


def test_its_answer_is_the_weighted_mean_of_its_members():
    X, y = toy_rows("multiclass")
    model = EnsembleClassifier(members=("logistic", "naive_bayes"), solver="uniform", n_folds=2).fit(X, y)
    expected = sum(w * m.predict_proba(X) for w, m in zip(model.weights_, model.models_, strict=True))
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)


def test_boosters_and_forests_inside_survive_a_store():
    X, y = toy_rows("binary")
    params = WeightedEnsembleParams(
        members="lightgbm+hist_gradient_boosting",
        member_params={
            "lightgbm": {"n_estimators": 5},
            "hist_gradient_boosting": {"n_estimators": 5},
        },
        solver="uniform",
        n_folds=2,
    )
    model = WeightedEnsemble.build(params, "binary", 0).fit(X, y)
    loaded = WeightedEnsemble.load(stored(WeightedEnsemble.dump(model)))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.families_ == list(params.members)


def test_a_member_that_is_not_there_is_refused():
    X, y = toy_rows("binary")
    state = WeightedEnsemble.dump(EnsembleClassifier(members=("logistic",)).fit(X, y))
    meta = {name: value for name, value in state.meta.items() if name != "parts"}
    with pytest.raises(ArtifactError, match="must hold all its models"):
        WeightedEnsemble.load(State(meta, state.tensors, state.blobs))


def test_a_member_that_does_not_take_so_many_rows_is_left_out(monkeypatch):
    family = ESTIMATORS.get("gaussian_process")
    monkeypatch.setattr(family, "tags", replace(family.tags, max_rows=50))
    X, y = toy_rows("regression")
    model = EnsembleRegressor(members=("gaussian_process", "ridge"), solver="uniform", n_folds=2).fit(X, y)
    assert model.families_ == ["ridge"]


def test_two_rows_are_enough_to_give_all_the_same_weight():
    X = np.array([[0.0], [1.0]], np.float32)
    model = EnsembleClassifier(members=("random_forest", "decision_tree")).fit(X, [0, 1])
    np.testing.assert_array_equal(model.weights_, [0.5, 0.5])


def test_it_can_be_cloned_with_its_parameters():
    model = EnsembleClassifier(members=("knn",), member_params=KNN)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"members": ["svmm"]}, "Did you mean 'svm'"),
        ({"members": ["weighted_ensemble"]}, "unknown estimator 'weighted_ensemble'"),
        ({"members": []}, "each once"),
        ({"members": ["knn", "knn"]}, "each once"),
        ({"members": ["knn"], "member_params": {"svm": {}}}, "must be of members"),
        ({"members": ["knn"], "member_params": {"knn": {"k": 3}}}, "Extra inputs"),
        ({"member_params": KNN}, "members must be named"),
    ],
)
def test_what_names_no_members_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        WeightedEnsembleParams(**params)
