"""Bags: copies of one family on samples of the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, nearest
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

NAME = "bagged"
LEARNERS = ("decision_tree", "mlp", "knn")
"""What a search puts into bags: families whose answer changes much with the rows."""


class BaggedParams(PluginParams):
    """Parameters of :class:`Bagged`."""

    learner: str = "decision_tree"
    """Registered estimator."""
    learner_params: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; left out, its best start."""
    n_bags: int = Field(10, ge=2, le=1000)
    """Copies of it."""
    samples: Literal["bootstrap", "folds"] = "bootstrap"
    """What each copy learns from; bootstrap: as many rows, drawn with replacement; folds: all rows but those of one of
    ``n_bags`` folds. Either is drawn class by class."""

    @model_validator(mode="after")
    def _learner_is_valid(self) -> Self:
        load_plugins()
        known = [name for name in ESTIMATORS.names() if name != NAME]
        if self.learner not in known:
            raise ValueError(
                f"learner: unknown estimator {self.learner!r}; expected one of {known}.{nearest(self.learner, known)}"
            )
        ESTIMATORS.get(self.learner).Params.model_validate(self.learner_params)
        return self


@ESTIMATORS.register(NAME)
class Bagged(OwnFamily):
    """The mean of copies of one family, each fitted on a sample of the rows (Breiman, "Bagging predictors", 1996)."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=4.0, max_rows=200_000, effort=Effort(0.7, 0.4))
    Params = BaggedParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.bags import BagClassifier, BagRegressor

        return (BagClassifier, BagRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Both kinds of sample."""
        yield BaggedParams(n_bags=5)
        yield BaggedParams(learner="knn", learner_params={"n_neighbors": 3}, n_bags=3, samples="folds")

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted bag; ``seed`` draws the samples and is the first copy's own, each other has the next."""
        from hybrid_ray.estimators.models.bags import BagClassifier, BagRegressor

        own = typed(params, BaggedParams)
        model = BagRegressor if is_regression(cls.name, cls.tags, task) else BagClassifier
        return model(
            learner=own.learner,
            learner_params=own.learner_params or None,
            n_bags=own.n_bags,
            samples=own.samples,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """What is bagged, how often, and on what samples."""
        return {
            "learner": trial.suggest_categorical("learner", LEARNERS),
            "n_bags": trial.suggest_int("n_bags", 5, 30, log=True),
            "samples": trial.suggest_categorical("samples", ("bootstrap", "folds")),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Trees, then networks."""
        return [
            {"learner": "decision_tree", "n_bags": 30, "samples": "bootstrap"},
            {"learner": "mlp", "n_bags": 5, "samples": "folds"},
        ]
