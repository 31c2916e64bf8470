"""Splits: test rows are set aside first, training rows are divided into folds; nothing stands on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.coerce import canonical_category, clean_text, is_text, one_array
from hybrid_ray.data.pieces import plain_type
from hybrid_ray.data.temporal import temporal_split, times_of
from hybrid_ray.dealing import deal_groups
from hybrid_ray.digests import digest_arrays
from hybrid_ray.errors import DataError
from hybrid_ray.spec import SplitSpec
from hybrid_ray.types import CODED, REGRESSION, AnyArray, BoolArray, Task

ROLES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
"""Values of a split column, and what they mean."""

MANY_GROUPS = 20_000
TOGETHER = "together"
"""Where a graph's facts hold the column that tells which of its rows go together."""


@dataclass(frozen=True)
class Split:
    """Which rows train, in which fold, and which test.

    Attributes
    ----------
    kind : {"random", "stratified", "grouped", "temporal", "column"}
    test : ndarray of bool (n,)
    fold : ndarray of int16 (n,)
        0..k-1 for training rows, -1 for the others.
    forward : bool
        True when folds are consecutive in time: a fold then trains on earlier folds only.
    note : str
        What a reader of the report must know; may be empty.
    others : tuple of ndarray of int16 (n,)
        Other divisions of the same training rows into as many folds, each like ``fold``; no two are alike.
    groups : ndarray of int (n,) or None
        Rows of one number are never on two sides, training rows of one series in two folds; None: every row is its own.
    tied : ndarray of int (n,) or None
        Test rows of one number go together: what is said of them is by whole groups. None: every row is its own.
    """

    kind: str
    test: BoolArray
    fold: AnyArray
    forward: bool
    note: str
    others: tuple[AnyArray, ...] = ()
    groups: AnyArray | None = None
    tied: AnyArray | None = None

    def record(self) -> dict[str, Any]:
        """What a run keeps: kind, sizes, and a digest that tells two splits apart. JSON-able."""
        folds = self.fold[self.fold >= 0]
        return {
            "kind": self.kind,
            "train": len(folds),
            "test": int(self.test.sum()),
            "folds": np.bincount(folds).tolist() if len(folds) else [],
            "forward": self.forward,
            "note": self.note,
            "digest": digest_arrays([self.test, self.fold, *self.others]),
        }


def make_split(
    split: SplitSpec,
    *,
    task: Task,
    y: AnyArray,
    folds: int,
    seed: int,
    column: pa.ChunkedArray | None,
    together: pa.ChunkedArray | None = None,
    hidden: bool = False,
    repeats: int = 1,
) -> Split:
    """Divide rows into training rows, in folds, and test rows.

    Parameters
    ----------
    split : SplitSpec
        ``auto`` is ``column`` where a column is given, else stratified for classes and random for all other tasks.
    task : Task
    y : ndarray (n,)
        Class codes (every one at least 0), or floats without NaN.
    folds : int
    seed : int
    column : pa.ChunkedArray or None
        The split's column, (n,): groups, times, or train / dev / test.
    together : pa.ChunkedArray, optional
        Training rows of one value, (n,), are in one fold; with train / dev / test only.
    hidden : bool, default False
        True: no message may show what the column holds.
    repeats : int, default 1
        Divisions into folds wanted: more than one are redrawn from ``seed`` + 1, ``seed`` + 2, ..., with the same test
        rows. There is one only over time.

    Raises
    ------
    DataError
        The rows are too few, or a part would hold only one class.
    """
    kind = split.kind if split.kind != "auto" else _auto(task, column)
    values = None if column is None else one_array(column)
    rng = np.random.default_rng(seed)
    strata = strata_of(y, task)
    note, groups = "", None
    if kind == "random":
        test, fold = _shuffled(np.zeros(len(y), np.int64), split.test, folds, rng)
    elif kind == "stratified":
        test, fold = _shuffled(strata, split.test, folds, rng)
    elif values is None:
        raise DataError(f"data.split: a {kind} split must have its column; got none")
    elif kind == "grouped":
        groups = group_codes(values)
        test, fold, note = _grouped(groups, strata, split.test, folds, rng)
    elif kind == "temporal":
        test, fold, note = temporal_split(times_of(values), split.test, folds)
    else:
        groups = None if together is None else group_codes(one_array(together))
        test, fold, note = _by_column(values, strata, folds, rng, hidden, groups)
    forward = kind == "temporal"
    codes = y.astype(np.int64) if task in CODED else None
    notes = [note, *_check(test, fold, codes, forward, folds, 1 if task == "anomaly" else 2)]
    others: tuple[AnyArray, ...] = ()
    if repeats > 1 and not forward:
        alike = np.zeros_like(strata) if kind == "random" else strata
        others = _redrawn(fold, alike, groups, codes, [seed + r for r in range(1, repeats)])
        if len(others) < repeats - 1:
            notes.append(f"The training rows allow {1 + len(others)} cuts into folds instead of {repeats}.")
    told = " ".join(n for n in notes if n)
    return Split(kind, test, fold.astype(np.int16), forward, told, others, groups, tied=groups)


