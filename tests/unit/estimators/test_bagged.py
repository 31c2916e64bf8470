from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.bagged import Bagged, BaggedParams
from hybrid_ray.estimators.models.bags import BagClassifier, BagRegressor
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import State

load_plugins()


@pytest.fixture
def waves():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, size=(600, 3)).astype(np.float32)
    return X, np.sin(2 * X[:, 0]) + X[:, 1] + 0.5 * rng.normal(size=600)


@pytest.mark.parametrize("samples", ["bootstrap", "folds"])
def test_trees_in_bags_are_better_than_one_tree(waves, samples):
    X, y = waves
    errors = [
        np.square(BagRegressor(n_bags=n, samples=samples).fit(X[:300], y[:300]).predict(X[300:]) - y[300:]).mean()
        for n in (2, 20)
    ]
    assert errors[1] < errors[0]


def test_its_answer_is_the_mean_of_its_copies(waves):
    X, y = waves
    model = BagClassifier(n_bags=4).fit(X, y > 0)
    assert len(model.models_) == 4
    said = [copy.predict_proba(X) for copy in model.models_]
    assert not np.array_equal(said[0], said[1])
    np.testing.assert_allclose(model.predict_proba(X), np.mean(said, axis=0), rtol=1e-12)


@pytest.mark.parametrize("samples", ["bootstrap", "folds"])
def test_every_copy_sees_every_class_and_no_copy_all_rows(samples):
    groups = np.array([0] * 20 + [1] * 3 + [2])
    drawn = list(BagClassifier(n_bags=5, samples=samples)._drawn(groups))
    assert len(drawn) == 5
    assert all(set(groups[rows]) == {0, 1, 2} for rows in drawn)
    assert all(len(set(rows)) < len(groups) for rows in drawn)
    if samples == "bootstrap":
        assert all((np.bincount(groups[rows]) == [20, 3, 1]).all() for rows in drawn)
    else:
        assert np.bincount(np.concatenate(drawn), minlength=24).tolist() == [4] * 23 + [5]


def test_rows_that_a_sample_repeats_are_told_to_be_copies(waves, monkeypatch):
    X, y = waves
    told = []
    monkeypatch.setattr(
        "hybrid_ray.estimators.models.composite.fit_grouped",
        lambda model, X, y, groups: (told.append((X, groups)), model.fit(X, y)),
    )
    BagRegressor(n_bags=2).fit(X, y)
    assert all((X[groups] == rows).all() and len(set(groups)) < len(groups) for rows, groups in told)
    BagRegressor(n_bags=2).fit(X, y, groups=np.zeros(len(y), np.int64))
    assert (told[-1][1] == 0).all()


def test_a_copy_is_fitted_on_no_more_rows_than_its_family_takes(waves, monkeypatch):
    X, y = waves
    sizes = []
    monkeypatch.setattr(
        "hybrid_ray.estimators.models.composite.fit_grouped",
        lambda model, X, y, groups: (sizes.append(len(y)), model.fit(X, y)),
    )
    family = ESTIMATORS.get("decision_tree")
    monkeypatch.setattr(family, "tags", replace(family.tags, max_rows=50))
    BagClassifier(n_bags=3).fit(X, y > 0)
    assert sizes == [50] * 3


def test_what_is_no_learner_is_refused():
    with pytest.raises(ValidationError, match=r"unknown estimator 'decision_tre'.*Did you mean 'decision_tree'"):
        BaggedParams(learner="decision_tre")
    with pytest.raises(ValidationError, match="learner: unknown estimator 'bagged'"):
        BaggedParams(learner="bagged")
    with pytest.raises(ValidationError, match="max_depht"):
        BaggedParams(learner_params={"max_depht": 3})


def test_a_saved_bag_without_a_copy_is_refused(waves):
    X, y = waves
    state = Bagged.dump(BagRegressor(n_bags=2).fit(X, y))
    with pytest.raises(ArtifactError, match="must hold all its models"):
        Bagged.load(State(state.meta | {"families": ["decision_tree"] * 3}, state.tensors, state.blobs))
