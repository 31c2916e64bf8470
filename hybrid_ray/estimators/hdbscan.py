"""Clusters as regions that are denser than what lies around them, whatever their own density."""

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


class HDBSCANParams(PluginParams):
    """Parameters of :class:`HDBSCAN`."""

    smallest: float = Field(0.02, gt=0, le=1)
    """Share of the rows that a cluster has at least."""
    min_samples: int = Field(5, ge=1, le=10_000)
    """Neighbours by whose distance a row's density is told."""


@ESTIMATORS.register("hdbscan")
class HDBSCAN(ClustererFamily):
    """Clusters that last over many densities; a row of none goes with the nearest row of one.

    How many clusters there are is found, not asked.

    References
    ----------
    Campello, Moulavi and Sander, "Density-based clustering based on hierarchical density estimates", PAKDD 2013.
    """

    tags = EstimatorTags(
        tasks=CLUSTERING, scaled=True, copies=3.0, pairs=PAIRED_ROWS, max_rows=PAIRED_ROWS, effort=Effort(0.02, 0.2)
    )
    Params = HDBSCANParams
    seeded = False

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """As many clusters as the rows have."""
        yield HDBSCANParams(smallest=0.1)

    @classmethod
    def clusterer(cls) -> type[OwnEstimator]:
        """The one clusterer."""
        from hybrid_ray.estimators.models.nearby import LayeredClusterer

        return LayeredClusterer

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The size of the smallest cluster, and how smooth densities are."""
        return {
            "smallest": trial.suggest_float("smallest", 0.005, 0.1, log=True),
            "min_samples": trial.suggest_int("min_samples", 1, 20, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Clusters of a fiftieth of the rows, then smaller and larger ones."""
        return [
            {"smallest": 0.02, "min_samples": 5},
            {"smallest": 0.01, "min_samples": 3},
            {"smallest": 0.05, "min_samples": 5},
        ]
