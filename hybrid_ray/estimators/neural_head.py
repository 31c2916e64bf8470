"""Neural heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import ClassWeight, OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

OPTIMIZERS = ("adamw", "adam", "rmsprop", "adagrad", "sgd")
SCHEDULES = ("cosine", "exponential", "step", "plateau", "constant")


class NeuralHeadParams(PluginParams):
    """Parameters of :class:`NeuralHead`."""

    hidden: int = Field(128, ge=1, le=4096)
    """Width of each hidden layer."""
    depth: int = Field(2, ge=1, le=8)
    """Number of hidden layers."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of hidden units left out of each step."""
    batch_norm: bool = True
    """Normalise hidden units by each batch, and by running means at prediction."""
    optimizer: Literal["adamw", "adam", "rmsprop", "adagrad", "sgd"] = "adamw"
    """How steps are taken; sgd: with Nesterov's momentum of 0.9."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Learning rate that training starts with."""
    weight_decay: float = Field(1e-4, ge=0, le=10)
    """Strength of the penalty on weights."""
    schedule: Literal["cosine", "exponential", "step", "plateau", "constant"] = "cosine"
    """How the learning rate falls; plateau: when held-out rows get no better."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Classes only: share of the target spread over all classes."""
    batch_size: int = Field(64, ge=2, le=8192)
    """Rows of one step."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    max_epochs: int = Field(60, ge=1, le=5000)
    """Most passes over the training rows."""
    patience: int = Field(10, ge=1, le=1000)
    """Epochs without a gain on the held-out rows after which training stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide when to stop."""


@ESTIMATORS.register("neural_head")
class NeuralHead(OwnFamily):
    """Deep network on the features, with dropout, batch normalisation, and a falling learning rate."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=3.0, max_rows=500_000, effort=Effort(0.2, 0.3))
    Params = NeuralHeadParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.head import HeadClassifier, HeadRegressor

        return (HeadClassifier, HeadRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Small heads: a normalised one, and one of a single layer whose rate falls at a plateau."""
        yield NeuralHeadParams(hidden=24, learning_rate=2e-2, max_epochs=10, batch_size=16)
        yield NeuralHeadParams(
            hidden=16,
            depth=1,
            dropout=0.0,
            batch_norm=False,
            optimizer="sgd",
            schedule="plateau",
            learning_rate=5e-2,
            max_epochs=10,
            batch_size=16,
        )

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted head that is trained on ``threads`` threads; ``seed`` draws weights, batches and the hold-out."""
        from hybrid_ray.estimators.models.head import HeadClassifier, HeadRegressor

        own = typed(params, NeuralHeadParams)
        if is_regression(cls.name, cls.tags, task):
            return HeadRegressor(
                hidden=own.hidden,
                depth=own.depth,
                dropout=own.dropout,
                batch_norm=own.batch_norm,
                optimizer=own.optimizer,
                learning_rate=own.learning_rate,
                weight_decay=own.weight_decay,
                schedule=own.schedule,
                batch_size=own.batch_size,
                max_epochs=own.max_epochs,
                patience=own.patience,
                held_share=own.held_share,
                n_jobs=threads,
                random_state=seed,
            )
        return HeadClassifier(
            hidden=own.hidden,
            depth=own.depth,
            dropout=own.dropout,
            batch_norm=own.batch_norm,
            optimizer=own.optimizer,
            learning_rate=own.learning_rate,
            weight_decay=own.weight_decay,
            schedule=own.schedule,
            label_smoothing=own.label_smoothing,
            batch_size=own.batch_size,
            class_weight=own.class_weight,
            max_epochs=own.max_epochs,
            patience=own.patience,
            held_share=own.held_share,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Size, regularisation, and how it is trained."""
        point = {
            "hidden": trial.suggest_int("hidden", 32, 512, log=True),
            "depth": trial.suggest_int("depth", 1, 3),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "batch_norm": trial.suggest_categorical("batch_norm", (True, False)),
            "optimizer": trial.suggest_categorical("optimizer", OPTIMIZERS),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
            "schedule": trial.suggest_categorical("schedule", SCHEDULES),
        }
        if task != "regression":
            point["label_smoothing"] = trial.suggest_float("label_smoothing", 0.0, 0.2)
        return point

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling head with much dropout, then a small one."""
        more = {} if task == "regression" else {"label_smoothing": 0.0}
        common = {"batch_norm": True, "optimizer": "adamw", "learning_rate": 2e-3, "schedule": "cosine"}
        sizes = (
            {"hidden": 256, "depth": 2, "dropout": 0.4, "weight_decay": 1e-2},
            {"hidden": 64, "depth": 1, "dropout": 0.2, "weight_decay": 1e-3},
        )
        return [size | common | more for size in sizes]
