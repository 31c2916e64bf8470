"""What principal components of normal rows do not draw again."""

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


class PCAReconstructionParams(DetectorParams):
    """Parameters of :class:`PCAReconstruction`."""

    share: float = Field(0.8, gt=0, lt=1)
    """Share of the variance that the components keep; one component at least, and never all."""
    whiten: bool = False
    """True: each direction that is left counts by its own variance."""


@ESTIMATORS.register("pca_reconstruction")
class PCAReconstruction(DetectorFamily):
    """What is left of a row when it is drawn again from a few principal components: Q, or squared prediction error.

    References
    ----------
    Jackson and Mudholkar, "Control procedures for residuals associated with principal component analysis",
    Technometrics 21, 1979.
    """

    tags = EstimatorTags(tasks=ANOMALY, scaled=True, copies=4.0, effort=Effort(0.02, 0.02))
    Params = PCAReconstructionParams

    @classmethod
    def detector(cls) -> type[OwnDetector]:
        """The detector."""
        from hybrid_ray.estimators.models.distances import ResidualDetector

        return ResidualDetector

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Plain, and whitened."""
        yield PCAReconstructionParams(share=0.5)
        yield PCAReconstructionParams(share=0.3, whiten=True)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many components, and how the rest counts."""
        return {
            "share": trial.suggest_float("share", 0.3, 0.99),
            "whiten": trial.suggest_categorical("whiten", (False, True)),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Four fifths and nine tenths of the variance."""
        return [{"share": share, "whiten": whiten} for share, whiten in ((0.8, False), (0.9, False), (0.8, True))]