def is_split_column(values: pa.ChunkedArray | pa.Array) -> bool:
    """Whether a column holds nothing but train, dev and test (or words for them), and at least two of them."""
    if not is_text(plain_type(values.type)):
        return False
    found = {v.strip().lower() for v in values.unique().drop_null().to_pylist()[:20]}
    return found <= set(ROLES) and len({ROLES[v] for v in found}) >= 2


def strata_of(y: AnyArray, task: Task) -> AnyArray:
    """The stratum of each row: its class, for numbers the tenth of the ranks that it is in, else one for all."""
    if task in REGRESSION:
        return _tenths(y)
    return y.astype(np.int64) if task in CODED else np.zeros(len(y), np.int64)


def _auto(task: Task, column: pa.ChunkedArray | None) -> str:
    if column is not None:
        return "column"
    return "stratified" if task in CODED else "random"


def _tenths(y: AnyArray) -> AnyArray:
    ranks = np.empty(len(y), np.int64)
    ranks[np.argsort(y, kind="stable")] = np.arange(len(y))
    return ranks * 10 // max(len(y), 1)


def _shuffled(strata: AnyArray, share: float, folds: int, rng: np.random.Generator) -> tuple[BoolArray, AnyArray]:
    """Each stratum divided in the same proportions; the parts' sizes differ by at most one row overall."""
    n = len(strata)
    test = np.zeros(n, bool)
    fold = np.full(n, -1)
    order = rng.permutation(n)
    order = order[np.argsort(strata[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(strata[order], prepend=-1)).tolist()
    given = wanted = 0.0
    dealt = 0
    for start, stop in zip(bounds, [*bounds[1:], n], strict=True):
        rows = order[start:stop]
        wanted += share * len(rows)
        # What rounding took from earlier strata is given by later ones; a stratum keeps a training row.
        count = int(np.clip(round(wanted - given), 0, len(rows) - 1)) if len(rows) > 1 else 0
        given += count
        test[rows[:count]] = True
        train = rows[count:]
        fold[train] = (dealt + np.arange(len(train))) % folds
        dealt += len(train)
    return test, fold


def tied_column(split: SplitSpec) -> str | None:
    """The column of rows that tells which of them go together, if one was named."""
    return split.column if split.kind == "grouped" else split.together


def group_codes(column: pa.Array) -> AnyArray:
    """A number for each group; a row without a group is a group of its own."""
    values = canonical_category(column.cast(pa.large_string()))
    codes = np.array(pc.fill_null(values.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False), np.int64)
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def _grouped(
    groups: AnyArray, strata: AnyArray, share: float, folds: int, rng: np.random.Generator
) -> tuple[BoolArray, AnyArray, str]:
    """Whole groups to the test part and the folds, large ones first, each to where it is missed most."""
    n_groups = int(groups.max()) + 1
    parts = min(folds, n_groups - 1)
    if parts < 2:
        raise DataError(f"data.split.column: a grouped split must have 3 groups or more; got {n_groups}")
    shares = np.array([share, *[(1 - share) / parts] * parts])
    order = rng.permutation(n_groups)
    if n_groups > MANY_GROUPS:
        part_of = _groups_by_size(groups, order, shares)
    else:
        order = order[np.argsort(-np.bincount(groups)[order], kind="stable")]
        part_of = deal_groups(groups, strata, order, shares)
    held = part_of[groups] - 1
    note = f"{n_groups} groups allow {parts} folds instead of {folds}." if parts < folds else ""
    return held < 0, held, note


def _groups_by_size(groups: AnyArray, order: AnyArray, shares: AnyArray) -> AnyArray:
    """Part of each group: groups in random order, cut where the shares of rows are reached."""
    sizes = np.bincount(groups)[order]
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    part_of = np.empty(len(order), np.int64)
    part_of[order] = np.searchsorted(np.cumsum(shares)[:-1], middle)
    return part_of


def _redrawn(
    fold: AnyArray, strata: AnyArray, groups: AnyArray | None, codes: AnyArray | None, seeds: list[int]
) -> tuple[AnyArray, ...]:
    """Other divisions of the training rows into folds; one that is there already, or teaches one class, is left out."""
    rows = np.flatnonzero(fold >= 0)
    folds = int(fold.max()) + 1
    found: list[AnyArray] = []
    seen = {_partition(fold[rows])}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        if groups is None:
            drawn = _shuffled(strata[rows], 0.0, folds, rng)[1]
        else:
            drawn = _regrouped(groups[rows], strata[rows], folds, rng)
        poor = codes is not None and len(_poor(_class_counts(drawn, codes[rows]), forward=False))
        if poor or np.bincount(drawn, minlength=folds).min() == 0 or _partition(drawn) in seen:
            continue
        seen.add(_partition(drawn))
        other = np.full(len(fold), -1, np.int16)
        other[rows] = drawn
        found.append(other)
    return tuple(found)


def _regrouped(groups: AnyArray, strata: AnyArray, folds: int, rng: np.random.Generator) -> AnyArray:
    """Whole groups to folds once more: of groups that differ little in size, any may come first."""
    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes)
    shares = np.full(folds, 1 / folds)
    if len(sizes) > MANY_GROUPS:
        return _groups_by_size(codes, rng.permutation(len(sizes)), shares)[codes]
    # Strictly by size, groups of different sizes would always be dealt alike.
    order = np.argsort(-sizes * rng.uniform(0.5, 1.5, len(sizes)), kind="stable")
    return deal_groups(codes, strata, order, shares)[codes]


def _partition(fold: AnyArray) -> str:
    """What two divisions have in common that only number their folds differently."""
    _, first, codes = np.unique(fold, return_index=True, return_inverse=True)
    return digest_arrays([first[codes]])


def _by_column(
    column: pa.Array,
    strata: AnyArray,
    folds: int,
    rng: np.random.Generator,
    hidden: bool,
    groups: AnyArray | None = None,
) -> tuple[BoolArray, AnyArray, str]:
    """Test rows as the column says; its train and dev rows are divided into folds together."""
    text = clean_text(column.cast(pa.large_string()))
    encoded = pc.utf8_lower(text).dictionary_encode()
    words = encoded.dictionary.to_pylist()
    odd = sorted(word for word in words if word not in ROLES)
    if odd or text.null_count:
        got = f"{len(odd)} other values" if hidden else odd[:5]
        raise DataError(
            f"data.split.column: must hold train, dev or test in every row; got {got} and {text.null_count} rows "
            "with nothing"
        )
    roles = np.array([ROLES[word] for word in words])[encoded.indices.to_numpy(zero_copy_only=False)]
    has = {role: bool((roles == role).any()) for role in ("train", "dev", "test")}
    test = roles == ("test" if has["test"] else "dev")
    if not test.any() or test.all():
        raise DataError(f"data.split.column: must hold train and test rows; got only {sorted(set(roles.tolist()))}")
    fold = np.full(len(roles), -1)
    note = "" if has["test"] else "There are no test rows: the dev rows are the test."
    if has["test"] and has["dev"]:
        note = f"{int((roles == 'dev').sum())} dev rows train in the folds with the others."
    if groups is None:
        fold[~test] = _shuffled(strata[~test], 0.0, folds, rng)[1]
        return test, fold, note
    parts = min(folds, len(np.unique(groups[~test])))
    fold[~test] = _regrouped(groups[~test], strata[~test], parts, rng)
    few = f"{parts} groups of training rows allow {parts} folds instead of {folds}." if parts < folds else ""
    return test, fold, " ".join(filter(None, [note, few]))


def _class_counts(fold: AnyArray, codes: AnyArray) -> AnyArray:
    """Rows of each class in each fold (folds, classes); those in no fold are left out."""
    counts = np.zeros((int(fold.max()) + 1, int(codes.max()) + 1), np.int64)
    np.add.at(counts, (fold[fold >= 0], codes[fold >= 0]), 1)
    return counts


def _poor(counts: AnyArray, forward: bool, classes: int = 2) -> AnyArray:
    """Positions of the folds that would be trained on fewer classes, or on none of the first."""
    trained = np.cumsum(counts, axis=0)[:-1] if forward else counts.sum(axis=0) - counts
    return np.flatnonzero(((trained > 0).sum(axis=1) < classes) | ((classes == 1) & (trained[:, 0] == 0)))


def _check(
    test: BoolArray, fold: AnyArray, codes: AnyArray | None, forward: bool, folds: int, classes: int
) -> list[str]:
    """Notes on a split, after refusing one that cannot be learned from: each fold on rows of ``classes`` at least."""
    sizes = np.bincount(fold[fold >= 0], minlength=1)
    if not test.any() or len(sizes) < 2 or sizes.min() == 0:
        raise DataError(
            f"data.split: test rows and {folds} folds must each hold a row; got {int(test.sum())} test rows and folds "
            f"of {sizes.tolist()}. Lower search.folds or give more rows"
        )
    if codes is None:
        return []
    counts = _class_counts(fold, codes)
    poor = _poor(counts, forward, classes)
    if len(poor) and classes == 1:
        raise DataError(
            f"data.split: every fold must be trained on normal rows; got none in {len(poor)} of {len(sizes)} folds. "
            "Give more normal rows, or say by target.anomalous which label is that of anomalous ones"
        )
    if len(poor):
        raise DataError(
            f"data.split: every fold must be trained on two classes or more; got one class in {len(poor)} of "
            f"{len(sizes)} folds. Give more rows of the rare classes, lower search.folds, or split otherwise"
        )
    total = counts.sum(axis=0)
    rare = int((total < len(sizes)).sum()) if classes > 1 else 0
    notes = []
    if rare:
        notes.append(
            f"{rare} classes have fewer training rows than there are folds (the rarest {int(total.min())}): some folds "
            "hold none of them."
        )
    if len(np.unique(codes[test])) < 2:
        notes.append("The test rows hold only one class.")
    return notes
