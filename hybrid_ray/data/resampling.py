"""Points of a series put together to longer steps: hours to days, days to months."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.errors import DataError
from hybrid_ray.spec.lengths import parse_length
from hybrid_ray.spec.series import ResampleSpec
from hybrid_ray.types import AnyArray, BoolArray

DAY_MS = 86_400_000.0
UNITS_MS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": DAY_MS, "w": 7 * DAY_MS}
MONTHS = {"mo": 1, "y": 12}
_MONDAY_MS = -3 * DAY_MS
"""The Monday before the first day of 1970."""
_ROUNDED = 1e-9
"""Share that a quotient of decimal numbers may be off by."""
_PARTIAL = 0.5
"""Share of the usual number of points of a step below which the last step may not be over."""


def check_length(length: str | float, dates: bool, where: str) -> None:
    """Refuse a length that is not of the times' kind; ``where`` says where the spec names it.

    Raises
    ------
    DataError
        A duration for times that are numbers, or a number for dates.
    """
    if isinstance(length, str) != dates:
        wanted = "a duration, 1h or 1mo say, as times are dates" if dates else "a number, as times are numbers"
        raise DataError(f"{where}: must be {wanted}; got {length!r}")


@dataclass(frozen=True)
class Steps:
    """Steps of one series, from the first point to the last.

    Attributes
    ----------
    rows : ndarray of int (t,)
        The table's row of the last point of each; -1 for a step without one.
    values : ndarray float64 (t,)
        NaN for a gap.
    beside : ndarray float64 (t, k)
        Covariates; NaN where no number came.
    tested : ndarray of bool (t,)
        Steps that hold a point of the final score.
    partial : bool, default False
        The last step holds less than half as many points as the others do.
    """

    rows: AnyArray
    values: AnyArray
    beside: AnyArray
    tested: BoolArray
    partial: bool = False


@dataclass(frozen=True)
class Resampling:
    """Puts points together as a spec says.

    Parameters
    ----------
    asked : ResampleSpec
    """

    asked: ResampleSpec

    @property
    def local(self) -> bool:
        """True when steps are days or longer: they begin at midnight where the clock of the times stands."""
        return isinstance(self.asked.every, str) and parse_length(self.asked.every)[1] not in ("s", "min", "h")

    def check(self, calendar: bool) -> None:
        """Refuse a length that is not of the times' kind.

        Raises
        ------
        DataError
            A duration for times that are numbers, or a number for dates.
        """
        check_length(self.asked.every, calendar, "data.series.resample.every")

    def places(self, times: AnyArray) -> AnyArray:
        """Number of the step of each time, int64 (n,). Times are milliseconds, or numbers where steps are.

        Hours, days, months and years are those of the calendar, weeks begin on Monday; of several, 6 h say, the first
        begins with 1970.
        """
        if not isinstance(self.asked.every, str):
            exact = times / self.asked.every
            whole = np.rint(exact)  # 0.3 / 0.1 is a little less than 3
            close = np.abs(exact - whole) < _ROUNDED * np.maximum(np.abs(exact), 1)
            return np.where(close, whole, np.floor(exact)).astype(np.int64)
        n, unit = parse_length(self.asked.every)
        if unit in MONTHS:
            months = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
            return np.asarray(months // (int(n) * MONTHS[unit]), np.int64)
        start = _MONDAY_MS if unit == "w" else 0.0
        return np.floor((times - start) / (n * UNITS_MS[unit])).astype(np.int64)

    def combine(self, rows: AnyArray, places: AnyArray, values: AnyArray, beside: AnyArray, tested: BoolArray) -> Steps:
        """Put the points of each step together; linear in the points but for the median, which sorts them.

        Parameters
        ----------
        rows : ndarray of int (n,)
            The table's row of each point, by time.
        places : ndarray of int (n,)
            Its step, not falling, the first 0.
        values : ndarray (n,)
        beside : ndarray (n, k)
            Covariates; the mean counts.
        tested : ndarray of bool (n,)
        """
        n_steps = int(places[-1]) + 1
        counts = np.bincount(places, minlength=n_steps)
        last = np.full(n_steps, -1)
        last[places] = rows  # of several points the last one stays
        steps = _together(places, values, n_steps, self.asked.by)
        known = np.flatnonzero(np.isfinite(steps))
        end = int(known[-1]) if len(known) else 0  # rows after it tell covariates of steps ahead
        if self.asked.empty == "zero" or (self.asked.empty == "auto" and self.asked.by == "sum"):
            steps[:end][counts[:end] == 0] = 0.0
        means = [_together(places, beside[:, k], n_steps, "mean") for k in range(beside.shape[1])]
        held = counts[:end][counts[:end] > 0]
        return Steps(
            rows=last,
            values=steps,
            beside=np.stack([*means, np.zeros(n_steps)], axis=1)[:, : len(means)],
            tested=np.bincount(places, tested, n_steps) > 0,
            partial=bool(len(held)) and bool(counts[end] < _PARTIAL * np.median(held)),
        )


def _together(places: AnyArray, values: AnyArray, n_steps: int, by: str) -> AnyArray:
    """One number a step (n_steps,), of the numbers that are there; NaN where none is."""
    known = np.isfinite(values)
    places, values = places[known], values[known]
    steps = np.full(n_steps, np.nan)
    if not len(values):
        return steps
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    at, counts = places[starts], np.diff(np.append(starts, len(values)))
    if by == "first":
        steps[at] = values[starts]
    elif by == "last":
        steps[at] = values[starts + counts - 1]
    elif by == "median":
        ordered = values[np.lexsort((values, places))]
        steps[at] = (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2]) / 2
    elif by in ("min", "max"):
        steps[at] = (np.minimum if by == "min" else np.maximum).reduceat(values, starts)
    else:
        sums = np.add.reduceat(values, starts)
        steps[at] = sums / counts if by == "mean" else sums
    return steps
