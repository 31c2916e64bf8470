"""Names of the metrics, the tasks they serve and which way is better; how they are computed is evaluation's matter."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from hybrid_ray.errors import BadInputError
from hybrid_ray.registry import nearest
from hybrid_ray.types import FORECASTING, Direction, Task


class MetricName(NamedTuple):
    """Which way is better, the tasks that a metric serves, and why no search may go by it; empty where it may.

    ``bounded``: a perfect score is 1, or 0 where less is better; False: there is none.
    """

    direction: Direction
    tasks: frozenset[Task]
    unsearchable: str = ""
    bounded: bool = True


_BINARY: frozenset[Task] = frozenset({"binary", "anomaly"})
_MULTICLASS: frozenset[Task] = frozenset({"multiclass"})
_CLASSES: frozenset[Task] = _BINARY | _MULTICLASS
_PROBABLE: frozenset[Task] = _CLASSES - {"anomaly"}
"""Scores of anomalies order rows; they are no probabilities."""
_NUMBERS: frozenset[Task] = frozenset({"regression"})
_CLUSTERS: frozenset[Task] = frozenset({"clustering"})
_LABELS = "it compares clusters with a label, which is not looked at before the end. Search by stable_silhouette"

METRIC_NAMES: Mapping[str, MetricName] = {
    "accuracy": MetricName("maximize", _CLASSES),
    "balanced_accuracy": MetricName("maximize", _CLASSES),
    "precision": MetricName("maximize", _BINARY),
    "precision_macro": MetricName("maximize", _CLASSES),
    "precision_weighted": MetricName("maximize", _CLASSES),
    "recall": MetricName("maximize", _BINARY),
    "recall_macro": MetricName("maximize", _CLASSES),
    "recall_weighted": MetricName("maximize", _CLASSES),
    "f1": MetricName("maximize", _BINARY),
    "f1_macro": MetricName("maximize", _CLASSES),
    "f1_weighted": MetricName("maximize", _CLASSES),
    "matthews_corrcoef": MetricName("maximize", _CLASSES),
    "roc_auc": MetricName("maximize", _BINARY),
    "roc_auc_ovr": MetricName("maximize", _MULTICLASS),
    "average_precision": MetricName("maximize", _CLASSES),
    "log_loss": MetricName("minimize", _PROBABLE),
    "brier_score_loss": MetricName("minimize", _PROBABLE),
    "expected_calibration_error": MetricName(
        "minimize",
        _PROBABLE,
        "an answer that is the same for every row can have none. Search by log_loss or brier_score_loss, which "
        "calibration improves",
    ),
    "false_alarm_rate": MetricName(
        "minimize", _BINARY, "an answer that is never the second class has none. Search by roc_auc or average_precision"
    ),
    "missed_alarm_rate": MetricName(
        "minimize",
        _BINARY,
        "an answer that is always the second class has none. Search by roc_auc or average_precision",
    ),
    "r2": MetricName("maximize", _NUMBERS),
    "root_mean_squared_error": MetricName("minimize", _NUMBERS | FORECASTING),
    "mean_absolute_error": MetricName("minimize", _NUMBERS | FORECASTING),
    "mean_absolute_percentage_error": MetricName("minimize", _NUMBERS),
    "median_absolute_error": MetricName("minimize", _NUMBERS),
    "stable_silhouette": MetricName("maximize", _CLUSTERS),
    "stability": MetricName("maximize", _CLUSTERS),
    "silhouette": MetricName("maximize", _CLUSTERS),
    "calinski_harabasz": MetricName("maximize", _CLUSTERS, bounded=False),
    "davies_bouldin": MetricName("minimize", _CLUSTERS),
    "aic": MetricName("minimize", _CLUSTERS, bounded=False),
    "bic": MetricName("minimize", _CLUSTERS, bounded=False),
    "nmi": MetricName("maximize", _CLUSTERS, _LABELS),
    "ari": MetricName("maximize", _CLUSTERS, _LABELS),
    "purity": MetricName("maximize", _CLUSTERS, _LABELS),
    "mase": MetricName("minimize", FORECASTING),
    "smape": MetricName("minimize", FORECASTING),
    "owa": MetricName("minimize", FORECASTING),
}
"""Every metric, under scikit-learn's name where it has one."""

_SHARES = frozenset(
    name
    for name in METRIC_NAMES
    if name.startswith(("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision"))
) | {"expected_calibration_error", "false_alarm_rate", "missed_alarm_rate", "nmi", "purity"}
"""Metrics that lie from 0 to 1."""

ALIASES: Mapping[str, str] = {
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mcc": "matthews_corrcoef",
    "brier": "brier_score_loss",
    "ece": "expected_calibration_error",
    "map": "average_precision",
    "far": "false_alarm_rate",
    "mar": "missed_alarm_rate",
}

_DEFAULT: Mapping[Task, str] = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "regression": "root_mean_squared_error",
    "anomaly": "roc_auc",
    "clustering": "stable_silhouette",
    "forecasting": "mase",
}


def range_of(name: str) -> tuple[float, float]:
    """The least and the largest score that there can be, by scikit-learn's name; infinite where there is no end."""
    known = METRIC_NAMES.get(name)
    if name in _SHARES:
        return 0.0, 1.0
    if known is None or not known.bounded:
        return -inf, inf
    return (-inf, 1.0) if known.direction == "maximize" else (0.0, inf)


def metric_name(name: str, task: Task | None = None) -> str:
    """scikit-learn's name of a metric.

    Parameters
    ----------
    name : str
        That name, an alias (rmse, mae, mape, mcc, brier, map, far, mar), or ``auto``: log_loss for classes,
        root_mean_squared_error for numbers, roc_auc for anomalies, stable_silhouette for clusters, mase for forecasts.
    task : Task, optional
        What it must serve; left out, any name will do and ``auto`` stays.

    Raises
    ------
    BadInputError
        No such metric, it does not serve the task, or no search may go by it; the message names those that do, and the
        nearest.
    """
    if task is None and name == "auto":
        return name
    served = {known: facts for known, facts in METRIC_NAMES.items() if task is None or task in facts.tasks}
    names = sorted(known for known, facts in served.items() if not facts.unsearchable)
    if not names:
        raise BadInputError(f"task: must be one of {sorted(_DEFAULT)} to be scored; got '{task}'")
    wanted = _DEFAULT[task] if task is not None and name == "auto" else ALIASES.get(name, name)
    if wanted in names:
        return wanted
    if wanted in served:
        raise BadInputError(
            f"search.metric: must be what a search can go by; got '{name}', which is only reported: "
            f"{served[wanted].unsearchable}"
        )
    said = [*names, *(alias for alias, whole in ALIASES.items() if whole in names)]
    serves = f", which serves {' and '.join(sorted(METRIC_NAMES[wanted].tasks))}" if wanted in METRIC_NAMES else ""
    for_task = f" for a {task} task" if task is not None else ""
    raise BadInputError(f"search.metric: must be one of {names}{for_task}; got '{name}'{serves}.{nearest(name, said)}")
