"""Inner folds and hold-outs of training rows, seeded, for calibration and early stopping."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray

MIN_HELD = 16
"""Fewer held-out rows than this decide nothing."""


def inner_folds(codes: AnyArray, n_folds: int, seed: int) -> AnyArray:
    """Fold of each row, int64 (n,), every class spread evenly.

    A class of one row is in no fold (-1): every training part then holds every class.
    """
    rng = np.random.default_rng(seed)
    folds = np.full(len(codes), -1, np.int64)
    for code in range(int(codes.max()) + 1):
        rows = np.flatnonzero(codes == code)
        if len(rows) > 1:
            folds[rng.permutation(rows)] = (np.arange(len(rows)) + rng.integers(n_folds)) % n_folds
    return folds


def hold_out(n_rows: int, codes: AnyArray | None, share: float, seed: int) -> tuple[AnyArray, AnyArray]:
    """Rows to train on and rows held out, both sorted; every class keeps rows to train on.

    Parameters
    ----------
    n_rows : int
    codes : ndarray of int (n_rows,) or None
        Class codes; None for numbers.
    share : float
        Share of rows, of each class, to hold out.
    seed : int

    Returns
    -------
    train, held : ndarray of int
        ``held`` is empty when fewer than ``MIN_HELD`` rows would be held out.
    """
    rng = np.random.default_rng(seed)
    groups = [np.arange(n_rows)] if codes is None else [np.flatnonzero(codes == c) for c in np.unique(codes)]
    picked = [rng.permutation(rows)[: int(share * len(rows))] for rows in groups]
    held = np.sort(np.concatenate(picked))
    if len(held) < MIN_HELD:
        return np.arange(n_rows), np.empty(0, np.int64)
    mask = np.ones(n_rows, bool)
    mask[held] = False
    return np.flatnonzero(mask), held
