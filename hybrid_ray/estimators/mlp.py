"""Multilayer perceptrons."""

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


class MLPParams(PluginParams):
    """Parameters of :class:`MLP`."""

    hidden: int = Field(128, ge=1, le=4096)
    """Width of each hidden layer."""
    depth: int = Field(1, ge=1, le=4)
    """Number of hidden layers."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Learning rate of Adam."""
    alpha: float = Field(1e-2, ge=0, le=1e4)
    """Strength of the L2 penalty."""
    batch_size: int = Field(64, ge=1, le=8192)
    """Rows of one step."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""
    max_epochs: int = Field(200, ge=1, le=5000)
    """Most passes over the training rows."""
    patience: int = Field(8, ge=1, le=1000)
    """Epochs without a gain on the held-out rows after which training stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide when to stop."""


@ESTIMATORS.register("mlp")
class MLP(OwnFamily):
    """Multilayer perceptron that stops where held-out rows get no better."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=2.0, max_rows=500_000, effort=Effort(0.4, 0.25))
    Params = MLPParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.network import NetworkClassifier, NetworkRegressor

        return (NetworkClassifier, NetworkRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Small networks of one and two hidden layers."""
        yield MLPParams(hidden=24, learning_rate=1e-2, max_epochs=60)
        yield MLPParams(hidden=8, depth=2, learning_rate=1e-2, max_epochs=60)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted network; ``seed`` draws weights, batches and the hold-out."""
        from hybrid_ray.estimators.models.network import NetworkClassifier, NetworkRegressor

        own = typed(params, MLPParams)
        if is_regression(cls.name, cls.tags, task):
            return NetworkRegressor(
                hidden=own.hidden,
                depth=own.depth,
                learning_rate=own.learning_rate,
                alpha=own.alpha,
                batch_size=own.batch_size,
                max_epochs=own.max_epochs,
                patience=own.patience,
                held_share=own.held_share,
                random_state=seed,
            )
        return NetworkClassifier(
            hidden=own.hidden,
            depth=own.depth,
            learning_rate=own.learning_rate,
            alpha=own.alpha,
            batch_size=own.batch_size,
            class_weight=own.class_weight,
            max_epochs=own.max_epochs,
            patience=own.patience,
            held_share=own.held_share,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Size, learning rate and penalty."""
        return {
            "hidden": trial.suggest_int("hidden", 16, 512, log=True),
            "depth": trial.suggest_int("depth", 1, 3),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "alpha": trial.suggest_float("alpha", 1e-5, 10.0, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling network, a small one with a strong penalty, and a large one for clean classes."""
        return [
            {"hidden": 128, "depth": 1, "learning_rate": 1e-3, "alpha": 0.1},
            {"hidden": 64, "depth": 1, "learning_rate": 1e-3, "alpha": 1.0},
            {"hidden": 256, "depth": 2, "learning_rate": 1e-3, "alpha": 0.01},
        ]
