import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from hybrid_ray.evaluation.metrics import METRICS, metrics_of

CASES = [(task, name) for task in ("binary", "multiclass", "regression") for name in metrics_of(task)]


def many_outputs(task, n=70, sets=9):
    rng = np.random.default_rng(3)
    if task == "regression":
        return rng.normal(size=n) + 3, (rng.normal(size=(sets, n, 1)) + 3).round(1)
    classes = 2 if task == "binary" else 4
    raw = rng.dirichlet(np.ones(classes), size=(sets, n)).round(1) + 0.05  # rounded: many equal probabilities
    return rng.integers(classes, size=n), raw / raw.sum(axis=2, keepdims=True)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_block_scores_as_one_by_one(task, name):
    y, outputs = many_outputs(task)
    expected = [METRICS[name].score(y, one) for one in outputs]
    np.testing.assert_allclose(METRICS[name].scores(y, outputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_what_is_not_defined_is_nan(name):
    y, outputs = many_outputs("binary")
    assert np.isnan(METRICS[name].scores(np.zeros_like(y), outputs)).all()


@given(st.integers(2, 4), st.integers(1, 40), st.sampled_from([0, 1, 3, 15]), st.integers(0, 99))
def test_average_precision_of_a_block_is_scikit_learns(n_classes, n, decimals, seed):
    """From all rows equal to no two, classes without a row and with every row included."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, rng.integers(1, n_classes + 1), n)
    outputs = rng.dirichlet(np.ones(n_classes), (3, n)).round(decimals)
    codes = [1] if n_classes == 2 else range(n_classes)
    there = [code for code in codes if (y == code).any()]
    expected = [
        np.mean([average_precision_score(y == code, one[:, code]) for code in there]) if there else np.nan
        for one in outputs
    ]
    found = METRICS["average_precision"].scores(y, outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose([METRICS["average_precision"].score(y, one) for one in outputs], expected, rtol=1e-12)


def test_a_class_without_rows_is_left_out_of_the_mean_of_areas():
    y, outputs = many_outputs("multiclass")
    kept = y != 3
    expected = [METRICS["roc_auc_ovr"].score(y[kept], one[kept]) for one in outputs]
    np.testing.assert_allclose(METRICS["roc_auc_ovr"].scores(y[kept], outputs[:, kept]), expected, rtol=1e-12)
