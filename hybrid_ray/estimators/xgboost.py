"""XGBoost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import ClassWeight, OwnFamily, is_regression, typed
from hybrid_ray.estimators.streaming import RowStream, Team
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class XGBoostParams(PluginParams):
    """Parameters of :class:`XGBoost`."""

    n_estimators: int = Field(1000, ge=1, le=20_000)
    """Most rounds; fewer for many classes, where a round grows a tree for each."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Share of each tree's step that is taken."""
    max_depth: int = Field(5, ge=1, le=16)
    """Depth of a tree."""
    min_child_weight: float = Field(1.0, ge=0, le=1e5)
    """Least sum of second derivatives in a leaf."""
    subsample: float = Field(0.8, gt=0, le=1)
    """Share of rows that a tree sees."""
    colsample_bytree: float = Field(0.8, gt=0, le=1)
    """Share of features that a tree sees."""
    reg_lambda: float = Field(1.0, ge=0, le=1e6)
    """L2 penalty on the values of leaves."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it is fitted; a saved model always answers on the CPU."""
    patience: int = Field(40, ge=1, le=1000)
    """Rounds without a gain on the held-out rows after which growing stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide the number of rounds."""
    refit_rows: int = Field(3000, ge=0)
    """Up to this many training rows, and a million values, a last fit uses all of them, with the rounds found."""


@ESTIMATORS.register("xgboost")
class XGBoost(OwnFamily):
    """Gradient boosting by XGBoost; held-out rows decide the number of rounds."""

    tags = EstimatorTags(tasks=BOTH, copies=2.0, streams="xgboost", effort=Effort(0.15, 0.08))
    Params = XGBoostParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.xgb import XGBoostClassifier, XGBoostRegressor

        return (XGBoostClassifier, XGBoostRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few rounds, with and without a last fit on all rows."""
        yield XGBoostParams(n_estimators=20, learning_rate=0.3)
        yield XGBoostParams(n_estimators=20, learning_rate=0.3, refit_rows=0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted model that trains on ``threads`` threads."""
        from hybrid_ray.estimators.models.xgb import XGBoostClassifier, XGBoostRegressor

        own = typed(params, XGBoostParams)
        if is_regression(cls.name, cls.tags, task):
            return XGBoostRegressor(
                n_estimators=own.n_estimators,
                learning_rate=own.learning_rate,
                max_depth=own.max_depth,
                min_child_weight=own.min_child_weight,
                subsample=own.subsample,
                colsample_bytree=own.colsample_bytree,
                reg_lambda=own.reg_lambda,
                device=own.device,
                patience=own.patience,
                held_share=own.held_share,
                refit_rows=own.refit_rows,
                n_jobs=threads,
                random_state=seed,
            )
        return XGBoostClassifier(
            n_estimators=own.n_estimators,
            learning_rate=own.learning_rate,
            max_depth=own.max_depth,
            min_child_weight=own.min_child_weight,
            subsample=own.subsample,
            colsample_bytree=own.colsample_bytree,
            reg_lambda=own.reg_lambda,
            class_weight=own.class_weight,
            device=own.device,
            patience=own.patience,
            held_share=own.held_share,
            refit_rows=own.refit_rows,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def fit_stream(cls, model: Model, stream: RowStream, team: Team) -> Model:
        """The same model on a stream of rows, with the rounds that a sample's held-out rows decided."""
        from hybrid_ray.estimators.models.streamed import fit_on_stream
        from hybrid_ray.estimators.models.xgb import XGBoostClassifier, XGBoostRegressor

        if not isinstance(model, XGBoostClassifier | XGBoostRegressor):
            raise TypeError(f"{cls.name}: a model to fit again must be one that the family built; got {type(model)}")
        return fit_on_stream(model, stream, team)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Step, size of trees, sampling and penalties."""
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "max_depth": trial.suggest_int("max_depth", 2, 8),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.3, 30.0, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-2, 100.0, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Shallow trees first: most tables are small. Many classes learn in larger steps, since each costs a tree."""
        step = 0.1 if task == "multiclass" else 0.05
        return [
            {
                "learning_rate": step,
                "max_depth": 3,
                "min_child_weight": 5.0,
                "subsample": 0.7,
                "colsample_bytree": 0.5,
                "reg_lambda": 5.0,
            },
            {
                "learning_rate": step,
                "max_depth": 6,
                "min_child_weight": 1.0,
                "subsample": 0.8,
                "colsample_bytree": 0.5,
                "reg_lambda": 1.0,
            },
        ]
