"""Distance from the middle of normal rows, by their covariance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hybrid_ray.estimators.base import Effort, EstimatorTags, Trial
from hybrid_ray.estimators.detectors import ANOMALY, DetectorFamily, DetectorParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.detector import OwnDetector


class MahalanobisParams(DetectorParams):
    """Parameters of :class:`Mahalanobis`."""

    robust: bool = False
    """True: by the covariance of the most compact half of the rows, where there are five rows a column, no more than 64
    columns, and each varies; False: by that of all, shrunk."""


@ESTIMATORS.register("mahalanobis")
class Mahalanobis(DetectorFamily):
    """Mahalanobis distance from the middle of normal rows: Hotelling's T².

    References
    ----------
    Hotelling, "Multivariate quality control", 1947; Rousseeuw and Van Driessen, "A fast algorithm for the minimum
    covariance determinant estimator", Technometrics 41, 1999; Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004.
    """

    tags = EstimatorTags(tasks=ANOMALY, scaled=True, copies=4.0, effort=Effort(0.05, 0.02))
    Params = MahalanobisParams

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The detector."""
        from hybrid_ray.estimators.models.distances import CovarianceDetector

        return CovarianceDetector

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Both covariances."""
        yield MahalanobisParams()
        yield MahalanobisParams(robust=True)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Which covariance."""
        return {"robust": trial.suggest_categorical("robust", (False, True))}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """That of all rows first."""
        return [{"robust": robust} for robust in (False, True)]
