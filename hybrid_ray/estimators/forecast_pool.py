"""Weights of several forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, check_task, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import FORECASTING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class ForecastPoolParams(PluginParams):
    """Parameters of :class:`ForecastPoolFamily`."""

    combine: Literal["weights", "median", "mean"] = "weights"
    """weights: learned under the absolute error in units of the rows; median, mean: of all forecasts, nothing is
    learned."""
    own: bool = True
    """weights only: whether those of a row hang on how each forecaster did in the row's own back-test."""
    segments: int = Field(1, ge=1, le=64)
    """weights only: parts of the horizon with weights of their own."""
    penalty: float = Field(0.003, ge=0, le=100)
    """weights only: how strongly weights are pulled together."""


@ESTIMATORS.register("forecast_pool")
class ForecastPoolFamily(OwnFamily):
    """A weighted mean of forecasts; of one forecaster, that forecaster.

    References
    ----------
    Bates and Granger, "The combination of forecasts", Operational Research Quarterly 1969; Montero-Manso,
    Athanasopoulos, Hyndman and Talagala, "FFORMA: feature-based forecast model averaging", International Journal of
    Forecasting 2020, for a softmax of features: here the errors of a back-test are the features.
    """

    tags = EstimatorTags(tasks=FORECASTING, copies=6.0, effort=Effort(0.1, 0.5))
    Params = ForecastPoolParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one model."""
        from hybrid_ray.estimators.models.forecasts import ForecastPool

        return (ForecastPool,)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Each way to combine."""
        yield ForecastPoolParams()
        yield ForecastPoolParams(own=False, segments=2)
        yield ForecastPoolParams(combine="median")
        yield ForecastPoolParams(combine="mean")

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted pool; the fit draws nothing, so ``seed`` has no effect."""
        from hybrid_ray.estimators.models.forecasts import ForecastPool

        check_task(cls.name, cls.tags, task)
        own = typed(params, ForecastPoolParams)
        return ForecastPool(combine=own.combine, own=own.own, segments=own.segments, penalty=own.penalty)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How forecasts are combined, and how freely."""
        point: dict[str, Any] = {"combine": trial.suggest_categorical("combine", ("weights", "median", "mean"))}
        if point["combine"] == "weights":
            point["own"] = trial.suggest_categorical("own", (True, False))
            point["segments"] = trial.suggest_categorical("segments", (1, 2, 4))
            point["penalty"] = trial.suggest_float("penalty", 1e-4, 1.0, log=True)
        return point

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Weights that hang on back-tests, the median, weights for all rows alike, weights by part of the horizon."""
        return [
            {"combine": "weights", "own": True, "segments": 1, "penalty": 0.003},
            {"combine": "median"},
            {"combine": "weights", "own": False, "segments": 1, "penalty": 0.003},
            {"combine": "weights", "own": True, "segments": 4, "penalty": 0.01},
        ]
