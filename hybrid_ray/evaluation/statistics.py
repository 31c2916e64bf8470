"""Statistics of rows that carry weights: what every metric is computed from.

A statistic looks at labels and outputs once and gives a :data:`Scorer`: a function from row weights (b, n) to scores
(b,). Weights of one give the score itself; the counts of a bootstrap resample give that resample's score, so a
thousand resamples are a few matrix products and cumulative sums, not a thousand calls of a metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

Scorer = Callable[[AnyArray], AnyArray]
"""Row weights float64 (b, n), whole numbers, to scores float64 (b,); NaN where a score is not defined."""

Statistic = Callable[[AnyArray, AnyArray], Scorer]
"""Labels (n,) and outputs (n, n_outputs) to a scorer."""


def divide(numerator: AnyArray, denominator: AnyArray, otherwise: float = 0.0) -> AnyArray:
    """Quotient, with ``otherwise`` where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, otherwise, np.float64)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def mean_scorer(terms: AnyArray, finish: Callable[[AnyArray], AnyArray]) -> Scorer:
    """A score that is a function of weighted means of per-row terms.

    Parameters
    ----------
    terms : ndarray of float64 (n, k)
    finish : callable
        Means (b, k) to scores (b,).
    """

    def score(weights: AnyArray) -> AnyArray:
        return finish(weights @ terms / weights.sum(axis=1, keepdims=True))

    return score


@dataclass(frozen=True)
class Tally:
    """Margins of confusion matrices, each float64 (b, n_classes).

    Attributes
    ----------
    hits : ndarray
        Rows of a class that were predicted as it.
    true, predicted : ndarray
        Rows of a class; rows predicted as it.
    """

    hits: AnyArray
    true: AnyArray
    predicted: AnyArray

    @property
    def seen(self) -> AnyArray:
        """Classes that were true or predicted at least once, bool (b, n_classes)."""
        return (self.true + self.predicted) > 0

    @property
    def precision(self) -> AnyArray:
        """Precision of each class, 0 where nothing was predicted as it."""
        return divide(self.hits, self.predicted)

    @property
    def recall(self) -> AnyArray:
        """Recall of each class, 0 where it has no rows."""
        return divide(self.hits, self.true)

    @property
    def f1(self) -> AnyArray:
        """F1 of each class, 0 where it was neither true nor predicted."""
        return divide(2 * self.hits, self.true + self.predicted)


def tally_scorer(y: AnyArray, outputs: AnyArray, finish: Callable[[Tally], AnyArray]) -> Scorer:
    """A score that is a function of the confusion matrix's margins."""
    from scipy.sparse import csr_array

    n, n_classes = outputs.shape
    guess = outputs.argmax(axis=1)
    row = np.arange(n)

    def one_hot(kept: AnyArray, codes: AnyArray) -> csr_array:
        return csr_array((np.ones(len(kept)), (codes, kept)), shape=(n_classes, n))

    right = np.flatnonzero(guess == y)
    masks = one_hot(right, guess[right]), one_hot(row, y), one_hot(row, guess)

    def score(weights: AnyArray) -> AnyArray:
        hits, true, predicted = ((mask @ weights.T).T for mask in masks)
        return finish(Tally(hits, true, predicted))

    return score


