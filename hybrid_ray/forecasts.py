"""What is known of a forecast: the numbers that came, what plain methods would have said, and margins around it.

The label of a forecasting row is a vector: what came in each of the next h steps, and beside it what the row's own
history says without learning, which measures compare with. ``Came`` is that vector under names. Nothing here looks at
other rows, so that a row is judged alike wherever it stands.

References
----------
Makridakis, Spiliotis and Assimakopoulos, "The M4 competition: 100,000 time series and 61 forecasting methods",
International Journal of Forecasting 2020, for Naive2, its seasonality test, sMAPE, MASE and OWA; Hyndman and Koehler,
"Another look at measures of forecast accuracy", International Journal of Forecasting 2006, for the scale; Lei, G'Sell,
Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive inference for regression", JASA 2018, for split
conformal margins relative to a scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from hybrid_ray.types import AnyArray, Block

SIGNIFICANT = 1.645
"""Deviations beyond which the autocorrelation at the season counts: the M4 organisers' 90 % test."""
SEEN_SEASONS = 3
"""Seasons that a history must hold before it may be called seasonal."""
LEVEL, REST, SCALE, ERROR, HEAD = 0, 1, 2, 3, 4
"""Features of a forecaster before those of the steps: the level of the history, what float32 leaves of it (a counter
near 2e9 is rounded to 128), the scale, and the error of a back-test."""
UNTESTED = -1.0
"""The error of a back-test that was not made."""


def steps_of(y: AnyArray) -> int:
    """Steps of the forecasts that labels are for: 1 for labels (n,), h for those of a forecasting task (n, 3 h + 2)."""
    return (y.shape[1] - 2) // 3 if y.ndim == 2 else 1


class Came(NamedTuple):
    """Labels of n forecasting rows under names.

    Attributes
    ----------
    values : ndarray (n, h)
        What came in each step.
    naive2, seasonal : ndarray (n, h)
        Forecasts of Naive2 and of the seasonal naive method.
    last : ndarray (n, 1)
        The last number of the history: the naive forecast of every step.
    scale : ndarray (n, 1)
        Mean size of the history's changes over a season: what MASE divides by; above 0.
    """

    values: AnyArray
    naive2: AnyArray
    seasonal: AnyArray
    last: AnyArray
    scale: AnyArray

    def packed(self) -> AnyArray:
        """One row of numbers each, float64 (n, 3 h + 2): how labels travel."""
        return np.concatenate([np.asarray(part, np.float64) for part in self], axis=1)

    @classmethod
    def of(cls, y: AnyArray) -> Came:
        """Names for packed labels (n, 3 h + 2): views."""
        h = steps_of(y)
        return cls(y[:, :h], y[:, h : 2 * h], y[:, 2 * h : 3 * h], y[:, 3 * h : 3 * h + 1], y[:, 3 * h + 1 :])

    @classmethod
    def after(cls, histories: Sequence[AnyArray], values: AnyArray, season: int) -> Came:
        """Labels of rows with these histories (t_i,), without gaps, and what came after them (n, h)."""
        n, h = values.shape
        plain = np.zeros((n, 2 * h + 2))
        for row, history in zip(plain, histories, strict=True):
            row[:h] = naive2(history, season, h)
            row[h : 2 * h] = seasonal_naive(history, season, h)
            row[2 * h :] = history[-1], scale_of(history, season)
        return cls(values, plain[:, :h], plain[:, h : 2 * h], plain[:, 2 * h : -1], plain[:, -1:])


def scale_of(history: AnyArray, season: int) -> float:
    """Mean absolute change over a season (over a step, where the history is shorter); never 0.

    A history that repeats itself has no such change: then its mean size stands in, and 1 for zeros.
    """
    lag = season if len(history) > season else 1
    changes = np.abs(history[lag:] - history[:-lag])
    found = float(changes.mean()) if len(changes) else 0.0
    size = float(np.abs(history).mean()) if len(history) else 0.0
    return found if found > 1e-9 * size else size or 1.0


def seasonal_naive(history: AnyArray, season: int, horizon: int) -> AnyArray:
    """The last season again and again (h,); of a shorter history the last number."""
    if len(history) < season:
        return np.full(horizon, history[-1], np.float64)
    return np.asarray(history[len(history) - season + np.arange(horizon) % season], np.float64)


