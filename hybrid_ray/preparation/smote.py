"""Rows of rare classes, made between neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

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
from hybrid_ray.preparation.columns import apart, side_by_side, standardised, taken
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, Task

NEIGHBOURS = (3, 5, 9)


class SmoteParams(RaiseParams):
    """Parameters of :class:`Smote`."""

    neighbours: int = Field(5, ge=1, le=100)
    """Nearest rows of the same class that a new row may lie towards; fewer in a class of fewer rows."""


@PREPARATIONS.register("smote")
class Smote(BalanceStep):
    """Rows of small classes added between a row and one of its nearest neighbours of the same class.

    Neighbours are found on all blocks side by side, every column standardised. A column of two values gets the nearer
    of them: nothing is half a category. Rows that lack a block have no neighbours: they are repeated instead, and so is
    a class of a single row. A learner that holds out some of its rows to stop early finds neighbours of them among the
    others, and stops later than it should.

    References
    ----------
    Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 2002.
    """

    Params = SmoteParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """All classes alike, and half as many."""
        yield SmoteParams()
        yield SmoteParams(ratio=0.5, neighbours=2, correct=False)

    @property
    def growth(self) -> float:
        """As the parameters say."""
        return float(self.params.growth)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """The training rows, repeated ones after them, and made ones last."""
        rng = np.random.default_rng(seed)
        X, whole = side_by_side(blocks)
        classes, counts = np.unique(y, return_counts=True)
        targets = raised(counts, self.params.ratio, self.params.growth)
        copies, made = [np.zeros(0, np.int64)], dict[Any, int]()
        for code, count, target in zip(classes, counts, targets, strict=True):
            usable = int((whole & (y == code)).sum())
            new = (target - count) * usable // count if usable > 1 else 0
            rest = np.flatnonzero((y == code) & ~whole) if new else np.flatnonzero(y == code)
            if len(rest):
                copies.append(repeated(rest, target - count - new, rng))
            if new:
                made[code] = usable + new
        rows = np.concatenate([np.arange(len(y)), *copies])
        kept = Rows(taken(blocks, rows), y[rows], rows)
        if not made:
            return kept
        between = self._between(X[whole], y[whole], made, blocks, seed)
        return _joined(kept, between, np.concatenate([rows, np.full(len(between.y), -1)]))

    def _between(self, X: FloatArray, y: AnyArray, targets: Mapping[Any, int], blocks: Blocks, seed: int) -> Rows:
        """The made rows alone, from rows (m, d) that have every block."""
        from imblearn.over_sampling import SMOTE

        scaled, mean, deviation = standardised(X)
        alike: dict[int, dict[Any, int]] = {}
        for code, target in targets.items():
            neighbours = min(self.params.neighbours, int((y == code).sum()) - 1)
            alike.setdefault(neighbours, {})[code] = target
        made, codes = [], []
        for neighbours, some in alike.items():
            sampler = SMOTE(sampling_strategy=some, k_neighbors=neighbours, random_state=seed % 2**32)
            both, labels = sampler.fit_resample(scaled, y)
            made.append(both[len(X) :])
            codes.append(labels[len(X) :])
        values = (np.concatenate(made) * deviation + mean).astype(np.float32)
        low, high = X.min(axis=0), X.max(axis=0)
        two = ((low == X) | (high == X)).all(axis=0)
        values[:, two] = np.where(values[:, two] - low[two] < high[two] - values[:, two], low[two], high[two])
        present = {name: np.ones(len(values), bool) for name in blocks}
        return Rows(apart(values, blocks, present), np.concatenate(codes))

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Neighbours, how even classes become, and whether probabilities are put back."""
        return {
            "ratio": trial.suggest_categorical("ratio", RATIOS),
            "neighbours": trial.suggest_categorical("neighbours", NEIGHBOURS),
        } | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike, from five neighbours."""
        return [{**start, "neighbours": 5} for start in balance_starts()]


def _joined(first: Rows, second: Rows, origin: AnyArray) -> Rows:
    """Rows one after the other."""
    blocks = {
        name: Block(
            np.concatenate([block.values, second.blocks[name].values]),
            np.concatenate([block.present, second.blocks[name].present]),
        )
        for name, block in first.blocks.items()
    }
    return Rows(blocks, np.concatenate([first.y, second.y]), origin)
