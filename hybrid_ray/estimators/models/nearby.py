"""Clusterers that say nothing of rows which they have not seen: those go with the nearest rows that they have."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, SpectralClustering
from sklearn.neighbors import NearestNeighbors

from hybrid_ray.estimators.models.clusterers import OwnClusterer, by_size
from hybrid_ray.estimators.models.neighbours import Neighbourhood
from hybrid_ray.types import AnyArray, FloatArray

Linkage = Literal["ward", "average", "complete"]


class NearbyClusterer(OwnClusterer):
    """A clusterer that says nothing of rows it has not seen: they go with the nearest rows that it has put somewhere.

    Attributes
    ----------
    votes : int
        Nearest rows that are asked, by how close they are; 1: the nearest alone.
    """

    kept = ("rows_", "codes_")
    votes: ClassVar[int] = 5

    def _learn(self, X: FloatArray) -> None:
        labels = self._labels(X)
        if not (labels >= 0).any():
            labels = np.zeros(len(X), np.int64)
        number = np.full(labels.max() + 1, -1)
        order = by_size(labels, X)
        number[order] = np.arange(len(order))
        kept = labels >= 0
        self.rows_ = np.array(X[kept])
        self.codes_ = number[labels[kept]]

    @abstractmethod
    def _labels(self, X: FloatArray) -> AnyArray:
        """Cluster of each row, int64 (n,); below 0 of rows that are not to be asked."""

    def _index(self) -> None:
        self.n_clusters_ = int(self.codes_.max()) + 1
        self._near = Neighbourhood(self.rows_, self.votes, "distance")

    def predict_proba(self, X: Any) -> AnyArray:
        """Shares of the votes; a row that was fitted on goes with itself."""
        matrix = self._matrix(X)
        found, shares = self._near(matrix)
        cells = np.arange(len(matrix))[:, None] * self.n_clusters_ + self.codes_[found]
        sums = np.bincount(cells.ravel(), weights=shares.ravel(), minlength=len(matrix) * self.n_clusters_)
        votes = sums.reshape(len(matrix), self.n_clusters_)
        return votes / votes.sum(axis=1, keepdims=True)


class MergedClusterer(NearbyClusterer):
    """Clusters merged from single rows, the nearest two first.

    Parameters
    ----------
    n_clusters : int, default=8
    linkage : {"ward", "average", "complete"}, default="ward"
    """

    def __init__(self, *, n_clusters: int = 8, linkage: Linkage = "ward") -> None:
        self.n_clusters = n_clusters
        self.linkage = linkage

    def _labels(self, X: FloatArray) -> AnyArray:
        merging = AgglomerativeClustering(min(self.n_clusters, len(X)), linkage=self.linkage)
        labels: AnyArray = merging.fit(X.astype(np.float64)).labels_
        return labels


class SpectralClusterer(NearbyClusterer):
    """Clusters of the graph of nearest neighbours, cut where few edges are.

    Parameters
    ----------
    n_clusters : int, default=8
    n_neighbors : int, default=10
    random_state : int, default=0
    """

    def __init__(self, *, n_clusters: int = 8, n_neighbors: int = 10, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def _labels(self, X: FloatArray) -> AnyArray:
        cut = SpectralClustering(
            min(self.n_clusters, len(X)),
            affinity="nearest_neighbors",
            n_neighbors=min(self.n_neighbors, len(X)),
            random_state=self.random_state,
            assign_labels="cluster_qr",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # parts of the graph that no edge joins are clusters too
            labels: AnyArray = cut.fit(X).labels_.astype(np.int64)
        return labels


class DenseClusterer(NearbyClusterer):
    """Rows that are dense, joined where they are near; all others go with the nearest dense row.

    Parameters
    ----------
    dense : float, default=0.8
        Share of the rows that are dense: so many have ``min_samples`` rows within the radius, which follows from it.
    min_samples : int, default=10
    smallest : float, default=0.01
        Share of the rows below which a cluster is none.
    """

    votes = 1

    def __init__(self, *, dense: float = 0.8, min_samples: int = 10, smallest: float = 0.01) -> None:
        self.dense = dense
        self.min_samples = min_samples
        self.smallest = smallest

    def _labels(self, X: FloatArray) -> AnyArray:
        wide = X.astype(np.float64)
        asked = min(self.min_samples, len(X))
        distances = NearestNeighbors(n_neighbors=asked).fit(wide).kneighbors(wide)[0][:, -1]
        radius = float(np.quantile(distances, self.dense, method="higher"))
        found = DBSCAN(eps=max(radius * (1 + 1e-9), 1e-12), min_samples=asked).fit(wide)
        labels = np.full(len(X), -1)
        labels[found.core_sample_indices_] = found.labels_[found.core_sample_indices_]
        return without_small(labels, self.smallest)


class LayeredClusterer(NearbyClusterer):
    """Clusters that last over many densities; rows of none go with the nearest row of one.

    Parameters
    ----------
    smallest : float, default=0.02
        Share of the rows that a cluster has at least.
    min_samples : int, default=5
    """

    votes = 1

    def __init__(self, *, smallest: float = 0.02, min_samples: int = 5) -> None:
        self.smallest = smallest
        self.min_samples = min_samples

    def _labels(self, X: FloatArray) -> AnyArray:
        least = max(int(np.ceil(self.smallest * len(X))), 2)
        wide = X.astype(np.float64)
        found = HDBSCAN(min_cluster_size=least, min_samples=min(self.min_samples, len(X)), copy=True).fit(wide)
        labels: AnyArray = found.labels_.astype(np.int64)
        return labels


def without_small(labels: AnyArray, share: float) -> AnyArray:
    """Labels (n,) where the rows of clusters below a share of all rows are in none."""
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    small = np.flatnonzero(sizes < share * len(labels))
    return np.where(np.isin(labels, small), -1, labels)