def is_seasonal(history: AnyArray, season: int) -> bool:
    """Whether the autocorrelation at the season is more than chance, as the M4 organisers tested it."""
    n = len(history)
    if season < 2 or n < SEEN_SEASONS * season:
        return False
    centred = history - history.mean()
    power = float(centred @ centred)
    if power <= 0:
        return False
    lagged = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season + 1)]) / power
    limit = SIGNIFICANT * math.sqrt((1 + 2 * float(lagged[:-1] @ lagged[:-1])) / n)
    return bool(abs(lagged[-1]) > limit)


def seasonal_factors(history: AnyArray, season: int) -> AnyArray:
    """Multiplicative factors (season,) of a classical decomposition, by the position's remainder; their mean is 1."""
    trend, start = _trend(history, season)
    ratios = history[start : start + len(trend)] / trend
    place = (np.arange(len(ratios)) + start) % season
    factors: AnyArray = np.bincount(place, ratios, season) / np.bincount(place, minlength=season)
    return factors * season / factors.sum()


def seasonally_adjusted(history: AnyArray, season: int) -> tuple[AnyArray, AnyArray] | None:
    """The history without its season (t,), and the factors (season,); None where there is no season to take out.

    Factors are multiplicative, so that only positive histories have them.
    """
    if not is_seasonal(history, season) or history.min() <= 0:
        return None
    factors = seasonal_factors(history, season)
    if not np.isfinite(factors).all() or factors.min() < 1e-3:
        return None
    return history / factors[np.arange(len(history)) % season], factors


def naive2(history: AnyArray, season: int, horizon: int) -> AnyArray:
    """The last number of the seasonally adjusted history, seasonal again (h,): the M4 organisers' benchmark."""
    found = seasonally_adjusted(history, season)
    if found is None:
        return np.full(horizon, history[-1], np.float64)
    adjusted, factors = found
    n = len(history)
    return np.asarray(adjusted[-1] * factors[(n + np.arange(horizon)) % season], np.float64)


class Adjusted(NamedTuple):
    """A history without its season.

    Attributes
    ----------
    values : ndarray float64 (t,)
    season : int
        1 where there is none.
    pattern : ndarray float64 (season,)
        What was divided by, or taken off, by the position's remainder.
    multiplied : bool
    """

    values: AnyArray
    season: int
    pattern: AnyArray
    multiplied: bool

    @classmethod
    def of(cls, history: AnyArray, seasons: Sequence[int]) -> Adjusted:
        """Without the longest of these seasons that the history shows, times for positive histories, else plus."""
        for season in sorted(seasons, reverse=True):
            found = seasonally_adjusted(history, season)
            if found is not None:
                return cls(found[0], season, found[1], True)
            if is_seasonal(history, season):
                pattern = _seasonal_offsets(history, season)
                return cls(history - pattern[np.arange(len(history)) % season], season, pattern, False)
        return cls(history, 1, np.ones(1), True)

    def again(self, steps: AnyArray) -> AnyArray:
        """Forecasts (h,) of the adjusted history, seasonal again."""
        pattern = self.pattern[(len(self.values) + np.arange(len(steps))) % self.season]
        return steps * pattern if self.multiplied else steps + pattern


def _seasonal_offsets(history: AnyArray, season: int) -> AnyArray:
    """Additive seasonal pattern (season,), by the position's remainder; its mean is 0."""
    trend, start = _trend(history, season)
    rest = history[start : start + len(trend)] - trend
    place = (np.arange(len(rest)) + start) % season
    offsets: AnyArray = np.bincount(place, rest, season) / np.bincount(place, minlength=season)
    return offsets - offsets.mean()


def _trend(history: AnyArray, season: int) -> tuple[AnyArray, int]:
    """Centred moving average over a season, and the position of its first value."""
    window = np.full(season + 1 - season % 2, 1.0 / season)
    if season % 2 == 0:
        window[[0, -1]] /= 2
    return np.convolve(history, window, "valid"), (len(window) - 1) // 2


