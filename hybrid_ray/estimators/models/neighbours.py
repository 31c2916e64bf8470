"""Nearest neighbours by brute force, with smoothed votes."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from hybrid_ray.estimators.models.base import OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.types import AnyArray, FloatArray, State

Metric = Literal["euclidean", "cosine"]
Weights = Literal["uniform", "distance"]


class Neighbourhood:
    """Training rows that can be searched for neighbours.

    Parameters
    ----------
    rows : ndarray float32 (n, d)
        As they come out of :func:`directed`.
    n_neighbors : int
        Capped at the number of rows.
    weights : {"uniform", "distance"}
    """

    def __init__(self, rows: FloatArray, n_neighbors: int, weights: Weights) -> None:
        self.weights = weights
        self._search = NearestNeighbors(n_neighbors=min(n_neighbors, len(rows)), algorithm="brute").fit(rows)

    def __call__(self, X: FloatArray) -> tuple[AnyArray, AnyArray]:
        """Row numbers (m, k) of the neighbours and their weights (m, k), which sum to 1."""
        distances, found = self._search.kneighbors(X)
        if self.weights == "uniform":
            return found, np.full(found.shape, 1.0 / found.shape[1])
        farthest = distances.max(axis=1, keepdims=True)
        closeness = 1.0 / np.maximum(distances, np.where(farthest > 0, 1e-6 * farthest, 1.0))
        return found, closeness / closeness.sum(axis=1, keepdims=True)


def directed(X: FloatArray, metric: Metric) -> FloatArray:
    """Rows as the search compares them: of length 1 for cosine, so that Euclidean distance ranks by angle."""
    if metric == "euclidean":
        return X
    length = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))[:, None]
    unit: FloatArray = (X / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


class RowsKept(OwnEstimator):
    """Keeps the training rows, and searches them."""

    rows_: FloatArray
    n_neighbors: int
    weights: Weights

    def _index(self) -> None:
        self._near = Neighbourhood(self.rows_, self.n_neighbors, self.weights)

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back."""
        model = super().unpack(state)
        model._index()
        return model


class NeighbourClassifier(RowsKept, OwnClassifier):
    """k nearest neighbours whose votes are smoothed towards the class shares, so that no probability is 0.

    Parameters
    ----------
    n_neighbors : int, default=15
    weights : {"uniform", "distance"}, default="distance"
    metric : {"euclidean", "cosine"}, default="euclidean"
    smoothing : float, default=1.0
        Votes that the class shares of the training rows have beside the neighbours' ``n_neighbors`` votes.
    """

    kept = ("classes_", "rows_", "codes_", "prior_")

    def __init__(
        self,
        *,
        n_neighbors: int = 15,
        weights: Weights = "distance",
        metric: Metric = "euclidean",
        smoothing: float = 1.0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.smoothing = smoothing

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows (n, d) and labels (n,)."""
        matrix, self.codes_ = self._training(X, y)
        self.rows_ = np.array(directed(matrix, self.metric))
        self.prior_ = np.bincount(self.codes_) / len(self.codes_)
        self._index()
        return self

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        found, shares = self._near(directed(matrix, self.metric))
        n_classes = len(self.classes_)
        cells = np.arange(len(matrix))[:, None] * n_classes + self.codes_[found]
        votes = np.bincount(cells.ravel(), weights=shares.ravel(), minlength=len(matrix) * n_classes)
        k = found.shape[1]
        proba: AnyArray = (votes.reshape(-1, n_classes) * k + self.smoothing * self.prior_) / (k + self.smoothing)
        return proba


class NeighbourRegressor(RowsKept, OwnRegressor):
    """Mean value of the k nearest neighbours.

    Parameters
    ----------
    n_neighbors : int, default=15
    weights : {"uniform", "distance"}, default="distance"
    metric : {"euclidean", "cosine"}, default="euclidean"
    """

    kept = ("rows_", "values_")

    def __init__(self, *, n_neighbors: int = 15, weights: Weights = "distance", metric: Metric = "euclidean") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        self.rows_ = np.array(directed(matrix, self.metric))
        self.values_ = np.array(values)
        self._index()
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        found, shares = self._near(directed(matrix, self.metric))
        values: AnyArray = (self.values_[found] * shares).sum(axis=1)
        return values
