"""What is known of clusters without a label: the columns that every metric of a clustering is a function of.

Clusters of two fits do not correspond, and their memberships have no right answer. So what stands in the place of a
prediction is what the rows at hand say of the clusters, one column a measure, one row a row: where two fits put it, how
well it lies in its cluster, how far from the centres. A metric is then a function of row weights as any other, with the
same intervals, ledger and comparisons.

References
----------
Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal of
Computational and Applied Mathematics 1987.
Tibshirani and Walther, "Cluster validation by prediction strength", Journal of Computational and Graphical Statistics
2005; Lange, Roth, Braun and Buhmann, "Stability-based validation of clustering solutions", Neural Computation 2004: two
fits on rows apart, compared on rows that one of them has not seen.
Akhanli and Hennig, "Comparing clusterings and numbers of clusters by aggregation of calibrated clustering validity
indexes", Statistics and Computing 2020: measures beside what chance reaches in the same space with as many clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybrid_ray.estimators.distances import squared_distances
from hybrid_ray.types import AnyArray

SAMPLE = 2000
"""Rows that silhouettes are measured against at most; above, a sample stands for each cluster."""
DRAWS = 4
"""Partitions around random rows that chance is measured by."""
_CHUNK = 2048


class Evidence(NamedTuple):
    """The columns, each float64 (n,); as one array by ``table``, and back by ``of``.

    Attributes
    ----------
    cluster, again : ndarray
        Cluster by the fit that is judged, and by one on these rows alone, from the same parameters.
    silhouette : ndarray
        In the space that the clusterer saw, Euclidean; 0 in a cluster of one row.
    inner, outer : ndarray
        Squared distance to the centre of the row's cluster, and to the mean of all rows.
    overlap : ndarray
        Of the row's cluster: the largest ratio of two clusters' spreads to the distance of their centres.
    chance : ndarray
        Mean silhouette of partitions into as many cells around rows drawn at random, in the same space.
    likelihood, parameters : ndarray
        Log-likelihood of the row, and free parameters of the model; 0 parameters where it is no mixture.
    x, y : ndarray
        The row on the two principal axes of these rows.
    """

    cluster: AnyArray
    again: AnyArray
    silhouette: AnyArray
    inner: AnyArray
    outer: AnyArray
    overlap: AnyArray
    chance: AnyArray
    likelihood: AnyArray
    parameters: AnyArray
    x: AnyArray
    y: AnyArray

    @classmethod
    def of(cls, table: AnyArray) -> Evidence:
        """The first columns of an array (n, k); zeros for those that it lacks."""
        columns = list(np.asarray(table, np.float64).T)[:WIDTH]
        return cls(*columns, *(np.zeros(len(table)) for _ in range(WIDTH - len(columns))))

    @property
    def table(self) -> AnyArray:
        """One array float64 (n, WIDTH)."""
        return np.stack(self, axis=1)


WIDTH = len(Evidence._fields)
"""Columns of what stands in the place of a prediction."""


def gather(
    X: AnyArray,
    cluster: AnyArray,
    again: AnyArray,
    *,
    likelihood: AnyArray | None = None,
    parameters: int = 0,
    seed: int = 0,
) -> Evidence:
    """All that rows say of a clustering.

    Parameters
    ----------
    X : ndarray float32 (n, d)
        Rows in the space that the clusterer saw.
    cluster, again : ndarray of int (n,)
        Clusters by two fits; their numbers need not correspond.
    likelihood : ndarray (n,), optional
        Log-likelihoods, of a mixture.
    parameters : int, default 0
        Free parameters of a mixture.
    seed : int, default 0
        Draws the rows that silhouettes are measured against, and chance.
    """
    rng = np.random.default_rng(seed)
    n = len(X)
    wide = X.astype(np.float64)
    inner, outer, overlap = _spreads(wide, cluster)
    drawn = rng.choice(n, size=min(n, SAMPLE), replace=False)
    found = len(np.unique(cluster))
    cells = [_cells(wide, rng.choice(n, size=min(found, n), replace=False)) for _ in range(DRAWS)]
    own, *chance = silhouettes(wide, [cluster, *cells], drawn)
    x, y = _map(wide, seed)
    return Evidence(
        cluster=cluster.astype(np.float64),
        again=again.astype(np.float64),
        silhouette=own,
        inner=inner,
        outer=outer,
        overlap=overlap,
        chance=np.full(n, np.mean(chance)),
        likelihood=np.zeros(n) if likelihood is None else likelihood,
        parameters=np.full(n, float(parameters)),
        x=x,
        y=y,
    )


def assigned(memberships: AnyArray) -> AnyArray:
    """The first column alone (n, 1), of memberships (n, k): what a comparison with labels looks at."""
    return memberships.argmax(axis=1)[:, None].astype(np.float64)


def shuffled(X: AnyArray, cluster: AnyArray, seed: int = 0) -> Evidence:
    """The same of two random assignments of clusters of the same sizes: what a clustering must beat."""
    rng = np.random.default_rng(seed)
    return gather(X, rng.permutation(cluster), rng.permutation(cluster), seed=seed)


def silhouettes(X: AnyArray, partitions: list[AnyArray], drawn: AnyArray) -> list[AnyArray]:
    """Silhouette of every row (n,), for each of some partitions (n,).

    Parameters
    ----------
    X : ndarray float64 (n, d)
    partitions : list of ndarray of int (n,)
    drawn : ndarray of int (m,)
        Rows that distances are measured to; with all rows it is Rousseeuw's silhouette.
    """
    members = [_members(partition[drawn], partition) for partition in partitions]
    found = [np.zeros(len(X)) for _ in partitions]
    position = np.full(len(X), -1)
    position[drawn] = np.arange(len(drawn))
    for start in range(0, len(X), _CHUNK):
        rows = slice(start, start + _CHUNK)
        distances = np.sqrt(squared_distances(X[rows], X[drawn]))
        itself = position[rows]
        among = np.flatnonzero(itself >= 0)
        distances[among, itself[among]] = 0.0
        for out, (indicator, own) in zip(found, members, strict=True):
            out[rows] = _silhouette(distances @ indicator, indicator.sum(axis=0), own[rows], itself >= 0)
    return found


def _members(drawn: AnyArray, everyone: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Which drawn row is in which cluster, float64 (m, k), and the cluster of every row (n,), by position."""
    names, own = np.unique(everyone, return_inverse=True)
    return (drawn[:, None] == names).astype(np.float64), own


