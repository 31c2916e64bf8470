"""Local outlier factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.detectors import ANOMALY, DetectorFamily, DetectorParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


class NeighbourParams(DetectorParams):
    """Parameters of a detector that looks at neighbours."""

    n_neighbors: int = Field(20, ge=1, le=10_000)
    """Neighbours asked; never more than there are."""


class NeighbourFamily(DetectorFamily):
    """What detectors by neighbours share."""

    tags = EstimatorTags(tasks=ANOMALY, scaled=True, copies=2.0, max_rows=20_000, effort=Effort(0.05, 0.2))
    Params = NeighbourParams

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many neighbours."""
        return {"n_neighbors": trial.suggest_int("n_neighbors", 3, 200, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Few, then many."""
        return [{"n_neighbors": n} for n in (20, 100)]


@ESTIMATORS.register("lof")
class LOF(NeighbourFamily):
    """How much thinner normal rows lie around a row than around its neighbours.

    References
    ----------
    Breunig, Kriegel, Ng and Sander, "LOF: identifying density-based local outliers", SIGMOD 2000.
    """

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The detector."""
        from hybrid_ray.estimators.models.nearness import LocalOutlierDetector

        return LocalOutlierDetector
