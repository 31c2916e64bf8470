"""Spectral clustering."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

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


class SpectralParams(ClustersParams):
    """Parameters of :class:`Spectral`."""

    n_neighbors: int = Field(10, ge=2, le=1000)
    """Nearest rows that a row is joined with; never more than there are rows."""


@ESTIMATORS.register("spectral")
class Spectral(ClustererFamily):
    """The graph of nearest neighbours, cut where few edges are; new rows go with their neighbours.

    References
    ----------
    Shi and Malik, "Normalized cuts and image segmentation", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 2000; Damle, Minden and Ying, "Simple, direct and efficient multi-way spectral clustering", Information
    and Inference 2019.
    """

    tags = EstimatorTags(
        tasks=CLUSTERING, scaled=True, copies=3.0, pairs=PAIRED_ROWS, max_rows=PAIRED_ROWS, effort=Effort(0.05, 0.3)
    )
    Params = SpectralParams

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """As many clusters as the rows have."""
        yield SpectralParams(n_clusters=3)

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.nearby import SpectralClusterer

        return SpectralClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The number of clusters, and of neighbours."""
        return suggest_clusters(trial) | {"n_neighbors": trial.suggest_int("n_neighbors", 5, 50, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Few neighbours first: the graph then follows curved clusters."""
        return cluster_starts({"n_neighbors": 10}, {"n_neighbors": 25})
