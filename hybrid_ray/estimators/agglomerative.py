"""Hierarchical clustering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.clusters import (
    PAIRED_ROWS,
    ClustererFamily,
    ClustersParams,
    cluster_starts,
    suggest_clusters,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class AgglomerativeParams(ClustersParams):
    """Parameters of :class:`Agglomerative`."""

    linkage: Literal["ward", "average", "complete"] = "ward"
    """Which two clusters are merged. ward: those whose variance grows least; average, complete: those whose rows are
    nearest in the mean, or at most."""


@ESTIMATORS.register("agglomerative")
class Agglomerative(ClustererFamily):
    """Single rows are clusters, the nearest two merged until so many are left; new rows go with their neighbours."""

    tags = EstimatorTags(
        tasks=CLUSTERING, scaled=True, copies=3.0, pairs=PAIRED_ROWS, max_rows=PAIRED_ROWS, effort=Effort(0.01, 0.1)
    )
    Params = AgglomerativeParams
    seeded = False

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Two linkages."""
        yield AgglomerativeParams(n_clusters=3)
        yield AgglomerativeParams(n_clusters=3, linkage="average")

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.nearby import MergedClusterer

        return MergedClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The number of clusters and the linkage."""
        return suggest_clusters(trial) | {"linkage": trial.suggest_categorical("linkage", ("ward", "average"))}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Ward's linkage, which makes clusters of like sizes, first."""
        return cluster_starts({"linkage": "ward"}, {"linkage": "average"})
