"""Metrics of clusterings: functions of the columns of ``Evidence``, and of labels where there are any.

References
----------
Rousseeuw 1987 (silhouette); Caliński and Harabasz, "A dendrite method for cluster analysis", Communications in
Statistics 1974; Davies and Bouldin, "A cluster separation measure", IEEE Transactions on Pattern Analysis and Machine
Intelligence
1979; Hubert and Arabie, "Comparing partitions", Journal of Classification 1985: the adjusted Rand index; Schwarz,
"Estimating the dimension of a model", Annals of Statistics 1978.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hybrid_ray.evaluation.clusters import Evidence
from hybrid_ray.evaluation.statistics import Scorer, divide
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Crosstab:
    """Rows counted by two partitions, under any row weights.

    Parameters
    ----------
    first, second : ndarray of int (n,)
        Rows below 0 in either are left out.
    """

    def __init__(self, first: AnyArray, second: AnyArray) -> None:
        known = np.flatnonzero((first >= 0) & (second >= 0))
        _, a = np.unique(first[known], return_inverse=True)
        _, b = np.unique(second[known], return_inverse=True)
        width = int(b.max(initial=0)) + 1
        pairs, cell = np.unique(a * width + b, return_inverse=True)
        self._cells = _indicator(cell, len(pairs), known, len(first))
        self._rows = _indicator(pairs // width, int(a.max(initial=0)) + 1)
        self._columns = _indicator(pairs % width, width)
        self.sizes = len(self._rows.indptr) - 1, width
        """Different values of the first partition, and of the second."""

    def counts(self, weights: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Weight (b, m) of each pair that there is, and (b, k) of each value of the first, and of the second."""
        cells = self._cells @ weights.T
        return cells.T, (self._rows @ cells).T, (self._columns @ cells).T

    def largest(self, weights: AnyArray) -> AnyArray:
        """Summed weight (b,) of the largest pair of each value of the first."""
        cells = self._cells @ weights.T
        best = [cells[self._rows.indices[a:b]].max(axis=0) for a, b in zip(*_ends(self._rows), strict=True)]
        total: AnyArray = np.sum(best, axis=0)
        return total


def _indicator(group: AnyArray, n_groups: int, columns: AnyArray | None = None, width: int | None = None) -> csr_array:
    """Which column is in which group, (n_groups, width)."""
    from scipy.sparse import csr_array

    columns = np.arange(len(group)) if columns is None else columns
    shape = (n_groups, len(group) if width is None else width)
    return csr_array((np.ones(len(group)), (group, columns)), shape=shape)


def _ends(groups: csr_array) -> tuple[AnyArray, AnyArray]:
    return groups.indptr[:-1], groups.indptr[1:]


def adjusted_rand(table: Crosstab) -> Scorer:
    """Hubert and Arabie's index of two partitions: 0 for chance, 1 for the same; NaN where neither divides anything."""

    def score(weights: AnyArray) -> AnyArray:
        parts = table.counts(weights)
        pairs, first, second = (_pairs(part).sum(axis=1) for part in parts)
        every = _pairs(parts[0].sum(axis=1))
        expected = divide(first * second, every)
        return divide(pairs - expected, (first + second) / 2 - expected, np.nan)

    return score


def _pairs(counts: AnyArray) -> AnyArray:
    return counts * (counts - 1) / 2


def normalised_information(table: Crosstab) -> Scorer:
    """Mutual information over the mean of the entropies: 1 for the same partition; NaN where neither divides."""

    def score(weights: AnyArray) -> AnyArray:
        joint, first, second = (_entropy(part) for part in table.counts(weights))
        return divide(first + second - joint, (first + second) / 2, np.nan)

    return score


def _entropy(counts: AnyArray) -> AnyArray:
    from scipy.special import entr

    entropy: AnyArray = entr(divide(counts, counts.sum(axis=1, keepdims=True))).sum(axis=1)
    return entropy


def purity(table: Crosstab) -> Scorer:
    """Share of the rows that are of the most frequent class of their cluster."""

    def score(weights: AnyArray) -> AnyArray:
        return divide(table.largest(weights), table.counts(weights)[0].sum(axis=1), np.nan)

    return score