def _silhouette(sums: AnyArray, sizes: AnyArray, own: AnyArray, among: AnyArray) -> AnyArray:
    """Silhouettes (b,) from summed distances (b, k) to the drawn rows of each cluster, and their numbers (k,)."""
    rows = np.arange(len(sums))
    others = sizes[own] - among
    with np.errstate(divide="ignore", invalid="ignore"):
        within = sums[rows, own] / others
        means = np.where(sizes > 0, sums / sizes, np.inf)
        means[rows, own] = np.inf
        nearest = means.min(axis=1)
        values = (nearest - within) / np.maximum(nearest, within)
    lone = (others <= 0) | ~np.isfinite(nearest)
    return np.where(lone | ~np.isfinite(values), 0.0, values)


def _cells(X: AnyArray, seeds: AnyArray) -> AnyArray:
    """The nearest of some rows to each row."""
    nearest: AnyArray = squared_distances(X, X[seeds]).argmin(axis=1)
    return nearest


def _spreads(X: AnyArray, cluster: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Squared distances to the own centre and to the mean, and Davies and Bouldin's ratio of each row's cluster."""
    names, own, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    centres = (own == np.arange(len(names))[:, None]).astype(np.float64) @ X / sizes[:, None]
    inner = np.square(X - centres[own]).sum(axis=1)
    outer = np.square(X - X.mean(axis=0)).sum(axis=1)
    spread = np.bincount(own, np.sqrt(inner)) / sizes
    apart = np.sqrt(squared_distances(centres, centres))
    np.fill_diagonal(apart, np.inf)
    ratios = (spread[:, None] + spread) / np.maximum(apart, 1e-12)
    return inner, outer, ratios.max(axis=1)[own]


def _map(X: AnyArray, seed: int) -> tuple[AnyArray, AnyArray]:
    """Rows (n,) on the first two principal axes, zeros where there is no second."""
    from hybrid_ray.fusion.components import principal_axes  # fusions bring scipy along

    centred = (X - X.mean(axis=0)).astype(np.float32)
    axes = principal_axes(centred, min(2, *centred.shape), seed)
    flat = np.zeros((len(X), 2))
    flat[:, : len(axes)] = centred @ axes.T
    return flat[:, 0], flat[:, 1]
