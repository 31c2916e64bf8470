"""Splits over time: the latest rows test, the others are folds one after another."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hybrid_ray.data.coerce import is_text, parse_numbers
from hybrid_ray.data.dates import parse_dates
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray, BoolArray


def times_of(values: pa.Array) -> AnyArray:
    """Something to sort by, float64; NaN where missing."""
    kind = values.type
    if is_text(kind):
        numbers, no_number = parse_numbers(values)
        if not no_number.any():
            return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.array(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    dates, bad = parse_dates(values)
    if bad.sum() * 2 > len(bad):
        raise DataError(
            f"data.split.column: a temporal split needs dates or numbers; got {int(bad.sum())} of {len(bad)} values "
            "that are neither"
        )
    return np.array(dates.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def temporal_split(times: AnyArray, share: float, folds: int) -> tuple[BoolArray, AnyArray, str]:
    """The latest rows test; the others are consecutive blocks. Rows of one moment stay together."""
    undated = int(np.isnan(times).sum())
    order = np.argsort(np.where(np.isnan(times), -np.inf, times), kind="stable")
    moments = np.where(np.isnan(times), -np.inf, times)[order]
    n = len(times)
    stop = _moment_start(moments, n - round(share * n))
    cuts = sorted({_moment_start(moments[:stop], round(i * stop / folds)) for i in range(1, folds)} - {0, stop})
    if stop in (0, n) or not cuts:
        raise DataError(
            "data.split.column: a temporal split needs times that differ between test rows and two folds or more; got "
            f"{len(np.unique(moments))} different times in {n} rows"
        )
    fold = np.full(n, -1)
    fold[order[:stop]] = np.searchsorted(cuts, np.arange(stop), side="right")
    notes = [f"{undated} rows without a time count as the earliest."] if undated else []
    if len(cuts) + 1 < folds:
        notes.append(f"The times allow {len(cuts) + 1} folds instead of {folds}.")
    return fold < 0, fold, " ".join(notes)


def _moment_start(moments: AnyArray, position: int) -> int:
    """The boundary nearest to a position that no moment lies across."""
    if position <= 0 or position >= len(moments):
        return max(0, min(position, len(moments)))
    before = int(np.searchsorted(moments, moments[position], side="left"))
    after = int(np.searchsorted(moments, moments[position], side="right"))
    return before if position - before <= after - position else after
