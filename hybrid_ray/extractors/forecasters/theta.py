"""The theta method."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.adjusted import AdjustedForecaster, AdjustedParams
from hybrid_ray.extractors.forecasters.base import TAGS
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray

_RATES = np.concatenate([[0.01, 0.03], np.arange(0.05, 1.0, 0.05), [0.99]])
"""Smoothing rates that are tried."""


class ThetaParams(AdjustedParams):
    """Parameters of ``theta``."""

    drift: Literal["line", "half"] = "line"
    """line: the mean of the straight line through the history and of smoothing what it leaves at twice its curvature;
    half: smoothing of the history itself, with half of the line's slope."""


@EXTRACTORS.register("theta")
class Theta(AdjustedForecaster):
    """A straight line and exponential smoothing, half each, of the seasonally adjusted history.

    References
    ----------
    Assimakopoulos and Nikolopoulos, "The theta model: a decomposition approach to forecasting", International Journal
    of Forecasting 2000; Hyndman and Billah, "Unmasking the Theta method", 2003: it is smoothing with half the drift.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = ThetaParams

    def plain(self, history: AnyArray, horizon: int) -> AnyArray:
        """Both lines."""
        n = len(history)
        if n < 4:
            return np.full(horizon, history[-1])
        slope, start = np.polyfit(np.arange(n), history, 1)
        steps = np.arange(1, horizon + 1)
        if self.params.drift == "line":
            line = start + slope * np.arange(n)
            _, level = smoothed(2 * history - line)
            return np.asarray(0.5 * (level + start + slope * (n - 1 + steps)))
        rate, level = smoothed(history)
        return np.asarray(level + 0.5 * slope * (steps - 1 + (1 - (1 - rate) ** n) / rate))


def smoothed(history: AnyArray) -> tuple[float, float]:
    """Rate and last level of the simple exponential smoothing with the smallest one-step errors, of a grid of rates."""
    start = history[: max(3, len(history) // 6)].mean()
    levels = np.full(len(_RATES), start)
    errors = np.zeros(len(_RATES))
    for value in history:
        missed = value - levels
        errors += missed * missed
        levels += _RATES * missed
    best = int(errors.argmin())
    return float(_RATES[best]), float(levels[best])
