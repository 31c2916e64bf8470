"""Clusters as dense regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.clusters import PAIRED_ROWS, ClustererFamily
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class DBSCANParams(PluginParams):
    """Parameters of :class:`DBSCAN`."""

    dense: float = Field(0.7, gt=0, le=1)
    """Share of the rows that are dense. The radius in which ``min_samples`` rows are to be found follows from it, so
    that it fits any space and any number of rows."""
    min_samples: int = Field(5, ge=1, le=10_000)
    """Rows, itself among them, that a dense row has within the radius."""
    smallest: float = Field(0.01, ge=0, le=1)
    """Share of the rows below which a cluster is none."""


@ESTIMATORS.register("dbscan")
class DBSCAN(ClustererFamily):
    """Dense rows, joined where they are within a radius; a row that is not dense goes with the nearest that is.

    There is no cluster of noise: what lies between clusters, or far from all, is told by its silhouette. How many
    clusters there are is found, not asked.

    References
    ----------
    Ester, Kriegel, Sander and Xu, "A density-based algorithm for discovering clusters in large spatial databases with
    noise", KDD 1996.
    """

    tags = EstimatorTags(
        tasks=CLUSTERING, scaled=True, copies=3.0, pairs=PAIRED_ROWS, max_rows=PAIRED_ROWS, effort=Effort(0.01, 0.1)
    )
    Params = DBSCANParams
    seeded = False

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Few rows dense, and most."""
        yield DBSCANParams(dense=0.6)
        yield DBSCANParams(dense=0.9, min_samples=3)

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.nearby import DenseClusterer

        return DenseClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many rows are dense, and among how many."""
        return {
            "dense": trial.suggest_float("dense", 0.1, 0.95),
            "min_samples": trial.suggest_int("min_samples", 3, 30, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Most rows dense, then a half, then few."""
        return [
            {"dense": 0.7, "min_samples": 5},
            {"dense": 0.5, "min_samples": 5},
            {"dense": 0.3, "min_samples": 5},
        ]
