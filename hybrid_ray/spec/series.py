"""What a spec says of series: how points become rows to forecast."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hybrid_ray.documented import Documented


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


class SeriesSpec(Documented):
    """How a long table, a point a row, becomes rows to forecast: a history up to an origin, and what came after it."""

    id: str | None = None
    """Column that tells series apart; left out, there is one."""
    time: str
    """Column of times: numbers or dates."""
    steps: Literal["time", "points"] = "time"
    """What a step is. time: as much time as lies between most points; steps without a point are gaps. points: from each
    point to the next, whatever lies between, as trading days are."""
    horizon: int = Field(ge=1, le=4096)
    """Steps to forecast."""
    season: int = Field(1, ge=1, le=65536)
    """Steps of the season: what MASE, Naive2 and the baselines repeat."""
    history: int = Field(1000, ge=2, le=65536)
    """Steps before an origin that a row holds at most."""
    origins: int = Field(2, ge=1, le=1000)
    """Training rows of a series at most: one origin before another, back from its last training point."""
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
    def shortest(self) -> int:
        """Steps that a row's history must have."""
        return self.min_history or 2 * self.season + 4

    def identity(self) -> dict[str, Any]:
        """The fields as a digest of the rows has them, JSON-able: without covariates where there are none."""
        return self.model_dump(mode="json", exclude=set() if self.covariates.names else {"covariates"})
