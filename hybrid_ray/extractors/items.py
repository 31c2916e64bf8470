"""The bases of extractors whose rows are items: one image or one text a column, or whatever one vector is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybrid_ray.extractors.base import Extractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.types import AnyArray, Batch, BoolArray, FloatArray, Prepared

FILLED = "filled"
"""Name of the array bool (m, n_items) that says which items of the present rows hold something."""


@dataclass(frozen=True)
class Items:
    """Cells that were read.

    Attributes
    ----------
    arrays : dict of str to ndarray
        First dimension: the k cells that could be read, in order.
    errors : dict of int to str
        Position of a cell that could not be read, with the reason.
    """

    arrays: dict[str, AnyArray]
    errors: dict[int, str] = field(default_factory=dict)


class OfItems(Extractor):
    """A row is some items, each with a vector of its own; the row's is theirs, side by side. An absent one gives zeros.

    A subclass says what the items are (``prepare``, with ``FILLED``) and how they become vectors (``encode``).
    """

    @abstractmethod
    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors float32 (k, item_features) of k > 0 items."""

    @property
    @abstractmethod
    def item_features(self) -> int:
        """Length of one item's vector."""

    @property
    def n_items(self) -> int:
        """Items of a row; default: one a column."""
        return len(self.columns)

    @property
    def n_features(self) -> int:
        """Length of a row's vector: those of its items."""
        return self.n_items * self.item_features

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of the present rows; only items that hold something are encoded."""
        filled = arrays[FILLED]
        m, n_items = filled.shape
        flat = {name: a.reshape(m * n_items, *a.shape[2:]) for name, a in arrays.items() if name != FILLED}
        if not filled.any():
            return np.zeros((m, self.n_features), np.float32)
        if filled.all():
            return self.encode(flat).reshape(m, self.n_features)
        items = np.flatnonzero(filled)
        values = np.zeros((m * n_items, self.item_features), np.float32)
        values[items] = self.encode({name: a[items] for name, a in flat.items()})
        return values.reshape(m, self.n_features)


class ItemExtractor(OfItems):
    """Each present cell is an item; a row's vector is those of its columns, side by side.

    A row is present when any of its cells is. A subclass says how cells are read (``read``) and how items become
    vectors (``encode``).
    """

    @abstractmethod
    def read(self, cells: Sequence[Any]) -> Items:
        """Decode cells, none of them missing. Every array has the same trailing shape whatever the cells hold."""

    def prepare(self, batch: Batch) -> Prepared:
        """Read every present cell; arrays are (m, n_columns, ...), zeros where a cell is absent."""
        columns = [batch[column] for column in self.columns]
        filled = np.array([[cell is not None for cell in column] for column in columns], bool).T
        filled = filled.reshape(len(columns[0]), len(columns))
        where = np.argwhere(filled)
        items = self.read([columns[c][r] for r, c in where])
        errors: dict[int, str] = {}
        names = list(self.columns)
        for position, reason in items.errors.items():
            row, column = (int(v) for v in where[position])
            filled[row, column] = False
            errors[row] = "; ".join(filter(None, [errors.get(row), f"{names[column]}: {reason}"]))
        present: BoolArray = np.asarray(filled.any(axis=1))
        kept = filled[present]
        arrays = {name: _scatter(values, kept) for name, values in items.arrays.items()}
        return Prepared(arrays | {FILLED: kept}, present, errors)

    def sights(self, arrays: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> list[Sight | None]:
        """Of each column."""
        return [
            self.sight(
                {name: array[0, column] for name, array in arrays.items() if name != FILLED},
                {name: array[usual[FILLED][:, column], column] for name, array in usual.items() if name != FILLED},
            )
            if filled
            else None
            for column, filled in enumerate(arrays[FILLED][0])
        ]

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """What the network sees of one cell, beside usual ones (k, ...) of its column; called by ``sights``."""
        raise TypeError(f"{self.name}: its features have no gradients by what a cell holds; got one to show them of")


def _scatter(values: AnyArray, filled: AnyArray) -> AnyArray:
    """Cells (k, ...) put where ``filled`` (m, n_columns) is True, zeros elsewhere; no copy when it is full."""
    shape = (*filled.shape, *values.shape[1:])
    if len(values) == filled.size:
        return values.reshape(shape)
    dense = np.zeros(shape, values.dtype)
    dense[filled] = values
    return dense
