"""Which families a search tries when the spec names none."""

from __future__ import annotations

from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, Task

WIDE = 512
"""Above this many features trees are slow, and linear, kernel and neural learners come first."""
FEW_ROWS = 100
"""Below this many rows what holds rows out, or learns many weights, is left out."""
MANY_ROWS = 100_000
"""Above this many rows histogram boosting by scikit-learn joins the other two."""

_NARROW = ("lightgbm", "random_forest", "xgboost", "svm", "mlp", "extra_trees", "knn")
_BROAD = ("svm", "mlp", "lightgbm", "extra_trees", "knn", "xgboost")
_SMALL = ("svm", "random_forest", "knn")
_DETECTORS = ("pca_reconstruction", "mahalanobis", "isolation_forest", "one_class_svm", "lof")
_MANY_DETECTORS = ("pca_reconstruction", "mahalanobis", "isolation_forest", "nystroem_one_class_svm")
_SLOW_DETECTORS = 12_000
"""Rows above which detectors that look at pairs of rows give way."""
_CLUSTERERS = ("kmeans", "gaussian_mixture", "agglomerative", "hdbscan", "spectral")
_INSTEAD = {"svm": "nystroem_svm"}
"""What stands for a family that is too slow for so many rows."""


def default_estimators(task: Task, n_rows: int, n_features: int | None = None) -> list[str]:
    """Names of a good default set for a task, the most promising first.

    Parameters
    ----------
    task : Task
    n_rows : int
        Training rows.
    n_features : int, optional
        Width of all features together, where it is known.
    """
    if task == "anomaly":
        return list(_DETECTORS if n_rows <= _SLOW_DETECTORS else _MANY_DETECTORS)
    if task in CLUSTERING:
        return [name for name in _CLUSTERERS if _in_time(name, n_rows)]
    if task == "forecasting":
        return ["forecast_pool"]
    linear = "ridge" if task == "regression" else "logistic"
    others: tuple[str, ...]
    if n_rows < FEW_ROWS:
        others = _SMALL if task == "regression" else (*_SMALL, "naive_bayes")
    elif n_features is not None and n_features > WIDE:
        others = _BROAD
    else:
        others = _NARROW
    if n_rows > MANY_ROWS:
        others = (*others, "hist_gradient_boosting")
    chosen = (name if _in_time(name, n_rows) else _INSTEAD.get(name, name) for name in others)
    return [linear, *(name for name in chosen if _in_time(name, n_rows))]


def _in_time(name: str, n_rows: int) -> bool:
    most = ESTIMATORS.get(name).tags.max_rows
    return most is None or n_rows <= most
