"""Whether two samples come from one distribution: numbers, categories, vectors; and how far apart they are.

References
----------
Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test", JMLR 2012: the statistic of
:func:`maximum_mean_discrepancy` is equation 3.
Besag and Clifford, "Sequential Monte Carlo p-values", Biometrika 1991: when its permutations stop.
Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation 2020.
Cochran, "Some methods for strengthening the common χ² tests", Biometrics 1954: which categories are counted together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from hybrid_ray.types import AnyArray, FloatArray

FEW = 5.0
"""Expected count below which categories are counted together; the tail of chi-squared is no good for less."""
_REST = "\0rest"
_EXCEEDED = 25
"""Permutations as far apart as the samples after which there is nothing left to find."""
_PERMUTED = 512
"""Permutations at once."""
_BINS = 10


class TwoSample(NamedTuple):
    """A test of one difference.

    Attributes
    ----------
    statistic : float
    p_value : float
        1 where a sample is too small to tell.
    """

    statistic: float
    p_value: float


NOTHING = TwoSample(0.0, 1.0)
"""Of samples that are too small to tell."""


def kolmogorov_smirnov(before: AnyArray, now: AnyArray) -> TwoSample:
    """Whether numbers (m,) and (n,) are distributed alike; the statistic is the largest distance of their shares.

    Exact for small samples; with ties it errs on the side of no difference.
    """
    if min(len(before), len(now)) < 2:
        return NOTHING
    found = ks_2samp(before, now)
    return TwoSample(float(found.statistic), float(found.pvalue))


def chi_squared(before: Sequence[str], now: Sequence[str]) -> TwoSample:
    """Whether categories are as common in one sample as in another; the statistic is Cramér's V, 0 to 1.

    Categories expected fewer than ``FEW`` times in either sample are counted together. Two categories of which one is
    rare are told exactly (Fisher).
    """
    if not before or not now:
        return NOTHING
    counts = _pooled(Counter(before), Counter(now))
    if counts.shape[1] < 2:
        return NOTHING
    if counts.shape[1] == 2 and _expected(counts).min() < FEW:
        p_value = float(fisher_exact(counts).pvalue)
        statistic = chi2_contingency(counts, correction=False).statistic
    else:
        found = chi2_contingency(counts, correction=False)
        p_value, statistic = float(found.pvalue), found.statistic
    return TwoSample(float(np.sqrt(statistic / counts.sum())), p_value)


def _pooled(before: Counter[str], now: Counter[str]) -> AnyArray:
    """Counts (2, k), rare categories as one; where that one is rare itself, with the least common other."""
    total = before + now
    least = min(before.total(), now.total()) / (before.total() + now.total())
    rare = {name for name, count in total.items() if count * least < FEW}
    names = sorted(set(total) - rare, key=lambda name: (-total[name], name))
    if rare and sum(total[name] for name in rare) * least < FEW and len(names) > 1:
        rare.add(names.pop())
    columns = [[before[name], now[name]] for name in names]
    if rare:
        columns.append([sum(before[name] for name in rare), sum(now[name] for name in rare)])
    return np.array(columns, np.int64).T


def _expected(counts: AnyArray) -> AnyArray:
    return np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()


def maximum_mean_discrepancy(
    before: FloatArray, now: FloatArray, *, seed: int, level: float = 0.001, most: int = 500
) -> TwoSample:
    """Whether vectors (m, d) and (n, d) are distributed alike, by their means in a Gaussian kernel's space.

    The kernel is as wide as the median distance. Its p value is the share of permutations of the samples that are as
    far apart, and permutations stop when ``_EXCEEDED`` of them were: it takes few where nothing differs, and
    ``2 / level`` where much does. O((m + n)² · (d + permutations)).

    Parameters
    ----------
    before, now : ndarray of float32 (m, d), (n, d)
        Finite.
    seed : int
    level : float, default 0.001
        The least p value that must be told from 0.
    most : int, default 500
        Vectors of each that are looked at, a sample of more.
    """
    if min(len(before), len(now)) < 2 or before.shape[1] == 0:
        return NOTHING
    rng = np.random.default_rng(seed)
    vectors = _alike_wide(_sample(before, most, rng), _sample(now, most, rng))
    n_before = min(len(before), most)
    kernel = _kernel(vectors)
    statistic = float(_discrepancies(kernel, np.arange(len(kernel))[None] < n_before)[0])
    asked = int(np.ceil(2.0 / level))
    exceeded = done = 0
    while done < asked and exceeded < _EXCEEDED:
        here = min(_PERMUTED, asked - done)
        first = rng.permuted(np.broadcast_to(np.arange(len(kernel)), (here, len(kernel))), axis=1) < n_before
        as_far = np.flatnonzero(_discrepancies(kernel, first) >= statistic)
        if exceeded + len(as_far) >= _EXCEEDED:  # the permutation that stops it is the last that counts
            here = int(as_far[_EXCEEDED - exceeded - 1]) + 1
            return TwoSample(statistic, _EXCEEDED / (done + here))
        exceeded, done = exceeded + len(as_far), done + here
    return TwoSample(statistic, (exceeded + 1) / (done + 1))


def _sample(vectors: FloatArray, most: int, rng: np.random.Generator) -> FloatArray:
    return vectors if len(vectors) <= most else vectors[np.sort(rng.choice(len(vectors), most, replace=False))]


def _alike_wide(before: FloatArray, now: FloatArray) -> AnyArray:
    """Both, one after the other (m + n, d), each dimension as wide as the others: none drowns the rest."""
    both = np.concatenate([before, now]).astype(np.float64)
    spread = both.std(axis=0)
    return (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _kernel(vectors: AnyArray) -> AnyArray:
    """Gaussian kernel (n, n) of all pairs, 0 on the diagonal."""
    squares = (vectors**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2.0 * (vectors @ vectors.T), 0.0)
    upper = distances[np.triu_indices(len(distances), 1)]
    middle = float(np.median(upper))
    kernel = np.exp(-distances / (middle if middle > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _discrepancies(kernel: AnyArray, first: AnyArray) -> AnyArray:
    """The unbiased squared discrepancy (k,) of splits bool (k, n): which vectors are in the first sample."""
    ones = first.astype(np.float64)
    within_first = np.einsum("kn,kn->k", ones @ kernel, ones)
    rest = kernel.sum(axis=1)
    to_first = ones @ rest
    between = to_first - within_first
    within_second = rest.sum() - 2.0 * to_first + within_first
    m, n = ones.sum(axis=1), (1.0 - ones).sum(axis=1)
    return within_first / (m * (m - 1)) + within_second / (n * (n - 1)) - 2.0 * between / (m * n)


def stability_index(before: AnyArray, now: AnyArray) -> float:
    """Population stability index of numbers (m,) and (n,) over the deciles of the first; 0: none differs.

    Credit scoring takes 0.1 for a change that matters and 0.25 for a large one. A sample without a number in a bin
    counts as half of one there.
    """
    if not len(before) or not len(now):
        return 0.0
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = [np.searchsorted(edges, numbers, "right") for numbers in (before, now)]
    return _stability(*(np.bincount(each, minlength=len(edges) + 1) for each in bins))


def stability_of_categories(before: Sequence[str], now: Sequence[str]) -> float:
    """Population stability index of categories, those that are rare in both counted together."""
    if not before or not now:
        return 0.0
    first, second = _pooled(Counter(before), Counter(now))
    return _stability(first, second)


def _stability(before: AnyArray, now: AnyArray) -> float:
    shares = [np.maximum(counts, 0.5) / np.maximum(counts, 0.5).sum() for counts in (before, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
