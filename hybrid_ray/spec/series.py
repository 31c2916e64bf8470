"""What a spec says of series: how points become rows to forecast."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hybrid_ray.documented import Documented
from hybrid_ray.spec.lengths import CalendarLength, StepLength


class CovariatesSpec(Documented):
    """Other columns of the points, of numbers or of true and false, that the values depend on."""

    known: tuple[str, ...] = Field((), max_length=64)
    """Columns that are known before their time comes: promotions, prices that are set, the calendar. Rows after a
    series' last value, whose label is empty, give them for the steps ahead."""
    observed: tuple[str, ...] = Field((), max_length=64)
    """Columns that are known up to the origin only: temperatures, the prices of others."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, those that are known ahead first."""
        return (*self.known, *self.observed)

    def places(self) -> dict[str, str]:
        """Where a spec names each."""
        return {
            name: f"data.series.covariates.{part}[{i}]"
            for part, names in (("known", self.known), ("observed", self.observed))
            for i, name in enumerate(names)
        }


class ResampleSpec(Documented):
    """Longer steps than those that points come at: hours put together to days, sales to weeks."""

    every: CalendarLength
    """Length of a step. Of dates a number and a unit, s, min, h, d, w, mo or y: 15min, 1d, 3mo; days, months and years
    are those of the calendar, weeks begin on Monday. Of times that are numbers, a number in their unit."""
    by: Literal["mean", "sum", "median", "min", "max", "first", "last"] = "mean"
    """What the values of a step become; those that are missing are left out. Covariates become their mean."""
    empty: Literal["auto", "gap", "zero"] = "auto"
    """What a step without a point is; auto: zero where values are summed, else a gap."""


class SeriesSpec(Documented):
    """How a long table, a point a row, becomes rows to forecast: a history up to an origin, and what came after it."""

    id: str | None = None
    """Column that tells series apart; left out, there is one."""
    time: str
    """Column of times: numbers or dates."""
    steps: Literal["time", "points"] = "time"
    """What a step is. time: equal times; steps without a point are gaps. points: from each point to the next, whatever
    lies between, as trading days are."""
    step_length: StepLength | None = None
    """Length of a step, of all series: of dates a number and a unit, 1d, 15min, 3mo or 0.5ms, else a number in their
    unit; left out, as much time as lies between most points of most series."""
    resample: ResampleSpec | None = None
    """Puts points together to longer steps; left out, each point is a step."""
    horizon: int = Field(ge=1, le=4096)
    """Steps to forecast."""
    season: int = Field(1, ge=1, le=65536)
    """Steps of the season: what MASE, Naive2 and the baselines repeat."""
    history: int | None = Field(None, ge=2, le=262_144)
    """Steps before an origin that a row holds at most; left out, 1,000, or three seasons and the horizon: as many as
    tell whether a series is seasonal."""
    origins: int | None = Field(None, ge=1, le=1000)
    """Training rows of a series at most: one origin before another, back from its last training point. Left out, 2, or
    more where series are few: 40 rows in all."""
    step: int | None = Field(None, ge=1)
    """Steps between two origins; left out, ``horizon``, so that what came after one is before the next."""
    min_history: int | None = Field(None, ge=2)
    """Steps that a row's history must have; left out, two seasons and four steps."""
    folds: Literal["auto", "time", "series"] = "auto"
    """time: folds are blocks of origins, each learned from earlier ones; series: whole series are held out; auto:
    series for 20 series or more, else time."""
    covariates: CovariatesSpec = CovariatesSpec()
    """Other columns of the points that forecasts are made from; a column that is not named here is not read."""
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.8, 0.95), max_length=5)
    """Probabilities of the intervals around forecasts; none: no intervals."""

    @property
    def longest(self) -> int:
        """Steps that a row's history holds at most."""
        return self.history or max(1000, 3 * self.season + self.horizon)

    @property
    def shortest(self) -> int:
        """Steps that a row's history must have."""
        return self.min_history or 2 * self.season + 4

    @property
    def alike(self) -> int:
        """Origins in a row, from one on, after which some of the same numbers come."""
        return -(-self.horizon // (self.step or self.horizon))

    def identity(self) -> dict[str, Any]:
        """The fields as a digest of the rows has them, JSON-able: without what is not asked for."""
        unasked = {
            "covariates": not self.covariates.names,
            "resample": self.resample is None,
            "step_length": self.step_length is None,
        }
        return self.model_dump(mode="json", exclude={name for name, left_out in unasked.items() if left_out})
