"""k-means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.clusters import ClustersParams, cluster_starts, suggest_clusters
from hybrid_ray.estimators.common import OwnFamily, check_task, typed
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
class KMeans(OwnFamily):
    """Each row to the nearest of some centres, which are the means of their rows; by mini-batches for many rows."""

    tags = EstimatorTags(tasks=CLUSTERING, scaled=True, copies=4.0, columns=50, effort=Effort(0.05, 0.1))
    Params = KMeansParams

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """As many clusters as the rows have."""
        yield KMeansParams(n_clusters=3, n_init=3)

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.clusterers import CentredClusterer

        return (CentredClusterer,)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted clusterer."""
        from hybrid_ray.estimators.models.clusterers import CentredClusterer

        check_task(cls.name, cls.tags, task)
        own = typed(params, KMeansParams)
        return CentredClusterer(n_clusters=own.n_clusters, n_init=own.n_init, random_state=seed)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The number of clusters."""
        return suggest_clusters(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling number of clusters, few and many."""
        return cluster_starts({})
