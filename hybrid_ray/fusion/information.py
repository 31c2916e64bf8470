"""How much columns tell of a label, alone or beside what is known already, from counts in parts of equal size."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray

BINS = 16
"""Parts of equal size that a column, or a numeric label, is cut into to count by."""
_ROWS = 20_000
"""Rows that are counted at most: more change no ranking."""


def mutual_information(X: AnyArray, y: AnyArray, bins: int = BINS) -> AnyArray:
    """Mutual information (d,) of each column with the label, in nats.

    Parameters
    ----------
    X : ndarray (n, d)
        Finite.
    y : ndarray (n,)
        Class codes (integers), or numbers, which are cut into parts too.
    bins : int, default 16
        Parts of a column; fewer where values repeat.

    Notes
    -----
    The estimate is too large by about (parts - 1)(classes - 1) / 2n, for all columns alike; that much is taken off, so
    that a column of many parts has no advantage over one of two.
    """
    rows = spread_rows(len(X))
    return information(column_parts(X[rows], bins), label_codes(y[rows], bins))


def spread_rows(n: int, most: int = _ROWS) -> slice:
    """Every so manieth row, so that at most ``most`` of n are taken."""
    return slice(None, None, -(-n // most) if n > most else 1)


def label_codes(y: AnyArray, bins: int = BINS) -> AnyArray:
    """Codes int64 (n,) without gaps: of classes, or of the part that a number falls into."""
    codes = y.astype(np.int64) if np.issubdtype(y.dtype, np.integer) else parts(y, bins)
    found: AnyArray = np.unique(codes, return_inverse=True)[1]
    return found


def column_parts(X: AnyArray, bins: int) -> AnyArray:
    """Part int16 (n, d) that each value falls into, column by column."""
    found = np.empty(X.shape, np.int16, order="F")
    for column in range(X.shape[1]):
        found[:, column] = parts(X[:, column], bins)
    return found


def parts(values: AnyArray, bins: int) -> AnyArray:
    """Number of the part of about equal size that each value falls into; equal values share one.

    Where most values are the least one, as in counts of a rare word, what is above it is another part.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])) if len(values) else np.empty(0)
    if len(edges) and edges[0] == values.min() < values.max():
        edges = np.unique(np.append(edges[1:], values[values > edges[0]].min()))
    found: AnyArray = np.searchsorted(edges, values, side="right")
    return found


def information(columns: AnyArray, codes: AnyArray, known: AnyArray | None = None) -> AnyArray:
    """Information (d,) of each column about the label, in nats, given what is known already.

    Parameters
    ----------
    columns : ndarray of int (n, d)
        Part that each value falls into.
    codes : ndarray of int64 (n,)
        The label, without gaps.
    known : ndarray of int64 (n,), optional
        Group of each row, without gaps: rows of which the same is known. Left out, nothing is known.

    References
    ----------
    Fleuret, "Fast binary feature selection with conditional mutual information", JMLR 2004; Miller, "Note on the bias
    of information estimates", 1955, for what is taken off.
    """
    n, d = columns.shape
    found = np.zeros(d)
    if not n:
        return found
    groups = np.zeros(n, np.int64) if known is None else known
    classes, n_groups = int(codes.max()) + 1, int(groups.max()) + 1
    rows = groups * classes + codes
    for column in range(d):
        cells = columns[:, column].astype(np.int64)
        n_parts = int(cells.max()) + 1
        counts = np.bincount(cells * (n_groups * classes) + rows, minlength=n_parts * n_groups * classes)
        found[column] = _told(counts.reshape(n_parts, n_groups, classes), n)
    return found


def _told(counts: AnyArray, n: int) -> float:
    """Conditional information of counts (parts, groups, classes), less what chance adds."""
    by_part, by_class = counts.sum(axis=2), counts.sum(axis=0)
    by_group = by_class.sum(axis=1)
    joint, held = counts / n, counts > 0
    apart = by_part[:, :, None] * by_class[None] / np.maximum(by_group, 1)[None, :, None] / n
    told = float((joint[held] * np.log(joint[held] / apart[held])).sum())
    freedom = ((by_part > 0).sum(axis=0) - 1).clip(min=0) * ((by_class > 0).sum(axis=1) - 1).clip(min=0)
    return told - float(freedom.sum()) / (2.0 * n)
