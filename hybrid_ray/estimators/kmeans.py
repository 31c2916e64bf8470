"""k-means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.clusters import ClustererFamily, ClustersParams, cluster_starts, suggest_clusters
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class KMeansParams(ClustersParams):
    """Parameters of :class:`KMeans`."""

    n_init: int = Field(10, ge=1, le=1000)
    """Starts, of which the one with the nearest centres is kept."""


@ESTIMATORS.register("kmeans")
class KMeans(ClustererFamily):
    """Each row to the nearest of some centres, which are the means of their rows; by mini-batches for many rows."""

    tags = EstimatorTags(tasks=CLUSTERING, scaled=True, copies=4.0, columns=50, effort=Effort(0.05, 0.1))
    Params = KMeansParams

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """As many clusters as the rows have."""
        yield KMeansParams(n_clusters=3, n_init=3)

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.clusterers import CentredClusterer

        return CentredClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The number of clusters."""
        return suggest_clusters(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling number of clusters, few and many."""
        return cluster_starts({})
