"""Stopping a candidate before its last fold, decided between batches only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_ray.types import Direction

PENALTY = -1e30
"""Gain of a candidate whose fit failed: finite, because a sampler cannot be told of NaN."""

MIN_HISTORY = 4
"""Candidates that must have reached a fold before anything is stopped there."""

Thresholds = tuple[float | None, ...]
"""The lowest running mean with which a candidate goes on after 1, 2, … folds; None: it goes on whatever it is."""


def gain(score: float, direction: Direction) -> float:
    """A score as a gain: higher is better, whatever the metric. Its own inverse."""
    return score if direction == "maximize" else -score


def running_means(gains: Sequence[float]) -> tuple[float, ...]:
    """Mean over the first 1, 2, … folds, in the order of folds."""
    return tuple(math.fsum(gains[: i + 1]) / (i + 1) for i in range(len(gains)))


@dataclass
class Halving:
    """Successive halving over folds.

    The pool of a fold holds the running means of the candidates that were told and reached it. Because every
    candidate sees the same folds in the same order, running means over the same number of folds are comparable; and
    because the pool grows between batches only, what is stopped does not depend on who finishes first.

    Parameters
    ----------
    n_folds : int
    min_folds : int
        Folds that every candidate is given.
    reduction : float
        The best 1/reduction of the pool sets the bar; 1 stops nothing.
    """

    n_folds: int
    min_folds: int
    reduction: float

    def __post_init__(self) -> None:
        self._pools: list[list[float]] = [[] for _ in range(self.n_folds)]

    def add(self, means: Sequence[float]) -> None:
        """Put the running means of a candidate of a finished batch into the pools."""
        for pool, mean in zip(self._pools, means, strict=False):
            pool.append(mean)

    def thresholds(self) -> Thresholds:
        """The bars for the candidates of the next batch, one for each number of folds done."""
        return tuple(self._bar(folds) for folds in range(1, self.n_folds + 1))

    def _bar(self, folds: int) -> float | None:
        pool = self._pools[folds - 1]
        if folds < self.min_folds or folds == self.n_folds or self.reduction <= 1 or len(pool) < MIN_HISTORY:
            return None
        return sorted(pool, reverse=True)[math.ceil(len(pool) / self.reduction) - 1]


def stops(means: Sequence[float], thresholds: Thresholds) -> bool:
    """Whether a candidate with these running means is stopped now."""
    bar = thresholds[len(means) - 1] if len(means) <= len(thresholds) else None
    return bar is not None and means[-1] < bar
