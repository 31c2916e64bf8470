"""LightGBM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import ClassWeight, OwnFamily, is_regression, typed
from hybrid_ray.estimators.streaming import RowStream, Team
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class LightGBMParams(PluginParams):
    """Parameters of :class:`LightGBM`."""

    n_estimators: int = Field(1000, ge=1, le=20_000)
    """Most rounds; fewer for many classes, where a round grows a tree for each."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Share of each tree's step that is taken."""
    num_leaves: int = Field(15, ge=2, le=4096)
    """Most leaves of a tree."""
    min_child_samples: int = Field(20, ge=1, le=100_000)
    """Fewest training rows in a leaf."""
    subsample: float = Field(0.8, gt=0, le=1)
    """Share of rows that a tree sees."""
    colsample_bytree: float = Field(0.8, gt=0, le=1)
    """Share of features that a tree sees."""
    reg_lambda: float = Field(1.0, ge=0, le=1e6)
    """L2 penalty on the values of leaves."""
    extra_trees: bool = False
    """True: one random threshold a feature is looked at."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    patience: int = Field(40, ge=1, le=1000)
    """Rounds without a gain on the held-out rows after which growing stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide the number of rounds."""
    refit_rows: int = Field(3000, ge=0)
    """Up to this many training rows, and a million values, a last fit uses all of them, with the rounds found."""


@ESTIMATORS.register("lightgbm")
class LightGBM(OwnFamily):
    """Gradient boosting by LightGBM; held-out rows decide the number of rounds."""

    tags = EstimatorTags(tasks=BOTH, copies=2.0, streams="lightgbm", effort=Effort(0.1, 0.05))
    Params = LightGBMParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor

        return (LightGBMClassifier, LightGBMRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few rounds, with and without a last fit on all rows."""
        yield LightGBMParams(n_estimators=20, learning_rate=0.3, min_child_samples=5)
        yield LightGBMParams(n_estimators=20, learning_rate=0.3, min_child_samples=5, refit_rows=0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted model that trains on ``threads`` threads."""
        from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor

        own = typed(params, LightGBMParams)
        if is_regression(cls.name, cls.tags, task):
            return LightGBMRegressor(
                n_estimators=own.n_estimators,
                learning_rate=own.learning_rate,
                num_leaves=own.num_leaves,
                min_child_samples=own.min_child_samples,
                subsample=own.subsample,
                colsample_bytree=own.colsample_bytree,
                reg_lambda=own.reg_lambda,
                extra_trees=own.extra_trees,
                patience=own.patience,
                held_share=own.held_share,
                refit_rows=own.refit_rows,
                n_jobs=threads,
                random_state=seed,
            )
        return LightGBMClassifier(
            n_estimators=own.n_estimators,
            learning_rate=own.learning_rate,
            num_leaves=own.num_leaves,
            min_child_samples=own.min_child_samples,
            subsample=own.subsample,
            colsample_bytree=own.colsample_bytree,
            reg_lambda=own.reg_lambda,
            extra_trees=own.extra_trees,
            class_weight=own.class_weight,
            patience=own.patience,
            held_share=own.held_share,
            refit_rows=own.refit_rows,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def fit_stream(cls, model: Model, stream: RowStream, team: Team) -> Model:
        """The same model on a stream of rows, with the rounds that a sample's held-out rows decided."""
        from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor
        from hybrid_ray.estimators.models.streamed import fit_on_stream

        if not isinstance(model, LightGBMClassifier | LightGBMRegressor):
            raise TypeError(f"{cls.name}: a model to fit again must be one that the family built; got {type(model)}")
        return fit_on_stream(model, stream, team)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Step, size of trees, sampling and penalties."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 64, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 3, 100, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-2, 100.0, log=True),
            "extra_trees": trial.suggest_categorical("extra_trees", (False, True)),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Small trees first: most tables are small. Many classes learn in larger steps, since each costs a tree."""
        step = 0.1 if task == "multiclass" else 0.05
        return [
            {
                "learning_rate": step,
                "num_leaves": 8,
                "min_child_samples": 20,
                "subsample": 0.7,
                "colsample_bytree": 0.5,
                "reg_lambda": 5.0,
                "extra_trees": False,
            },
            {
                "learning_rate": step,
                "num_leaves": 31,
                "min_child_samples": 10,
                "subsample": 0.8,
                "colsample_bytree": 0.5,
                "reg_lambda": 1.0,
                "extra_trees": True,
            },
        ]
