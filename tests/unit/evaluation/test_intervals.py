"""Intervals cover, tests keep their level, and a thousand resamples are quick."""

import time

import numpy as np
import pytest

from hybrid_ray.evaluation.intervals import (
    MAX_ROWS,
    Comparison,
    bootstrap,
    paired_difference,
    percentiles,
    resampled_scores,
    wilson,
)
from hybrid_ray.evaluation.metrics import METRICS, metrics_of
from hybrid_ray.forecasts import Came


def class_outputs(rng, n, n_classes=2, strength=0.5):
    y = rng.integers(0, n_classes, n)
    outputs = rng.dirichlet(np.ones(n_classes), n)
    outputs[np.arange(n), y] += strength
    return y, outputs / outputs.sum(axis=1, keepdims=True)


def noisy(rng, y, spread=1.0):
    return (y + rng.normal(0, spread, len(y)))[:, None]


def forecasts(rng, n):
    """Labels of rows of three steps, and forecasts of them."""
    values, scale = rng.normal(10, 3, (n, 3)), rng.uniform(1, 4, (n, 1))
    return Came(values, values + scale, values - scale, values[:, :1], scale).packed(), values + rng.normal(size=(n, 3))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.needs != "clusters"])
def test_an_interval_holds_the_score_and_is_repeatable(name):
    metric = METRICS[name]
    rng = np.random.default_rng(1)
    if metric.tasks == {"forecasting"}:
        y, outputs = forecasts(rng, 400)
    elif "regression" in metric.tasks:
        y = rng.normal(10, 3, 400)
        outputs = noisy(rng, y)
    else:
        y, outputs = class_outputs(rng, 400, 2 if "binary" in metric.tasks else 5)
    low, high = bootstrap(y, outputs, metric, n=300, seed=7)
    assert low < metric.score(y, outputs) < high or (metric.biased and high == metric.score(y, outputs))
    assert bootstrap(y, outputs, metric, n=300, seed=7) == (low, high)
    assert bootstrap(y, outputs, metric, n=300, seed=8) != (low, high)


def test_bootstrap_equals_a_loop_over_resamples():
    rng = np.random.default_rng(2)
    y, outputs = class_outputs(rng, 120, 3)
    metric = METRICS["f1_macro"]
    scores = resampled_scores(y, {"x": outputs}, metric, n=50, seed=3)["x"]
    drawn = np.random.default_rng(3).integers(0, 120, (50, 120))
    assert scores == pytest.approx([metric.score(y[rows], outputs[rows]) for rows in drawn])


@pytest.mark.parametrize("name", ["log_loss", "roc_auc", "root_mean_squared_error", "f1"])
def test_intervals_cover_about_as_often_as_they_say(name):
    metric = METRICS[name]
    rng = np.random.default_rng(4)

    def draw(n):
        if metric.needs == "values":
            y = rng.normal(size=n)
            return y, noisy(rng, y)
        return class_outputs(rng, n)

    truth = metric.score(*draw(400_000))
    ends = [bootstrap(*draw(250), metric, n=200, seed=i) for i in range(250)]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert 0.89 <= covered <= 0.99


def test_the_interval_of_the_calibration_error_of_a_calibrated_model_reaches_down_to_zero():
    rng = np.random.default_rng(8)
    metric, reached, percentile = METRICS["expected_calibration_error"], 0, 0
    for seed in range(40):
        p = rng.uniform(size=300)
        y, outputs = (rng.uniform(size=300) < p).astype(int), np.stack([1 - p, p], axis=1)
        reached += bootstrap(y, outputs, metric, n=200, seed=seed).low < 0.01
        percentile += percentiles(resampled_scores(y, {"x": outputs}, metric, 200, seed)["x"]).low < 0.01
    assert reached >= 30
    assert percentile == 0


def test_large_test_sets_get_the_same_interval_from_fewer_rows():
    rng = np.random.default_rng(5)
    n = 4 * MAX_ROWS
    y, outputs = class_outputs(rng, n)
    losses = -np.log(outputs[np.arange(n), y])
    low, high = bootstrap(y, outputs, METRICS["log_loss"], n=600)
    half = 1.96 * losses.std() / np.sqrt(n)
    assert (low, high) == pytest.approx((losses.mean() - half, losses.mean() + half), abs=0.15 * half)


