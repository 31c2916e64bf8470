"""Points of a long table: of which series each is, and at which step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.beat import Beat
from hybrid_ray.data.coerce import is_text, one_array, parse_numbers
from hybrid_ray.data.dates import as_shown, parse_times
from hybrid_ray.data.resampling import Resampling
from hybrid_ray.data.split import ROLES
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray, BoolArray

_LONGEST_GAP = 50
"""Steps on the grid for each point above which the times are no regular series."""


@dataclass
class Irregular:
    """What was irregular, counted over all series.

    Attributes
    ----------
    step_length : str, float or None
        Of all series, as a spec says it; None where steps are points, or are put together.
    timeless : int
        Points without a time.
    nameless : int
        Points of no series, where a column tells them apart.
    doubled : int
        Points at a step that had one already: the later counts, of one time the last in the table.
    combined : int
        Points that were put together to longer steps.
    steps : int
        What they were put together to.
    partial : int
        Series whose last step holds less than half as many points as their others do.
    gaps : int
        Steps without a number.
    off : int
        Points that were moved to the nearest step.
    other : int
        Series whose points usually come at another distance than the step of all.
    apart : int
        Series whose points are too far apart for steps.
    unknown : dict of str to int
        Steps of the series in which a covariate has no number, by its name.
    """

    step_length: str | float | None = None
    timeless: int = 0
    nameless: int = 0
    doubled: int = 0
    combined: int = 0
    steps: int = 0
    partial: int = 0
    gaps: int = 0
    off: int = 0
    other: int = 0
    apart: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def notes(self, gap: str = "have no number") -> list[str]:
        """A line for each kind that there was; ``gap`` says what steps without a point are."""
        told = (
            (self.timeless, "points have no time: they are left out"),
            (self.nameless, "points do not say which series they are of: they are left out"),
            (
                self.doubled,
                "points share their series and step with another: the later counts, of equal times the last",
            ),
            (self.combined, f"points are put together to {self.steps} steps"),
            (self.partial, "series end in a step of less than half as many points as usual: it may not be over"),
            (self.gaps, f"steps {gap}"),
            (self.off, "points lie between steps: they count for the nearest"),
            (
                self.other,
                f"series have points more or less often than the step of all, {self.step_length}: they are brought to "
                "it, with gaps, or the last point of a step",
            ),
            (self.apart, "series have points too far apart for steps: they are left out"),
        )
        lines = [f"{count} {what}." for count, what in told if count]
        return lines + [
            f"{count} steps have no number of the covariate {name!r}: the one before stands in."
            for name, count in self.unknown.items()
            if count
        ]


@dataclass(frozen=True)
class Placed:
    """Points of one series, by time.

    Attributes
    ----------
    label : str
        What the series is called; empty where there is one.
    rows : ndarray of int (n,)
        Row of the table of each.
    places : ndarray of int (n,)
        Step of each, not falling, the first 0.
    """

    label: str
    rows: AnyArray
    places: AnyArray

    def grid(self) -> tuple[AnyArray, int]:
        """The table's row of the last point of each step (t,), -1 for a gap; and how many points are not the last."""
        last = np.append(np.diff(self.places) > 0, True)
        grid = np.full(int(self.places[-1]) + 1, -1)
        grid[self.places[last]] = self.rows[last]
        return grid, int((~last).sum())


def placed_points(
    table: pa.Table,
    *,
    name: str | None,
    time: str,
    by_points: bool = False,
    resampling: Resampling | None = None,
    step_length: str | float | None = None,
    where: str,
) -> tuple[list[Placed], Irregular]:
    """Points of a long table by series, in the order in which their names first come, and what was irregular.

    Parameters
    ----------
    table, name, time, by_points, resampling, step_length
        See :func:`regular_series`.
    where : str
        The part of the spec that asks, for errors.

    Raises
    ------
    DataError
        Times cannot be read, or are in no order of steps in any series.
    """
    clock, shown, calendar = _clock(table[time], time, where)
    if resampling is not None and resampling.local:
        clock = shown
    if resampling is not None:
        resampling.check(calendar)
    names = one_array(table[name]).cast(pa.string()).dictionary_encode() if name is not None else None
    codes = np.zeros(len(table), np.int64) if names is None else _codes(names)
    labels = [""] if names is None else [str(each) for each in names.dictionary.to_pylist()]
    found = Irregular(timeless=int(np.isnan(clock).sum()), nameless=int((codes < 0).sum()))
    order = np.lexsort((np.arange(len(table)), clock, codes))
    order = order[~np.isnan(clock[order]) & (codes[order] >= 0)]
    bounds = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    parts = [(label, order[start:stop]) for label, start, stop in zip(labels, bounds, bounds[1:], strict=False)]
    series = [(label, rows) for label, rows in parts if len(rows)]
    beat = None
    if resampling is None and not by_points:
        times = [clock[rows] for _, rows in series]
        beat = Beat.of(times, calendar) if step_length is None else Beat.asked(step_length, times, calendar, where)
        found.step_length = None if beat is None else beat.text
    placed, far = [], ""
    for label, rows in series:
        if resampling is not None:
            places = resampling.places(clock[rows])
            places -= places[0]
        elif beat is not None:
            places, off = beat.places(clock[rows], shown[rows])
            found.off += off
        else:
            places = _ranks(clock[rows])
        if places[-1] > _LONGEST_GAP * len(places) + 1000:
            found.apart += 1
            far = far or f"{len(places)} points over {places[-1]} steps in {label!r}"
            continue
        found.other += beat is not None and beat.is_other(clock[rows])
        placed.append(Placed(label, rows, places))
    if not placed and far:
        raise DataError(f"{where}.time: steps must be about equal; got {far}. Bring the series to longer steps")
    if not placed:
        raise DataError(f"{where}.time: must hold numbers or dates; got none in column {time!r}")
    return placed, found