@dataclass(frozen=True)
class Ranking:
    """Rows of one class against the rest, in the order of a score; rows of equal score are one group.

    Attributes
    ----------
    order : ndarray of int (n,)
    starts : ndarray of int (g,)
        Where each group of equal scores starts in the order.
    positive : ndarray of float64 (n,)
        1 for a row of the class, in the order.
    """

    order: AnyArray
    starts: AnyArray
    positive: AnyArray

    @classmethod
    def by(cls, score: AnyArray, positive: AnyArray) -> Ranking:
        """Rank by ascending score."""
        order = np.argsort(score, kind="stable")
        ranked = score[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        return cls(order, starts, positive[order].astype(np.float64))

    def counts(self, weights: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Weight of the class's rows and of all rows in each group, (b, g) each."""
        every = weights[:, self.order]
        positive = every * self.positive
        if len(self.starts) < len(self.order):
            positive = np.add.reduceat(positive, self.starts, axis=1)
            every = np.add.reduceat(every, self.starts, axis=1)
        return positive, every

    def area(self, weights: AnyArray) -> AnyArray:
        """Area under the ROC curve (b,); NaN where one side has no weight."""
        positive, every = self.counts(weights)
        negative = every - positive
        below = np.cumsum(negative, axis=1)
        pairs = positive.sum(axis=1) * below[:, -1]
        below -= negative / 2
        return divide(np.einsum("bg,bg->b", positive, below), pairs, np.nan)

    def precision(self, weights: AnyArray) -> AnyArray:
        """Average precision (b,): precision at each threshold times the recall it adds; NaN without positives."""
        positive, every = (counts[:, ::-1] for counts in self.counts(weights))
        at_threshold = divide(np.cumsum(positive, axis=1), np.cumsum(every, axis=1))
        return divide(np.einsum("bg,bg->b", positive, at_threshold), positive.sum(axis=1), np.nan)


CALIBRATION_BINS = 10
"""Bins of equal width that confidence is put into."""


@dataclass(frozen=True)
class Claims:
    """What outputs claim of each row, and whether it came true.

    Two classes: the probability of class 1, and whether the row is of it. More: the probability of the predicted class,
    and whether the row is of that.

    Attributes
    ----------
    confidence : ndarray of float64 (n,)
    came_true : ndarray of bool (n,)
    bins : ndarray of int (n,)
        Bin of equal width that the confidence falls into.
    """

    confidence: AnyArray
    came_true: AnyArray
    bins: AnyArray

    @classmethod
    def of(cls, y: AnyArray, outputs: AnyArray, n_bins: int = CALIBRATION_BINS) -> Claims:
        """The claims of class probabilities (n, n_classes)."""
        if outputs.shape[1] == 2:
            confidence, came_true = outputs[:, 1], np.asarray(y) == 1
        else:
            confidence, came_true = outputs.max(axis=1), outputs.argmax(axis=1) == y
        return cls(confidence, came_true, np.clip((confidence * n_bins).astype(np.int64), 0, n_bins - 1))


def calibration_scorer(y: AnyArray, outputs: AnyArray) -> Scorer:
    """Expected calibration error: the gap between confidence and what came true in each bin, averaged over rows."""
    from scipy.sparse import csr_array

    claims, n = Claims.of(y, outputs), len(y)
    gaps = csr_array((claims.confidence - claims.came_true, (claims.bins, np.arange(n))), shape=(CALIBRATION_BINS, n))

    def score(weights: AnyArray) -> AnyArray:
        return np.abs(gaps @ weights.T).sum(axis=0) / weights.sum(axis=1)

    return score


def rank_scorer(y: AnyArray, outputs: AnyArray, score_one: Callable[[Ranking, AnyArray], AnyArray]) -> Scorer:
    """A score of rankings: of class 1 with two classes, else the mean over the classes where it is defined."""
    codes = [1] if outputs.shape[1] == 2 else range(outputs.shape[1])
    rankings = [Ranking.by(outputs[:, code], y == code) for code in codes]

    def score(weights: AnyArray) -> AnyArray:
        total, defined = np.zeros(len(weights)), np.zeros(len(weights))
        for ranking in rankings:
            one = score_one(ranking, weights)
            known = np.isfinite(one)
            total += np.where(known, one, 0.0)
            defined += known
        return divide(total, defined, np.nan)

    return score


def median_scorer(values: AnyArray) -> Scorer:
    """The median of per-row values (n,), a row of weight w standing there w times."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]

    def score(weights: AnyArray) -> AnyArray:
        reached = np.cumsum(weights[:, order], axis=1)
        total = reached[:, -1]
        low = (reached > ((total - 1) // 2)[:, None]).argmax(axis=1)
        high = (reached > (total // 2)[:, None]).argmax(axis=1)
        return (ranked[low] + ranked[high]) / 2

    return score
