"""Detectors by neighbours: how far the nearest normal rows are, and how much closer these are to each other."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from hybrid_ray.estimators.models.detector import SHARED, OwnDetector
from hybrid_ray.types import AnyArray, FloatArray, State

_LEAST = 1e-10
"""Reach of rows that are all the same, relative to 1."""


class _Neighbours(OwnDetector):
    """Keeps normal rows, and searches them."""

    n_neighbors: int
    rows_: FloatArray

    def _index(self) -> None:
        asked = min(self.n_neighbors, len(self.rows_) - 1)
        self._search = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(self.rows_)

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted detector back."""
        model = super().unpack(state)
        model._index()
        return model


class NeighbourDistanceDetector(_Neighbours):
    """Mean distance to the nearest normal rows.

    Parameters
    ----------
    n_neighbors : int, default=10
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    kept = (*SHARED, "rows_")

    def __init__(self, *, n_neighbors: int = 10, false_alarms: float = 0.01, random_state: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        self.rows_ = np.array(rows)
        self._index()

    def _measure(self, rows: FloatArray) -> AnyArray:
        distances, _ = self._search.kneighbors(rows)
        return np.asarray(distances, np.float64).mean(axis=1)


class LocalOutlierDetector(_Neighbours):
    """How much thinner normal rows lie around a row than around its neighbours (local outlier factor).

    Parameters
    ----------
    n_neighbors : int, default=20
    false_alarms : float, default=0.01
    random_state : int, default=0
    """

    kept = (*SHARED, "rows_", "reach_", "density_")

    def __init__(self, *, n_neighbors: int = 20, false_alarms: float = 0.01, random_state: int = 0) -> None:
        self.n_neighbors = n_neighbors
        self.false_alarms = false_alarms
        self.random_state = random_state

    def _learn(self, rows: FloatArray) -> None:
        self.rows_ = np.array(rows)
        self._index()
        distances, near = self._search.kneighbors()  # of each row, without itself
        self.reach_ = np.asarray(distances[:, -1], np.float64)
        self.density_ = self._density(distances, near)

    def _density(self, distances: AnyArray, near: AnyArray) -> AnyArray:
        """One over the mean distance to neighbours, none of them nearer than it reaches itself, float64 (n,)."""
        density: AnyArray = 1.0 / (np.maximum(distances, self.reach_[near]).mean(axis=1) + _LEAST)
        return density

    def _measure(self, rows: FloatArray) -> AnyArray:
        distances, near = self._search.kneighbors(rows)
        factors: AnyArray = self.density_[near].mean(axis=1) / self._density(distances, near)
        return factors
