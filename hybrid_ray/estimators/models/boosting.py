"""Gradient boosting that decides its number of rounds on held-out training rows: what the three libraries share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.estimators.models.quick import Quickened
from hybrid_ray.estimators.models.resample import hold_out
from hybrid_ray.types import AnyArray, FloatArray

FEW_ROUNDS = 100
"""Rounds when there are too few rows to hold any out."""
MOST_TREES = 2500
"""Trees, over all classes, after which a fit of more than ``FEW_ROUNDS`` rounds ends; fewer for wide features."""
WIDE = 256
"""Above this many features, as deep extractors give them, values are put into ``FEW_BINS`` bins instead of
``MANY_BINS``: measured on 384 and 1,280 of them it is 2 to 3 times faster, and not worse."""
MANY_BINS, FEW_BINS = 255, 63
REFIT_CELLS = 1_000_000
"""Up to this many training values (rows times features) a last fit on all rows is worth its time."""
MIN_GAIN = 5e-4
"""Gain on held-out rows, in nats or squared deviations, that counts as one: else many classes grow on for ever."""


class Boosted(Quickened, OwnEstimator):
    """Grows trees until held-out rows get no better.

    Subclasses write ``_train``, ``slow_outputs`` and ``compiled``, and hold what the first gives as ``booster_``.
    Constructor parameters that this class reads: ``n_estimators``, ``patience``, ``held_share``, ``refit_rows``,
    ``random_state``.
    """

    n_estimators: int
    patience: int
    held_share: float
    refit_rows: int
    random_state: int

    @abstractmethod
    def _train(
        self,
        X: FloatArray,
        y: AnyArray,
        weights: AnyArray | None,
        rounds: int,
        held: tuple[FloatArray, AnyArray, AnyArray | None] | None,
    ) -> tuple[Any, int]:
        """A booster, and how many rounds it has: those up to the best on ``held``, else ``rounds``."""

    def _grow(
        self,
        X: FloatArray,
        y: AnyArray,
        codes: AnyArray | None,
        weights: AnyArray | None,
        groups: AnyArray | None,
    ) -> Self:
        train, held = hold_out(len(y), codes, self.held_share, self.random_state, groups)
        trees = 1 if codes is None or codes.max() < 2 else int(codes.max()) + 1
        narrow = min(1.0, 2 * WIDE / X.shape[1])
        most = min(self.n_estimators, max(FEW_ROUNDS, int(MOST_TREES * narrow) // trees))
        if not len(held):
            self.booster_, rounds = self._train(X, y, weights, min(FEW_ROUNDS, most), None)
        else:
            judges = (X[held], y[held], _at(weights, held))
            self.booster_, rounds = self._train(X[train], y[train], _at(weights, train), most, judges)
            if len(y) <= self.refit_rows and X.size <= REFIT_CELLS:
                self.booster_, rounds = self._train(X, y, weights, rounds, None)
        self.rounds_ = np.array([rounds])
        return self


class BoostedClassifier(OwnClassifier, Boosted):
    """A boosted classifier: trees give the probability of the second class (n,) of two, else probabilities (n, C)."""

    kept = ("classes_", "rounds_")
    class_weight: ClassWeight

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        return self._grow(matrix, codes, codes, self._emphasis(codes, self.class_weight), groups)

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        outputs = np.asarray(self.tree_outputs(self._matrix(X)), np.float64)
        if outputs.ndim == 1:
            return np.column_stack([1.0 - outputs, outputs])
        proba: AnyArray = outputs / outputs.sum(axis=1, keepdims=True)
        return proba


class BoostedRegressor(OwnRegressor, Boosted):
    """A boosted regressor on a standardised target, of which trees give values (n,)."""

    kept = ("target_", "rounds_")

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        return self._grow(matrix, self._standardise(values), None, None, groups)

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        return self._restore(self.tree_outputs(self._matrix(X)))


def bins(n_features: int) -> int:
    """Bins that the values of a feature are put into."""
    return FEW_BINS if n_features > WIDE else MANY_BINS


def _at(weights: AnyArray | None, rows: AnyArray) -> AnyArray | None:
    return None if weights is None else weights[rows]
