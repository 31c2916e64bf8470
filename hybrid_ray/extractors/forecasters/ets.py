"""Exponential smoothing with a trend that may fade."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.adjusted import AdjustedForecaster, AdjustedParams
from hybrid_ray.extractors.forecasters.base import TAGS
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray

_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.99)
_SHARES = (0.02, 0.1, 0.3, 0.6)
"""The trend's smoothing rate as a share of the level's."""
_FADES = (0.8, 0.9, 0.95, 0.98)
"""What a damped trend is multiplied with in each step."""
_GRID = np.array(
    [(level, 0.0, 0.0) for level in _LEVELS]
    + [(level, level * share, fade) for level in _LEVELS for share in _SHARES for fade in (*_FADES, 1.0)]
)
_COUNTS = np.array([2.0] * len(_LEVELS) + [5.0 if fade < 1 else 4.0 for _, _, fade in _GRID[len(_LEVELS) :]])
"""Numbers that each model learns: rates, fade and starts."""


class EtsParams(AdjustedParams):
    """Parameters of ``ets``."""

    steps: int = Field(600, ge=8, le=65536)
    """Last steps of a history that are looked at."""


@EXTRACTORS.register("ets")
class Ets(AdjustedForecaster):
    """Simple, Holt's and damped exponential smoothing of the seasonally adjusted history: the best by AICc.

    Rates are searched on a grid, all of it in one pass over the history: what is chosen does not hang on an optimiser's
    start, and takes milliseconds.

    References
    ----------
    Hyndman, Koehler, Ord and Snyder, "Forecasting with exponential smoothing: the state space approach", 2008: models
    with additive errors (A,N,N), (A,A,N) and (A,Ad,N), and their choice by AICc.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = EtsParams

    def plain(self, history: AnyArray, horizon: int) -> AnyArray:
        """Of the model with the smallest AICc."""
        seen = history[-self.params.steps :]
        n = len(seen)
        if n < 8:
            return np.full(horizon, history[-1])
        rates, shares, fades = _GRID.T
        first = seen[: max(4, min(n // 6, 24))]
        levels = np.full(len(_GRID), first.mean())
        trends = np.where(fades > 0, np.polyfit(np.arange(len(first)), first, 1)[0], 0.0)
        errors = np.zeros(len(_GRID))
        for value in seen:
            faded = fades * trends
            missed = value - levels - faded
            errors += missed * missed
            levels = levels + faded + rates * missed
            trends = faded + shares * missed
        room = n - _COUNTS - 1
        scores = n * np.log(np.maximum(errors / n, 1e-300)) + 2 * _COUNTS * n / np.maximum(room, 1e-9)
        best = int(np.where(room > 0, scores, np.inf).argmin())
        return np.asarray(levels[best] + trends[best] * np.cumsum(fades[best] ** np.arange(1, horizon + 1)))
