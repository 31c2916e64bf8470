"""How far apart points are: one step for all series of a table, which horizons and seasons count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from hybrid_ray.data.resampling import DAY_MS, MONTHS, UNITS_MS, check_length
from hybrid_ray.spec.lengths import parse_length
from hybrid_ray.types import AnyArray

_MONTH_MS = 30.436875 * DAY_MS
_OFF_BEAT = 0.25
"""Share of a step that a point may be off its place before that is told."""
_SAME = 0.005
"""Share of a step that distances differ by at most where steps are days of a number: an hour in summer, not a day."""
_UNEVEN = 0.1
"""Share of distances that differ by more from which on steps of a month or longer are those of the calendar: five of
twelve months are shorter than the others, while steps of four weeks that a holiday moved are few."""
_ROUNDED = 0.1
"""Share of a step that a clock of whole milliseconds may make of it."""
_OTHER = 1.5
"""Times by which the usual distance of a series may differ from the step of all."""


@dataclass(frozen=True)
class Beat:
    """The step of all series of a table.

    Attributes
    ----------
    length : float
        Milliseconds of dates, else in the unit of the times; above 0.
    exact : float
        The mean of the distances that are one step: what a clock that rounds them does not show.
    months : int
        0, or how many months a step has, however long they are.
    dates : bool
    """

    length: float
    exact: float
    months: int
    dates: bool

    @classmethod
    def of(cls, series: Sequence[AnyArray], dates: bool) -> Self | None:
        """What lies between points in most series: the median of their usual distances.

        Of dates a month or more apart it is whole months as the clock shows them, unless distances are the same to the
        day, as those of four weeks are.

        Parameters
        ----------
        series : sequence of ndarray (n_i,)
            Times of each, not falling.
        dates : bool

        Returns
        -------
        Beat or None
            None where no series has two times that differ.
        """
        distances = [_distances(times) for times in series]
        # Two points alone tell little of how far apart a series' points usually are.
        told = [each for each in distances if len(each) > 1] or [each for each in distances if len(each)]
        if not told:
            return None
        length = float(np.quantile([_usual(each) for each in told], 0.5, method="lower"))
        return cls._exactly(length, _months(length, np.concatenate(told)) if dates else 0, distances, dates)

    @classmethod
    def asked(cls, length: str | float, series: Sequence[AnyArray], dates: bool, where: str) -> Self:
        """The step that a spec says, for the same series.

        Raises
        ------
        DataError
            It is a duration and times are numbers, or the other way round.
        """
        check_length(length, dates, f"{where}.step_length")
        distances = [_distances(times) for times in series]
        if not isinstance(length, str):
            return cls._exactly(float(length), 0, distances, dates)
        n, unit = parse_length(length)
        if unit in MONTHS:
            months = int(n) * MONTHS[unit]
            return cls(months * _MONTH_MS, months * _MONTH_MS, months, dates)
        return cls._exactly(n * UNITS_MS[unit], 0, distances, dates)

    @classmethod
    def _exactly(cls, length: float, months: int, distances: Sequence[AnyArray], dates: bool) -> Self:
        near = np.concatenate([each[_is_a_step(each, length)] for each in distances] or [np.zeros(0)])
        return cls(length, float(near.mean()) if len(near) else length, months, dates)

    @property
    def text(self) -> str | float:
        """As a spec says it."""
        if self.months:
            return f"{self.months}mo" if self.months % 12 else f"{self.months // 12}y"
        if not self.dates:
            return self.length
        for unit in ("d", "h", "min", "s"):
            if self.length % UNITS_MS[unit] == 0:
                return f"{self.length / UNITS_MS[unit]:.0f}{unit}"
        return f"{np.format_float_positional(self.length, precision=12, trim='-')}ms"

    def is_other(self, times: AnyArray) -> bool:
        """Whether a series with these times (n,) usually has points at another distance."""
        distances = _distances(times)
        if not len(distances):
            return False
        ratio = _usual(distances) / self.length
        return not 1 / _OTHER <= ratio <= _OTHER

    def places(self, times: AnyArray, shown: AnyArray) -> tuple[AnyArray, int]:
        """Step of each point of a series (n,), from 0, not falling; and how many points lie between steps.

        Parameters
        ----------
        times : ndarray float64 (n,)
            Not falling.
        shown : ndarray float64 (n,)
            The same as a clock shows them.
        """
        if self.months:
            months = shown.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
            return np.asarray((months - months[0]) // self.months, np.int64), 0
        ways = [_on_grid(times, self.length)]
        if ways[0][1]:
            # A clock of whole milliseconds tells 60 a second as 17, 17 and 16: the usual distance is not what they are
            # apart. After a pause that is no number of steps those that follow have a grid of their own.
            step = self._of_own(times)
            ways += [_on_grid(times, step), _from_each_to_the_next(times, step)]
        return min(ways, key=lambda way: (_lost(times, way[0]), way[1]))

    def _of_own(self, times: AnyArray) -> float:
        """The step by a series' own clock, where that is the step of all."""
        distances = _distances(times)
        near = distances[_is_a_step(distances, self.length)]
        own = float(near.mean()) if len(near) else self.exact
        return own if abs(own / self.exact - 1) <= _ROUNDED else self.exact


def _distances(times: AnyArray) -> AnyArray:
    distances = np.diff(times)
    return np.asarray(distances[distances > 0])


def _usual(distances: AnyArray) -> float:
    return float(np.quantile(distances, 0.5, method="lower"))


def _is_a_step(distances: AnyArray, length: float) -> AnyArray:
    return np.asarray(np.rint(distances / length) == 1)


def _months(length: float, distances: AnyArray) -> int:
    """Months of the calendar that a step of dates has; 0: it is a number of days, or shorter."""
    if length < 27.5 * DAY_MS:
        return 0
    multiples = distances / length
    uneven = np.abs(multiples - np.rint(multiples)) > _SAME
    return max(round(length / _MONTH_MS), 1) if uneven.mean() > _UNEVEN else 0


def _on_grid(times: AnyArray, step: float) -> tuple[AnyArray, int]:
    """The nearest of steps since the first, for each time (n,); and how many lie between steps."""
    exact = (times - times[0]) / step
    places = np.rint(exact).astype(np.int64)
    return places, int((np.abs(exact - places) > _OFF_BEAT).sum())


def _from_each_to_the_next(times: AnyArray, step: float) -> tuple[AnyArray, int]:
    """The same, where a time (n,) is so many steps after the one before."""
    exact = np.diff(times, prepend=times[0]) / step
    steps = np.rint(exact).astype(np.int64)
    return np.cumsum(steps), int((np.abs(exact - steps) > _OFF_BEAT).sum())


def _lost(times: AnyArray, places: AnyArray) -> int:
    """Times (n,) that share their step with an earlier one."""
    return int(((np.diff(times) > 0) & (np.diff(places) == 0)).sum())
