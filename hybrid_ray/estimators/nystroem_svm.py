"""Support vector machines on landmarks, for more rows than a kernel matrix holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import ClassWeight, OwnFamily, is_regression, suggest_class_weight, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

MAX_LANDMARKS = 1024


class NystroemSVMParams(PluginParams):
    """Parameters of :class:`NystroemSVM`."""

    C: float = Field(1.0, gt=0, le=1e6)
    """Inverse of the penalty's strength."""
    gamma: float = Field(1.0, gt=0, le=1e4)
    """Width of the rbf kernel, relative to 1 / (total variance of the columns)."""
    n_landmarks: int = Field(300, ge=2, le=MAX_LANDMARKS)
    """Training rows that the kernel is measured from."""
    epsilon: float = Field(0.1, ge=0, le=10)
    """Regression only: error that costs nothing, in deviations of the target."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    n_folds: int = Field(3, ge=2, le=10)
    """Classes only: inner folds on which probabilities are calibrated."""
    max_iter: int = Field(1000, ge=1, le=1_000_000)
    """Steps of liblinear after which a fit is used as it is."""


@ESTIMATORS.register("nystroem_svm")
class NystroemSVM(OwnFamily):
    """Linear support vector machine on an approximated rbf kernel; its cost grows with the rows, not their square."""

    tags = EstimatorTags(
        tasks=BOTH, scaled=True, copies=3.0, columns=2 * MAX_LANDMARKS, max_rows=300_000, effort=Effort(0.02, 0.06)
    )
    Params = NystroemSVMParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.nystroem import LandmarkClassifier, LandmarkRegressor

        return (LandmarkClassifier, LandmarkRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Few landmarks, and more than there are rows."""
        yield NystroemSVMParams(gamma=0.3, n_landmarks=60)
        yield NystroemSVMParams(gamma=0.3, n_landmarks=500)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted machine; ``seed`` draws the landmarks and the inner folds."""
        from hybrid_ray.estimators.models.nystroem import LandmarkClassifier, LandmarkRegressor

        own = typed(params, NystroemSVMParams)
        if is_regression(cls.name, cls.tags, task):
            return LandmarkRegressor(
                C=own.C,
                gamma=own.gamma,
                epsilon=own.epsilon,
                n_landmarks=own.n_landmarks,
                max_iter=own.max_iter,
                random_state=seed,
            )
        return LandmarkClassifier(
            C=own.C,
            gamma=own.gamma,
            n_landmarks=own.n_landmarks,
            class_weight=own.class_weight,
            n_folds=own.n_folds,
            max_iter=own.max_iter,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Penalty, width and number of landmarks."""
        point = {
            "C": trial.suggest_float("C", 1e-2, 1e3, log=True),
            "gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True),
            "n_landmarks": trial.suggest_int("n_landmarks", 100, MAX_LANDMARKS, log=True),
        }
        if task == "regression":
            point["epsilon"] = trial.suggest_float("epsilon", 1e-3, 0.5, log=True)
        return point | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling kernel, and a wide one for noisy labels."""
        more = {"epsilon": 0.1} if task == "regression" else {"class_weight": None}
        return [{"C": c, "gamma": gamma, "n_landmarks": 300} | more for c, gamma in ((1.0, 0.3), (1.0, 0.05))]
