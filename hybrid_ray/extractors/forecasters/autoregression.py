"""Autoregression on seasonal lags, pulled towards the seasonal naive forecast."""

from __future__ import annotations

from itertools import chain
from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.base import TAGS, LocalForecaster, LocalParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray


class AutoregressionParams(LocalParams):
    """Parameters of ``autoregression``."""

    seasons: tuple[int, ...] = Field((), max_length=8)
    """Seasons in steps, of which as many are used as the history holds twice; left out: ``season``."""
    penalty: float = Field(3.0, gt=0, le=1e6)
    """Strength of the pull towards the seasonal naive forecast, in steps of a standardised history."""
    logs: bool = True
    """True: logarithms of positive histories are learned from, so that seasons multiply."""
    memory: float = Field(0.998, gt=0.5, le=1)
    """Weight of a step relative to the one after it."""


@EXTRACTORS.register("autoregression")
class Autoregression(LocalForecaster):
    """Each step from the last three, and from those one season and two days around it, by ridge regression.

    The coefficients are pulled towards the mean of the seasonal naive forecasts, not towards nothing: a history that
    teaches little is repeated. Forecasts of several steps are made one after the other.

    References
    ----------
    Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970; the prior
    mean is that of Doan, Litterman and Sims, "Forecasting and conditional projection using realistic prior
    distributions", Econometric Reviews 1984, with the season in place of the last step.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = AutoregressionParams

    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """Fitted on the history, and run on."""
        logs = self.params.logs and history.min() > 0
        values = np.log(history) if logs else history
        mean, spread = values.mean(), values.std()
        if spread <= 1e-9 * abs(mean):
            return np.full(horizon, history[-1])
        known = (values - mean) / spread
        seasons = self._seasons(len(known))
        lags = _lags(seasons)
        coefficients = self._fitted(known, lags, seasons)
        run = np.concatenate([known, np.zeros(horizon)])
        for at in range(len(known), len(run)):
            run[at] = coefficients @ run[at - lags]
        steps = run[len(known) :] * spread + mean
        return np.exp(steps) if logs else steps

    def _seasons(self, n: int) -> list[int]:
        asked = sorted(set(self.params.seasons or (self.season,)) - {1})
        return [season for season in asked if n >= 2 * season + 12]

    def _fitted(self, known: AnyArray, lags: AnyArray, seasons: list[int]) -> AnyArray:
        """Coefficients (n_lags,) of a standardised history."""
        n, longest = len(known), int(lags.max())
        if n < longest + 4:
            raise ValueError(f"autoregression: a history must hold more than {longest + 4} steps; got {n}")
        X = np.stack([known[longest - lag : n - lag] for lag in lags], axis=1)
        prior = np.zeros(len(lags))
        prior[np.isin(lags, seasons or [1])] = 1.0 / max(len(seasons), 1)
        weights = self.params.memory ** np.arange(len(X))[::-1]
        weighted = (X * weights[:, None]).T
        rest = known[longest:] - X @ prior
        return np.asarray(
            prior + np.linalg.solve(weighted @ X + self.params.penalty * np.eye(len(lags)), weighted @ rest)
        )


def _lags(seasons: list[int]) -> AnyArray:
    """The last three steps, two on each side of each season, and whole short seasons up to the longest."""
    near = chain.from_iterable(range(season - 2, season + 3) for season in seasons)
    whole = range(seasons[0], seasons[-1], seasons[0]) if seasons else ()
    return np.array(sorted({1, 2, 3, *(lag for lag in near if lag > 0), *whole}))
