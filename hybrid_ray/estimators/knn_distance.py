"""Distance to the nearest normal rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_ray.estimators.lof import NeighbourFamily
from hybrid_ray.registry import ESTIMATORS

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


@ESTIMATORS.register("knn_distance")
class KNNDistance(NeighbourFamily):
    """Mean distance to the nearest normal rows.

    References
    ----------
    Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000.
    """

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The detector."""
        from hybrid_ray.estimators.models.nearness import NeighbourDistanceDetector

        return NeighbourDistanceDetector
