"""What families of detectors share: they learn what normal rows are like, and say how far from it a row is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hybrid_ray.estimators.base import EstimatorTags, Model
from hybrid_ray.estimators.common import OwnFamily, check_task, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator
    from hybrid_ray.estimators.models.detector import OwnDetector

ANOMALY = frozenset[Task]({"anomaly"})


class DetectorParams(PluginParams):
    """Parameters of every detector."""

    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Share of normal rows that may be as far out as a row of which 0.5 is said."""


class DetectorFamily(OwnFamily):
    """A family of detectors: given normal rows only, models answer as classifiers of normal and anomalous do.

    Its ``Params`` are the keyword parameters of its detector, but for ``random_state``.
    """

    tags: ClassVar[EstimatorTags] = EstimatorTags(tasks=ANOMALY, scaled=True)
    Params: ClassVar[type[PluginParams]]

    @classmethod
    @abstractmethod
    def detector(cls) -> type[OwnDetector]:
        """The class that ``build`` builds; imported here, so that naming a family imports no scikit-learn."""

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The detector."""
        return (cls.detector(),)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted detector; ``seed`` draws the inner folds that its scores are made comparable on."""
        check_task(cls.name, cls.tags, task)
        model: OwnDetector = cls.detector()(**typed(params, cls.Params).model_dump(), random_state=seed)
        return model
