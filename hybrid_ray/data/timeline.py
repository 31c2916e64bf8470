"""From points in any order to regular series: a number a step, gaps where none came, and what was done for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ray.data.coerce import one_array
from hybrid_ray.data.points import Irregular, Placed, placed_points, read_numbers, side_by_side, tested_points
from hybrid_ray.data.resampling import Resampling, Steps
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray, BoolArray


@dataclass(frozen=True)
class Series:
    """One regular series.

    Attributes
    ----------
    name : str
    values : ndarray float64 (t,)
        NaN where no number came.
    rows : ndarray of int (t,)
        Row of the table that each step is from; -1 for a gap.
    tested : int
        Last steps that are for the final score.
    beside : ndarray float64 (t + a, k)
        Covariates of each step, and of ``a`` steps after the last value; NaN where no number came.
    """

    name: str
    values: AnyArray
    rows: AnyArray
    tested: int = 0
    beside: AnyArray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def n_known(self) -> int:
        """Steps before those of the final score."""
        return len(self.values) - self.tested


def regular_series(
    table: pa.Table,
    *,
    name: str | None,
    time: str,
    value: str,
    split: str | None,
    by_points: bool = False,
    resampling: Resampling | None = None,
    covariates: Mapping[str, str] = MappingProxyType({}),
    ahead: bool = False,
    step_length: str | float | None = None,
) -> tuple[list[Series], Irregular]:
    """Series of a long table, in the order in which their names first come, and what was irregular.

    Parameters
    ----------
    table : pa.Table
        A point a row, in any order.
    name : str or None
        Column that tells series apart; None: there is one.
    time, value : str
    split : str or None
        Column of train and test: the last points of a series are for the final score. A row without a value needs no
        word there: it goes with the point before it.
    by_points : bool, default False
        True: each point is a step, whatever time lies between; False: steps are equal times.
    resampling : Resampling or None, default None
        Puts points together to longer steps.
    covariates : mapping of str to str, optional
        Other columns to read, by name: where the spec names each.
    ahead : bool, default False
        True: a series ends with its last value, and rows after it tell covariates of steps ahead; False: it ends with
        its last row.
    step_length : str or float or None, default None
        Of all series; None: what lies between most points.

    Raises
    ------
    DataError
        Times or values cannot be read, test points are not the last of their series, steps differ without order in
        every series, or are shorter than what lies between most points.
    """
    values = read_numbers(table[value], value)
    beside = side_by_side(table, covariates)
    tested, unsaid = _tested(table, split, np.isnan(values))
    placed, found = placed_points(
        table,
        name=name,
        time=time,
        by_points=by_points,
        resampling=resampling,
        step_length=step_length,
        where="data.series",
    )
    series = []
    for each in placed:
        tested[each.rows] = _as_before(tested[each.rows], unsaid[each.rows])
        if resampling is not None:
            rows = each.rows
            steps = resampling.combine(rows, each.places, values[rows], beside[rows], tested[rows])
            found.combined += len(rows)
            found.steps += len(steps.rows)
            found.partial += steps.partial
        else:
            steps = _last_of_each(each, values, beside, tested, found)
        series.append(_regular(each.label, steps, found, ahead))
    if resampling is not None and found.gaps > found.steps / 2:
        raise DataError(
            "data.series.resample.every: must be no shorter than what lies between most points; got "
            f"{resampling.asked.every!r}, and {found.gaps} of {found.steps} steps without a number. Take longer steps, "
            "or `empty: zero` where no point means 0"
        )
    for column, unknown in zip(covariates, _unknown(series, len(covariates)), strict=True):
        found.unknown[column] = int(unknown)
    return series, found


def _tested(table: pa.Table, split: str | None, empty: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Points that are for the final score (n,), and rows that do not say, which may be those without a value."""
    tested, unsaid = np.zeros(len(table), bool), np.zeros(len(table), bool)
    if split is None:
        return tested, unsaid
    if empty.any():
        words = one_array(table[split]).cast(pa.large_string())
        unsaid = empty & np.asarray(pc.fill_null(pc.equal(pc.utf8_trim_whitespace(words), ""), True))
    tested[~unsaid] = tested_points(table[split].filter(pa.array(~unsaid)), split)
    return tested, unsaid


def _as_before(tested: BoolArray, unsaid: BoolArray) -> BoolArray:
    """Points by time (n,), where those that do not say what they are go with the one before."""
    said = np.maximum.accumulate(np.where(unsaid, -1, np.arange(len(tested))))
    return np.where(said >= 0, tested[said], False)


def _unknown(series: Sequence[Series], k: int) -> AnyArray:
    """Steps without a number of each covariate (k,), those after the last value left out."""
    counts = [np.isnan(each.beside[: len(each.values)]).sum(axis=0) for each in series if len(each.values)]
    return np.sum([*counts, np.zeros(k)], axis=0)


def _last_of_each(placed: Placed, values: AnyArray, beside: AnyArray, tested: BoolArray, found: Irregular) -> Steps:
    """The last point of each step; counts those that share one."""
    grid, doubled = placed.grid()
    found.doubled += doubled
    there = grid >= 0
    return Steps(
        rows=grid,
        values=np.where(there, values[grid], np.nan),
        beside=np.where(there[:, None], beside[grid], np.nan),
        tested=there & tested[grid],
    )


def _regular(
    label: str,
    steps: Steps,
    found: Irregular,
    ahead: bool,
) -> Series:
    """One series, from its first number on; counts what was irregular."""
    known = np.flatnonzero(np.isfinite(steps.values))
    if not len(known):
        return Series(label, np.zeros(0), np.zeros(0, np.int64))
    own = slice(int(known[0]), int(known[-1]) + 1 if ahead else None)
    rows, values, tested = steps.rows[own], steps.values[own], steps.tested[own]
    found.gaps += int(np.isnan(values).sum())
    late = np.flatnonzero(tested)
    n_tested = len(rows) - int(late[0]) if len(late) else 0
    if len(late) and (~tested[late[0] :] & (rows[late[0] :] >= 0)).any():
        raise DataError(
            f"data.split.column: test points must be the last of their series; got training points after them in "
            f"{label!r}"
        )
    return Series(label, values, rows, n_tested, steps.beside[own.start :])
