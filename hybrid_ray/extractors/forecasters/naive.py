"""Forecasts that repeat what was: the baselines, and members that never run away."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.base import TAGS, LocalForecaster, LocalParams
from hybrid_ray.forecasts import naive2, seasonal_naive
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray


class SeasonalNaiveParams(LocalParams):
    """Parameters of ``seasonal_naive``."""

    period: int | None = Field(None, ge=1, le=65536)
    """Steps that are repeated; left out: the season, 1: the last number."""
    periods: int = Field(1, ge=1, le=100)
    """Repetitions whose mean is taken, as far back as the history goes."""


@EXTRACTORS.register("seasonal_naive")
class SeasonalNaive(LocalForecaster):
    """The last period again and again, or the mean of the last few."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = SeasonalNaiveParams

    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """Means over the periods that are there."""
        period = self.params.period or self.season
        back = min(self.params.periods, len(history) // period)
        if back < 1:
            return seasonal_naive(history, self.season, horizon)
        told: AnyArray = history[len(history) - back * period :].reshape(back, period).mean(axis=0)
        return told[np.arange(horizon) % period]


@EXTRACTORS.register("naive2")
class Naive2(LocalForecaster):
    """The last number of the seasonally adjusted history, seasonal again.

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos, "The M4 competition", International Journal of Forecasting 2020.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = LocalParams

    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """As every label of a row has it beside what came."""
        return naive2(history, self.season, horizon)
