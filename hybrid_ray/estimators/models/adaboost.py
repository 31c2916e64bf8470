"""AdaBoost: boosted by scikit-learn, kept and applied as the forests are, probabilities by inner cross-validation."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils.validation import check_is_fitted

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration
from hybrid_ray.estimators.models.forest import TreesKept
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.estimators.models.tree import with_values
from hybrid_ray.types import AnyArray, FloatArray


class BoostedClassifier(TreesKept, OwnClassifier):
    """AdaBoost for any number of classes (SAMME) on small trees, its votes calibrated on inner folds.

    Parameters
    ----------
    n_estimators : int, default=100
    max_depth : int, default=2
        Depth of each tree.
    learning_rate : float, default=0.5
        What each tree's vote is multiplied with.
    class_weight : {"balanced"}, dict or None, default=None
    n_folds : int, default=3
        Inner folds of the calibration.
    random_state : int, default=0

    References
    ----------
    Zhu et al., "Multi-class AdaBoost", Statistics and Its Interface 2009; Niculescu-Mizil and Caruana, "Obtaining
    calibrated probabilities from boosting", UAI 2005, for why votes are calibrated.
    """

    kept = ("classes_", "calibration_")

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int = 2,
        learning_rate: float = 0.5,
        class_weight: ClassWeight = None,
        n_folds: int = 3,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.n_folds = n_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Boost on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        matrix = np.ascontiguousarray(matrix)
        emphasis = self._emphasis(codes, self.class_weight)
        folds = inner_folds(codes, self.n_folds, self.random_state, groups)
        scores = np.zeros((len(codes), len(self.classes_)))
        for fold in range(self.n_folds):
            held, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            trees = self._boost(matrix[training], codes[training], None if emphasis is None else emphasis[training])
            scores[held] = _votes(trees, matrix[held])
        scored = np.flatnonzero(folds >= 0)
        self.calibration_ = fit_calibration(
            scores[scored], codes[scored], None if emphasis is None else emphasis[scored]
        )
        self.trees_ = self._boost(matrix, codes, emphasis)
        return self

    def _boost(self, matrix: FloatArray, codes: AnyArray, emphasis: AnyArray | None) -> list[Tree]:
        """Trees whose values are the votes (n_nodes, 1, C) that they cast."""
        stump = DecisionTreeClassifier(max_depth=self.max_depth)
        if not (matrix != matrix[0]).any():
            # No split, no tree that is better than chance: scikit-learn refuses to boost those.
            grown, weights = [stump.fit(matrix, codes, sample_weight=emphasis)], np.ones(1)
        else:
            booster = AdaBoostClassifier(
                stump,
                n_estimators=self.n_estimators,
                learning_rate=self.learning_rate,
                random_state=self.random_state,
            ).fit(matrix, codes, sample_weight=emphasis)
            grown, weights = booster.estimators_, booster.estimator_weights_[: len(booster.estimators_)]
        shares = weights / weights.sum()
        return [
            with_values(tree.tree_, share * np.eye(len(self.classes_))[tree.tree_.value.argmax(axis=2)])
            for tree, share in zip(grown, shares, strict=True)
        ]

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = np.ascontiguousarray(self._matrix(X))
        return calibrated(_votes(self.trees_, matrix), self.calibration_)


class BoostedRegressor(TreesKept, OwnRegressor):
    """AdaBoost for numbers (AdaBoost.R2): the weighted median of trees that look ever more at what is hard.

    Parameters
    ----------
    n_estimators : int, default=100
    max_depth : int, default=4
        Depth of each tree.
    learning_rate : float, default=0.5
    random_state : int, default=0

    References
    ----------
    Drucker, "Improving regressors using boosting techniques", ICML 1997.
    """

    kept = ("weights_",)

    def __init__(
        self, *, n_estimators: int = 100, max_depth: int = 4, learning_rate: float = 0.5, random_state: int = 0
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Boost on rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        booster = AdaBoostRegressor(
            DecisionTreeRegressor(max_depth=self.max_depth),
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            random_state=self.random_state,
        ).fit(matrix, values)
        self.trees_ = [tree.tree_ for tree in booster.estimators_]
        self.weights_ = np.ascontiguousarray(booster.estimator_weights_[: len(self.trees_)])
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        check_is_fitted(self)
        matrix = np.ascontiguousarray(self._matrix(X))
        said = np.column_stack([tree.predict(matrix)[:, 0] for tree in self.trees_])
        order = np.argsort(said, axis=1, kind="stable")
        reached = np.cumsum(self.weights_[order], axis=1)
        middle = (reached >= 0.5 * reached[:, -1:]).argmax(axis=1)
        rows = np.arange(len(said))
        median: AnyArray = said[rows, order[rows, middle]]
        return median


def _votes(trees: list[Tree], matrix: FloatArray) -> AnyArray:
    """Share of the votes for each class, float64 (n, C)."""
    total: AnyArray = trees[0].predict(matrix)
    for tree in trees[1:]:
        total = total + tree.predict(matrix)
    return total
