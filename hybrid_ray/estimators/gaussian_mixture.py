"""Mixtures of normal distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.clusters import ClustererFamily, ClustersParams, cluster_starts, suggest_clusters
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

Shape = Literal["spherical", "diag", "tied", "full"]
_SHAPES: tuple[Shape, ...] = ("diag", "tied", "full", "spherical")


class GaussianMixtureParams(ClustersParams):
    """Parameters of :class:`GaussianMixture`."""

    covariance: Shape = "diag"
    """Shape of a cluster. spherical: balls, each of its size; diag: stretched along the columns; tied: any shape, one
    for all; full: any shape each, which takes a square of the columns in parameters for each cluster."""
    regularisation: float = Field(0.01, gt=0, le=10)
    """Added to every variance, in units of the mean variance of the columns: no cluster can shrink to a point."""
    n_init: int = Field(2, ge=1, le=100)
    """Starts, of which the most likely fit is kept."""


@ESTIMATORS.register("gaussian_mixture")
class GaussianMixture(ClustererFamily):
    """Rows as if drawn from several normal distributions; memberships are posterior probabilities."""

    tags = EstimatorTags(tasks=CLUSTERING, copies=6.0, columns=100, max_rows=200_000, effort=Effort(0.1, 0.5))
    Params = GaussianMixtureParams

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Every shape."""
        for shape in _SHAPES:
            yield GaussianMixtureParams(n_clusters=3, covariance=shape)

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.clusterers import MixtureClusterer

        return MixtureClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The number of clusters, their shape, and how thin they may be."""
        return suggest_clusters(trial) | {
            "covariance": trial.suggest_categorical("covariance", _SHAPES),
            "regularisation": trial.suggest_float("regularisation", 1e-3, 0.3, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Clusters along the columns first; then of any shape."""
        return cluster_starts(
            {"covariance": "diag", "regularisation": 0.01},
            {"covariance": "full", "regularisation": 0.05},
            {"covariance": "tied", "regularisation": 0.01},
        )