@pytest.mark.parametrize("name", [n for n in METRICS if n != "roc_auc_ovr"])
def test_a_thousand_resamples_of_five_thousand_rows_are_quick(name):
    metric = METRICS[name]
    rng = np.random.default_rng(6)
    if metric.tasks == {"forecasting"}:
        y, outputs = forecasts(rng, 5000)
    elif metric.needs == "values":
        y = rng.normal(size=5000)
        outputs = noisy(rng, y)
    else:
        y, outputs = class_outputs(rng, 5000)
    start = time.process_time()
    bootstrap(y, outputs, metric, n=1000)
    assert time.process_time() - start < 3


def test_many_classes_get_fewer_resamples_not_more_time():
    y, outputs = class_outputs(np.random.default_rng(7), 5000, 40)
    scores = resampled_scores(y, {"x": outputs}, METRICS["roc_auc_ovr"], n=1000)["x"]
    assert 200 <= len(scores) < 1000


def test_resamples_without_a_class_are_left_out():
    y = np.r_[1, np.zeros(9, int)]
    outputs = np.random.default_rng(8).dirichlet([1, 1], 10)
    low, high = bootstrap(y, outputs, METRICS["roc_auc"], n=200)
    assert 0 <= low <= high <= 1
    assert np.isnan(bootstrap(np.zeros(10, int), outputs, METRICS["roc_auc"], n=20)).all()
    assert np.isnan(percentiles(np.array([np.nan]))).all()


def test_no_error_does_not_mean_no_doubt():
    y = np.arange(24) % 3
    perfect = {"x": np.eye(3)[y]}
    low, high = Comparison(y, perfect, METRICS["accuracy"]).interval("x")
    assert high == 1
    assert 0.8 < low < 0.9


@pytest.mark.parametrize(
    ("hits", "n", "ends"), [(0, 10, (0.0, 0.2775)), (5, 10, (0.2366, 0.7634)), (10, 10, (0.7225, 1.0))]
)
def test_wilson_intervals(hits, n, ends):
    assert [float(v) for v in wilson(hits, n)] == pytest.approx(ends, abs=1e-4)


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "roc_auc", "mean_absolute_error"])
def test_the_paired_test_keeps_its_level_where_nothing_differs(name):
    metric = METRICS[name]
    rng = np.random.default_rng(9)
    p_values = []
    for i in range(300):
        if metric.needs == "values":
            y = rng.normal(size=150)
            a, b = noisy(rng, y), noisy(rng, y)
        else:
            y, shared = class_outputs(rng, 150, strength=0.3)
            a, b = (np.clip(shared + rng.normal(0, 0.1, (150, 1)) * [[-1, 1]], 0.01, 0.99) for _ in range(2))
        p_values.append(paired_difference(y, a, b, metric, n=200, seed=i).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert 0.35 <= np.mean(p_values) <= 0.65


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_the_paired_test_sees_a_real_gain_and_its_sign(name):
    rng = np.random.default_rng(10)
    y, weak = class_outputs(rng, 600, strength=0.2)
    strong = weak.copy()
    strong[np.arange(600), y] += 0.3
    strong /= strong.sum(axis=1, keepdims=True)
    gain = paired_difference(y, strong, weak, METRICS[name], n=400)
    assert 0 < gain.low < gain.mean < gain.high
    assert gain.p_value < 0.01
    loss = paired_difference(y, weak, strong, METRICS[name], n=400)
    assert loss.mean == -gain.mean
    assert loss.high == pytest.approx(-gain.low)


def test_the_same_outputs_do_not_differ():
    y, outputs = class_outputs(np.random.default_rng(11), 100)
    assert paired_difference(y, outputs, outputs, METRICS["f1"]) == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_that_is_not_defined_is_nan():
    y, outputs = np.zeros(20, int), np.full((20, 2), 0.5)
    assert np.isnan(paired_difference(y, outputs, outputs, METRICS["roc_auc"], n=20)).all()


def test_pairing_is_narrower_than_two_intervals():
    rng = np.random.default_rng(12)
    y = rng.normal(size=500)
    a = noisy(rng, y)
    b = a + rng.normal(0, 0.05, a.shape)
    metric = METRICS["root_mean_squared_error"]
    gain = Comparison(y, {"a": a, "b": b}, metric).difference("a", "b")
    low, high = bootstrap(y, a, metric)
    assert gain.high - gain.low < 0.3 * (high - low)


def test_every_metric_has_an_interval_for_its_own_task():
    rng = np.random.default_rng(13)
    y, outputs = class_outputs(rng, 90, 4)
    for metric in metrics_of("multiclass").values():
        found = Comparison(y, {"x": outputs}, metric, n=60)
        low, high = found.interval("x")
        assert low <= found.scores["x"] == metric.score(y, outputs) <= high
    assert Comparison(y, {}, METRICS["log_loss"]).scores == {}
