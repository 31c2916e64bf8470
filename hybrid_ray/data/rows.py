"""What a run must know of all rows: labels, the split, and which rows count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hybrid_ray.data.annotated import Annotated, agreed, end_to_end
from hybrid_ray.data.coerce import one_array
from hybrid_ray.data.groups import Grouping, check_groups, group_rows
from hybrid_ray.data.sliding import row_split
from hybrid_ray.data.source import Source, read_piece
from hybrid_ray.data.split import Split, group_codes, make_split
from hybrid_ray.data.target import Target, encode_known, encode_target, encode_windows, no_target
from hybrid_ray.data.window_split import split_windows, tied_rows
from hybrid_ray.data.windows import ORIGIN, SPLIT
from hybrid_ray.errors import DataError
from hybrid_ray.forecasts import steps_of
from hybrid_ray.spec import DataSpec, TargetSpec
from hybrid_ray.types import CLUSTERING, HISTORY, REGRESSION, AnyArray, Task


@dataclass(frozen=True)
class Rows:
    """Labels and split of the rows of a source.

    Attributes
    ----------
    n_rows : int
        Rows of the source, those without a label included.
    target : Target
        ``y`` is (n_rows,).
    split : Split
        ``test`` (n_rows,) and ``fold`` (n_rows,); both leave out rows without a label.
    unlabelled : int
        Rows without a label: in no fold and not in the test rows.
    transform : {"none", "log"}
        What is done to a numeric label before it is learned.
    groups : tuple of Grouping
        The test rows, divided by each column of ``data.groups``.
    annotated : Annotated or None
        What ``data.annotators`` say, of which the label is made.
    """

    n_rows: int
    target: Target
    split: Split
    unlabelled: int
    transform: Literal["none", "log"]
    groups: tuple[Grouping, ...] = ()
    annotated: Annotated | None = None

    @property
    def test_rows(self) -> AnyArray:
        """Row numbers of the test rows."""
        return np.flatnonzero(self.split.test)

    @property
    def tied(self) -> AnyArray | None:
        """Which test rows go together (n_test,): those of one number; None: every row is its own."""
        return None if self.split.tied is None else self.split.tied[self.split.test]

    @property
    def n_training(self) -> int:
        """Number of training rows."""
        return int((self.split.fold >= 0).sum())

    @property
    def learned(self) -> AnyArray:
        """What is learned of each row (n_rows,): its label; for clustering nothing, which is 0."""
        return np.zeros_like(self.target.y) if self.target.task in CLUSTERING else self.target.y

    @property
    def n_outputs(self) -> int:
        """Number of classes, steps of a forecast, or 1."""
        if self.target.classes is None:
            return steps_of(self.target.y)
        return len(self.target.classes)


def read_columns(source: Source, columns: Sequence[str], batch_rows: int = 65_536) -> pa.Table:
    """Some columns of every row, in row order: O(rows) for labels and split columns. No columns are no rows."""
    if not columns:
        return pa.table({})
    tables = [table for piece in source.pieces for table in read_piece(source, piece, list(columns), batch_rows)]
    return pa.concat_tables(tables, promote_options="permissive")


def read_chosen(source: Source, columns: Sequence[str], chosen: AnyArray, batch_rows: int = 1024) -> pa.Table:
    """Some columns of some rows (k,), given by their numbers, rising; reads every piece that holds one."""
    tables = []
    for piece in source.pieces:
        start = piece.start
        wanted = chosen[(chosen >= start) & (chosen < start + piece.n_rows)]
        if not len(wanted):
            continue
        for table in read_piece(source, piece, list(columns), batch_rows):
            here = wanted[(wanted >= start) & (wanted < start + len(table))]
            tables.append(table.take(pa.array(here - start)))
            start += len(table)
    return pa.concat_tables(tables, promote_options="permissive")


def read_rows(
    data: DataSpec, target: TargetSpec, source: Source, task: Task, folds: int, seed: int, repeats: int = 1
) -> Rows:
    """Read the label, the split column and the columns of groups, and divide the rows; see ``make_split``.

    Raises
    ------
    DataError
        The label cannot serve the task, there are too few labelled rows for the folds, or a column cannot group rows.
    """
    if data.series is not None:
        return read_windows(data, source, folds, data.split.seed if data.split.seed is not None else seed)
    check_groups(data)
    asked = data.split if data.windows is None else row_split(data.split, source.schema.names)
    split_column, together = asked.column, asked.together
    named = [*label_columns(data), *(name for name in (split_column, together) if name is not None), *data.groups]
    table, n_rows = read_columns(source, list(dict.fromkeys(named))), source.n_rows
    labelled_by, annotated = label_columns(data), None
    encoded = encode_target(given_labels(data, table), task, target.anomalous) if labelled_by else no_target(n_rows)
    if data.annotators:
        encoded, annotated = agreed(encoded, data.annotators, data.consensus)
    labelled = np.flatnonzero(~encoded.missing)
    if len(labelled) < 2 * folds:
        raise DataError(
            f"data.label: {folds} folds need at least {2 * folds} labelled rows; got {len(labelled)} of {n_rows}. "
            "Lower search.folds or give more rows"
        )
    inner = make_split(
        asked,
        task=encoded.task,
        y=encoded.y[labelled],
        folds=folds,
        seed=data.split.seed if data.split.seed is not None else seed,
        column=table[split_column].take(pa.array(labelled)) if split_column is not None else None,
        together=table[together].take(pa.array(labelled)) if together is not None else None,
        hidden=split_column in data.redact,
        repeats=repeats,
    )
    test = np.zeros(n_rows, bool)
    test[labelled] = inner.test
    fold, *others = (_spread(each, labelled, n_rows) for each in (inner.fold, *inner.others))
    groups = None
    if inner.groups is not None:
        groups = np.full(n_rows, -1, np.int64)
        groups[labelled] = inner.groups
    split = replace(inner, test=test, fold=fold, others=tuple(others), groups=groups, tied=groups)
    return Rows(
        n_rows=n_rows,
        target=encoded,
        split=split,
        unlabelled=n_rows - len(labelled),
        transform=choose_transform(target, encoded, fold >= 0),
        groups=group_rows(data, table, fold >= 0, test, source.base),
        annotated=annotated,
    )


def read_windows(data: DataSpec, source: Source, folds: int, seed: int) -> Rows:
    """Read the rows that series were cut into, see :mod:`hybrid_ray.data.windows`, and divide them.

    Raises
    ------
    DataError
        There are too few rows, or no test rows, for the folds.
    """
    assert data.series is not None
    name = data.series.id
    columns = [HISTORY, data.label, ORIGIN, SPLIT, *([name] if name is not None else [])]
    table = read_columns(source, columns)
    target = encode_windows(table[HISTORY], table[data.label], data.series.season)
    split = split_windows(
        one_array(table[SPLIT]),
        table[ORIGIN].to_numpy(),
        one_array(table[name]) if name is not None else None,
        ~target.missing,
        data.series.folds,
        folds,
        seed,
        data.series.alike,
    )
    return Rows(len(table), target, split, int(target.missing.sum()), "none")


def read_labels(source: Source, label: str, task: Task, classes: Sequence[Any] | None) -> Target:
    """Labels of rows by the classes of a graph, see ``encode_known``; of series what came after the last origin.

    Where ``source.data`` names annotators, the consensus of their votes for classes that the graph knows.
    """
    series, names = source.data.series, source.data.annotators
    if names:
        table = read_columns(source, names)
        votes = encode_known(end_to_end([table[name] for name in names], like=classes), task, classes)
        return agreed(votes, names, source.data.consensus)[0]
    if series is None:
        return encode_known(read_columns(source, [label])[label], task, classes)
    table = read_columns(source, [HISTORY, label, SPLIT])
    found = encode_windows(table[HISTORY], table[label], series.season)
    trained = np.array([role != "test" for role in table[SPLIT].to_pylist()], bool)
    return replace(found, missing=found.missing | trained)


def read_tied(source: Source, column: str | None, scored: AnyArray) -> AnyArray:
    """Which of some rows of a source go together, int (n,): those of one number.

    Parameters
    ----------
    source : Source
        Rows that it was cut into go together as those of a test: by stretches of their series where these are few.
    column : str or None
        Rows with the same value here go together, as of one series do; None: all rows are of one.
    scored : ndarray of int (n,)
        Numbers of the rows, in order.
    """
    found = np.zeros(len(scored), np.int64)
    if column is not None:
        found = group_codes(one_array(read_columns(source, [column])[column]))[scored]
    series, windows = source.data.series, source.data.windows
    if series is not None:
        return tied_rows(found, series.alike, whole=series.folds == "series")
    return found if windows is None else tied_rows(found, windows.alike, whole=windows.holdout == "series")


def label_columns(data: DataSpec) -> tuple[str, ...]:
    """Columns that the label is read from; none where there is no label."""
    return data.annotators or ((data.label,) if data.label else ())


def given_labels(data: DataSpec, table: pa.Table) -> pa.ChunkedArray:
    """The label's column; of several annotators all of theirs, one after another."""
    return end_to_end([table[name] for name in data.annotators]) if data.annotators else table[data.label]


def _spread(fold: AnyArray, labelled: AnyArray, n_rows: int) -> AnyArray:
    """Folds of labelled rows as folds of all rows: -1 for the others."""
    spread = np.full(n_rows, -1, np.int16)
    spread[labelled] = fold
    return spread


def choose_transform(spec: TargetSpec, target: Target, training: AnyArray) -> Literal["none", "log"]:
    """The label transform: as asked, or by the skewness (third standardised moment) of the training labels.

    Raises
    ------
    DataError
        ``log`` was asked for labels at or below -1.
    """
    if target.task not in REGRESSION:
        return "none"
    y = target.y[training].astype(np.float64)
    if spec.transform == "log" and y.min() <= -1:
        raise DataError(f"target.transform: log needs labels above -1; got {y.min():g}. Use none")
    if spec.transform != "auto":
        return spec.transform
    spread = y.std()
    skewness = float((((y - y.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
    return "log" if y.min() >= 0 and skewness > 1 else "none"
