"""AdaBoost."""

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


class AdaBoostParams(PluginParams):
    """Parameters of :class:`AdaBoost`."""

    n_estimators: int = Field(100, ge=1, le=5000)
    """Most trees; boosting ends earlier where nothing is left to learn."""
    max_depth: int = Field(3, ge=1, le=16)
    """Depth of each tree."""
    learning_rate: float = Field(0.5, gt=0, le=10)
    """What each tree's vote is multiplied with."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    n_folds: int = Field(3, ge=2, le=10)
    """Classes only: inner folds on which probabilities are calibrated."""


@ESTIMATORS.register("adaboost")
class AdaBoost(OwnFamily):
    """Small trees, each on rows weighted by how wrong those before it were; probabilities calibrated on inner folds."""

    Params = AdaBoostParams
    tags = EstimatorTags(tasks=BOTH, copies=2.0, max_rows=50_000, effort=Effort(0.3, 2))

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.adaboost import BoostedClassifier, BoostedRegressor

        return (BoostedClassifier, BoostedRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few trees."""
        yield AdaBoostParams(n_estimators=15)
        yield AdaBoostParams(n_estimators=15, max_depth=4 if task == "regression" else 1, learning_rate=1.0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted booster; ``seed`` draws the inner folds, and rows for numbers. It grows on one thread."""
        from hybrid_ray.estimators.models.adaboost import BoostedClassifier, BoostedRegressor

        own = typed(params, AdaBoostParams)
        if is_regression(cls.name, cls.tags, task):
            return BoostedRegressor(
                n_estimators=own.n_estimators,
                max_depth=own.max_depth,
                learning_rate=own.learning_rate,
                random_state=seed,
            )
        return BoostedClassifier(
            n_estimators=own.n_estimators,
            max_depth=own.max_depth,
            learning_rate=own.learning_rate,
            class_weight=own.class_weight,
            n_folds=own.n_folds,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many trees, how large, and how much each says."""
        return {
            "n_estimators": trial.suggest_int("n_estimators", 30, 300, log=True),
            "max_depth": trial.suggest_int("max_depth", 1, 8),
            "learning_rate": trial.suggest_float("learning_rate", 0.05, 2.0, log=True),
        } | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Small trees that say little each, then larger ones."""
        more = {} if task == "regression" else {"class_weight": None}
        depths = (5, 8) if task == "regression" else (2, 4)
        return [{"n_estimators": 100, "max_depth": depth, "learning_rate": 0.5} | more for depth in depths]
