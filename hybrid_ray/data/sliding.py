"""Rows of any task but forecasting, made of series: windows of some steps, with the label of one of their points.

Windows that share a point are never on both sides of a split: those that would be are not learned from. Test windows of
one series are alike too: what is said of them is by series or, where these are few, by stretches of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from hybrid_ray.data.coerce import one_array
from hybrid_ray.data.points import Irregular, placed_points, read_numbers, side_by_side, tested_points
from hybrid_ray.data.window_split import BLOCKS, MANY_SERIES, stretches
from hybrid_ray.data.windows import SPLIT, split_column
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec, SplitSpec
from hybrid_ray.spec.windows import WindowsSpec
from hybrid_ray.types import WINDOW, AnyArray, BoolArray

BLOCK = "block"
"""Column of the rows beside the window: what is held out together and, of test rows, drawn together."""
WINDOWS = "windows"
"""Where a graph's facts hold how points become its rows."""
_FEW = 5
"""Series below which each has two blocks at least, whatever is lost."""
_MOST_LOST = 0.2
"""Share of training windows that may be left out because they reach into the block before theirs."""


@dataclass(frozen=True)
class _Stretch:
    """One series.

    Attributes
    ----------
    rows : ndarray of int (t,)
        The table's row of each step; -1 for a gap.
    latest : ndarray of int (t,)
        The same of the last point up to each step.
    values : ndarray float32 (t, c)
        NaN where no number came.
    """

    rows: AnyArray
    latest: AnyArray
    values: AnyArray


@dataclass(frozen=True)
class _Found:
    """Windows of one series, by time.

    Attributes
    ----------
    stops : ndarray of int (k,)
        Step after the last of each.
    test : ndarray of bool (k,)
    blocks : ndarray of int (k,)
        What each is held out with; numbers within the series.
    """

    stops: AnyArray
    test: BoolArray
    blocks: AnyArray

    def take(self, kept: BoolArray) -> _Found:
        """Some of them."""
        return _Found(self.stops[kept], self.test[kept], self.blocks[kept])


