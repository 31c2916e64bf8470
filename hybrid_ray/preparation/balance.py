"""How many rows each class is to have, and which rows are repeated for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Preparation
from hybrid_ray.types import CLASSIFICATION, AnyArray

RATIOS = (1.0, 0.5)
"""What the search tries for ``ratio``."""
COPIES = 2.0
"""Rows, for each one that there was, by which weights are told to a model that takes none: with two classes that count
the same, no row is lost."""


class BalanceParams(PluginParams):
    """Parameters that steps share which change how often each class is seen."""

    correct: bool = True
    """True: predicted probabilities are put back to the shares of the classes in the training rows; False: they stay as
    balanced rows make them, which is what a metric that counts every class the same (balanced accuracy, F1) wants."""


class RaiseParams(BalanceParams):
    """Parameters of steps that give small classes more rows."""

    ratio: float = Field(1.0, gt=0, le=1)
    """Rows that each class is given at least, as a share of the largest class."""
    growth: float = Field(3.0, ge=1, le=100)
    """Rows there may be in all, for each that there was: with many rare classes the share is lowered until it holds."""


class BalanceStep(Preparation):
    """A step that changes the shares of classes, which ``correct`` puts back in what is predicted."""

    tasks = CLASSIFICATION

    @property
    def corrects(self) -> bool:
        """As the parameters say."""
        return bool(self.params.correct)


def raised(counts: AnyArray, ratio: float, growth: float) -> AnyArray:
    """Rows that each class is to have, int64 (C,), none fewer than ``counts``.

    Parameters
    ----------
    counts : ndarray of int (C,)
    ratio : float
        Every class is to have this share of the largest.
    growth : float
        All classes together are to have at most this many times the rows that there are.
    """
    most = int(growth * counts.sum())
    low, high = int(counts.min()), round(ratio * int(counts.max()))
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if int(np.maximum(counts, level).sum()) <= most else (low, level - 1)
    return np.maximum(counts, low)


def repeated(rows: AnyArray, n: int, rng: np.random.Generator) -> AnyArray:
    """Some rows often enough to be n: each the same number of times, but for a rest drawn without repetition."""
    times, rest = divmod(n, len(rows))
    return np.concatenate([np.tile(rows, times), rng.permutation(rows)[:rest]])


def suggest_correct(trial: Trial) -> dict[str, Any]:
    """The field ``correct``."""
    return {"correct": trial.suggest_categorical("correct", (True, False))}


def balance_starts() -> Sequence[dict[str, Any]]:
    """All classes alike: with probabilities put back, and as they come."""
    return [{"ratio": 1.0, "correct": True}, {"ratio": 1.0, "correct": False}]
