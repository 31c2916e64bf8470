"""What a model must beat: predictions that look at no input."""

from __future__ import annotations

import numpy as np

from hybrid_ray.forecasts import Came
from hybrid_ray.types import AnyArray, Task


def naive_outputs(y_train: AnyArray, task: Task, n_outputs: int, n: int) -> AnyArray:
    """The same answer for every row.

    Parameters
    ----------
    y_train : ndarray (n_train,)
        Class codes, or floats, of the training rows.
    task : Task
    n_outputs : int
        Number of classes, or 1.
    n : int
        Rows to answer.

    Returns
    -------
    ndarray of float64 (n, n_outputs)
        The class shares of the training rows, so that the majority class is the prediction; for regression the mean;
        for anomalies that every row is one.
    """
    if task == "anomaly":
        return np.tile([0.0, 1.0], (n, 1))
    if task == "regression":
        return np.full((n, 1), np.asarray(y_train, np.float64).mean())
    shares = np.bincount(np.asarray(y_train, np.int64), minlength=n_outputs) / len(y_train)
    return np.tile(shares, (n, 1))


def baselines(y_train: AnyArray, y_test: AnyArray, task: Task, n_outputs: int) -> dict[str, AnyArray]:
    """Outputs of plain methods for the test rows, by name; ``naive`` is always there.

    Parameters
    ----------
    y_train, y_test : ndarray (n_train,), (n,)
        Class codes, or floats; of forecasts (n, 3 h + 2), which hold what each row's history says.
    task : Task
    n_outputs : int
        Number of classes, 1, or h.

    Returns
    -------
    dict of str to ndarray (n, n_outputs)
        ``naive``, see ``naive_outputs``; for forecasts the last number (``naive``), ``seasonal naive`` and ``naive2``.
    """
    if task != "forecasting":
        return {"naive": naive_outputs(y_train, task, n_outputs, len(y_test))}
    came = Came.of(y_test)
    last = np.repeat(came.last, n_outputs, axis=1)
    return {"naive": last, "seasonal naive": came.seasonal, "naive2": came.naive2}
