"""The label: which task it means, and its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.coerce import clean_text, is_bytes, is_text, one_array, parse_numbers
from hybrid_ray.data.series import parse_series
from hybrid_ray.errors import DataError
from hybrid_ray.forecasts import Came, without_gaps
from hybrid_ray.types import CLUSTERING, AnyArray, BoolArray, Task

MAX_CLASSES = 1000
AUTO_CLASSES = 50
ROWS_PER_CLASS = 3
CLASS_TASKS: tuple[Task, ...] = ("binary", "multiclass")


@dataclass(frozen=True)
class Target:
    """Encoded labels.

    Attributes
    ----------
    task : Task
    classes : list or None
        Class labels (``int``, ``float``, ``bool`` or ``str``) in code order; None for regression, and for clustering
        without a label.
    y : ndarray (n,)
        Class codes int64 (-1 where missing), or values float64 (NaN where missing).
    missing : ndarray of bool (n,)
        Rows without a label that can be used; for clustering none: no label is learned.
    reason : str
        Why this task.
    unreadable : ndarray of int (k,)
        Rows whose label is text that is no number where numbers are learned: among the missing ones.
    """

    task: Task
    classes: list[Any] | None
    y: AnyArray
    missing: BoolArray
    reason: str = ""
    unreadable: AnyArray = field(default_factory=lambda: np.zeros(0, np.int64))


def encode_target(values: pa.ChunkedArray | pa.Array, task: Task | Literal["auto"], anomalous: Any = None) -> Target:
    """Labels as class codes or numbers.

    Parameters
    ----------
    values : pa.ChunkedArray or pa.Array (n,)
        Labels. Text that is all numbers counts as numbers.
    task : Task or "auto"
        auto: two values are binary, up to 50 whole numbers or any text multiclass, else regression.
    anomalous : bool, int, float or str, optional
        anomaly: the value of anomalous rows, which get code 1; left out, the greater of the two.

    Raises
    ------
    DataError
        There is no label, only one class, or the labels cannot serve the task.
    """
    column = plain_labels(values)
    n_given = len(column) - column.null_count
    if not n_given:
        raise DataError(f"data.label: must hold labels; got none in {len(column)} rows")
    if task == "forecasting":
        raise DataError("task: forecasting must come with data.series, which says what the label's past is; got none")
    distinct = column.unique().drop_null()
    if task in CLUSTERING:
        return _compared(column, sorted(distinct.to_pylist()))
    chosen, reason = (task, "as the spec says") if task != "auto" else _task_of(distinct, n_given)
    if chosen == "regression":
        return _numbers(column, n_given, reason)
    classes = _classes(distinct, chosen, n_given) if chosen != "anomaly" else _normal_first(distinct, anomalous)
    codes, missing = _codes(column, classes)
    return Target(chosen, classes, codes, missing, reason)


def no_target(n_rows: int) -> Target:
    """The target of clustering where there is no label."""
    return Target("clustering", None, np.full(n_rows, -1, np.int64), np.zeros(n_rows, bool), "as the spec says")


def _compared(column: pa.Array, classes: Sequence[Any]) -> Target:
    """Labels that clusters are compared with in the end: a row without one is clustered as all others."""
    codes, missing = _codes(column, classes)
    return Target("clustering", list(classes), codes, np.zeros_like(missing), "as the spec says")


def encode_windows(histories: pa.ChunkedArray, futures: pa.ChunkedArray, season: int) -> Target:
    """Labels of rows to forecast, packed as ``Came``; a row is missing where a step of its future is.

    Parameters
    ----------
    histories, futures : pa.ChunkedArray of lists of numbers (n,)
        Up to each origin, and the h steps after it.
    season : int
    """
    after = one_array(futures)
    missing = np.asarray(after.is_null())
    h = max(pc.max(pc.list_value_length(after)).as_py() or 1, 1)
    values = np.full((len(after), h), np.nan)
    flat = after.flatten().to_numpy(zero_copy_only=False)
    values[~missing] = np.asarray(flat, np.float64).reshape(-1, h)
    missing = missing | np.isnan(values).any(axis=1)
    cells, _ = parse_series(one_array(histories))
    missing |= np.array([cell is None for cell in cells], bool)
    plain = [without_gaps(cell[:, 0]) if cell is not None else np.zeros(1) for cell in cells]
    y = Came.after(plain, values, season).packed()
    return Target("forecasting", None, y, missing, "as data.series says")


def encode_known(values: pa.ChunkedArray | pa.Array, task: Task, classes: Sequence[Any] | None) -> Target:
    """Labels of other rows by the classes of a graph; a label that it does not know is missing.

    Parameters
    ----------
    values : pa.ChunkedArray or pa.Array (n,)
    task : Task
    classes : sequence or None
        As in ``Graph.classes``.
    """
    column = plain_labels(values, numbers=classes is None or not isinstance(classes[0], str))
    if classes is None:
        return _numbers(column, len(column) - column.null_count, "as the graph says")
    if isinstance(classes[0], str) and not is_text(column.type):
        column = column.cast(pa.large_string())
    codes, missing = _codes(column, classes)
    return Target(task, list(classes), codes, missing, "as the graph says")


def known_rows(target: Target, data: str, label: str) -> AnyArray:
    """Positions int64 (k,) of rows that have a label which a graph knows.

    Raises
    ------
    DataError
        No row has.
    """
    known = np.flatnonzero(~target.missing)
    if not len(known):
        raise DataError(f"{data}: the column {label!r} must hold labels that the model knows; got none")
    return known


def plain_labels(values: pa.ChunkedArray | pa.Array, numbers: bool | None = None) -> pa.Array:
    """One array of bool, int64, float64 or text, NaN as null; ``numbers`` None: text that is all numbers is numbers.

    Raises
    ------
    DataError
        It is a column of something else.
    """
    column = one_array(values)
    kind = column.type
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return (
            _whole(column.cast(pa.float64(), safe=False)) if not pa.types.is_integer(kind) else column.cast(pa.int64())
        )
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not (is_text(kind) or is_bytes(kind)):
        raise DataError(f"data.label: must be text, numbers or true and false; got a column of {kind}")
    text = clean_text(column)
    if numbers is False:
        return text
    return _whole(parse_numbers(text)[0]) if numbers or _all_numbers(text) else text


def _all_numbers(text: pa.Array) -> bool:
    """Whether text is numbers: ``01`` is a code, not a number."""
    given = text.unique().drop_null()
    _, bad = parse_numbers(given)
    codes = pc.any(pc.match_substring_regex(given, r"^[+-]?0\d")).as_py()
    return bool(len(given)) and not bad.any() and not codes


def _whole(numbers: pa.Array) -> pa.Array:
    """The numbers as int64 where all are whole; NaN and infinities are null."""
    numbers = pc.if_else(pc.is_finite(numbers), numbers, None)
    given = numbers.drop_null()
    if len(given) and pc.all(pc.equal(given, pc.round(given))).as_py() and pc.max(pc.abs(given)).as_py() < 2**53:
        return numbers.cast(pa.int64())
    return numbers


def _task_of(distinct: pa.Array, n: int) -> tuple[Task, str]:
    count, kind = len(distinct), distinct.type
    if count <= 2:
        return "binary", f"the label has {count} values"
    if is_text(kind):
        return "multiclass", f"the label is text of {count} values"
    if pa.types.is_floating(kind):
        return "regression", f"the label holds fractions, {count} values"
    if count > AUTO_CLASSES or count * ROWS_PER_CLASS > n:
        return "regression", f"the label holds {count} different whole numbers"
    return "multiclass", f"the label holds {count} different whole numbers; if their size matters, set regression"


def _classes(distinct: pa.Array, task: Task, n: int) -> list[Any]:
    classes = sorted(distinct.to_pylist())
    if len(classes) == 1:
        raise DataError(f"data.label: must hold two classes or more; got only {classes[0]!r} in all {n} rows")
    if task == "binary" and len(classes) != 2:
        raise DataError(f"task: binary needs exactly two classes; got {len(classes)}: {_some(classes)}. Set multiclass")
    if len(classes) > MAX_CLASSES or (len(classes) > 20 and len(classes) * 2 > n):
        raise DataError(
            f"data.label: at most {MAX_CLASSES} classes of two rows each on average can be learned; got "
            f"{len(classes)} different values in {n} rows. Is it the right column, or is the task regression?"
        )
    return classes


def _normal_first(distinct: pa.Array, anomalous: Any) -> list[Any]:
    """The value of normal rows, then that of anomalous ones."""
    values = sorted(distinct.to_pylist())
    if len(values) != 2:
        raise DataError(
            "data.label: must hold two values for anomalies, of normal and of anomalous rows, the latter among the "
            f"test rows at least; got {len(values)}: {_some(values)}"
        )
    chosen = values[-1] if anomalous is None else _like([anomalous], distinct.type)[0].as_py()
    if chosen not in values:
        raise DataError(f"target.anomalous: must be one of the two values of the label, {values}; got {anomalous!r}")
    return sorted(values, key=lambda value: value == chosen)


def _codes(column: pa.Array, classes: Sequence[Any]) -> tuple[AnyArray, BoolArray]:
    codes = pc.fill_null(pc.index_in(column, _like(classes, column.type), skip_nulls=True), -1).cast(pa.int64())
    y = codes.to_numpy(zero_copy_only=False)
    return y, y < 0


def _like(classes: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The classes in a column's type; the values of another type match nothing."""
    try:
        return pa.array(classes).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(classes), kind)


def _numbers(column: pa.Array, n_given: int, reason: str) -> Target:
    unreadable = np.zeros(0, np.int64)
    if is_text(column.type):
        column, unread = parse_numbers(column)
        unreadable = np.flatnonzero(unread)
    bad = len(unreadable)
    y = np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    y[~np.isfinite(y)] = np.nan
    missing = np.isnan(y)
    if bad * 2 > n_given or missing.all():
        raise DataError(f"data.label: regression needs numbers; got {bad} of {n_given} labels that are none")
    if reason != "as the graph says" and np.nanmin(y) == np.nanmax(y):
        raise DataError(f"data.label: must vary to be learned; got {np.nanmin(y):g} in all {n_given} rows")
    return Target("regression", None, y, missing, reason, unreadable)


def _some(classes: Sequence[Any]) -> str:
    return str(list(classes[:5]))[:-1] + (", …]" if len(classes) > 5 else "]")
