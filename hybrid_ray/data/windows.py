"""Rows of a forecasting task, made of series: a history up to an origin, and the numbers that came after it.

What users have is a long table, a point a row. A row of the task is a window of it; windows overlap, so that they are
cut where they are read, by every process from its own copy of the series, and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from hybrid_ray.data.resampling import Resampling
from hybrid_ray.data.timeline import Series, regular_series
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec, SeriesSpec
from hybrid_ray.types import HISTORY, AnyArray

ORIGIN, SPLIT = "origin", "split"
"""Columns of the rows beside ``HISTORY`` and the label: how many origins lie after this one, and train or test."""


_GAPS = "have no number: histories are filled on straight lines, no forecast is scored there"
_ROWS = 40
"""Training rows, about, that few series are to have together where nothing is asked for."""


@dataclass(frozen=True)
class Window:
    """One row: of which series, its origin (the number of steps that are history), and its place.

    Attributes
    ----------
    series : int
    stop : int
    back : int
        Training origins of the series that lie after this one; -1 for rows of the final score, and for rows to predict.
    """

    series: int
    stop: int
    back: int


class Windows:
    """The rows of a long table.

    Parameters
    ----------
    table : pa.Table
        Points.
    data : DataSpec
        With ``series``.
    training : bool
        False: one row a series, whose origin is its last point; nothing comes after.
    """

    added: ClassVar[tuple[str, ...]] = (HISTORY, ORIGIN)
    names_more: ClassVar[str] = "data.series.covariates names those that forecasts are made from"

    def __init__(self, table: pa.Table, data: DataSpec, training: bool) -> None:
        assert data.series is not None
        covariates = data.series.covariates
        self._asked, self._label, self._training = data.series, data.label, training
        split = split_column(data, table.schema.names, training)
        self._told = split is not None
        names = [name for name in (data.series.id, data.series.time) if name is not None]
        self._points = table.select(names)
        self.series, irregular = regular_series(
            table,
            name=data.series.id,
            time=data.series.time,
            value=data.label,
            split=split,
            by_points=data.series.steps == "points",
            resampling=Resampling(data.series.resample) if data.series.resample is not None else None,
            covariates={name: covariates.places()[name] for name in covariates.names},
            ahead=bool(covariates.known),
            step_length=data.series.step_length,
        )
        self.step_length = irregular.step_length
        self.rows: list[Window] = []
        self.notes = irregular.notes(_GAPS) + (self._cut() if training else self._ends())

    @staticmethod
    def named_columns(data: DataSpec, columns: Sequence[str], training: bool) -> dict[str, str | None]:
        """Columns of the points that windows are made of, by where the spec names each."""
        assert data.series is not None
        named = {"data.series.id": data.series.id, "data.series.time": data.series.time, "data.label": data.label}
        named |= {where: name for name, where in data.series.covariates.places().items()}
        return named | {"data.split.column": split_column(data, columns, training)}

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @property
    def n_series(self) -> int:
        """Of how many series."""
        return len(self.series)

    @property
    def n_bytes(self) -> int:
        """Bytes of the histories, about."""
        return sum(8 * row.stop for row in self.rows)

    @property
    def schema(self) -> pa.Schema:
        """Of every table of rows."""
        own = [self._points.schema.field(name) for name in self._points.column_names]
        told = [pa.field(HISTORY, pa.list_(pa.float64())), pa.field(self._label, pa.list_(pa.float64()))]
        told += [pa.field(name, pa.list_(pa.float64())) for name in self._asked.covariates.names]
        return pa.schema([*own, *told, pa.field(ORIGIN, pa.int64()), pa.field(SPLIT, pa.string())])

    def table(self, start: int, n: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows ``start`` to ``start + n``; nothing is made of the others."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        rows = self.rows[start : start + n]
        return pa.Table.from_arrays([self._column(field, rows) for field in schema], schema=schema)

    def _column(self, asked: pa.Field, rows: Sequence[Window]) -> pa.Array | pa.ChunkedArray:
        if asked.name in self._points.column_names:
            return self._points[asked.name].take(pa.array([self._last(row) for row in rows]))
        covariates = self._asked.covariates.names
        if asked.name == HISTORY:
            cells: list[Any] = [self._history(row) for row in rows]
        elif asked.name == self._label:
            cells = [self._future(row) for row in rows]
        elif asked.name in covariates:
            place = covariates.index(asked.name)
            cells = [self._beside(row, place) for row in rows]
        elif asked.name == ORIGIN:
            cells = [row.back for row in rows]
        else:
            cells = ["test" if row.back < 0 else "train" for row in rows]
        return pa.array(cells, asked.type)

    def _cut(self) -> list[str]:
        """Find the rows to learn from and those of the final score; gives what a reader must know."""
        asked = self._asked
        short = untested = unscored = 0
        n_long = sum(len(series.values) >= asked.shortest + asked.horizon for series in self.series)
        each = asked.origins or max(-(-_ROWS // max(n_long, 1)), 2)
        for number, series in enumerate(self.series):
            origins = _origins(series, asked, each, self._told)
            short += not origins
            unscored += self._told and not series.tested
            untested += 0 < series.tested < asked.horizon
            self.rows += [Window(number, stop, back) for stop, back in origins]
        if not any(row.back >= 0 for row in self.rows) or not any(row.back < 0 for row in self.rows):
            raise DataError(
                f"data.series: some series must hold {asked.shortest} steps, and {asked.horizon} more for each of a "
                f"training row and the final score; got {len(self.series)} series of up to "
                f"{max(len(series.values) for series in self.series)} steps. Lower horizon, season or min_history"
            )
        told = (
            (short, "series are too short for a row: they are left out"),
            (untested, f"series have fewer than {asked.horizon} test points: they are not scored"),
            (unscored, "series have no test points, where a column says which they are: they are not scored"),
        )
        return [f"{count} of {len(self.series)} {what}." for count, what in told if count]

    def _ends(self) -> list[str]:
        self.rows = [Window(n, len(series.values), -1) for n, series in enumerate(self.series) if len(series.values)]
        names, horizon = self._asked.covariates.known, self._asked.horizon
        lacking = dict.fromkeys(names, 0)
        for row in self.rows:
            series = self.series[row.series]
            for place, name in enumerate(names):
                told = series.beside[row.stop : row.stop + horizon, place]
                lacking[name] += horizon - int(np.isfinite(told).sum())
        empty = len(self.series) - len(self.rows)
        notes = [f"{empty} of {len(self.series)} series hold no number: they are left out."] if empty else []
        return notes + [
            f"{count} of {horizon * len(self.rows)} steps ahead have no number of the covariate {name!r}: the last one "
            "stands in. Rows after the last value, with an empty label, give it."
            for name, count in lacking.items()
            if count
        ]

    def _history(self, row: Window) -> AnyArray:
        return self.series[row.series].values[max(row.stop - self._asked.longest, 0) : row.stop]

    def _future(self, row: Window) -> AnyArray | None:
        if not self._training:
            return None
        return self.series[row.series].values[row.stop : row.stop + self._asked.horizon]

    def _beside(self, row: Window, place: int) -> AnyArray:
        """A covariate of the steps of a history, and of the horizon after it where it is known ahead."""
        ahead = self._asked.horizon if place < len(self._asked.covariates.known) else 0
        told = self.series[row.series].beside[max(row.stop - self._asked.longest, 0) : row.stop + ahead, place]
        lacks = min(row.stop, self._asked.longest) + ahead - len(told)
        return np.concatenate([told, np.full(lacks, np.nan)]) if lacks else told

    def _last(self, row: Window) -> int:
        """Row of the table that holds the last point of a history."""
        rows = self.series[row.series].rows[: row.stop]
        return int(rows[rows >= 0][-1])


def _origins(series: Series, asked: SeriesSpec, most: int, told: bool) -> list[tuple[int, int]]:
    """Origins of a series, the earliest first, each with how many for training lie after it; -1 is for the final score.

    Test points of several horizons have several origins, whose histories hold the test points before them.
    """
    horizon = asked.horizon
    # Where no column tells test points, the last horizon is the final score's.
    known = series.n_known if told else len(series.values) - horizon
    last = [(stop, -1) for stop in scored_origins(len(series.values), known, asked)]
    stops = [known - horizon - back * (asked.step or horizon) for back in range(most)]
    return [(stop, back) for back, stop in enumerate(stops) if stop >= asked.shortest][::-1] + last


def scored_origins(n_steps: int, known: int, asked: SeriesSpec) -> list[int]:
    """Origins of the final score of a series of so many steps, of which the first ``known`` are not for it."""
    late = range(known, n_steps - asked.horizon + 1, asked.step or asked.horizon)
    return [stop for stop in late if stop >= asked.shortest]


def split_column(data: DataSpec, columns: Sequence[str], training: bool = True) -> str | None:
    """The column that tells which points are for the final score: what the spec names, else ``split`` if it is there.

    None where no column does; of points to predict none is asked.
    """
    return (data.split.column or (SPLIT if SPLIT in columns else None)) if training else None
