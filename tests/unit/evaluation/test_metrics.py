"""Every metric against scikit-learn, on random data, classes missing from y included."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from hybrid_ray.errors import BadInputError
from hybrid_ray.evaluation.metrics import METRICS, get_metric, metrics_of, score_all
from hybrid_ray.forecasts import Came

SHAPES = ["usual", "ties", "missing classes", "unpredicted classes", "one row a class"]


def _forecasts(n=40, h=6, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(5, 50, (n, h))
    told = values * rng.uniform(0.7, 1.3, (n, h))
    plain = values * rng.uniform(0.5, 1.5, (n, h))
    return Came(values, plain, plain, values[:, :1], rng.uniform(0.5, 4, (n, 1))), told


def class_data(n_classes, shape, seed=0, n=300):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    outputs = rng.dirichlet(np.ones(n_classes), n)
    outputs[np.arange(n), y] += 0.4
    if shape == "ties":
        outputs = np.round(outputs, 1) + 1e-3
    if shape == "missing classes":
        y = np.where(y == n_classes - 1, 0, y)
    if shape == "unpredicted classes":
        outputs[:, 0] = 1e-4
    if shape == "one row a class":
        y, outputs = np.arange(n_classes), outputs[:n_classes]
    return y, outputs / outputs.sum(axis=1, keepdims=True)


def macro_over_defined(function, y, outputs):
    codes = [c for c in range(outputs.shape[1]) if 0 < (y == c).sum() < len(y)]
    return np.mean([function(y == c, outputs[:, c]) for c in codes])


def by_scikit_learn(name, y, outputs):
    guess, codes = outputs.argmax(axis=1), np.arange(outputs.shape[1])
    if name in ("precision", "recall", "f1"):
        return getattr(sk, f"{name}_score")(y, guess, zero_division=0)
    if name.rpartition("_")[2] in ("macro", "weighted"):
        function, average = name.split("_")
        return getattr(sk, f"{function}_score")(y, guess, average=average, zero_division=0)
    if name in ("accuracy", "balanced_accuracy"):
        return getattr(sk, f"{name}_score")(y, guess)
    if name in ("false_alarm_rate", "missed_alarm_rate"):
        return 1 - sk.recall_score(y, guess, pos_label=int(name == "missed_alarm_rate"), zero_division=1)
    if name == "matthews_corrcoef":
        return sk.matthews_corrcoef(y, guess)
    if name == "log_loss":
        return sk.log_loss(y, outputs, labels=codes)
    if name == "expected_calibration_error":  # scikit-learn has the bins only
        binary = len(codes) == 2
        confidence = outputs[:, 1] if binary else outputs.max(axis=1)
        true = y == 1 if binary else guess == y
        which = np.digitize(confidence, np.linspace(0, 1, 11)[1:-1])
        gaps = [abs(confidence[which == b].sum() - true[which == b].sum()) for b in range(10)]
        return sum(gaps) / len(y)
    if name == "brier_score_loss":
        return sk.brier_score_loss(y, outputs, labels=codes)
    function = {"average_precision": sk.average_precision_score}.get(name, sk.roc_auc_score)
    if len(codes) == 2:
        return function(y, outputs[:, 1])
    return macro_over_defined(function, y, outputs)


CASES = [
    (name, n_classes, shape)
    for name, metric in METRICS.items()
    for n_classes in (2, 3, 7)
    for shape in SHAPES
    if ("binary" if n_classes == 2 else "multiclass") in metric.tasks and (n_classes, shape) != (2, "missing classes")
]


@pytest.mark.parametrize(("name", "n_classes", "shape"), CASES)
def test_class_metrics_equal_scikit_learn(name, n_classes, shape):
    y, outputs = class_data(n_classes, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = by_scikit_learn(name, y, outputs)
    assert METRICS[name].score(y, outputs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", metrics_of("binary"))
def test_binary_metrics_where_only_one_class_is_there(name):
    y, outputs = class_data(2, "usual")
    metric = METRICS[name]
    alone = np.ones(len(y), int)
    score = metric.score(alone, outputs)
    if name == "roc_auc":
        assert np.isnan(score)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert score == pytest.approx(by_scikit_learn(name, alone, outputs), abs=1e-12)


@pytest.mark.parametrize("name", metrics_of("regression"))
@pytest.mark.parametrize("n", [2, 101, 400])
def test_number_metrics_equal_scikit_learn(name, n):
    rng = np.random.default_rng(n)
    y = rng.normal(50, 10, n)
    values = y + rng.normal(0, 4, n)
    function = sk.r2_score if name == "r2" else getattr(sk, name)
    assert METRICS[name].score(y, values[:, None]) == pytest.approx(function(y, values), rel=1e-9)


@pytest.mark.parametrize("right", [True, False])
def test_r2_of_a_constant_label_is_scikit_learns(right):
    y = np.full(7, 0.5)
    values = y if right else y + 1
    assert METRICS["r2"].score(y, values[:, None]) == sk.r2_score(y, values)


def test_r2_does_not_lose_digits_far_from_zero():
    rng = np.random.default_rng(0)
    y = 1e9 + rng.normal(size=500)
    values = y + rng.normal(0, 0.1, 500)
    assert METRICS["r2"].score(y, values[:, None]) == pytest.approx(sk.r2_score(y, values), abs=1e-6)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.needs != "clusters"])
def test_whole_weights_are_repeated_rows(name):
    metric = METRICS[name]
    rng = np.random.default_rng(3)
    if metric.tasks == {"forecasting"}:
        came, outputs = _forecasts(60)
        y = came.packed()
    elif "regression" in metric.tasks:
        y, outputs = rng.normal(size=60), rng.normal(size=(60, 1))
    else:
        y, outputs = class_data(2 if "binary" in metric.tasks else 4, "ties", n=60)
    counts = rng.integers(0, 4, (5, len(y)))
    repeated = [metric.score(np.repeat(y, c, axis=0), np.repeat(outputs, c, axis=0)) for c in counts]
    assert metric.scorer(y, outputs)(counts.astype(float)) == pytest.approx(repeated, abs=1e-10)


def test_score_all_gives_every_metric_of_the_task():
    y, outputs = class_data(4, "usual")
    scores = score_all(y, outputs, "multiclass")
    assert set(scores) == {n for n, m in METRICS.items() if "multiclass" in m.tasks}
    assert all(np.isfinite(list(scores.values())))


def test_gain_is_positive_when_better_whatever_the_direction():
    assert METRICS["accuracy"].gain(0.9, 0.8) > 0
    assert METRICS["log_loss"].gain(0.2, 0.8) > 0
    assert METRICS["log_loss"].gain(0.8, 0.2) < 0


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("auto", "binary", "log_loss"),
        ("auto", "multiclass", "log_loss"),
        ("auto", "regression", "root_mean_squared_error"),
        ("rmse", "regression", "root_mean_squared_error"),
        ("mape", "regression", "mean_absolute_percentage_error"),
        ("f1", "binary", "f1"),
        ("mcc", "multiclass", "matthews_corrcoef"),
        ("map", "multiclass", "average_precision"),
    ],
)
def test_names_and_aliases(name, task, expected):
    assert get_metric(name, task).name == expected


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("acuracy", "binary", r"got 'acuracy'\. Did you mean 'accuracy'\?"),
        ("roc_auc", "multiclass", r"got 'roc_auc', which serves anomaly and binary\. Did you mean 'roc_auc_ovr'\?"),
        ("rmse", "binary", r"got 'rmse', which serves forecasting and regression"),
        ("ece", "binary", r"got 'ece', which is only reported: .* Search by log_loss"),
    ],
)
def test_a_wrong_name_says_what_would_be_right(name, task, message):
    with pytest.raises(BadInputError, match=message):
        get_metric(name, task)


@pytest.mark.parametrize(
    ("y", "outputs", "message"),
    [
        (np.zeros(3), np.ones((2, 2)), r"got \(3,\) and \(2, 2\)"),
        (np.zeros((3, 1)), np.ones((3, 2)), r"got \(3, 1\) and \(3, 2\)"),
        (np.zeros(0), np.ones((0, 2)), "n > 0"),
        (np.zeros(3), np.ones(3), "outputs"),
        (np.zeros(2), np.array([[0.5, 0.5], [np.nan, 1]]), "finite; got 1"),
    ],
)
def test_outputs_that_cannot_be_scored_are_refused(y, outputs, message):
    with pytest.raises(ValueError, match=message):
        METRICS["accuracy"].score(y, outputs)


def test_inputs_are_left_alone():
    y, outputs = class_data(3, "usual")
    before = y.copy(), outputs.copy()
    score_all(y, outputs, "multiclass")
    assert np.array_equal(y, before[0])
    assert np.array_equal(outputs, before[1])


def test_alarms_are_counted_among_rows_of_their_kind():
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    score = np.array([0.1, 0.6, 0.2, 0.5, 0.9, 0.4, 0.7])
    scores = score_all(y, np.column_stack([1 - score, score]), "anomaly")
    assert scores["false_alarm_rate"] == pytest.approx(1 / 4)
    assert scores["missed_alarm_rate"] == pytest.approx(1 / 3)
    assert not {"log_loss", "brier_score_loss", "expected_calibration_error"} & set(scores)
    with pytest.raises(BadInputError, match="'far', which is only reported"):
        get_metric("far", "anomaly")


def test_forecasts_are_scored_as_m4_scored_them():
    came, told = _forecasts()
    y = came.packed()
    smape = (200 * np.abs(told - came.values) / (np.abs(told) + np.abs(came.values))).mean()
    mase = (np.abs(told - came.values) / came.scale).mean()
    plain = (200 * np.abs(came.naive2 - came.values) / (np.abs(came.naive2) + np.abs(came.values))).mean()
    scaled = (np.abs(came.naive2 - came.values) / came.scale).mean()
    found = score_all(y, told, "forecasting")
    assert set(found) == {"mase", "smape", "owa", "root_mean_squared_error", "mean_absolute_error"}
    assert found["smape"] == pytest.approx(smape)
    assert found["mase"] == pytest.approx(mase)
    assert found["owa"] == pytest.approx(0.5 * (smape / plain + mase / scaled))
    assert score_all(y, came.naive2, "forecasting")["owa"] == pytest.approx(1)
    assert found["root_mean_squared_error"] == pytest.approx(np.sqrt(((told - came.values) ** 2).mean()))


def test_ends_of_intervals_are_no_forecasts():
    came, told = _forecasts()
    wide = np.concatenate([told, told - 1, told + 1], axis=1)
    assert score_all(came.packed(), wide, "forecasting") == score_all(came.packed(), told, "forecasting")


def test_zeros_that_were_forecast_are_no_error():
    zeros = np.zeros((2, 3))
    came = Came(zeros, zeros + 1, zeros, zeros[:, :1], np.ones((2, 1)))
    assert score_all(came.packed(), zeros, "forecasting")["smape"] == 0
