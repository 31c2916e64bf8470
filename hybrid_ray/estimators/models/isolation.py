"""Isolation forests: grown by scikit-learn, applied tree by tree in one thread, kept as arrays."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.tree._tree import Tree

from hybrid_ray.estimators.models.detector import SHARED, OwnDetector
from hybrid_ray.estimators.models.forest import TreesKept
from hybrid_ray.types import AnyArray, FloatArray, State


class IsolationDetector(TreesKept, OwnDetector):
    """How few random cuts it takes to set a row apart.

    Parameters
    ----------
    n_estimators : int, default=200
    max_samples : int, default=256
        Rows that each tree is grown on.
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    kept = SHARED

    def __init__(
        self,
        *,
        n_estimators: int = 200,
        max_samples: int = 256,
        false_alarms: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        forest = IsolationForest(
            n_estimators=self.n_estimators,
            max_samples=min(self.max_samples, len(rows)),
            random_state=self.random_state,
        ).fit(rows)
        self.trees_ = [tree.tree_ for tree in forest.estimators_]
        self._index()

    def _index(self) -> None:
        self._lengths = [_lengths(tree) for tree in self.trees_]
        self._usual = float(_expected(np.array([self.trees_[0].n_node_samples[0]]))[0])

    def _measure(self, rows: FloatArray) -> AnyArray:
        rows = np.ascontiguousarray(rows)
        total = np.zeros(len(rows))
        for tree, lengths in zip(self.trees_, self._lengths, strict=True):
            total += lengths[tree.apply(rows)]
        scores: AnyArray = 2.0 ** -(total / (len(self.trees_) * max(self._usual, 1.0)))
        return scores

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted detector back."""
        model = super().unpack(state)
        model._index()
        return model


def _lengths(tree: Tree) -> AnyArray:
    """Cuts that a row of each node has been through, and those that its companions there would still need."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # a child always stands after its parent
        if tree.children_left[node] >= 0:
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
    return depth + _expected(tree.n_node_samples)


def _expected(n: AnyArray) -> AnyArray:
    """Mean cuts that set one of n rows apart, (k,) (Liu, Ting and Zhou, equation 1)."""
    several = np.maximum(n, 3).astype(np.float64)
    found = 2 * (np.log(several - 1) + np.euler_gamma) - 2 * (several - 1) / several
    return np.where(n > 2, found, np.where(n == 2, 1.0, 0.0))
