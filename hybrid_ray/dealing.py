"""Whole groups of rows dealt to parts: what goes together is never on both sides."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from hybrid_ray.types import AnyArray, BoolArray

_LARGEST = 1 / 3
"""Share of the rows above which a single group is not held out."""


def groups_for(method: Callable[..., Any], groups: AnyArray | None) -> dict[str, AnyArray]:
    """The argument ``groups`` of a method that asks for it; nothing for any other, or where every row is its own."""
    return {} if groups is None or "groups" not in signature(method).parameters else {"groups": groups}


def deal_groups(groups: AnyArray, strata: AnyArray, order: AnyArray, shares: AnyArray) -> AnyArray:
    """Part of each group, int64 (g,): in this order, each to the part that misses its classes most.

    O(groups x parts x strata). No part is empty where there are as many groups as parts.

    Parameters
    ----------
    groups : ndarray of int (n,)
        Group of each row, from 0.
    strata : ndarray of int (n,)
        Class of each row, from 0.
    order : ndarray of int (g,)
        Groups as they are dealt.
    shares : ndarray (p,)
        Of the rows, for each part.
    """
    n_groups, n_parts = len(order), len(shares)
    counts = np.zeros((n_groups, int(strata.max()) + 1))
    np.add.at(counts, (groups, strata), 1)
    missing = shares[:, None] * counts.sum(axis=0)
    scale = 1 / np.maximum(missing, 1)
    part_of = np.empty(n_groups, np.int64)
    held = np.zeros(n_parts, np.int64)
    for left, group in zip(range(n_groups, 0, -1), order, strict=True):
        size = counts[group]
        gain = ((2 * missing * size - size**2) * scale).sum(axis=1)
        # The last groups go where there is none yet: no part may be empty.
        if left <= (held == 0).sum():
            gain[held > 0] = -np.inf
        part = int(gain.argmax())
        part_of[group] = part
        held[part] += 1
        missing[part] -= size
    return part_of


def parts_of_groups(groups: AnyArray | None, n_parts: int, seed: int) -> AnyArray | None:
    """Part of each row, int64 (n,), of whole groups of any numbers; None where there are no groups, or too few."""
    found = None if groups is None else folds_of_groups(groups, None, n_parts, seed)
    return None if found is None or found.min() < 0 else found


def folds_of_groups(groups: AnyArray, strata: AnyArray | None, n_folds: int, seed: int) -> AnyArray | None:
    """Fold of each row, int64 (n,), of whole groups; None where that leaves a fold without a row.

    Where all rows of a class are in one fold, a group of them is in none (-1): every training part holds every class.

    Parameters
    ----------
    groups : ndarray of int (n,)
    strata : ndarray of int (n,) or None
        Class of each row; None: there is one.
    n_folds : int
    seed : int
    """
    groups, strata = _from_0(groups, strata)
    sizes = np.bincount(groups)
    if len(sizes) < n_folds:
        return None
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    part_of = deal_groups(groups, strata, order, np.full(n_folds, 1 / n_folds))
    for stratum in np.unique(strata):
        own = np.unique(groups[strata == stratum])
        if len(np.unique(part_of[own])) == 1:
            part_of[own[sizes[own].argmin()]] = -1
    found: AnyArray = part_of[groups]
    return found if len(np.unique(found[found >= 0])) == n_folds else None


def hold_groups(groups: AnyArray, strata: AnyArray | None, share: float, seed: int) -> BoolArray:
    """Which rows (n,) are held out: whole groups of about a share of the rows; every class keeps rows to train on.

    O(n log n). Of few large groups the smallest is held out, if a third of the rows holds it; else none is.

    Parameters
    ----------
    groups, strata
        As in :func:`folds_of_groups`.
    share : float
    seed : int
    """
    groups, strata = _from_0(groups, strata)
    sizes, left = np.bincount(groups), np.bincount(strata)
    order, stops = np.argsort(groups, kind="stable"), np.cumsum(sizes)
    chosen = np.zeros(len(sizes), bool)
    room = share * len(groups)

    def take(group: int) -> bool:
        """Hold a group out, unless that leaves no row of a class."""
        classes, counts = np.unique(strata[order[stops[group] - sizes[group] : stops[group]]], return_counts=True)
        chosen[group] = (left[classes] > counts).all()
        left[classes] -= counts * chosen[group]
        return bool(chosen[group])

    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[group] / 2 <= room and take(group):
            room -= sizes[group]
        if room <= 0:
            break
    smallest = int(sizes.argmin())
    if not chosen.any() and sizes[smallest] <= _LARGEST * len(groups):
        take(smallest)
    return chosen[groups]


def _from_0(groups: AnyArray, strata: AnyArray | None) -> tuple[AnyArray, AnyArray]:
    """The same groups and classes (n,), numbered from 0."""
    own = np.unique(groups, return_inverse=True)[1]
    return own, np.zeros_like(own) if strata is None else np.unique(strata, return_inverse=True)[1]
