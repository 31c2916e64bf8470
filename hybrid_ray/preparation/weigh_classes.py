"""Rows of rare classes count more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.balance import COPIES, BalanceParams, BalanceStep, suggest_correct
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, Task


class WeighClassesParams(BalanceParams):
    """Parameters of :class:`WeighClasses`."""

    strength: float = Field(1.0, ge=0, le=1)
    """Power of the inverse share that a class is weighted with: 1 makes all classes count alike, 0 changes nothing."""


@PREPARATIONS.register("weigh_classes")
class WeighClasses(BalanceStep):
    """Every row weighted by a power of the inverse share of its class.

    An estimator that has ``class_weight`` is given the weights, in place of its own ``class_weight`` if that is set;
    for the others rows are repeated, and those of frequent classes left out, in proportion. Unlike with an estimator's
    own ``class_weight``, probabilities are put back.
    """

    Params = WeighClassesParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """All of it, and half."""
        yield WeighClassesParams()
        yield WeighClassesParams(strength=0.5, correct=False)

    @property
    def growth(self) -> float:
        """Rows that an estimator without ``class_weight`` is given."""
        return COPIES

    def class_weights(self, y: AnyArray, task: Task) -> dict[int, float]:
        """Weights with mean 1 over the rows."""
        classes, counts = np.unique(y, return_counts=True)
        weights = (counts / len(y)) ** -float(self.params.strength)
        weights *= len(y) / (weights * counts).sum()
        return {int(code): float(weight) for code, weight in zip(classes, weights, strict=True)}

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How much, and whether probabilities are put back."""
        return {"strength": trial.suggest_categorical("strength", (1.0, 0.5))} | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike: with probabilities put back, and as they come."""
        return [{"strength": 1.0, "correct": correct} for correct in (True, False)]
