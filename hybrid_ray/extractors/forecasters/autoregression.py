"""Autoregression on seasonal lags, pulled towards the seasonal naive forecast."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.base import (
    TAGS,
    Beside,
    CovariateParams,
    LocalForecaster,
    LocalParams,
    held_near,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray


class AutoregressionParams(LocalParams, CovariateParams):
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

    Covariates are further regressors: those of the last three steps and of a season before, and of the step itself
    where they are known ahead. One that is not is forecast first, in the same way.

    References
    ----------
    Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970; the prior
    mean is that of Doan, Litterman and Sims, "Forecasting and conditional projection using realistic prior
    distributions", Econometric Reviews 1984, with the season in place of the last step.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = replace(TAGS, covariates=True)
    Params: ClassVar[type[PluginParams]] = AutoregressionParams

    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """Fitted on the history, and run on."""
        return self._run_on(history, horizon, None)

    def forecast_beside(self, history: AnyArray, horizon: int, beside: Beside) -> AnyArray:
        """The same with covariates."""
        return self._run_on(history, horizon, beside)

    def _run_on(self, history: AnyArray, horizon: int, beside: Beside | None) -> AnyArray:
        logs = self.params.logs and history.min() > 0
        values = np.log(history) if logs else history
        mean, spread = values.mean(), values.std()
        if spread <= 1e-9 * abs(mean):
            return np.full(horizon, history[-1])
        known = (values - mean) / spread
        seasons = self._seasons(len(known))
        lags = _lags(seasons)
        drivers = self._drivers(beside, len(known), horizon, seasons) if beside is not None else None
        coefficients = self._fitted(known, lags, seasons, drivers)
        own, drive = coefficients[: len(lags)], None
        if drivers is not None:
            drive = drivers @ coefficients[len(lags) :]
        run = np.concatenate([known, np.zeros(horizon)])
        for at in range(len(known), len(run)):
            run[at] = own @ run[at - lags]
            if drive is not None:
                run[at] += drive[at]
        steps = run[len(known) :] * spread + mean
        return np.exp(steps) if logs else steps

    def _seasons(self, n: int) -> list[int]:
        asked = sorted(set(self.params.seasons or (self.season,)) - {1})
        return [season for season in asked if n >= 2 * season + 12]

    def _drivers(self, beside: Beside, n: int, horizon: int, seasons: list[int]) -> AnyArray:
        """What each step (n + horizon, m) is told by covariates, standardised; 0 before they begin."""
        found = []
        for place, column in enumerate(beside.values.T):
            ahead = place < beside.n_known
            values = np.array(column[: n + horizon])
            if not ahead:
                values[n:] = held_near(values[:n], self.forecast(values[:n], horizon))
            spread = values.std()
            if spread <= 1e-9 * max(abs(values).max(), 1e-300):
                continue
            values = (values - values.mean()) / spread
            for lag in ([0] if ahead else []) + [1, 2, 3, *seasons]:
                found.append(np.concatenate([np.zeros(min(lag, len(values))), values[: max(len(values) - lag, 0)]]))
        return np.stack(found, axis=1) if found else np.zeros((n + horizon, 0))

    def _fitted(self, known: AnyArray, lags: AnyArray, seasons: list[int], drivers: AnyArray | None) -> AnyArray:
        """Coefficients (n_lags + m,) of a standardised history and of what drives it."""
        n, longest = len(known), int(lags.max())
        if n < longest + 4:
            raise ValueError(f"autoregression: a history must hold more than {longest + 4} steps; got {n}")
        X = np.stack([known[longest - lag : n - lag] for lag in lags], axis=1)
        if drivers is not None:
            X = np.concatenate([X, drivers[longest:n]], axis=1)
        prior = np.zeros(X.shape[1])
        prior[: len(lags)][np.isin(lags, seasons or [1])] = 1.0 / max(len(seasons), 1)
        weights = self.params.memory ** np.arange(len(X))[::-1]
        weighted = (X * weights[:, None]).T
        rest = known[longest:] - X @ prior
        return np.asarray(
            prior + np.linalg.solve(weighted @ X + self.params.penalty * np.eye(len(prior)), weighted @ rest)
        )


def _lags(seasons: list[int]) -> AnyArray:
    """The last three steps, two on each side of each season, and whole short seasons up to the longest."""
    near = chain.from_iterable(range(season - 2, season + 3) for season in seasons)
    whole = range(seasons[0], seasons[-1], seasons[0]) if seasons else ()
    return np.array(sorted({1, 2, 3, *(lag for lag in near if lag > 0), *whole}))
