"""Inner folds and hold-outs of training rows, seeded, for calibration and early stopping.

Rows of one group are copies of one row, which steps that repeat rows make, or rows that the split keeps together, of
one machine, say: a learner that knows by heart what is like a held-out row would look good, so a group is held out as a
whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_ray.dealing import folds_of_groups, groups_for, hold_groups
from hybrid_ray.types import AnyArray

MIN_HELD = 16
"""Fewer held-out rows than this decide nothing."""


def fit_grouped(model: Any, X: AnyArray, y: AnyArray, groups: AnyArray | None) -> None:
    """Fit a model on rows (n, d) and y (n,), and tell it which go together, where its ``fit`` asks for it."""
    model.fit(X, y, **groups_for(model.fit, groups))


def inner_folds(codes: AnyArray, n_folds: int, seed: int, groups: AnyArray | None = None) -> AnyArray:
    """Fold of each row, int64 (n,), every class spread evenly.

    A class of one row is in no fold (-1): every training part then holds every class.

    Parameters
    ----------
    codes : ndarray of int (n,)
        Class codes; zeros for numbers.
    n_folds : int
    seed : int
    groups : ndarray of int (n,), optional
        Rows of one group are in one fold; where each group is of one class it counts as one row, so that of few groups
        a fold may have none. Groups of several classes that are too few for the folds are not kept together, nor are
        groups of one class where no class has two: nothing could be held out. None: every row is its own.
    """
    if groups is not None:
        first, own = _first_of(groups)
        found: AnyArray | None = None
        if (codes == codes[first][own]).all():
            found = inner_folds(codes[first], n_folds, seed)[own]
        if found is None or len(np.unique(found[found >= 0])) < n_folds:
            dealt = folds_of_groups(own, codes, n_folds, seed)
            found = found if dealt is None else dealt
        if found is not None and found.max() >= 0:
            return found
    rng = np.random.default_rng(seed)
    folds = np.full(len(codes), -1, np.int64)
    for code in range(int(codes.max()) + 1):
        rows = np.flatnonzero(codes == code)
        if len(rows) > 1:
            folds[rng.permutation(rows)] = (np.arange(len(rows)) + rng.integers(n_folds)) % n_folds
    return folds


def answering_folds(codes: AnyArray, n_folds: int, seed: int, groups: AnyArray | None = None) -> AnyArray:
    """The same for whoever answers each row by a fit that was not given it: no class is left out for its one group.

    Rows of a class that are all of one group are dealt one by one, beside the groups that are kept together: what is
    learned from the answers must see rows of every class, and a fit that saw a row of the group, but not this one, says
    more of it than a fit that saw this one.
    """
    folds = inner_folds(codes, n_folds, seed, groups)
    alone = folds < 0
    if groups is not None and alone.any():
        folds[alone] = inner_folds(codes[alone], n_folds, seed)
    return folds


def hold_out(
    n_rows: int, codes: AnyArray | None, share: float, seed: int, groups: AnyArray | None = None
) -> tuple[AnyArray, AnyArray]:
    """Rows to train on and rows held out, both sorted; every class keeps rows to train on.

    Parameters
    ----------
    n_rows : int
    codes : ndarray of int (n_rows,) or None
        Class codes; None for numbers.
    share : float
        Share of rows, of each class, to hold out.
    seed : int
    groups : ndarray of int (n_rows,), optional
        Rows of one group stay together and count as one row; None: every row is its own.

    Returns
    -------
    train, held : ndarray of int
        ``held`` is empty when fewer than ``MIN_HELD`` rows would be held out.
    """
    if groups is not None:
        first, own = _first_of(groups)
        strata = np.zeros(n_rows, np.int64) if codes is None else codes
        if (strata == strata[first][own]).all():
            inside = np.isin(own, hold_out(len(first), None if codes is None else codes[first], share, seed)[1])
        else:
            inside = hold_groups(own, strata, share, seed)
            inside &= len(np.unique(own[inside])) >= MIN_HELD
        return np.flatnonzero(~inside), np.flatnonzero(inside)
    rng = np.random.default_rng(seed)
    classes = [np.arange(n_rows)] if codes is None else [np.flatnonzero(codes == c) for c in np.unique(codes)]
    picked = [rng.permutation(rows)[: int(share * len(rows))] for rows in classes]
    held = np.sort(np.concatenate(picked))
    if len(held) < MIN_HELD:
        return np.arange(n_rows), np.empty(0, np.int64)
    mask = np.ones(n_rows, bool)
    mask[held] = False
    return np.flatnonzero(mask), held


def stratified_sample(codes: AnyArray, n_rows: int, seed: int) -> AnyArray:
    """Some rows, int64 (n_rows,), sorted: of each class its share, and one at least.

    Parameters
    ----------
    codes : ndarray of int (n,)
        Class codes; zeros for numbers.
    n_rows : int
        Rows to take; more where there are more classes.
    seed : int
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(codes))
    classes = np.unique(codes)
    for code in classes:
        rows = rng.permutation(np.flatnonzero(codes == code))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
        place[rows[0]] = -1.0
    return np.sort(np.argsort(place, kind="stable")[: max(n_rows, len(classes))])


def _first_of(groups: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The first row of each group, and the position of each row's group among these."""
    _, first, own = np.unique(groups, return_index=True, return_inverse=True)
    return first, own
