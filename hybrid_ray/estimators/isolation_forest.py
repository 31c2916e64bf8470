"""Isolation forests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.detectors import ANOMALY, DetectorFamily, DetectorParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


class IsolationForestParams(DetectorParams):
    """Parameters of :class:`IsolationForest`."""

    n_estimators: int = Field(200, ge=1, le=5000)
    """Number of trees."""
    max_samples: int = Field(256, ge=2, le=100_000)
    """Rows that each tree is grown on; never more than there are."""


@ESTIMATORS.register("isolation_forest")
class IsolationForest(DetectorFamily):
    """How few random cuts set a row apart.

    References
    ----------
    Liu, Ting and Zhou, "Isolation forest", ICDM 2008.
    """

    tags = EstimatorTags(tasks=ANOMALY, copies=1.0, effort=Effort(1.0, 0.1))
    Params = IsolationForestParams

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The forest."""
        from hybrid_ray.estimators.models.isolation import IsolationDetector

        return IsolationDetector

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few trees."""
        yield IsolationForestParams(n_estimators=30, max_samples=64)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Rows of a tree: with few of them, anomalies that lie together do not hide each other."""
        return {"max_samples": trial.suggest_int("max_samples", 64, 4096, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """As in the paper, then larger trees."""
        return [{"max_samples": rows} for rows in (256, 2048)]
