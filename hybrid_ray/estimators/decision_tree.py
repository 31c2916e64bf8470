"""Single decision trees."""

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


class DecisionTreeParams(PluginParams):
    """Parameters of :class:`DecisionTree`."""

    max_depth: int | None = Field(None, ge=1, le=64)
    """Most splits from the root to a leaf; left out, no limit."""
    min_samples_leaf: int = Field(5, ge=1, le=10_000)
    """Fewest training rows in a leaf."""
    pruning: float = Field(0.0, ge=0, le=1)
    """Gain of impurity, as a share of the root's, below which a branch is cut."""
    smoothing: float = Field(1.0, ge=0, le=1000)
    """Classes only: rows of the overall class shares that every leaf is given beside its own."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""


@ESTIMATORS.register("decision_tree")
class DecisionTree(OwnFamily):
    """One tree: readable, quick to apply, and weaker than many."""

    Params = DecisionTreeParams
    tags = EstimatorTags(tasks=BOTH, copies=1.0, max_rows=1_000_000, effort=Effort(0.003, 0.02))

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.tree import TreeClassifier, TreeRegressor

        return (TreeClassifier, TreeRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A plain tree, and one that is limited in each way."""
        yield DecisionTreeParams()
        yield DecisionTreeParams(max_depth=4, pruning=0.005, smoothing=0.0 if task == "regression" else 3.0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted tree; it grows on one thread."""
        from hybrid_ray.estimators.models.tree import TreeClassifier, TreeRegressor

        own = typed(params, DecisionTreeParams)
        if is_regression(cls.name, cls.tags, task):
            return TreeRegressor(
                max_depth=own.max_depth,
                min_samples_leaf=own.min_samples_leaf,
                pruning=own.pruning,
                random_state=seed,
            )
        return TreeClassifier(
            max_depth=own.max_depth,
            min_samples_leaf=own.min_samples_leaf,
            pruning=own.pruning,
            smoothing=own.smoothing,
            class_weight=own.class_weight,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How far the tree grows, and how much is cut back."""
        point: dict[str, Any] = {
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 100, log=True),
            "pruning": trial.suggest_float("pruning", 1e-5, 3e-2, log=True),
        }
        if task != "regression":
            point["smoothing"] = trial.suggest_float("smoothing", 0.3, 30.0, log=True)
        return point | suggest_class_weight(trial, task)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Small for noisy labels, large for clean ones."""
        starts = ({"min_samples_leaf": 20, "pruning": 1e-3}, {"min_samples_leaf": 2, "pruning": 1e-4})
        more = {} if task == "regression" else {"smoothing": 3.0, "class_weight": None}
        return [start | more for start in starts]
