"""Clusterers that assign rows which they have not seen, numbered by size, saved as arrays."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import validate_data

from hybrid_ray.estimators.distances import squared_distances
from hybrid_ray.estimators.models.base import OwnEstimator
from hybrid_ray.types import AnyArray, FloatArray, State

Covariance = Literal["spherical", "diag", "tied", "full"]

MANY_ROWS = 20_000
"""Above this many rows k-means goes by mini-batches."""


class OwnClusterer(ClusterMixin, OwnEstimator):
    """A clusterer: subclasses write ``_learn`` and ``predict_proba``; no label is ever looked at.

    Attributes
    ----------
    n_clusters_ : int
        Clusters that were found, 1 or more, numbered from the largest.
    """

    n_clusters_: int

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn clusters of rows (n, d)."""
        matrix: FloatArray = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        with warnings.catch_warnings():
            # Of rows that are equal there are fewer clusters than asked for: those that are there are the answer.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._learn(matrix)
        self._index()
        return self

    @abstractmethod
    def _learn(self, X: FloatArray) -> None:
        """Set the attributes that are ``kept``."""

    def _index(self) -> None:
        """Make what prediction needs of what is kept, ``n_clusters_`` among it."""

    @abstractmethod
    def predict_proba(self, X: Any) -> AnyArray:
        """Memberships float64 (n, n_clusters_): each row sums to 1."""

    def predict(self, X: Any) -> AnyArray:
        """The cluster of each row, int64 (n,)."""
        clusters: AnyArray = self.predict_proba(X).argmax(axis=1)
        return clusters

    def log_likelihood(self, X: Any) -> AnyArray | None:
        """Log-likelihood of each row (n,), of a model that has one."""
        return None

    @property
    def n_parameters(self) -> int:
        """Free parameters of a model that has a likelihood; else 0."""
        return 0

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted clusterer back."""
        model = super().unpack(state)
        model._index()
        return model


def by_size(labels: AnyArray, X: FloatArray) -> AnyArray:
    """Old cluster numbers, the largest first, equal ones by their means: the order of rows has no part in it.

    Parameters
    ----------
    labels : ndarray of int (n,)
        From 0; rows below 0 are in no cluster.
    X : ndarray float32 (n, d)
    """
    sizes = np.bincount(labels[labels >= 0])
    means = {int(k): X[labels == k].mean(axis=0, dtype=np.float64).tolist() for k in np.flatnonzero(sizes)}
    return np.array(sorted(means, key=lambda k: (-sizes[k], means[k])), np.int64)


class CentredClusterer(OwnClusterer):
    """k-means; memberships are those of a mixture of balls of one size around the centres, which it is the limit of.

    Parameters
    ----------
    n_clusters : int, default=8
        At most; never more than there are rows that differ.
    n_init : int, default=10
        Starts, of which the best is kept.
    random_state : int, default=0
    """

    kept = ("centres_", "spread_")

    def __init__(self, *, n_clusters: int = 8, n_init: int = 10, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.random_state = random_state

    def _learn(self, X: FloatArray) -> None:
        plain = KMeans if len(X) <= MANY_ROWS else MiniBatchKMeans
        asked = min(self.n_clusters, len(X))
        found = plain(asked, n_init=self.n_init, random_state=self.random_state).fit(X)
        order = by_size(_nearest(X, found.cluster_centers_)[0], X)
        self.centres_ = np.asarray(found.cluster_centers_, np.float64)[order]
        inner = _nearest(X, self.centres_)[1]
        self.spread_ = np.array([max(float(inner.mean()) / X.shape[1], 1e-12)])

    def _index(self) -> None:
        self.n_clusters_ = len(self.centres_)

    def predict_proba(self, X: Any) -> AnyArray:
        """Memberships; the largest is that of the nearest centre."""
        squares = squared_distances(self._matrix(X), self.centres_)
        return _shares(-squares / (2.0 * self.spread_[0]))


class MixtureClusterer(OwnClusterer):
    """A mixture of normal distributions; memberships are its posterior probabilities.

    Parameters
    ----------
    n_clusters : int, default=8
    covariance : {"spherical", "diag", "tied", "full"}, default="diag"
    regularisation : float, default=1e-3
        Added to every variance, in units of the mean variance of the columns.
    n_init : int, default=2
    random_state : int, default=0
    """

    kept = ("weights_", "means_", "covariances_", "factors_")

    def __init__(
        self,
        *,
        n_clusters: int = 8,
        covariance: Covariance = "diag",
        regularisation: float = 1e-3,
        n_init: int = 2,
        random_state: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.covariance = covariance
        self.regularisation = regularisation
        self.n_init = n_init
        self.random_state = random_state

    def _learn(self, X: FloatArray) -> None:
        wide = X.astype(np.float64)
        unit = float(wide.var(axis=0).mean())
        mixture = self._mixture(min(self.n_clusters, len(X)), self.regularisation * unit + 1e-9).fit(wide)
        order = by_size(mixture.predict(wide), X)
        self.weights_ = mixture.weights_[order] / mixture.weights_[order].sum()
        self.means_ = mixture.means_[order]
        shared = self.covariance == "tied"
        self.covariances_ = mixture.covariances_ if shared else mixture.covariances_[order]
        self.factors_ = mixture.precisions_cholesky_ if shared else mixture.precisions_cholesky_[order]

    def _mixture(self, n_components: int, floor: float) -> GaussianMixture:
        return GaussianMixture(
            n_components,
            covariance_type=self.covariance,
            reg_covar=floor,
            n_init=self.n_init,
            random_state=self.random_state,
        )

    def _index(self) -> None:
        self.n_clusters_ = len(self.weights_)
        self._fitted = self._mixture(self.n_clusters_, 0.0)
        self._fitted.weights_, self._fitted.means_ = self.weights_, self.means_
        self._fitted.covariances_, self._fitted.precisions_cholesky_ = self.covariances_, self.factors_
        self._fitted.n_features_in_ = self.means_.shape[1]

    def predict_proba(self, X: Any) -> AnyArray:
        """Posterior probability of each component."""
        shares: AnyArray = self._fitted.predict_proba(self._matrix(X).astype(np.float64))
        return shares

    def log_likelihood(self, X: Any) -> AnyArray:
        """Log-density of each row."""
        logs: AnyArray = self._fitted.score_samples(self._matrix(X).astype(np.float64))
        return logs

    @property
    def n_parameters(self) -> int:
        """Of the weights, the means and the covariances."""
        k, d = self.means_.shape
        own = {"spherical": k, "diag": k * d, "tied": d * (d + 1) // 2, "full": k * d * (d + 1) // 2}
        return k - 1 + k * d + own[self.covariance]


def _nearest(X: FloatArray, centres: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The nearest centre of each row (n,), and the squared distance to it (n,)."""
    squares = squared_distances(X, centres)
    return squares.argmin(axis=1), squares.min(axis=1)


def _shares(logs: AnyArray) -> AnyArray:
    """Shares (n, k) of unnormalised log-probabilities."""
    sizes = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: AnyArray = sizes / sizes.sum(axis=1, keepdims=True)
    return shares
