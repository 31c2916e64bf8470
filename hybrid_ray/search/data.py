"""The training rows of a search, sorted by fold, and the same rows cut into other folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ray.types import AnyArray, Block, BoolArray, Task


@dataclass(frozen=True)
class FoldedData:
    """Features and labels of the training rows, sorted by fold so that a fold is a slice.

    Attributes
    ----------
    task : Task
    n_outputs : int
        Number of classes, or 1.
    y : ndarray (n,)
        Class codes (int64) or floats (float64), sorted by fold.
    bounds : ndarray of int (k + 1,)
        Fold i holds rows ``bounds[i]:bounds[i + 1]``.
    forward : bool
        True for time: fold i trains on the rows before it only, and fold 0 is never held out.
    frozen : mapping of str to Block
        Features that no fold had a part in, (n, d).
    trained : mapping of str to tuple of Block
        Features of extractors that each fold trained for itself: entry i, (n, d_i), belongs to chain i alone.
    digests : mapping of str to str
        What identifies each block's content, part of a fit's key.
    order : ndarray of int (n,) or None
        Positions in ``y`` and the blocks, sorted by fold, where those are not: fold i then holds the rows
        ``order[bounds[i]:bounds[i + 1]]``. See ``recut``.
    made : ndarray of bool (n,) or None
        Which rows are counterexamples, see ``with_counterexamples``; None: there are none.
    groups : ndarray of int (n,) or None
        Rows of one number, of one machine, say, go together, in folds and in what a fit holds out of its own rows;
        None: every row is its own.
    """

    task: Task
    n_outputs: int
    y: AnyArray
    bounds: AnyArray
    forward: bool
    frozen: Mapping[str, Block]
    trained: Mapping[str, tuple[Block, ...]]
    digests: Mapping[str, str]
    order: AnyArray | None = None
    made: BoolArray | None = None
    groups: AnyArray | None = None

    def recut(self, fold: AnyArray, trained: Mapping[str, tuple[Block, ...]], digests: Mapping[str, str]) -> FoldedData:
        """The same rows in other folds, with the same arrays: a fit copies what it trains on, as it always does.

        Features that each fold trained are left behind: they were learned from rows that another cut holds out.

        Parameters
        ----------
        fold : ndarray of int (n,)
            Fold of each row, in the order of ``y``, from 0; no fold is empty.
        trained : mapping of str to tuple of Block
            Features that these folds trained, as the attribute.
        digests : mapping of str to str
            Of those.

        Raises
        ------
        ValueError
            Folds are consecutive in time, or one is empty.
        """
        counts = np.bincount(fold)
        if self.forward or len(fold) != len(self.y) or counts.min() == 0:
            raise ValueError(
                f"recut: {len(self.y)} rows must be in folds with a row each, not over time; got {len(fold)} rows in "
                f"folds of {counts.tolist()}, over time: {self.forward}"
            )
        return replace(
            self,
            bounds=np.concatenate([[0], np.cumsum(counts)]),
            trained=trained,
            digests={name: self.digests[name] for name in self.frozen} | dict(digests),
            order=np.argsort(fold, kind="stable"),
        )

    @property
    def folds(self) -> range:
        """Folds that are held out, in order."""
        return range(1 if self.forward else 0, len(self.bounds) - 1)

    @property
    def scored(self) -> slice:
        """Rows that get an out-of-fold prediction."""
        return slice(int(self.bounds[self.folds.start]), int(self.bounds[-1]))

    def dims(self) -> dict[str, int]:
        """Width of each block (of the first held-out fold, for trained ones)."""
        widths = {name: block.values.shape[1] for name, block in self.frozen.items()}
        first = self.folds.start
        return widths | {name: blocks[first].values.shape[1] for name, blocks in self.trained.items()}

    def held_out(self, fold: int) -> slice | AnyArray:
        """Rows of a fold."""
        rows = slice(int(self.bounds[fold]), int(self.bounds[fold + 1]))
        return rows if self.order is None else self.order[rows]

    def training(self, fold: int) -> Sequence[slice | AnyArray]:
        """Rows that a fold trains on: contiguous slices, or positions in their order."""
        before, after = slice(0, int(self.bounds[fold])), slice(int(self.bounds[fold + 1]), len(self.y))
        if self.order is not None:
            return [np.sort(np.concatenate([self.order[before], self.order[after]]))]
        return [s for s in ([before] if self.forward else [before, after]) if s.stop > s.start]

    def groups_of(self, fold: int) -> AnyArray | None:
        """Which of a fold's training rows go together (m,), in the order of ``fold``."""
        return None if self.groups is None else np.concatenate([self.groups[part] for part in self.training(fold)])

    @property
    def given(self) -> slice | AnyArray:
        """Training rows of the source, in their order: all but counterexamples."""
        return slice(None) if self.made is None else np.flatnonzero(~self.made)

    def block(self, name: str, fold: int) -> Block:
        """The features of all rows that chain ``fold`` may use under ``name``."""
        return self.frozen[name] if name in self.frozen else self.trained[name][fold]

    def fold(
        self, names: Iterator[str] | tuple[str, ...], fold: int
    ) -> tuple[dict[str, Block], AnyArray, dict[str, Block], AnyArray]:
        """Training blocks and y (copies), held-out blocks and y (views, of another cut copies)."""
        parts, held = self.training(fold), self.held_out(fold)
        train: dict[str, Block] = {}
        test: dict[str, Block] = {}
        for name in names:
            block = self.block(name, fold)
            train[name] = Block(
                np.concatenate([block.values[p] for p in parts]), np.concatenate([block.present[p] for p in parts])
            )
            test[name] = block.take(held)
        return train, np.concatenate([self.y[p] for p in parts]), test, self.y[held]