class SlidingWindows:
    """The rows of a long table.

    Parameters
    ----------
    table : pa.Table
        Points.
    data : DataSpec
        With ``windows``.
    training : bool
        False: all windows, in no split; they need no label.

    Raises
    ------
    DataError
        Times, channels or labels cannot be read, or no series is as long as a window.
    """

    added: ClassVar[tuple[str, ...]] = (WINDOW, BLOCK)
    names_more: ClassVar[str] = "data.windows.channels names those that windows hold"

    def __init__(self, table: pa.Table, data: DataSpec, training: bool) -> None:
        assert data.windows is not None
        self._asked, self._label, self._training = data.windows, data.label, training
        self._points = table.select([name for name in (data.windows.id, data.windows.time) if name is not None])
        known = data.label in table.column_names
        self._labels = _Labels(one_array(table[data.label]), data.label, data.windows.label) if known else None
        self._series, irregular = _series_of(table, data.windows)
        self.notes = irregular.notes("have no point: no channel has a number there")
        self.step_length = irregular.step_length
        n_long = sum(len(stretch.rows) >= data.windows.length for stretch in self._series)
        self._divider = _Divider(data, max(n_long, 1), table, training)
        found = [self._divider.divide(stretch) for stretch in self._series]
        self._of = np.repeat(np.arange(len(found)), [len(each.stops) for each in found])
        self._stops = np.concatenate([each.stops for each in found])
        self._test = np.concatenate([each.test for each in found])
        self._blocks = np.concatenate([each.blocks for each in found])
        if data.windows.holdout != "series":
            self._blocks[self._test] = stretches(self._of[self._test], data.windows.alike)
        self.notes += self._divider.notes()
        if not len(self._stops):
            raise DataError(
                f"data.windows.length: some series must have as many steps; got {self._asked.length} for "
                f"{len(self._series)} series of up to {max(len(each.rows) for each in self._series)} steps"
            )

    @staticmethod
    def named_columns(data: DataSpec, columns: Sequence[str], training: bool) -> dict[str, str | None]:
        """Columns of the points that windows are made of, by where the spec names each."""
        assert data.windows is not None
        named = {"data.windows.id": data.windows.id, "data.windows.time": data.windows.time}
        named |= {where: name for name, where in data.windows.places().items()}
        if training or data.label in columns:
            named["data.label"] = data.label or None
        return named | {"data.split.column": split_column(data, columns, training)}

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self._stops)

    @property
    def n_series(self) -> int:
        """Of how many series."""
        return len(self._series)

    @property
    def n_bytes(self) -> int:
        """Bytes of the windows."""
        return 4 * self.n_rows * self._asked.length * len(self._asked.channels)

    @property
    def schema(self) -> pa.Schema:
        """Of every table of rows."""
        fields = [self._points.schema.field(name) for name in self._points.column_names]
        fields.append(pa.field(WINDOW, pa.list_(pa.list_(pa.float32()))))
        if self._labels is not None and self._label not in self._points.column_names:
            fields.append(pa.field(self._label, self._labels.values.type))
        if self._divider.roles:
            fields.append(pa.field(SPLIT, pa.string()))
        if self._training:
            fields.append(pa.field(BLOCK, pa.string()))
        return pa.schema(fields)

    def table(self, start: int, n: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows ``start`` to ``start + n``; nothing is made of the others."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_arrays([self._column(name, slice(start, start + n)) for name in columns], schema=schema)

    def _column(self, name: str, own: slice) -> pa.Array | pa.ChunkedArray:
        of, stops, length = self._of[own], self._stops[own], self._asked.length
        cuts = [(self._series[i], slice(stop - length, stop)) for i, stop in zip(of, stops, strict=True)]
        if name == WINDOW:
            return _cells(np.stack([stretch.values[cut] for stretch, cut in cuts]))
        if self._labels is not None and name == self._label:
            return self._labels.of_windows(np.stack([stretch.rows[cut] for stretch, cut in cuts]))
        if name == SPLIT and self._divider.roles:
            return pa.array(np.where(self._test[own], "test", "train"), pa.string())
        if name == BLOCK and self._training:
            blocks = zip(of, np.where(self._test[own], "test", ""), self._blocks[own], strict=True)
            return pa.array([f"{number}.{part}{block}" for number, part, block in blocks], pa.string())
        last = [stretch.latest[cut.stop - 1] for stretch, cut in cuts]
        return self._points[name].take(pa.array(last, pa.int64()))


def row_split(split: SplitSpec, columns: Sequence[str]) -> SplitSpec:
    """How rows with these columns are divided: as the points or the clock said, or else by whole series."""
    if SPLIT in columns:
        return split.model_copy(update={"kind": "column", "column": SPLIT, "together": BLOCK})
    return split.model_copy(update={"kind": "grouped", "column": BLOCK})


def _series_of(table: pa.Table, asked: WindowsSpec) -> tuple[list[_Stretch], Irregular]:
    """The series of a long table, and what was irregular."""
    channels = side_by_side(table, asked.places()).astype(np.float32)
    placed, irregular = placed_points(
        table,
        name=asked.id,
        time=asked.time,
        by_points=asked.steps == "points",
        step_length=asked.step_length,
        where="data.windows",
    )
    found = []
    for each in placed:
        rows, doubled = each.grid()
        there = rows >= 0
        irregular.doubled += doubled
        irregular.gaps += int((~there).sum())
        latest = rows[np.maximum.accumulate(np.where(there, np.arange(len(rows)), 0))]
        found.append(_Stretch(rows, latest, np.where(there[:, None], channels[rows], np.float32(np.nan))))
    return found, irregular


class _Divider:
    """Finds the windows of each series, and which are for what; counts those that are left out.

    Parameters
    ----------
    data : DataSpec
    n_series : int
        Of a window or more, at least 1.
    table : pa.Table
        Points.
    training : bool
        False: nothing is divided.

    Attributes
    ----------
    roles : bool
        True where windows are known to be of the training or the test part; whole series are divided later.
    """

    def __init__(self, data: DataSpec, n_series: int, table: pa.Table, training: bool) -> None:
        assert data.windows is not None
        self._asked, self._share, self._n_series = data.windows, data.split.test, n_series
        column = split_column(data, table.column_names, training)
        self._tested = None if column is None else tested_points(table[column], column)
        by_series = n_series >= MANY_SERIES if data.windows.holdout == "auto" else data.windows.holdout == "series"
        self._whole = not training or by_series
        self.roles = self._tested is not None or not self._whole
        self._short = self._empty = self._mixed = self._across = 0

    def divide(self, stretch: _Stretch) -> _Found:
        """The windows of a series."""
        n_steps, length = len(stretch.rows), self._asked.length
        stops = np.arange(n_steps, length - 1, -self._asked.every)[::-1]
        self._short += not len(stops)
        points = np.append(0, np.cumsum(stretch.rows >= 0))
        held = points[stops] > points[stops - length]
        self._empty += int((~held).sum())
        stops = stops[held]
        test, clean = self._parts(stretch, stops)
        self._mixed += int((~test & ~clean).sum())
        found = _Found(stops, test, np.zeros(len(stops), np.int64)).take(test | clean)
        if not self._whole and not found.test.all():
            found.blocks[~found.test] = self._in_blocks(found.stops[~found.test])
            self._across += int((found.blocks < 0).sum())
        return found.take(found.blocks >= 0)

    def notes(self) -> list[str]:
        """What a reader must know of what was left out."""
        told = (
            (self._short, f"series have fewer than {self._asked.length} steps: they are left out"),
            (self._empty, "windows lie in a gap without a single point: they are left out"),
            (self._mixed, "training windows overlap with the test part: they are left out"),
            (self._across, "training windows overlap with others that folds hold out: they are left out"),
        )
        return [f"{count} {what}." for count, what in told if count]

    def _parts(self, stretch: _Stretch, stops: AnyArray) -> tuple[BoolArray, BoolArray]:
        """Which windows are for the final score, and which hold nothing that these hold, or that is for it."""
        n, n_steps, length = len(stops), len(stretch.rows), self._asked.length
        if self._tested is not None:
            test = self._tested[stretch.latest[stops - 1]]
            at = np.concatenate([stops[test] - length, stops[test]])
            ends = np.bincount(at, np.repeat([1, -1], len(at) // 2), n_steps + 1)
            taken = (np.cumsum(ends)[:-1] > 0) | ((stretch.rows >= 0) & self._tested[stretch.rows])
            many = np.append(0, np.cumsum(taken))
            return test, many[stops] == many[stops - length]
        if not self.roles or not n:
            return np.zeros(n, bool), np.ones(n, bool)
        first = n - max(round(self._share * n), 1)
        return np.arange(n) >= first, stops <= stops[first] - length

    def _in_blocks(self, stops: AnyArray) -> AnyArray:
        """Block of each training window, one after another in time; -1 for one that reaches into the block before."""
        n, asked = len(stops), self._asked
        lost = -(-asked.length // asked.every) - 1  # windows at a border that reach across it; fewer beside a gap
        most = 1 + int(_MOST_LOST * n / lost) if lost else n
        least = 2 if self._n_series < _FEW else 1
        blocks = np.arange(n) * max(min(-(-BLOCKS // self._n_series), most, n), least) // n
        first = np.searchsorted(blocks, blocks)  # of its block
        before = np.where(first > 0, stops[first - 1], -asked.length)
        return np.where(stops - asked.length >= before, blocks, -1)


class _Labels:
    """Labels of the points, of which windows take theirs; each has a point at least.

    Parameters
    ----------
    values : pa.Array (n,)
    name : str
    rule : {"last", "most", "max"}
    """

    def __init__(self, values: pa.Array, name: str, rule: str) -> None:
        self.values, self._rule = values, rule
        if rule == "max":
            plain = pa.types.is_boolean(values.type) or pa.types.is_null(values.type)
            numbers = read_numbers(values.cast(pa.int8()) if plain else values, name)
            self._numbers = np.where(np.isfinite(numbers), numbers, -np.inf)
        elif rule == "most":
            codes = values.dictionary_encode().indices.fill_null(-1)
            self._numbers = np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)

    def of_windows(self, rows: AnyArray) -> pa.Array:
        """The label of each window (n,), by the rows of its steps (n, length); null: none of its points tells."""
        weights = self._weights(rows)
        at = rows.shape[1] - 1 - weights[:, ::-1].argmax(axis=1)  # of equals the last
        each = np.arange(len(rows))
        chosen, counts = rows[each, at], np.isfinite(weights[each, at])
        return self.values.take(pa.array(chosen, mask=~counts | (chosen < 0)))

    def _weights(self, rows: AnyArray) -> AnyArray:
        """How much each point of each window counts (n, length); -inf: not at all."""
        there = rows >= 0
        if self._rule == "last":
            return np.where(there, 0.0, -np.inf)
        if self._rule == "max":
            return np.where(there, self._numbers[rows], -np.inf)
        codes = np.where(there, self._numbers[rows], -1)
        found, few = np.unique(codes, return_inverse=True)
        of = np.arange(len(rows))[:, None] * len(found) + few.reshape(codes.shape)
        return np.where(codes >= 0, np.bincount(of.ravel())[of], -np.inf)


def _cells(values: AnyArray) -> pa.Array:
    """Windows float32 (n, length, channels) as lists of lists."""
    n, length, width = values.shape
    steps = pa.ListArray.from_arrays(pa.array(np.arange(n * length + 1) * width, pa.int32()), values.reshape(-1))
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * length, pa.int32()), steps)
