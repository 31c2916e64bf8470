"""Naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLASSIFICATION, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


class NaiveBayesParams(PluginParams):
    """Parameters of :class:`NaiveBayes`."""

    var_smoothing: float = Field(3.0, gt=0, le=1e6)
    """Share of the largest variance of a feature that is added to every variance."""
    calibrate: bool = True
    """True: slopes and offsets fitted on inner folds pull probabilities off 0 and 1."""
    n_folds: int = Field(3, ge=2, le=10)
    """Inner folds of the calibration."""


@ESTIMATORS.register("naive_bayes")
class NaiveBayes(OwnFamily):
    """Gaussian naive Bayes, calibrated."""

    tags = EstimatorTags(tasks=CLASSIFICATION, copies=6.0, effort=Effort(0.002, 0.003))
    Params = NaiveBayesParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one model."""
        from hybrid_ray.estimators.models.bayes import BayesClassifier

        return (BayesClassifier,)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted classifier; ``seed`` draws the inner folds."""
        from hybrid_ray.estimators.models.bayes import BayesClassifier

        own = typed(params, NaiveBayesParams)
        is_regression(cls.name, cls.tags, task)
        return BayesClassifier(
            var_smoothing=own.var_smoothing, calibrate=own.calibrate, n_folds=own.n_folds, random_state=seed
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How much variances are evened out."""
        return {"var_smoothing": trial.suggest_float("var_smoothing", 1e-3, 1e3, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Evened out a little, and until all features have the same variance."""
        return [{"var_smoothing": value} for value in (3.0, 100.0)]
