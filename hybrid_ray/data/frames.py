"""Rows in whatever form people hold them, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ray.data.images import encode_png
from hybrid_ray.data.json_lines import table_of
from hybrid_ray.errors import DataError


def to_table(rows: Any) -> pa.Table:
    """Rows as an Arrow table.

    Parameters
    ----------
    rows : pa.Table, pa.RecordBatch, pandas or polars DataFrame, mapping of str to array-like, or sequence of mappings
        A column may hold PIL images, or be an array (n, height, width) or (n, height, width, channels) of uint8: both
        become PNG bytes. A column of mixed values becomes text.

    Raises
    ------
    DataError
        It is none of these, or its columns differ in length.
    """
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.table(rows)
    if isinstance(rows, Mapping):
        return _from_columns({str(name): values for name, values in rows.items()})
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__") and hasattr(rows, "shape"):
        return _from_frame(rows)
    if hasattr(rows, "__arrow_c_stream__"):
        return pa.table(rows)
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes) and all(isinstance(r, Mapping) for r in rows):
        names = dict.fromkeys(str(name) for row in rows for name in row)
        return _from_columns({name: [row.get(name) for row in rows] for name in names})
    raise DataError(
        "rows: must be a pandas, polars or pyarrow table, a mapping of columns, or a list of mappings; got "
        f"{type(rows).__name__}"
    )


def _from_frame(frame: Any) -> pa.Table:
    """A pandas or polars frame, column by column: one odd column does not spoil the others."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        arrow = column.to_arrow() if hasattr(column, "to_arrow") else _pandas(column)
        columns[str(name)] = arrow
    return _from_columns(columns)


def _pandas(column: Any) -> Any:
    if column.dtype == object:
        missing = column.isna().to_numpy()
        return [None if gone else value for gone, value in zip(missing, column, strict=True)]
    return pa.Array.from_pandas(column)


def _from_columns(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {name: _array(values, name) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"rows: every column must have the same length; got {lengths}")
    return pa.table(arrays)


def _array(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) and values.ndim in (3, 4):
        return pa.array([encode_png(image) for image in _pixels(values, name)], pa.binary())
    if hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values)
    listed = [_plain(value) for value in values]
    try:
        return pa.array(listed)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return table_of([{name: _text(v)} for v in listed], pa.schema([pa.field(name, pa.string())])).column(0)


def _pixels(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype != np.uint8:
        raise DataError(f"rows.{name}: pixels must be uint8 (0 to 255); got {values.dtype}")
    return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values


def _plain(value: Any) -> Any:
    """A value as Arrow knows it: images as PNG bytes, NaN and NA as nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    if type(value).__name__ == "NAType":
        return None
    if hasattr(value, "save") and hasattr(value, "getbands"):
        return encode_png(value)
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
