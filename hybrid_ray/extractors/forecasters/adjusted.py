"""Forecasters of histories whose season was taken out first."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from hybrid_ray.extractors.forecasters.base import LocalForecaster, LocalParams
from hybrid_ray.forecasts import Adjusted
from hybrid_ray.types import AnyArray


class AdjustedParams(LocalParams):
    """Parameters of a forecaster of adjusted histories."""

    seasons: tuple[int, ...] = Field((), max_length=8)
    """Seasons to look for, in steps: the longest that a history shows is taken out; left out: ``season``."""


class AdjustedForecaster(LocalForecaster):
    """The season is taken out of a history by a classical decomposition, the rest forecast, the season put back."""

    @abstractmethod
    def plain(self, history: AnyArray, horizon: int) -> AnyArray:
        """The next numbers (horizon,) after a history without a season."""

    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """What ``plain`` says, seasonal again."""
        adjusted = Adjusted.of(history, self.params.seasons or (self.season,))
        return adjusted.again(self.plain(adjusted.values, horizon))
