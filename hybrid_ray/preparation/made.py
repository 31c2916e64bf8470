"""Rows of rare classes that never were: what every step shares that makes some."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from hybrid_ray.preparation.balance import BalanceStep, raised, repeated
from hybrid_ray.preparation.base import Blocks, Rows
from hybrid_ray.preparation.columns import apart, side_by_side, taken
from hybrid_ray.types import AnyArray, Block, BoolArray, FloatArray, Task

Wanted = Mapping[Any, int]
"""Rows to make, by class code."""


class MakingStep(BalanceStep):
    """A step that makes rows of small classes.

    Rows are made of those that have every block, side by side. Rows that lack one are repeated instead, and so is a
    class that has too few whole rows. A column of two values gets the nearer of them: nothing is half a category.
    """

    @property
    def growth(self) -> float:
        """As the parameters say."""
        return float(self.params.growth)

    @property
    @abstractmethod
    def fewest(self) -> int:
        """Rows with every block that a class needs at least for rows to be made of it."""

    def lacking(self, code: Any, usable: int) -> None:
        """Told of each class that is too small for rows to be made of it: its rows are repeated unless this raises."""

    @abstractmethod
    def make(self, X: FloatArray, y: AnyArray, wanted: Wanted, seed: int) -> tuple[AnyArray, AnyArray]:
        """Made rows (m, d) and their class codes (m,), from rows (n, d) with codes (n,)."""

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """The training rows, repeated ones after them, and made ones last."""
        rng = np.random.default_rng(seed)
        X, whole = side_by_side(blocks)
        copies, wanted = self._shares(y, whole, rng)
        rows = np.concatenate([np.arange(len(y)), *copies])
        kept = Rows(taken(blocks, rows), y[rows], rows)
        if not wanted:
            return kept
        values, codes = self.make(X[whole], y[whole], wanted, seed)
        present = {name: np.ones(len(values), bool) for name in blocks}
        made = apart(_whole_categories(values.astype(np.float32), X[whole]), blocks, present)
        return _joined(kept, Rows(made, codes), np.concatenate([rows, np.full(len(codes), -1)]))

    def _shares(self, y: AnyArray, whole: BoolArray, rng: np.random.Generator) -> tuple[list[AnyArray], dict[Any, int]]:
        """Rows to repeat, and how many to make of each class."""
        classes, counts = np.unique(y, return_counts=True)
        targets = raised(counts, self.params.ratio, self.params.growth)
        copies, wanted = [np.zeros(0, np.int64)], dict[Any, int]()
        for code, count, target in zip(classes, counts, targets, strict=True):
            usable = int((whole & (y == code)).sum())
            if target > count and usable < self.fewest:
                self.lacking(code, usable)
            new = (target - count) * usable // count if usable >= self.fewest else 0
            rest = np.flatnonzero((y == code) & ~whole) if new else np.flatnonzero(y == code)
            if len(rest):
                copies.append(repeated(rest, target - count - new, rng))
            if new:
                wanted[code] = int(new)
        return copies, wanted


def _whole_categories(values: FloatArray, X: FloatArray) -> FloatArray:
    """Made rows (m, d) whose columns of two values in X (n, d) hold one of the two."""
    low, high = X.min(axis=0), X.max(axis=0)
    two = ((low == X) | (high == X)).all(axis=0)
    values[:, two] = np.where(values[:, two] - low[two] < high[two] - values[:, two], low[two], high[two])
    return values


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
