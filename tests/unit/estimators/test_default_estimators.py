import pytest

from hybrid_ray.estimators.defaults import default_estimators
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import TASKS


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("n_rows", [20, 1000, 30_000, 400_000, 5_000_000])
@pytest.mark.parametrize("n_features", [None, 10, 2000])
def test_every_default_does_the_task_in_time(task, n_rows, n_features):
    names = default_estimators(task, n_rows, n_features)
    assert len(names) == len(set(names)) >= 3
    for name in names:
        tags = ESTIMATORS.get(name).tags
        assert task in tags.tasks
        assert tags.max_rows is None or n_rows <= tags.max_rows


@pytest.mark.parametrize("n_rows", [20, 1000, 400_000])
def test_clusterers_are_those_that_end_in_time(n_rows):
    names = default_estimators("clustering", n_rows)
    assert names[0] == "kmeans"
    tags = [ESTIMATORS.get(name).tags for name in names]
    assert all(tag.tasks == {"clustering"} and (tag.max_rows or n_rows) >= n_rows for tag in tags)


def test_a_linear_model_comes_first():
    assert default_estimators("binary", 1000)[0] == "logistic"
    assert default_estimators("regression", 1000)[0] == "ridge"


def test_wide_features_prefer_kernels_to_trees():
    narrow, wide = default_estimators("binary", 2000, 30), default_estimators("binary", 2000, 1280)
    assert narrow.index("lightgbm") < narrow.index("svm")
    assert wide.index("svm") < wide.index("lightgbm")


def test_landmarks_stand_for_a_kernel_matrix_that_is_too_large():
    assert {"svm", "nystroem_svm"} & set(default_estimators("binary", 5000)) == {"svm"}
    assert {"svm", "nystroem_svm"} & set(default_estimators("binary", 50_000)) == {"nystroem_svm"}
    assert {"svm", "nystroem_svm"} & set(default_estimators("binary", 5_000_000)) == set()


def test_a_few_rows_get_no_learner_that_holds_rows_out():
    assert not {"xgboost", "lightgbm", "mlp", "hist_gradient_boosting"} & set(default_estimators("binary", 60))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_some_that_do_it(task):
    assert all(task in ESTIMATORS.get(name).tags.tasks for name in default_estimators(task, 100))
