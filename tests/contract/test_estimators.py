import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError, BadInputError
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.testing.estimators import (
    Case,
    cases,
    fitted,
    outputs,
    toy_rows,
    yield_checks,
    yield_family_checks,
)
from hybrid_ray.types import BOTH, State

load_plugins()
FAMILIES = [name for name, family in ESTIMATORS.items() if family.__module__.startswith("hybrid_ray.estimators")]

CASES = [
    pytest.param(name, case, check, id=f"{name}-{case}-{check.__name__}")
    for name in FAMILIES
    for case in cases(ESTIMATORS.get(name))
    for check in yield_checks(ESTIMATORS.get(name))
]
SPACES = [
    pytest.param(name, task, check, id=f"{name}-{task}-{check.__name__}")
    for name in FAMILIES
    for task in sorted(ESTIMATORS.get(name).tags.tasks)
    for check in yield_family_checks(ESTIMATORS.get(name))
]


@pytest.mark.parametrize(("name", "case", "check"), CASES)
def test_estimator_contract(name, case, check):
    check(ESTIMATORS.get(name), case)


@pytest.mark.parametrize(("name", "task", "check"), SPACES)
def test_estimator_space(name, task, check):
    check(ESTIMATORS.get(name), task)


def test_every_named_family_is_there():
    assert set(FAMILIES) == {
        "adaboost",
        "bagged",
        "boosted_mlp",
        "decision_tree",
        "gaussian_process",
        "neural_head",
        "nystroem_svm",
        "logistic",
        "ridge",
        "svm",
        "random_forest",
        "extra_trees",
        "hist_gradient_boosting",
        "xgboost",
        "lightgbm",
        "knn",
        "naive_bayes",
        "mlp",
        "weighted_ensemble",
        "kmeans",
        "gaussian_mixture",
        "agglomerative",
        "dbscan",
        "hdbscan",
        "spectral",
        "forecast_pool",
        "isolation_forest",
        "knn_distance",
        "lof",
        "mahalanobis",
        "nystroem_one_class_svm",
        "one_class_svm",
        "pca_reconstruction",
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_refuses_a_task_it_does_not_do(name):
    family = ESTIMATORS.get(name)
    with pytest.raises(BadInputError, match="task must be one of"):
        family.build(family.Params(), "regression" if "forecasting" in family.tags.tasks else "forecasting", 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_refuses_another_familys_model(name):
    family = ESTIMATORS.get(name)
    with pytest.raises(TypeError, match="must be one that the family built"):
        family.dump(object())
    with pytest.raises(ArtifactError, match="must be one of"):
        family.load(State({"model": "Pipeline"}))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_state_without_its_parts_is_refused(name):
    family = ESTIMATORS.get(name)
    case = next(cases(family))
    X, y = toy_rows(case.task)
    state = family.dump(fitted(family, case, X, y))
    with pytest.raises(ArtifactError, match="must"):
        family.load(State(state.meta, {}, {}))


@pytest.mark.parametrize("name", ["random_forest", "extra_trees", "xgboost", "lightgbm", "hist_gradient_boosting"])
def test_the_number_of_threads_changes_nothing(name):
    family = ESTIMATORS.get(name)
    for case in cases(family):
        X, y = toy_rows(case.task, n=300)
        one, two = (family.build(case.params, case.task, 3, threads).fit(X, y) for threads in (1, 2))
        np.testing.assert_allclose(outputs(one, X, case.task), outputs(two, X, case.task), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_balanced_classes_give_a_rare_class_more_weight(name):
    family = ESTIMATORS.get(name)
    if "class_weight" not in family.Params.model_fields:
        plain = ("ridge", "knn", "naive_bayes", "gaussian_process", "weighted_ensemble", "bagged")
        assert name in plain or not family.tags.tasks & BOTH
        return
    X, y = toy_rows("binary", n=400)
    X[:, :2] *= 0.6  # the classes overlap
    kept = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:20]])
    base = next(family.examples("binary")).model_dump()
    plain, balanced = (
        outputs(
            fitted(family, Case("binary", family.Params(**base | {"class_weight": w})), X[kept], y[kept]), X, "binary"
        )
        for w in (None, "balanced")
    )
    assert balanced[:, 1].mean() > plain[:, 1].mean() + 0.05
