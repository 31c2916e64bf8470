"""Single decision trees: grown and pruned by scikit-learn, kept as the forests are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils.validation import check_is_fitted

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.forest import TreesKept
from hybrid_ray.types import AnyArray, FloatArray


def with_values(tree: Tree, values: AnyArray) -> Tree:
    """The same tree with other values (n_nodes, 1, C) in its nodes."""
    state = tree.__getstate__()
    changed = Tree(tree.n_features, np.array([values.shape[2]], np.intp), 1)
    changed.__setstate__({**state, "values": np.ascontiguousarray(values, np.float64)})
    return changed


class TreeClassifier(TreesKept, OwnClassifier):
    """Decision tree whose leaves lean to the class shares of all rows.

    Parameters
    ----------
    max_depth : int or None, default=None
        Most splits from the root to a leaf; None: no limit.
    min_samples_leaf : int, default=5
    pruning : float, default=0.0
        Gain of impurity, as a share of the root's, below which a branch is cut (minimal cost-complexity pruning).
    smoothing : float, default=1.0
        Rows of the overall class shares that every leaf is given beside its own (an m-estimate).
    class_weight : {"balanced"}, dict or None, default=None
    random_state : int, default=0
        Decides between equally good splits.

    References
    ----------
    Breiman et al., "Classification and regression trees", 1984; Cestnik, "Estimating probabilities: a crucial task in
    machine learning", ECAI 1990, for the m-estimate.
    """

    kept = ("classes_",)

    def __init__(
        self,
        *,
        max_depth: int | None = None,
        min_samples_leaf: int = 5,
        pruning: float = 0.0,
        smoothing: float = 1.0,
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.pruning = pruning
        self.smoothing = smoothing
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Grow the tree on rows (n, d) and labels (n,)."""
        matrix, codes = self._training(X, y)
        emphasis = self._emphasis(codes, self.class_weight)
        shares = np.bincount(codes, weights=emphasis)
        shares = shares / shares.sum()
        grown = DecisionTreeClassifier(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            ccp_alpha=self.pruning * float(1.0 - (shares**2).sum()),
            random_state=self.random_state,
        ).fit(matrix, codes, sample_weight=emphasis)
        rows = grown.tree_.weighted_n_node_samples[:, None, None]
        values = (rows * grown.tree_.value + self.smoothing * shares) / (rows + self.smoothing)
        self.trees_ = [with_values(grown.tree_, values)]
        return self

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = np.ascontiguousarray(self._matrix(X))
        proba: AnyArray = self.trees_[0].predict(matrix)
        return proba


class TreeRegressor(TreesKept, OwnRegressor):
    """Decision tree for numbers; parameters as for :class:`TreeClassifier`, where they apply."""

    def __init__(
        self,
        *,
        max_depth: int | None = None,
        min_samples_leaf: int = 5,
        pruning: float = 0.0,
        random_state: int = 0,
    ) -> None:
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.pruning = pruning
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Grow the tree on rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        grown = DecisionTreeRegressor(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            ccp_alpha=self.pruning * float(values.var()),
            random_state=self.random_state,
        ).fit(matrix, values)
        self.trees_ = [grown.tree_]
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        check_is_fitted(self)
        matrix: FloatArray = np.ascontiguousarray(self._matrix(X))
        values: AnyArray = self.trees_[0].predict(matrix)[:, 0]
        return values
