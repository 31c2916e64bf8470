"""Rows of frequent classes, left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.balance import RATIOS, BalanceParams, BalanceStep, balance_starts, suggest_correct
from hybrid_ray.preparation.base import Blocks, Rows
from hybrid_ray.preparation.columns import taken
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, Task


class UndersampleParams(BalanceParams):
    """Parameters of :class:`Undersample`."""

    ratio: float = Field(1.0, gt=0, le=1)
    """Rows of the smallest class, as a share of what any class keeps."""
    least: int = Field(20, ge=1)
    """Rows that a class keeps in any case, so that one very rare class does not empty the others."""


@PREPARATIONS.register("undersample")
class Undersample(BalanceStep):
    """Rows of large classes left out at random, until the smallest class is as large a share of each as was asked.

    The rows that stay keep their order. Quicker fits, for what the left-out rows would have taught.
    """

    Params = UndersampleParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """All classes alike, and half as many."""
        yield UndersampleParams(least=5)
        yield UndersampleParams(ratio=0.5, least=1, correct=False)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """The training rows that stay."""
        rng = np.random.default_rng(seed)
        classes, counts = np.unique(y, return_counts=True)
        most = max(round(int(counts.min()) / self.params.ratio), self.params.least)
        rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == code))[:most] for code in classes]))
        return Rows(taken(blocks, rows), y[rows], rows)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How even classes become, and whether probabilities are put back."""
        return {"ratio": trial.suggest_categorical("ratio", RATIOS)} | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike."""
        return balance_starts()
