"""ARIMA with a bounded search of its orders."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.adjusted import AdjustedForecaster, AdjustedParams
from hybrid_ray.extractors.forecasters.base import TAGS
from hybrid_ray.forecasts import Adjusted
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray


class ArimaParams(AdjustedParams):
    """Parameters of ``arima``."""

    max_p: int = Field(3, ge=0, le=8)
    """Most steps that a step is explained by."""
    max_q: int = Field(2, ge=0, le=8)
    """Most errors that it is explained by."""
    max_d: int = Field(1, ge=0, le=2)
    """Most times that differences are taken."""
    models: int = Field(8, ge=1, le=81)
    """Orders that are tried at most, few parameters first: what bounds the time of a series."""
    steps: int = Field(400, ge=16, le=65536)
    """Last steps of a history that are looked at."""
    logs: bool = True
    """True: logarithms of positive histories are learned from."""
    exact: bool = False
    """True: the chosen model is fitted again by maximum likelihood, which takes some four times as long."""


class Fitted(NamedTuple):
    """A model of a history.

    Attributes
    ----------
    series : ndarray float64 (t - d,)
        The history, its logarithms if asked, differences taken.
    lasts : tuple of float
        What was the last number before each difference.
    logs : bool
    mean : float
        What was taken off the series.
    ar, ma : ndarray (p,), (q,)
    """

    series: AnyArray
    lasts: tuple[float, ...]
    logs: bool
    mean: float = 0.0
    ar: AnyArray = np.zeros(0)
    ma: AnyArray = np.zeros(0)

    def errors(self) -> AnyArray:
        """What the model missed of each number of the series by, one step ahead (t - d,)."""
        from scipy.signal import lfilter

        found: AnyArray = lfilter(
            np.concatenate([[1.0], -self.ar]), np.concatenate([[1.0], self.ma]), self.series - self.mean
        )
        return found

    def forecast(self, horizon: int) -> AnyArray:
        """The next numbers (horizon,) after the history: differences are summed up again."""
        p, q, t = len(self.ar), len(self.ma), len(self.series)
        values = np.concatenate([np.zeros(p), self.series - self.mean, np.zeros(horizon)])
        missed = np.concatenate([np.zeros(q), self.errors(), np.zeros(horizon)])
        for step in range(t, t + horizon):
            past, past_errors = values[step : step + p][::-1], missed[step : step + q][::-1]
            values[p + step] = self.ar @ past + self.ma @ past_errors
        steps = values[p + t :] + self.mean
        for last in reversed(self.lasts):
            steps = last + np.cumsum(steps)
        return np.exp(steps) if self.logs else steps

    def missed(self, history: AnyArray) -> AnyArray:
        """What it missed of a history (t,) by, one step ahead, in the history's unit; 0 before it knows enough."""
        n = len(self.series)
        found = np.zeros(len(history))
        found[-n:] = self.errors()
        return history * (1 - np.exp(-found)) if self.logs else found


@EXTRACTORS.register("arima")
class Arima(AdjustedForecaster):
    """ARIMA(p, d, q) of the seasonally adjusted history.

    Differences are taken while they make the series narrower. Orders are tried by the method of Hannan and Rissanen,
    two regressions each, and chosen by AICc: their number, not a clock, bounds the search, so that a history has one
    answer on every machine.

    References
    ----------
    Box and Jenkins, "Time series analysis: forecasting and control", 1970; Hannan and Rissanen, "Recursive estimation
    of mixed autoregressive-moving average order", Biometrika 1982; Hyndman and Khandakar, "Automatic time series
    forecasting: the forecast package for R", Journal of Statistical Software 2008, for the search by AICc.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = ArimaParams

    def plain(self, history: AnyArray, horizon: int) -> AnyArray:
        """Of the best model."""
        return self.fitted(history).forecast(horizon)

    def parts(self, history: AnyArray, horizon: int) -> tuple[AnyArray, AnyArray]:
        """What the best model missed of the last steps (u,) by, and the next numbers (horizon,)."""
        adjusted = Adjusted.of(history, self.params.seasons or (self.season,))
        fit = self.fitted(adjusted.values)
        seen = adjusted.values[-self.params.steps :]
        missed = fit.missed(seen)
        if adjusted.multiplied:
            missed = missed * history[-len(seen) :] / np.where(seen == 0, 1.0, seen)
        return missed, adjusted.again(fit.forecast(horizon))

    def fitted(self, history: AnyArray) -> Fitted:
        """The best model of a history without a season."""
        seen = history[-self.params.steps :]
        logs = bool(self.params.logs and seen.min() > 0)
        series = np.log(seen) if logs else seen
        lasts: list[float] = []
        while len(lasts) < self.params.max_d and len(series) > 8 and np.diff(series).std() < series.std():
            lasts.append(float(series[-1]))
            series = np.diff(series)
        mean = 0.0 if lasts else float(series.mean())
        plain = Fitted(series, tuple(lasts), logs, mean)
        if len(series) < 12 or np.ptp(series) <= 1e-9 * max(abs(series).max(), 1e-300):
            return plain._replace(mean=float(series[-1]) if not lasts else 0.0)
        orders = [(p, q) for p in range(self.params.max_p + 1) for q in range(self.params.max_q + 1)]
        orders = sorted(orders, key=lambda order: (sum(order), order))[: self.params.models]
        found = [(score, order, params) for order in orders for score, params in _fitted(series - mean, *order)]
        if not found:
            return plain
        _, (p, q), params = min(found, key=lambda each: each[0])
        if self.params.exact and p + q:
            params = _refitted(series - mean, p, q, params)
        return plain._replace(ar=np.asarray(params[0], np.float64), ma=np.asarray(params[1], np.float64))


def _fitted(series: AnyArray, p: int, q: int) -> list[tuple[float, Any]]:
    """AICc and coefficients of one order; nothing where it has no stable fit."""
    from statsmodels.tsa.arima.estimators.hannan_rissanen import hannan_rissanen

    n, k = len(series), p + q + 1
    if p + q == 0:
        return [(_aicc(float(series @ series) / n, n, k), (np.zeros(0), np.zeros(0)))]
    if n - k - 1 <= 0:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit, _ = hannan_rissanen(series, ar_order=p, ma_order=q, demean=False)
        except (ValueError, np.linalg.LinAlgError):
            return []
        if not (fit.is_stationary and fit.is_invertible and fit.sigma2 > 0):
            return []
    return [(_aicc(float(fit.sigma2), n, k), (fit.ar_params, fit.ma_params))]


def _refitted(series: AnyArray, p: int, q: int, params: Any) -> Any:
    """Coefficients of maximum likelihood, or the ones that there are where it finds none that are stable."""
    from statsmodels.tsa.arima.estimators.innovations import innovations_mle

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit, _ = innovations_mle(series, order=(p, 0, q), demean=False)
        except (ValueError, np.linalg.LinAlgError):
            return params
        stable = fit.is_stationary and fit.is_invertible
    return (fit.ar_params, fit.ma_params) if stable else params


def _aicc(variance: float, n: int, k: int) -> float:
    return n * math.log(max(variance, 1e-300)) + 2 * k * n / max(n - k - 1, 1)
