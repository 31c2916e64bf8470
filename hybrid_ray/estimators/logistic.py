"""Logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import (
    ClassWeight,
    OwnFamily,
    is_regression,
    suggest_class_weight,
    typed,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLASSIFICATION, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


PENALTIES: tuple[float | None, ...] = (None, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0, 10_000.0)
"""What the search tries for C."""


class LogisticParams(PluginParams):
    """Parameters of :class:`Logistic`."""

    C: float | None = Field(None, gt=0, le=1e9)
    """Inverse of the L2 penalty's strength, relative to 1 / (total variance of the features); left out, it is chosen on
    inner folds of the training rows."""
    class_weight: ClassWeight | None = None
    """balanced: every class counts the same, however many rows it has."""
    max_iter: int = Field(1000, ge=1, le=100_000)
    """Iterations of L-BFGS after which a fit is used as it is."""


@ESTIMATORS.register("logistic")
class Logistic(OwnFamily):
    """Multinomial logistic regression with an L2 penalty."""

    tags = EstimatorTags(tasks=CLASSIFICATION, scaled=True, copies=3.0, effort=Effort(0.01, 0.01))
    Params = LogisticParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one model."""
        from hybrid_ray.estimators.models.linear import LinearClassifier

        return (LinearClassifier,)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted classifier; ``seed`` draws the inner folds."""
        from hybrid_ray.estimators.models.linear import LinearClassifier

        own = typed(params, LogisticParams)
        is_regression(cls.name, cls.tags, task)
        return LinearClassifier(C=own.C, class_weight=own.class_weight, max_iter=own.max_iter, random_state=seed)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Penalty and class weight."""
        return {"C": trial.suggest_categorical("C", PENALTIES)} | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """The penalty that held-out rows choose, a weak one for clean classes, and a strong one for noisy features."""
        return [{"C": c, "class_weight": None} for c in (None, 100.0, 1.0)]
