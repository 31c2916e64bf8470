"""Rows of rare classes, repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.balance import (
    RATIOS,
    BalanceStep,
    RaiseParams,
    balance_starts,
    raised,
    repeated,
    suggest_correct,
)
from hybrid_ray.preparation.base import Blocks, Rows
from hybrid_ray.preparation.columns import taken
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, Task


class OversampleParams(RaiseParams):
    """Parameters of :class:`Oversample`."""


@PREPARATIONS.register("oversample")
class Oversample(BalanceStep):
    """Rows of small classes repeated, each as often as the others of its class.

    All rows stay, first and in their order. It is what ``weigh_classes`` does, at the price of more rows. A learner
    that holds out rows of its own, to choose a penalty, to calibrate or to stop, holds out all copies of a row or none.
    """

    Params = OversampleParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """All classes alike, and half as many."""
        yield OversampleParams()
        yield OversampleParams(ratio=0.5, correct=False)

    @property
    def growth(self) -> float:
        """As the parameters say."""
        return float(self.params.growth)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """The training rows, and repeated ones after them."""
        rng = np.random.default_rng(seed)
        classes, counts = np.unique(y, return_counts=True)
        added = [
            repeated(np.flatnonzero(y == code), target - count, rng)
            for code, count, target in zip(
                classes, counts, raised(counts, self.params.ratio, self.params.growth), strict=True
            )
        ]
        rows = np.concatenate([np.arange(len(y)), *added])
        return Rows(taken(blocks, rows), y[rows], rows)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How even classes become, and whether probabilities are put back."""
        return {"ratio": trial.suggest_categorical("ratio", RATIOS)} | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike."""
        return balance_starts()
