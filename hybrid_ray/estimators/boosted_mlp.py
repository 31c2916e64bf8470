"""Gradient-boosted neural networks."""

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


class BoostedMLPParams(PluginParams):
    """Parameters of :class:`BoostedMLP`."""

    n_estimators: int = Field(100, ge=1, le=2000)
    """Most networks."""
    hidden: int = Field(16, ge=1, le=1024)
    """Hidden units of each network."""
    shrinkage: float = Field(0.3, gt=0, le=1)
    """Part of its best step that a network is given."""
    epochs: int = Field(5, ge=1, le=200)
    """Passes over the training rows for each network."""
    learning_rate: float = Field(1e-2, gt=0, le=1)
    """Learning rate of Adam."""
    alpha: float = Field(1e-3, ge=0, le=1e4)
    """Strength of the L2 penalty."""
    batch_size: int = Field(128, ge=1, le=8192)
    """Rows of one step, or fewer so that an epoch has 20 steps."""
    patience: int = Field(8, ge=1, le=1000)
    """Networks without a gain on the held-out rows after which boosting stops."""
    held_share: float = Field(0.15, gt=0, le=0.5)
    """Share of the training rows held out to decide when to stop."""
    class_weight: ClassWeight | None = None
    """Classes only; balanced: every class counts the same, however many rows it has."""


@ESTIMATORS.register("boosted_mlp")
class BoostedMLP(OwnFamily):
    """Small networks, each trained on what those before it left over."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=3.0, max_rows=100_000, effort=Effort(0.3, 0.4))
    Params = BoostedMLPParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.boosted_network import BoostedNetworkClassifier, BoostedNetworkRegressor

        return (BoostedNetworkClassifier, BoostedNetworkRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """A few small networks."""
        yield BoostedMLPParams(n_estimators=5, hidden=8, shrinkage=0.5)
        yield BoostedMLPParams(n_estimators=3, hidden=4, shrinkage=1.0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted booster; ``seed`` draws weights, batches and the hold-out."""
        from hybrid_ray.estimators.models.boosted_network import BoostedNetworkClassifier, BoostedNetworkRegressor

        own = typed(params, BoostedMLPParams)
        if is_regression(cls.name, cls.tags, task):
            return BoostedNetworkRegressor(
                n_estimators=own.n_estimators,
                hidden=own.hidden,
                shrinkage=own.shrinkage,
                epochs=own.epochs,
                learning_rate=own.learning_rate,
                alpha=own.alpha,
                batch_size=own.batch_size,
                patience=own.patience,
                held_share=own.held_share,
                random_state=seed,
            )
        return BoostedNetworkClassifier(
            n_estimators=own.n_estimators,
            hidden=own.hidden,
            shrinkage=own.shrinkage,
            epochs=own.epochs,
            learning_rate=own.learning_rate,
            alpha=own.alpha,
            batch_size=own.batch_size,
            patience=own.patience,
            held_share=own.held_share,
            class_weight=own.class_weight,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Size of a network, its step, and its penalty."""
        return {
            "hidden": trial.suggest_int("hidden", 4, 64, log=True),
            "shrinkage": trial.suggest_float("shrinkage", 0.05, 1.0, log=True),
            "epochs": trial.suggest_int("epochs", 2, 10),
            "alpha": trial.suggest_float("alpha", 1e-5, 1.0, log=True),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Middling networks, then small ones with a strong penalty."""
        return [
            {"hidden": 16, "shrinkage": 0.3, "epochs": 5, "alpha": 1e-3},
            {"hidden": 8, "shrinkage": 0.2, "epochs": 3, "alpha": 0.1},
        ]
