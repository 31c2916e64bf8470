"""Splits of rows that series were cut into: over time, or over series."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.split import Split
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray, BoolArray

MANY_SERIES = 20
"""Series from which on whole series are held out where nothing else was asked for."""


def split_windows(
    roles: pa.Array,
    back: AnyArray,
    names: pa.Array | None,
    labelled: BoolArray,
    by: Literal["auto", "time", "series"],
    folds: int,
    seed: int,
) -> Split:
    """Divide rows of series into test rows and training rows in folds.

    Over time, fold k holds the k-th block of origins, and is learned from the blocks before it. Over series, a fold
    holds every origin of its series: it is learned from other series, whose rows all come before their own test rows.

    Parameters
    ----------
    roles : pa.Array of text (n,)
        train or test.
    back : ndarray of int (n,)
        Origins of the row's series that lie after its own.
    names : pa.Array or None
        Series of each row; None: there is one.
    labelled : ndarray of bool (n,)
        Rows that can be learned from or scored.
    by : {"auto", "time", "series"}
    folds : int
        At most.
    seed : int
        Of which series are held out together.

    Raises
    ------
    DataError
        There are no test rows, or no two folds.
    """
    test = np.asarray(pc.equal(roles, "test")) & labelled
    training = ~np.asarray(pc.equal(roles, "test")) & labelled
    codes = np.zeros(len(back), np.int64) if names is None else _codes(names)
    n_series = len(np.unique(codes[training]))
    if by == "auto":
        by = "series" if n_series >= MANY_SERIES else "time"
    # The earliest origin is that with most others after it.
    of_block = -back if by == "time" else _shuffled(codes, seed)
    blocks = np.unique(of_block[training])
    # A fold is learned from the blocks before it: the first alone must be some rows.
    parts = min(folds, len(blocks), int(training.sum()) // 2 if by == "time" else folds)
    if parts < 2 or not test.any():
        what = "data.series.origins: 2 origins, and 4 rows," if by == "time" else "data.series.id: 2 series"
        raise DataError(
            f"{what} or more must have training rows, and a series a test row; got {len(blocks)}, "
            f"{int(training.sum())} rows and {int(test.sum())} test rows. Give longer series, or raise origins"
        )
    fold = np.full(len(back), -1, np.int16)
    place = np.searchsorted(blocks, of_block[training])
    fold[training] = place * parts // len(blocks)
    note = f"{len(blocks)} {'origins' if by == 'time' else 'series'} allow {parts} folds instead of {folds}."
    return Split("temporal" if by == "time" else "grouped", test, fold, by == "time", note if parts < folds else "")


def _codes(names: pa.Array) -> AnyArray:
    codes: AnyArray = names.cast(pa.string()).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _shuffled(codes: AnyArray, seed: int) -> AnyArray:
    """Series under other numbers, so that those which stand together are not held out together."""
    order = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    return order[codes]
