"""Columns of blocks: side by side for what looks at whole rows, and steps that change them one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Self

import numpy as np

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Blocks, Preparation
from hybrid_ray.types import AnyArray, Block, BoolArray, FloatArray, State, Task

FEW_VALUES = 16
"""A column of no more different values than this holds categories or counts: its extremes are no outliers."""
SAMPLE = 2000
"""Rows, spread evenly, that tell how many values a column has, and its shape."""


class ColumnParams(PluginParams):
    """Parameters that steps on columns share."""

    blocks: tuple[str, ...] | None = None
    """Ids of the extractors whose columns are looked at; left out, all."""


class ColumnStep(Preparation):
    """A step that changes some columns of each block by what it learned of each.

    Rows that lack a block have no part in what is learned of it, and stay as they are.
    """

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._fitted: dict[str, dict[str, AnyArray]] | None = None

    @abstractmethod
    def learn(self, values: FloatArray) -> dict[str, AnyArray]:
        """What to remember of values (m, d), all present: numeric arrays, ``columns`` (k,) among them."""

    @abstractmethod
    def change(self, values: FloatArray, learned: Mapping[str, AnyArray]) -> FloatArray:
        """New values (m, k) of the k columns (m, k) that ``learned["columns"]`` names."""

    def fit(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Self:
        """Learn from the rows that have each block; labels are not looked at."""
        wanted = self.params.blocks
        self._fitted = {
            name: self.learn(block.values if block.present.all() else block.values[block.present])
            for name, block in sorted(blocks.items())
            if wanted is None or name in wanted
        }
        return self

    def transform(self, blocks: Blocks) -> dict[str, Block]:
        """The same rows; columns that were chosen in training are changed.

        Raises
        ------
        ValueError
            A block is narrower than in training.
        """
        if self._fitted is None:
            raise NotFittedError(f"{self.name}: fit must come before transform")
        changed = dict(blocks)
        for name, learned in self._fitted.items():
            columns = learned["columns"]
            if name not in blocks or not len(columns):
                continue
            block = blocks[name]
            if block.values.shape[1] <= int(columns.max()):
                raise ValueError(
                    f"{self.name}: block {name!r} must be as wide as in training; got {block.values.shape[1]} columns"
                )
            values = block.values.copy()
            values[:, columns] = self.change(values[:, columns], learned)
            if not block.present.all():
                values[~block.present] = block.values[~block.present]
            changed[name] = Block(values, block.present)
        return changed

    def get_state(self) -> State:
        """What was learned, by block."""
        if self._fitted is None:
            raise NotFittedError(f"{self.name}: fit must come before it is saved")
        names = list(self._fitted)
        tensors = {f"{key}.{i}": v for i, name in enumerate(names) for key, v in self._fitted[name].items()}
        return State({"blocks": names}, tensors)

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted step back."""
        step = cls(params)
        names = state.meta.get("blocks")
        if not isinstance(names, list):
            raise ArtifactError(f"{cls.name}: a saved step must name its blocks; got {names!r}")
        fitted: dict[str, dict[str, AnyArray]] = {str(name): {} for name in names}
        for key, values in state.tensors.items():
            field, _, number = key.rpartition(".")
            fitted[str(names[int(number)])][field] = values
        lacking = sorted(name for name, learned in fitted.items() if "columns" not in learned)
        if lacking:
            raise ArtifactError(f"{cls.name}: a saved step must hold the columns of each block; missing {lacking}")
        step._fitted = fitted
        return step


def side_by_side(blocks: Blocks) -> tuple[FloatArray, BoolArray]:
    """All columns float32 (n, d), blocks in the order of their names, and which rows (n,) have every block.

    A row has zeros where it lacks a block.
    """
    ordered = [blocks[name] for name in sorted(blocks)]
    matrix = np.concatenate([block.values for block in ordered], axis=1)
    start = 0
    for block in ordered:
        if not block.present.all():
            matrix[~block.present, start : start + block.values.shape[1]] = 0.0
        start += block.values.shape[1]
    return matrix, np.logical_and.reduce([block.present for block in ordered])


def apart(matrix: FloatArray, blocks: Blocks, present: Mapping[str, BoolArray]) -> dict[str, Block]:
    """Rows (m, d) of ``side_by_side`` as blocks again, with ``present`` (m,) of each."""
    ends = np.cumsum([blocks[name].values.shape[1] for name in sorted(blocks)])
    return {
        name: Block(np.ascontiguousarray(matrix[:, end - blocks[name].values.shape[1] : end]), present[name])
        for name, end in zip(sorted(blocks), ends, strict=True)
    }


def standardised(X: FloatArray) -> tuple[FloatArray, AnyArray, AnyArray]:
    """Columns with mean 0 and deviation 1, float32 (n, d), and the means and deviations; constant columns become 0."""
    mean = X.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(np.square(X - mean, dtype=np.float64).mean(axis=0))
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
    deviation[deviation == 0] = 1.0
    return ((X - mean) / deviation).astype(np.float32), mean, deviation


def sampled(values: AnyArray) -> AnyArray:
    """At most ``SAMPLE`` rows, spread evenly."""
    return values[:: max(-(-len(values) // SAMPLE), 1)]


def many_valued(values: FloatArray) -> BoolArray:
    """Which columns of (m, d) hold more than ``FEW_VALUES`` different values."""
    ordered = np.sort(sampled(values), axis=0)
    different = (np.diff(ordered, axis=0) != 0).sum(axis=0) + 1
    return np.asarray(different > FEW_VALUES, bool)


def taken(blocks: Blocks, rows: AnyArray) -> dict[str, Block]:
    """The same blocks for some rows, given as an index array."""
    return {name: block.take(rows) for name, block in blocks.items()}
