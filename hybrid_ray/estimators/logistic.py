"""Logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import (
    CLASSIFICATION,
    ClassWeight,
    OwnFamily,
    is_regression,
    suggest_class_weight,
    typed,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class LogisticParams(PluginParams):
    """Parameters of :class:`Logistic`."""

    C: float = Field(3.0, gt=0, le=1e9)
    """Inverse of the L2 penalty's strength, relative to 1 / (total variance of the features)."""
    class_weight: ClassWeight | None = None
    """balanced: every class counts the same, however many rows it has."""
    max_iter: int = Field(1000, ge=1, le=100_000)
    """Iterations of L-BFGS after which a fit is used as it is."""


@ESTIMATORS.register("logistic")
class Logistic(OwnFamily):
    """Multinomial logistic regression with an L2 penalty."""

    tags = EstimatorTags(tasks=CLASSIFICATION, scaled=True, copies=3.0)
    Params = LogisticParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one model."""
        from hybrid_ray.estimators.models.linear import LinearClassifier

        return (LinearClassifier,)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted classifier; the fit draws nothing, so ``seed`` has no effect."""
        from hybrid_ray.estimators.models.linear import LinearClassifier

        own = typed(params, LogisticParams)
        is_regression(cls.name, cls.tags, task)
        return LinearClassifier(C=own.C, class_weight=own.class_weight, max_iter=own.max_iter)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Penalty and class weight."""
        return {"C": trial.suggest_float("C", 1e-2, 1e4, log=True)} | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling penalty, a weak one for clean classes, and a strong one for noisy features."""
        return [{"C": c, "class_weight": None} for c in (3.0, 50.0, 0.3)]