def without_gaps(steps: AnyArray) -> AnyArray:
    """A history (t,) with missing numbers on straight lines between their neighbours, float64; the ends repeat."""
    values = np.asarray(steps, np.float64)
    there = np.isfinite(values)
    if there.all():
        return values
    at = np.arange(len(values))
    return np.interp(at, at[there], values[there])


def carried(steps: AnyArray) -> AnyArray:
    """A covariate (t,) float64 whose gaps are filled with the last number before; the first where none is, or 0."""
    values = np.asarray(steps, np.float64)
    there = np.isfinite(values)
    if there.all():
        return values
    if not there.any():
        return np.zeros(len(values))
    last = np.maximum.accumulate(np.where(there, np.arange(len(values)), there.argmax()))
    return values[last]


def scale_in(blocks: Mapping[str, Block]) -> AnyArray:
    """Scale (n, 1) of rows, float64, by the blocks of any of their forecasters; 0 of a row without a history."""
    return np.asarray(next(iter(blocks.values())).values[:, [SCALE]], np.float64)


_DIGITS = 9
"""Decimals at which counts are rounded before they are made whole: 0.95 / 0.05 is a little more than 19."""


def rows_for(level: float) -> int:
    """Errors that an interval of a level takes at least: as many as make its share of n + 1 no more than n."""
    return math.ceil(round(level / (1 - level), _DIGITS))


OUTLOOK, SERIES = "outlook", "series"
"""Where a graph's facts hold its ``Outlook``, and how points become rows."""


@dataclass(frozen=True)
class Outlook:
    """How far a graph forecasts, and how far from the truth its forecasts stay.

    Attributes
    ----------
    horizon : int
    levels : tuple of float
        Probabilities of the intervals that could be learned, rising; none: no intervals.
    widths : ndarray float64 (n_levels, h)
        Half the width of the interval of each level and step, in units of a row's scale.
    """

    horizon: int
    levels: tuple[float, ...]
    widths: AnyArray

    @classmethod
    def learned(cls, outputs: AnyArray, y: AnyArray, levels: Sequence[float]) -> Self:
        """From forecasts (n, h) of rows that nothing was learned from, and their labels (n, 3 h + 2).

        Each width is the smallest error that is not below the asked share of n + 1 errors; a level of which there is
        none, as ``rows_for`` tells, is left out. A later step is never given less than an earlier one: the future gets
        no surer.
        """
        came = Came.of(y)
        h = came.values.shape[1]
        errors = np.sort(np.abs(outputs[:, :h] - came.values) / came.scale, axis=0)
        n = len(errors)
        reached = tuple(level for level in sorted(levels) if rows_for(level) <= n)
        ranks = [math.ceil(round(level * (n + 1), _DIGITS)) - 1 for level in reached]
        return cls(h, reached, np.maximum.accumulate(errors[ranks], axis=1))

    @property
    def n_outputs(self) -> int:
        """Columns of the outputs: forecasts, then the low and the high ends of each interval."""
        return self.horizon * (1 + 2 * len(self.levels))

    def around(self, outputs: AnyArray, scale: AnyArray) -> AnyArray:
        """Forecasts (n, h) of rows with a scale (n, 1), then low and high ends of each level: (n, n_outputs)."""
        ends = [outputs + sign * scale * width for width in self.widths for sign in (-1.0, 1.0)]
        return np.concatenate([outputs, *ends], axis=1)

    def parts(self, outputs: AnyArray) -> dict[str, AnyArray]:
        """Outputs under the names that people see: ``prediction`` (n, h), ``low_80`` and ``high_80`` for 0.8."""
        percents = [f"{100 * level:g}" for level in self.levels]
        names = ["prediction", *(f"{end}_{percent}" for percent in percents for end in ("low", "high"))]
        return dict(zip(names, np.split(outputs, len(names), axis=1), strict=True))

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {"horizon": self.horizon, "levels": list(self.levels), "widths": self.widths.tolist()}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave."""
        levels = tuple(float(level) for level in form["levels"])
        return cls(
            int(form["horizon"]),
            levels,
            np.array(form["widths"], np.float64).reshape(len(levels), int(form["horizon"])),
        )
