"""Extremely randomised trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hybrid_ray.estimators.base import Effort
from hybrid_ray.estimators.random_forest import ForestFamily
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Task


@ESTIMATORS.register("extra_trees")
class ExtraTrees(ForestFamily):
    """Trees on all rows, each split the best of random thresholds: one a feature."""

    tags = replace(ForestFamily.tags, effort=Effort(0.15, 0.2))
    extra = True

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Pruned for noisy labels, full-grown for clean ones."""
        if task == "regression":
            return [{"features_per_split": 2.0, "min_samples_leaf": leaf} for leaf in (4, 1)]
        points = ((1.0, 4), (3.0, 1))
        return [{"features_per_split": f, "min_samples_leaf": leaf, "class_weight": None} for f, leaf in points]
