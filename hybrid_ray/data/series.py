"""Series in cells: steps of one number or several, from lists in a table or from JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.types import AnyArray

Reasons = dict[int, str]

_MOST = float(np.finfo(np.float32).max)
"""The largest number of a series: networks read float32."""
_NO_SERIES = "not a series: neither a list of numbers nor a list of lists of as many numbers each"
_INFINITE = "not a finite number in the series: it counts as missing"


def is_series_type(kind: pa.DataType) -> bool:
    """Whether a type is lists of numbers, or lists of lists of numbers."""
    for _ in range(2):
        if _is_list(kind):
            kind = kind.value_type
            if _is_number(kind):
                return True
    return False


def is_series_text(text: str) -> bool:
    """Whether a text is a series, written as JSON."""
    return text.lstrip()[:1] == "[" and not isinstance(_from_json(text), str)


def parse_series(raw: pa.Array) -> tuple[AnyArray, Reasons]:
    """Cells as arrays.

    Parameters
    ----------
    raw : pa.Array
        Lists of numbers, lists of lists of numbers, or either as JSON text.

    Returns
    -------
    values : ndarray of object (n,)
        float64 (steps, channels) with NaN where a number is missing; None where no number is there.
    reasons : dict of int to str
        Cells that are no series, and those that hold infinite numbers, or such as no float32 holds.
    """
    values = np.full(len(raw), None, object)
    if pa.types.is_null(raw.type):
        return values, {}
    if pa.types.is_string(raw.type) or pa.types.is_large_string(raw.type):
        given = [_from_json(text) for text in raw.to_pylist()]
    elif is_series_type(raw.type):
        given = _from_lists(raw)
    else:
        return values, dict.fromkeys(np.flatnonzero(np.asarray(raw.is_valid())).tolist(), _NO_SERIES)
    reasons: Reasons = {}
    for row, cell in enumerate(given):
        if isinstance(cell, str):
            reasons[row] = cell
        elif cell is not None:
            steps = np.array(cell, np.float64)
            huge = np.abs(steps) > _MOST
            if huge.any():
                steps[huge] = np.nan
                reasons[row] = _INFINITE
            values[row] = None if np.isnan(steps).all() else steps
    return values, reasons


def series_cell(steps: AnyArray | None, most: int | None = None) -> list[list[float | None]] | None:
    """A series as JSON-able lists, its last ``most`` steps."""
    if steps is None:
        return None
    shown = steps if most is None else steps[-most:]
    return [[float(v) if np.isfinite(v) else None for v in step] for step in shown]


def _from_lists(raw: pa.Array) -> list[AnyArray | str | None]:
    """Arrays (steps, channels), a reason, or None: from the flat values under the lists, without Python numbers."""
    lengths, flat = _opened(raw)
    ends = np.cumsum(lengths)
    if not _is_list(flat.type):
        numbers = _floats(flat)
        return [numbers[end - n : end, None] if n else None for n, end in zip(lengths, ends, strict=True)]
    widths, leaves = _opened(flat)
    numbers, leaf_ends = _floats(leaves), np.concatenate([[0], np.cumsum(widths)])
    cells: list[AnyArray | str | None] = []
    for n, end in zip(lengths, ends, strict=True):
        own = widths[end - n : end]
        if not n:
            cells.append(None)
        elif own[0] == 0 or (own != own[0]).any():
            cells.append(_NO_SERIES)
        else:
            cells.append(numbers[leaf_ends[end - n] : leaf_ends[end]].reshape(n, own[0]))
    return cells


def _opened(raw: pa.Array) -> tuple[AnyArray, pa.Array]:
    """Lengths (n,) of lists, 0 for null, and their values one after the other."""
    lists = raw.cast(pa.large_list(raw.type.value_type))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return lengths, lists.flatten()


def _floats(leaves: pa.Array) -> AnyArray:
    numbers: AnyArray = leaves.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _from_json(text: str | None) -> AnyArray | str | None:
    if text is None or not text.strip():
        return None
    try:
        cell = json.loads(text)
    except (ValueError, RecursionError):
        return _NO_SERIES
    if cell is None or cell == []:
        return None
    if not isinstance(cell, list):
        return _NO_SERIES
    steps: Sequence[Any] = cell if isinstance(cell[0], list) else [[value] for value in cell]
    if not all(isinstance(step, list) and len(step) == len(steps[0]) > 0 for step in steps):
        return _NO_SERIES
    if not all(value is None or type(value) in (int, float) for step in steps for value in step):
        return _NO_SERIES
    try:
        return np.array([[np.nan if v is None else float(v) for v in step] for step in steps], np.float64)
    except OverflowError:
        return _INFINITE


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
