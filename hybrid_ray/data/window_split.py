"""Splits of rows that series were cut into: over time, or over series; and which of them go together.

References
----------
Carlstein, "The use of subseries values for estimating the variance of a general statistic from a stationary sequence",
Annals of Statistics 14, 1986: stretches that do not overlap, drawn whole.
"""

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
BLOCKS = 20
"""Stretches of time, about, that rows of few series are divided into: folds of windows are made of them, and test rows
of one are drawn together."""


def split_windows(
    roles: pa.Array,
    back: AnyArray,
    names: pa.Array | None,
    labelled: BoolArray,
    by: Literal["auto", "time", "series"],
    folds: int,
    seed: int,
    alike: int = 1,
) -> Split:
    """Divide rows of series into test rows and training rows in folds.

    Over time, fold k holds the k-th block of origins, and is learned from the blocks before it. Where what came after
    one origin reaches over later ones, the last origins of a block would tell what the next holds out: they are in no
    fold. Over series, a fold holds every origin of its series: it is learned from other series, whose rows all come
    before their own test rows; what is held out of them, to stop early say, are whole series too.

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
    alike : int, default 1
        Origins of a series, from one on, after which some of the same numbers come: 1 where no two overlap.

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
    parts = min(folds, len(blocks))
    if by == "time":
        # A fold is learned from the blocks before it: the first alone must be some rows.
        parts = min(parts, int(training.sum()) // 2, len(blocks) // alike)
    if parts < 2 or not test.any():
        least = 2 * alike
        what = f"data.series.origins: {least} origins, and 4 rows," if by == "time" else "data.series.id: 2 series"
        raise DataError(
            f"{what} or more must have training rows, and a series a test row; got {len(blocks)}, "
            f"{int(training.sum())} rows and {int(test.sum())} test rows. Give longer series, or raise origins"
        )
    fold = np.full(len(back), -1, np.int16)
    of = np.arange(len(blocks)) * parts // len(blocks)
    if by == "time":
        of = _apart(of, alike - 1)
    fold[training] = of[np.searchsorted(blocks, of_block[training])]
    notes = []
    if parts < folds:
        notes.append(f"{len(blocks)} {'origins' if by == 'time' else 'series'} allow {parts} folds instead of {folds}.")
    lost = int((fold[training] < 0).sum())
    if lost:
        notes.append(f"What came after {lost} training rows reaches into what a later fold holds out: left out.")
    tied = np.full(len(back), -1, np.int64)
    tied[test] = tied_rows(codes[test], alike, whole=by == "series")
    note = " ".join(notes)
    if by == "time":
        return Split("temporal", test, fold, True, note, tied=tied)
    return Split("grouped", test, fold, False, note, groups=np.where(training, codes, -1), tied=tied)


def _apart(of: AnyArray, overlap: int) -> AnyArray:
    """Fold of each origin (n,), not falling; -1 for those that reach over the first of the next."""
    end = np.searchsorted(of, of, side="right")
    return np.where((end < len(of)) & (np.arange(len(of)) >= end - overlap), -1, of)


def stretches(series: AnyArray, alike: int) -> AnyArray:
    """Which rows of a series go together, int64 (n,): from 0 within each series, one stretch of time after another.

    Rows of one series are alike, those of one time most of all. Few series have several stretches each, which are so
    long that only those that follow each other share numbers; of many series each is one.

    Parameters
    ----------
    series : ndarray of int (n,)
        Series of each row; rows of one are in the order of time.
    alike : int
        Rows of a series, from one on, that share numbers with it.
    """
    names, of, sizes = np.unique(series, return_inverse=True, return_counts=True)
    order = np.argsort(of, kind="stable")
    place = np.empty(len(series), np.int64)
    place[order] = np.arange(len(series)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    parts = np.clip(sizes // alike, 1, -(-BLOCKS // max(len(names), 1)))
    found: AnyArray = place * parts[of] // sizes[of]
    return found


def tied_rows(series: AnyArray, alike: int, whole: bool) -> AnyArray:
    """Which rows go together, int64 (n,), those of one number: whole series, or else :func:`stretches` of them."""
    parts = np.zeros(len(series), np.int64) if whole else stretches(series, alike)
    return series * (int(parts.max(initial=0)) + 1) + parts


def _codes(names: pa.Array) -> AnyArray:
    codes: AnyArray = names.cast(pa.string()).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def _shuffled(codes: AnyArray, seed: int) -> AnyArray:
    """Series under other numbers, so that those which stand together are not held out together."""
    order = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    return order[codes]
