"""Support vector machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import (
    GRAM_ROWS,
    ClassWeight,
    OwnFamily,
    is_regression,
    suggest_class_weight,
    typed,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class SVMParams(PluginParams):
    """Parameters of :class:`SVM`."""

    C: float = Field(1.0, gt=0, le=1e6)
    """Inverse of the penalty's strength."""
    gamma: float = Field(1.0, gt=0, le=1e4)
    """Width of the rbf kernel, relative to 1 / (features * variance)."""
    kernel: Literal["rbf", "linear"] = "rbf"
    """Kernel of the machine."""
    epsilon: float = Field(0.1, ge=0, le=10)
    """Regression only: error that costs nothing, in deviations of the target."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    n_folds: int = Field(3, ge=2, le=10)
    """Classes only: inner folds on which probabilities are calibrated."""
    max_iter: int = Field(100_000, ge=1, le=10_000_000)
    """Steps of libsvm after which a fit is used as it is."""


@ESTIMATORS.register("svm")
class SVM(OwnFamily):
    """Support vector machine; class probabilities are calibrated on inner folds."""

    tags = EstimatorTags(
        tasks=BOTH, scaled=True, copies=6.0, pairs=GRAM_ROWS, max_rows=GRAM_ROWS, effort=Effort(0.01, 0.05)
    )
    Params = SVMParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.kernel import KernelClassifier, KernelRegressor

        return (KernelClassifier, KernelRegressor)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted machine; ``seed`` draws the inner folds."""
        from hybrid_ray.estimators.models.kernel import KernelClassifier, KernelRegressor

        own = typed(params, SVMParams)
        if is_regression(cls.name, cls.tags, task):
            return KernelRegressor(
                C=own.C, gamma=own.gamma, epsilon=own.epsilon, kernel=own.kernel, max_iter=own.max_iter
            )
        return KernelClassifier(
            C=own.C,
            gamma=own.gamma,
            kernel=own.kernel,
            class_weight=own.class_weight,
            n_folds=own.n_folds,
            max_iter=own.max_iter,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Penalty and width of the rbf kernel."""
        point = {
            "C": trial.suggest_float("C", 1e-2, 1e3, log=True),
            "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
        }
        if task == "regression":
            point["epsilon"] = trial.suggest_float("epsilon", 1e-3, 0.5, log=True)
        return point | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling kernel, a wide one for noisy labels, and a narrow one for clean classes."""
        points = ((3.0, 0.3), (10.0, 0.02), (10.0, 1.0))
        if task == "regression":
            return [{"C": c, "gamma": gamma, "epsilon": 0.1} for c, gamma in points]
        return [{"C": c, "gamma": gamma, "class_weight": None} for c, gamma in points]
