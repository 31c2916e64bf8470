"""Random forests."""

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


class ForestParams(PluginParams):
    """Parameters of a forest."""

    n_estimators: int = Field(200, ge=1, le=5000)
    """Number of trees."""
    features_per_split: float = Field(1.0, gt=0, le=100)
    """Features looked at for a split, relative to the square root of their number; never more than there are."""
    min_samples_leaf: int = Field(1, ge=1, le=10_000)
    """Fewest training rows in a leaf."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""


class ForestFamily(OwnFamily):
    """What random forests and extremely randomised trees share."""

    extra: bool
    Params = ForestParams
    tags = EstimatorTags(tasks=BOTH, copies=1.0, max_rows=300_000, effort=Effort(0.2, 0.4))

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.forest import ForestClassifier, ForestRegressor

        return (ForestClassifier, ForestRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few trees."""
        yield ForestParams(n_estimators=20, min_samples_leaf=2)
        if task != "regression":
            yield ForestParams(n_estimators=5, class_weight="balanced")

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted forest that grows its trees on ``threads`` threads."""
        from hybrid_ray.estimators.models.forest import ForestClassifier, ForestRegressor

        own = typed(params, ForestParams)
        if is_regression(cls.name, cls.tags, task):
            return ForestRegressor(
                extra=cls.extra,
                n_estimators=own.n_estimators,
                features_per_split=own.features_per_split,
                min_samples_leaf=own.min_samples_leaf,
                n_jobs=threads,
                random_state=seed,
            )
        return ForestClassifier(
            extra=cls.extra,
            n_estimators=own.n_estimators,
            features_per_split=own.features_per_split,
            min_samples_leaf=own.min_samples_leaf,
            class_weight=own.class_weight,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How much trees differ, and how far they grow."""
        return {
            "features_per_split": trial.suggest_float("features_per_split", 0.5, 4.0, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 30, log=True),
        } | suggest_class_weight(trial, task)


@ESTIMATORS.register("random_forest")
class RandomForest(ForestFamily):
    """Trees on bootstrap samples, each split the best of some features."""

    extra = False

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Lightly pruned, full-grown for clean classes, and pruned for noisy labels."""
        if task == "regression":
            return [{"features_per_split": 2.0, "min_samples_leaf": leaf} for leaf in (1, 5)]
        points = ((2.0, 3), (2.0, 1), (1.0, 12))
        return [{"features_per_split": f, "min_samples_leaf": leaf, "class_weight": None} for f, leaf in points]
