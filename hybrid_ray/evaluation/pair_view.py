"""What the page shows of pairs: classifiers row by row (McNemar), candidates over the folds (t tests)."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_ray.evaluation.axis import UNIT, Axis, Strip, interval_text
from hybrid_ray.evaluation.formatting import DASH, number, p_value, signed
from hybrid_ray.evaluation.intervals import wilson
from hybrid_ray.evaluation.schema import Estimate, FoldRow, FoldTests, RightRow


@dataclass(frozen=True)
class RightLine:
    """The ensemble against another level."""

    name: str
    ensemble_only: int
    other_only: int
    strip: Strip | None
    p: str


@dataclass(frozen=True)
class Right:
    """The share of the rows which only one gets right that the ensemble does."""

    lines: list[RightLine]
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class FoldLine:
    """One candidate against the best one."""

    label: str
    rank: str
    gain: str
    interval: str
    strip: Strip | None
    p: str
    cuts: int
    same: bool
    best: bool


@dataclass(frozen=True)
class Folds:
    """The candidates that are compared."""

    folds: str
    """``5 folds``, ``3 x 5 folds``."""
    uneven: bool
    """True where some pairs share more cuts than all candidates do."""
    lines: list[FoldLine]
    ticks: list[tuple[float, str]]


def right(rows: list[RightRow]) -> Right:
    """Each level's test on an axis from none to all of the rows that only one gets right: even is a half."""
    axis = Axis([UNIT])
    return Right([_right_line(row, axis) for row in rows], axis.ticks(4))


def _right_line(row: RightRow, axis: Axis) -> RightLine:
    differ = row.ensemble_only + row.other_only
    strip = None
    if differ:
        counted = row.counted or differ
        low, high = wilson(row.ensemble_only / differ * counted if row.counted else row.ensemble_only, counted)
        strip = axis.strip(Estimate(value=row.ensemble_only / differ, low=float(low), high=float(high)))
    return RightLine(row.name, row.ensemble_only, row.other_only, strip, p_value(row.p_value))


def folds(tests: FoldTests, decimals: int) -> Folds:
    """The gains over the best candidate on a common axis that holds zero, where that candidate itself stands."""
    gains = {row.label: Estimate(value=row.gain, low=row.low, high=row.high) for row in tests.rows}
    axis = Axis([Estimate(value=0.0), *gains.values()])
    times = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"
    return Folds(
        folds=f"{tests.cuts}{times}{tests.folds} folds" if tests.cuts > 1 else f"{tests.folds} folds",
        uneven=any(row.cuts > tests.cuts for row in tests.rows if row.p_value is not None),
        lines=[_fold_line(row, gains[row.label], axis, decimals) for row in tests.rows],
        ticks=axis.ticks(4),
    )


def _fold_line(row: FoldRow, gain: Estimate, axis: Axis, decimals: int) -> FoldLine:
    best = row.p_value is None
    return FoldLine(
        label=row.label,
        rank=number(row.rank, 2),
        gain=DASH if best else signed(row.gain, decimals),
        interval="" if best else interval_text(gain, decimals, sign=True),
        strip=axis.strip(gain),
        p=DASH if best else p_value(row.p_value),
        cuts=row.cuts,
        same=row.same,
        best=best,
    )
