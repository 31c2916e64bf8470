"""One-class support vector machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.common import GRAM_ROWS
from hybrid_ray.estimators.detectors import ANOMALY, DetectorFamily, DetectorParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


class RegionParams(DetectorParams):
    """Parameters of a region that holds most normal rows."""

    nu: float = Field(0.05, gt=0, lt=1)
    """Share of normal rows that may lie outside."""
    gamma: float = Field(0.3, gt=0, le=1e4)
    """Width of the rbf kernel, relative to 1 / (total variance of the columns)."""


class OneClassSVMParams(RegionParams):
    """Parameters of :class:`OneClassSVM`."""

    max_iter: int = Field(100_000, ge=1, le=10_000_000)
    """Steps of libsvm after which a fit is used as it is."""


class RegionFamily(DetectorFamily):
    """What one-class machines share: their search."""

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Rows outside, and the width of the kernel."""
        return {
            "nu": trial.suggest_float("nu", 0.005, 0.5, log=True),
            "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A wide kernel, then a narrow one."""
        return [{"nu": 0.05, "gamma": gamma} for gamma in (0.3, 2.0)]


@ESTIMATORS.register("one_class_svm")
class OneClassSVM(RegionFamily):
    """How far outside the region of normal rows a row is.

    References
    ----------
    Schölkopf et al., "Estimating the support of a high-dimensional distribution", Neural Computation 13, 2001.
    """

    tags = EstimatorTags(tasks=ANOMALY, scaled=True, copies=6.0, max_rows=GRAM_ROWS, effort=Effort(0.05, 0.3))
    Params = OneClassSVMParams

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The machine."""
        from hybrid_ray.estimators.models.one_class import OneClassKernelDetector

        return OneClassKernelDetector
