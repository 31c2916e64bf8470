"""ARIMA, and a recurrent network on what it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.forecasters.arima import Arima, ArimaParams
from hybrid_ray.extractors.forecasters.recurrent import ForecastRnn, ForecastRnnParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind


class ArimaRnnParams(ForecastRnnParams):
    """Parameters of ``arima_rnn``."""

    models: int = Field(8, ge=1, le=81)
    """Orders of ARIMA that are tried at most for a history."""
    steps: int = Field(400, ge=16, le=65536)
    """Last steps of a history that ARIMA is fitted on, and whose errors the network reads."""
    logs: bool = True
    """True: ARIMA is fitted on the logarithms of positive histories."""


@EXTRACTORS.register("arima_rnn")
class ArimaRnn(ForecastRnn):
    """The forecast of ARIMA, and a network's forecast of its errors, added up.

    The network reads what ARIMA missed of a history by, one step ahead, and is trained over all series, as
    ``forecast_rnn`` is.

    References
    ----------
    Zhang, "Time series forecasting using a hybrid ARIMA and neural network model", Neurocomputing 2003.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ForecastRnn.tags
    Params: ClassVar[type[PluginParams]] = ArimaRnnParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        p = self.params
        asked = ArimaParams(horizon=p.horizon, season=p.season, models=p.models, steps=p.steps, logs=p.logs)
        self._linear = Arima(asked, columns)

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network."""
        few = {"horizon": 4, "season": 3, "hidden": 4, "epochs": 2, "windows": 6, "models": 4}
        yield ArimaRnnParams(**few), {"history": "series"}

    @property
    def takes_logs(self) -> bool:
        """Never: errors are of either sign."""
        return False

    def parts(self, history: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Errors of ARIMA, and its forecast; of a history that it cannot take, changes and the last number."""
        try:
            with np.errstate(all="ignore"):
                missed, steps = self._linear.parts(history, self.horizon)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError, IndexError):
            missed, steps = np.full(1, np.nan), np.zeros(self.horizon)
        if np.isfinite(missed).all() and np.isfinite(steps).all():
            return missed, steps
        return np.diff(history, prepend=history[0]), np.full(self.horizon, history[-1])
