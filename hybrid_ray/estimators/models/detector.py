"""What our detectors share: fitted on normal rows, they say how far out a row is, and how rare that is of normal rows.

Scores of different detectors have different units. Each is made the rarity of such a score among normal rows that were
not fitted on, so that scores can be averaged.

References
----------
Kriegel, Kröger, Schubert and Zimek, "Interpreting and unifying outlier scores", SDM 2011: scores become comparable by
their distribution.
Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 1975: tails beyond what was seen.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from hybrid_ray.dealing import parts_of_groups
from hybrid_ray.estimators.models.base import OwnEstimator
from hybrid_ray.types import AnyArray, FloatArray

FOLDS = 3
"""Inner folds: a normal row is scored by a fit that did not see it."""
TAIL = 0.1
"""Share of the held-out scores whose excess over the others says how rare higher ones are."""
_POINTS = 101
_RAREST = 1e9
"""Largest negative logarithm that a rarity is given."""
SHARED: tuple[str, ...] = ("levels_", "tail_")
"""Fitted attributes of every detector."""


class OwnDetector(OwnEstimator):
    """A detector of anomalous rows, as a classifier of two classes: 0 normal, 1 anomalous.

    A subclass writes ``_learn`` and ``_measure``, names what it keeps beside ``SHARED``, and has these parameters:

    Parameters
    ----------
    false_alarms : float, default=0.01
        Share of normal rows that may be as far out as a row of which 0.5 is said.
    random_state : int, default=0
        Draws the inner folds, and whatever else is drawn.
    """

    kept: ClassVar[tuple[str, ...]] = SHARED
    false_alarms: float
    random_state: int

    @abstractmethod
    def _learn(self, rows: FloatArray) -> None:
        """Learn what normal rows float32 (n, d), n > 1, are like."""

    @abstractmethod
    def _measure(self, rows: FloatArray) -> AnyArray:
        """How far out rows (m, d) are, float64 (m,), finite; higher is more anomalous."""

    @property
    def classes_(self) -> AnyArray:
        """Normal, anomalous."""
        return np.array([0, 1])

    def fit(self, X: Any, y: Any = None, groups: AnyArray | None = None) -> Self:
        """Learn from normal rows (n, d); ``y``, where it is given, must say 0 of all of them.

        Rows of one group (n,) are scored by fits that saw none of them.

        Raises
        ------
        ValueError
            There are fewer than two rows, or some are not normal.
        """
        rows = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        if y is not None and np.any(np.asarray(y) != 0):
            raise ValueError(f"{type(self).__name__}: y must be 0, normal, for every row; got {np.unique(y).tolist()}")
        self._calibrate(self._held_out(rows, groups))
        self._learn(rows)
        return self

    def _held_out(self, rows: FloatArray, groups: AnyArray | None) -> AnyArray:
        """Scores of rows by fits that did not see them; of very few rows by a fit on all."""
        n = len(rows)
        fold = parts_of_groups(groups, FOLDS, self.random_state)
        if fold is None:
            fold = np.random.default_rng(self.random_state).permutation(n) % FOLDS
        scores = np.empty(n)
        for held in [fold == each for each in range(FOLDS)] if n >= 2 * FOLDS else [np.ones(n, bool)]:
            twin = clone(self)
            twin._learn(rows if held.all() else rows[~held])
            scores[held] = twin._measure(rows[held])
        return scores

    def _calibrate(self, scores: AnyArray) -> None:
        """Keep how many held-out scores lie below a score, and how fast the largest thin out."""
        shares = np.linspace(0, 1 - TAIL, _POINTS)
        values, first = np.unique(np.quantile(scores, shares), return_index=True)
        self.levels_ = np.stack([values, shares[first]])
        start = np.quantile(scores, 1 - TAIL)
        excess = scores[scores > start] - start
        # Where scores hardly differ, any score beyond them is very rare.
        least = 1e-6 * max(abs(float(start)), float(np.ptp(scores)), 1e-6)
        self.tail_ = np.array([start, max(float(excess.mean()) if len(excess) else 0.0, least)])

    def score_samples(self, X: Any) -> AnyArray:
        """How far out rows (m, d) are, float64 (m,); higher is more anomalous."""
        check_is_fitted(self)
        return self._measure(self._matrix(X))

    def predict_proba(self, X: Any) -> AnyArray:
        """How usual, and how anomalous, rows are: float64 (m, 2), which sum to 1.

        With r the share of normal rows that are at least as far out, and a the false alarms that are borne, anomalous
        is log r / (log r + log a): 0.5 where r is a.
        """
        scores = self.score_samples(X)
        start, excess = self.tail_
        below = -np.log1p(-np.interp(scores, *self.levels_))
        beyond = -np.log(TAIL) + np.maximum(scores - start, 0) / excess
        rarity = np.minimum(np.where(scores > start, beyond, below), _RAREST)
        anomalous = rarity / (rarity - np.log(self.false_alarms))
        return np.column_stack([1 - anomalous, anomalous])

    def predict(self, X: Any) -> AnyArray:
        """Whether each row is anomalous, (m,): 0 or 1."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int64)
