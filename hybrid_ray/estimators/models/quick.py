"""Trees compiled for few rows: what one request brings. For many rows the libraries' own loops are quicker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hybrid_ray.types import AnyArray, FloatArray

PARITY = 1e-6
"""How far compiled trees may be off, of answers in 0 to 1."""
SIZES = (1, 4, 16, 64)
"""Rows at once for which it is measured which is quicker."""
_GAIN = 0.8
"""Share of the time that compiled trees must stay below to be worth having."""
_REPEATS = 7


class QuickTrees:
    """Trees of a fitted model, answered by treelite's own interpreter on one thread.

    Parameters
    ----------
    trees : treelite.Model
    scale : float, default 1
        What their answer is multiplied with: treelite averages a forest.

    Attributes
    ----------
    most_rows : int
        Rows at once up to which they are asked; 0 at first.
    """

    def __init__(self, trees: Any, scale: float = 1.0) -> None:
        from treelite import gtil

        self._predict = gtil.predict
        self._trees = trees
        self._scale = scale
        self.most_rows = 0

    def __call__(self, X: FloatArray) -> AnyArray:
        """Outputs (n,) for one, else (n, k): as the library that grew the trees gives them."""
        found: AnyArray = self._predict(self._trees, np.ascontiguousarray(X), nthread=1)
        found = found.reshape(len(X), -1) * self._scale
        return found[:, 0] if found.shape[1] == 1 else found


class Quickened:
    """A model that may answer few rows by compiled trees; subclasses say how they are compiled, and ask them.

    Attributes
    ----------
    quick : QuickTrees or None
        Never saved.
    """

    quick: QuickTrees | None = None

    def compiled(self) -> QuickTrees:
        """The trees, compiled."""
        raise NotImplementedError

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """What the library itself answers."""
        raise NotImplementedError

    def tree_outputs(self, X: FloatArray) -> AnyArray:
        """What the trees answer: compiled for few rows, where that was found to be quicker."""
        if self.quick is not None and len(X) <= self.quick.most_rows:
            return self.quick(X)
        return self.slow_outputs(X)


def quicken(model: Any, X: FloatArray) -> int:
    """Let a model answer few rows by compiled trees, where these say the same and are quicker.

    Parameters
    ----------
    model : Model
    X : ndarray of float32 (n, d)
        Rows like those that it will be asked; a few.

    Returns
    -------
    int
        Rows at once up to which it is quicker; 0: nothing was changed.
    """
    if not isinstance(model, Quickened) or not len(X):
        return 0
    quick = model.compiled()
    own = np.asarray(model.slow_outputs(X), np.float64)
    if np.abs(quick(X) - own).max() > PARITY * max(1.0, float(np.abs(own).max())):
        return 0
    most = 0
    for size in SIZES:
        rows = np.resize(X, (size, X.shape[1]))
        if _seconds(quick, rows) > _GAIN * _seconds(model.slow_outputs, rows):
            break
        most = size
    if most:
        quick.most_rows = most
        model.quick = quick
    return most


def _seconds(call: Callable[[FloatArray], AnyArray], X: FloatArray) -> float:
    """The shortest of a few calls: what else the machine does only makes them longer."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call(X)
        times.append(time.perf_counter() - start)
    return min(times)