def _divided(table: AnyArray, score: Callable[[Evidence, AnyArray, AnyArray], AnyArray]) -> Scorer:
    """A score of row weights (b, n) and of the weight (b, k) of each cluster; NaN below two clusters."""
    known = Evidence.of(table)
    names, own = np.unique(known.cluster, return_inverse=True)
    members = _indicator(own, len(names))

    def scorer(weights: AnyArray) -> AnyArray:
        sizes = (members @ weights.T).T
        found = score(known, weights, sizes)
        return np.where((sizes > 0).sum(axis=1) > 1, found, np.nan)

    return scorer


def _mean(weights: AnyArray, values: AnyArray) -> AnyArray:
    mean: AnyArray = weights @ values / weights.sum(axis=1)
    return mean


def _silhouette(known: Evidence, weights: AnyArray, sizes: AnyArray) -> AnyArray:
    return _mean(weights, known.silhouette)


def _calinski_harabasz(known: Evidence, weights: AnyArray, sizes: AnyArray) -> AnyArray:
    within, total = weights @ known.inner, weights @ known.outer
    k, n = (sizes > 0).sum(axis=1), weights.sum(axis=1)
    return divide((total - within) * (n - k), within * (k - 1), np.nan)


def _davies_bouldin(known: Evidence, weights: AnyArray, sizes: AnyArray) -> AnyArray:
    _, first = np.unique(known.cluster, return_index=True)
    there = sizes > 0
    return divide((there * known.overlap[first]).sum(axis=1), there.sum(axis=1))


def silhouette(y: AnyArray, table: AnyArray) -> Scorer:
    """Mean silhouette."""
    return _divided(table, _silhouette)


def calinski_harabasz(y: AnyArray, table: AnyArray) -> Scorer:
    """Spread between clusters over the spread within, each by its degrees of freedom."""
    return _divided(table, _calinski_harabasz)


def davies_bouldin(y: AnyArray, table: AnyArray) -> Scorer:
    """Mean over the clusters of how much of its space the nearest other takes."""
    return _divided(table, _davies_bouldin)


def stability(y: AnyArray, table: AnyArray) -> Scorer:
    """Adjusted Rand index of the clusters by two fits; NaN where the first puts all rows together."""
    known = Evidence.of(table)
    agree = adjusted_rand(Crosstab(known.cluster.astype(np.int64), known.again.astype(np.int64)))
    return _divided(table, lambda _, weights, sizes: agree(weights))


def stable_silhouette(y: AnyArray, table: AnyArray) -> Scorer:
    """Stability times the silhouette's part of the way from chance to 1, chance being cells around random rows.

    Neither will do alone: few large clusters are stable whatever the rows, and silhouettes are the larger the fewer
    columns a space has. Chance has the same space and number of clusters, so that scores of different spaces compare.
    """
    agree = stability(y, table)

    def above_chance(known: Evidence, weights: AnyArray, sizes: AnyArray) -> AnyArray:
        chance = _mean(weights, known.chance)
        gain = divide(_mean(weights, known.silhouette) - chance, 1 - chance)
        return np.maximum(agree(weights), 0.0) * gain + 0.0  # no minus before a zero

    return _divided(table, above_chance)


def compared(fn: Callable[[Crosstab], Scorer]) -> Callable[[AnyArray, AnyArray], Scorer]:
    """A statistic of clusters and labels, which needs the first column only; NaN where no row has a label."""

    def statistic(y: AnyArray, table: AnyArray) -> Scorer:
        if not (y >= 0).any():
            return lambda weights: np.full(len(weights), np.nan)
        return fn(Crosstab(Evidence.of(table).cluster.astype(np.int64), y))

    return statistic


def information_criterion(price: Callable[[AnyArray], AnyArray]) -> Callable[[AnyArray, AnyArray], Scorer]:
    """Minus twice the log-likelihood of the rows, and for each parameter ``price`` of their number; NaN without any."""

    def statistic(y: AnyArray, table: AnyArray) -> Scorer:
        known = Evidence.of(table)

        def score(weights: AnyArray) -> AnyArray:
            if not known.parameters[0]:
                return np.full(len(weights), np.nan)
            return -2 * (weights @ known.likelihood) + known.parameters[0] * price(weights.sum(axis=1))

        return score

    return statistic
