"""scikit-learn's histogram gradient boosting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import ClassWeight, OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class HistGradientBoostingParams(PluginParams):
    """Parameters of :class:`HistGradientBoosting`."""

    n_estimators: int = Field(1000, ge=1, le=20_000)
    """Most rounds; fewer for many classes, where a round grows a tree for each."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Share of each tree's step that is taken."""
    max_leaf_nodes: int = Field(15, ge=2, le=4096)
    """Most leaves of a tree."""
    min_samples_leaf: int = Field(20, ge=1, le=100_000)
    """Fewest training rows in a leaf."""
    max_features: float = Field(1.0, gt=0, le=1)
    """Share of features looked at for a split."""
    l2_regularization: float = Field(1.0, ge=0, le=1e6)
    """L2 penalty on the values of leaves."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    patience: int = Field(30, ge=1, le=1000)
    """Rounds without a gain on the held-out rows after which growing stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide the number of rounds."""
    refit_rows: int = Field(3000, ge=0)
    """Up to this many training rows, and a million values, a last fit uses all of them, with the rounds found."""


@ESTIMATORS.register("hist_gradient_boosting")
class HistGradientBoosting(OwnFamily):
    """scikit-learn's histogram gradient boosting; held-out rows decide the number of rounds."""

    tags = EstimatorTags(tasks=BOTH, copies=1.0, effort=Effort(0.2, 0.15))
    Params = HistGradientBoostingParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.hist import HistClassifier, HistRegressor

        return (HistClassifier, HistRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few rounds."""
        yield HistGradientBoostingParams(n_estimators=12, learning_rate=0.4, max_leaf_nodes=6, min_samples_leaf=5)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted model; scikit-learn gives it no thread count, the caller's OpenMP limit holds."""
        from hybrid_ray.estimators.models.hist import HistClassifier, HistRegressor

        own = typed(params, HistGradientBoostingParams)
        if is_regression(cls.name, cls.tags, task):
            return HistRegressor(
                n_estimators=own.n_estimators,
                learning_rate=own.learning_rate,
                max_leaf_nodes=own.max_leaf_nodes,
                min_samples_leaf=own.min_samples_leaf,
                max_features=own.max_features,
                l2_regularization=own.l2_regularization,
                patience=own.patience,
                held_share=own.held_share,
                refit_rows=own.refit_rows,
                random_state=seed,
            )
        return HistClassifier(
            n_estimators=own.n_estimators,
            learning_rate=own.learning_rate,
            max_leaf_nodes=own.max_leaf_nodes,
            min_samples_leaf=own.min_samples_leaf,
            max_features=own.max_features,
            l2_regularization=own.l2_regularization,
            class_weight=own.class_weight,
            patience=own.patience,
            held_share=own.held_share,
            refit_rows=own.refit_rows,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Step, size of trees, and penalties."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, 64, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 3, 100, log=True),
            "max_features": trial.suggest_float("max_features", 0.2, 1.0),
            "l2_regularization": trial.suggest_float("l2_regularization", 1e-2, 100.0, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Small trees first: most tables are small. Many classes learn in larger steps, since each costs a tree."""
        step = 0.1 if task == "multiclass" else 0.05
        return [
            {
                "learning_rate": step,
                "max_leaf_nodes": 8,
                "min_samples_leaf": 20,
                "max_features": 0.5,
                "l2_regularization": 5.0,
            },
            {
                "learning_rate": step,
                "max_leaf_nodes": 31,
                "min_samples_leaf": 10,
                "max_features": 0.5,
                "l2_regularization": 1.0,
            },
        ]
