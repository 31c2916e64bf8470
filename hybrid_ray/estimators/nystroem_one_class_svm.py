"""One-class support vector machines for many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags
from hybrid_ray.estimators.detectors import ANOMALY
from hybrid_ray.estimators.one_class_svm import RegionFamily, RegionParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


class NystroemOneClassSVMParams(RegionParams):
    """Parameters of :class:`NystroemOneClassSVM`."""

    n_landmarks: int = Field(200, ge=2, le=5000)
    """Training rows that the kernel is measured from; never more than there are."""


@ESTIMATORS.register("nystroem_one_class_svm")
class NystroemOneClassSVM(RegionFamily):
    """A one-class machine on landmarks, fitted by stochastic gradients."""

    tags = EstimatorTags(tasks=ANOMALY, scaled=True, copies=4.0, columns=200, effort=Effort(0.1, 0.05))
    Params = NystroemOneClassSVMParams

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The machine."""
        from hybrid_ray.estimators.models.one_class import OneClassLandmarkDetector

        return OneClassLandmarkDetector

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few landmarks."""
        yield NystroemOneClassSVMParams(n_landmarks=40)
