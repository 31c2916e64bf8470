import numpy as np
import pytest

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


def test_a_class_without_rows_is_left_out_of_the_mean_of_areas():
    y, outputs = many_outputs("multiclass")
    kept = y != 3
    expected = [METRICS["roc_auc_ovr"].score(y[kept], one[kept]) for one in outputs]
    np.testing.assert_allclose(METRICS["roc_auc_ovr"].scores(y[kept], outputs[:, kept]), expected, rtol=1e-12)
