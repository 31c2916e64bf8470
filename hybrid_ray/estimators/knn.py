"""Nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class KNNParams(PluginParams):
    """Parameters of :class:`KNN`."""

    n_neighbors: int = Field(15, ge=1, le=10_000)
    """Neighbours asked; never more than there are training rows."""
    weights: Literal["uniform", "distance"] = "distance"
    """distance: a neighbour counts by how close it is."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """How near two rows are."""
    smoothing: float = Field(1.0, gt=0, le=1000)
    """Classes only: votes given to the class shares, so that no probability is 0."""


@ESTIMATORS.register("knn")
class KNN(OwnFamily):
    """Mean of the nearest training rows, found by brute force."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=2.0, max_rows=50_000, effort=Effort(0.002, 0.01))
    Params = KNNParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.neighbours import NeighbourClassifier, NeighbourRegressor

        return (NeighbourClassifier, NeighbourRegressor)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted model; nothing is drawn, so ``seed`` has no effect."""
        from hybrid_ray.estimators.models.neighbours import NeighbourClassifier, NeighbourRegressor

        own = typed(params, KNNParams)
        if is_regression(cls.name, cls.tags, task):
            return NeighbourRegressor(n_neighbors=own.n_neighbors, weights=own.weights, metric=own.metric)
        return NeighbourClassifier(
            n_neighbors=own.n_neighbors, weights=own.weights, metric=own.metric, smoothing=own.smoothing
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Neighbours, their weights and the metric."""
        return {
            "n_neighbors": trial.suggest_int("n_neighbors", 1, 200, log=True),
            "weights": trial.suggest_categorical("weights", ("uniform", "distance")),
            "metric": trial.suggest_categorical("metric", ("euclidean", "cosine")),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """By angle for wide features, by distance for clean classes, and many neighbours for noisy labels."""
        return [
            {"n_neighbors": 15, "weights": "uniform", "metric": "cosine"},
            {"n_neighbors": 15, "weights": "distance", "metric": "euclidean"},
            {"n_neighbors": 40, "weights": "uniform", "metric": "cosine"},
        ]