def side_by_side(table: pa.Table, columns: Mapping[str, str]) -> AnyArray:
    """Columns of numbers (n, k), by name: where the spec names each."""
    told = [covariate_numbers(table[column], column, where) for column, where in columns.items()]
    return np.stack([*told, np.zeros(len(table))], axis=1)[:, : len(told)]


def _ranks(times: AnyArray) -> AnyArray:
    """Points one after another; those of one time are one step."""
    return np.cumsum(np.diff(times, prepend=times[0]) > 0)


def _codes(names: pa.DictionaryArray) -> AnyArray:
    codes: AnyArray = pc.fill_null(names.indices, -1).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return codes


def read_numbers(column: pa.ChunkedArray, name: str) -> AnyArray:
    """Values float64 (n,), NaN where none is there."""
    raw = one_array(column)
    if is_text(raw.type):
        raw, bad = parse_numbers(raw)
        if bad.any():
            raise DataError(f"data.label: values of series must be numbers; got {int(bad.sum())} others in {name!r}")
    kind = raw.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"data.label: values of series must be numbers; got a column of {kind} in {name!r}")
    values = np.array(raw.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def covariate_numbers(column: pa.ChunkedArray, name: str, where: str) -> AnyArray:
    """A covariate float64 (n,): numbers, true and false as 1 and 0, NaN where none is there.

    Raises
    ------
    DataError
        It holds something else; ``where`` says where the spec names it.
    """
    raw = one_array(column)
    what = f"{where}: must hold numbers, or true and false; got"
    if is_text(raw.type):
        raw, bad = parse_numbers(raw)
        if bad.any():
            first = one_array(column)[int(bad.argmax())].as_py()
            raise DataError(
                f"{what} {int(bad.sum())} others in {name!r}, {first!r} say. Give a category as a column of 0 and 1 "
                "for each of its values"
            )
    kind, types = raw.type, pa.types
    if types.is_boolean(kind) or types.is_null(kind):
        raw, kind = raw.cast(pa.int8()), pa.int8()
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise DataError(f"{what} a column of {kind} in {name!r}")
    values = np.array(raw.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _clock(column: pa.ChunkedArray, name: str, where: str) -> tuple[AnyArray, AnyArray, bool]:
    """Times as float64 (n,), NaN where missing; the same as a clock shows them; and whether they are dates.

    Dates are milliseconds, of universal time; a clock shows those with a zone, of the column or of their own, in it.
    """
    raw = one_array(column)
    if is_text(raw.type):
        numbers, bad = parse_numbers(raw)
        raw = raw if bad.any() else numbers
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type):
        times = np.array(raw.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
        return times, times, False
    millis, bad = parse_times(raw)
    if bad.sum() * 2 > len(bad):
        raise DataError(
            f"{where}.time: must be numbers or dates; got {int(bad.sum())} of {len(bad)} values in {name!r} that "
            "are neither"
        )
    local = as_shown(raw)
    return millis, millis if local is None else parse_times(local)[0], True


def tested_points(column: pa.ChunkedArray, name: str) -> BoolArray:
    """Points that are for the final score (n,): those of test, or of dev where none is.

    Raises
    ------
    DataError
        The column holds something else than train, dev and test.
    """
    words = one_array(column).cast(pa.large_string()).to_pylist()
    roles = [ROLES.get(str(word).strip().lower()) for word in words]
    if None in roles:
        odd = sorted({str(word) for word, role in zip(words, roles, strict=True) if role is None})[:5]
        raise DataError(f"data.split.column: must hold train, dev or test in every row; got {odd} in {name!r}")
    wanted = "test" if "test" in roles else "dev"
    return np.array([role == wanted for role in roles], bool)
