"""Forests: grown by scikit-learn, applied tree by tree in one thread, kept as arrays.

scikit-learn's own ``predict`` hands every tree to joblib: at one row that costs 15 times what the trees cost, and
threads add up in any order, so that answers differ in the last bit. Here trees are added up in order.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import NODE_DTYPE, Tree
from sklearn.utils.validation import check_is_fitted

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.estimators.models.quick import Quickened, QuickTrees
from hybrid_ray.types import AnyArray, FloatArray, State

_LINKS = ("left_child", "right_child")


def pack_trees(trees: list[Tree]) -> dict[str, AnyArray]:
    """Arrays of all trees one after another: ``sizes`` (n_trees,), ``depths``, ``values``, one array a node field."""
    states = [tree.__getstate__() for tree in trees]
    nodes = np.concatenate([state["nodes"] for state in states])
    arrays = {f"node.{field}": np.ascontiguousarray(nodes[field]) for field in NODE_DTYPE.names}
    # Four bytes hold any node number; scikit-learn's eight double the file.
    arrays = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in arrays.items()}
    arrays["values"] = np.concatenate([state["values"] for state in states])
    arrays["sizes"] = np.array([tree.node_count for tree in trees], np.int64)
    arrays["depths"] = np.array([tree.max_depth for tree in trees], np.int64)
    return arrays


def unpack_trees(arrays: dict[str, AnyArray], n_features: int) -> list[Tree]:
    """Trees back from ``pack_trees``; links are checked, since scikit-learn follows them without a look."""
    fields = [name for name in NODE_DTYPE.names if f"node.{name}" in arrays]
    needed = {"left_child", "right_child", "feature", "threshold"}
    if not needed <= set(fields) or not {"values", "sizes", "depths"} <= set(arrays):
        raise ArtifactError(f"forest: a saved forest must hold its nodes and values; got {sorted(arrays)}")
    ends = np.cumsum(arrays["sizes"])
    trees = []
    for start, end, depth in zip(ends - arrays["sizes"], ends, arrays["depths"], strict=True):
        nodes = np.zeros(int(end - start), NODE_DTYPE)
        for name in fields:
            nodes[name] = arrays[f"node.{name}"][start:end]
        _check_links(nodes, n_features)
        values = np.array(arrays["values"][start:end], np.float64, order="C")
        tree = Tree(n_features, np.array([values.shape[2]], np.intp), 1)
        tree.__setstate__({"max_depth": int(depth), "node_count": len(nodes), "nodes": nodes, "values": values})
        trees.append(tree)
    return trees


def _check_links(nodes: AnyArray, n_features: int) -> None:
    inner = nodes[nodes["left_child"] != -1]
    here = np.flatnonzero(nodes["left_child"] != -1)
    for link in _LINKS:
        # A child always stands after its parent, which also rules out loops.
        if not ((inner[link] > here) & (inner[link] < len(nodes))).all():
            raise ArtifactError(f"forest: every {link} must name a later node of its tree; the saved forest is damaged")
    if not ((inner["feature"] >= 0) & (inner["feature"] < n_features)).all():
        raise ArtifactError(f"forest: every split must be on one of {n_features} features; the saved forest is damaged")


def features_at_a_split(n_features: int, factor: float) -> int:
    """``factor`` times the square root of the number of features, within what there is."""
    return min(n_features, max(1, round(factor * n_features**0.5)))


class TreesKept(Quickened, OwnEstimator):
    """Saves ``trees_`` as arrays, and adds up what they say."""

    trees_: list[Tree]

    def compiled(self) -> QuickTrees:
        """The trees, compiled: by way of a forest of scikit-learn's, which is what treelite reads."""
        import treelite

        classes = isinstance(self, OwnClassifier)
        forest = (RandomForestClassifier if classes else RandomForestRegressor)(n_estimators=len(self.trees_))
        told = {"n_features_in_": self.n_features_in_, "n_outputs_": 1}
        if classes:
            told |= {"classes_": self.classes_, "n_classes_": len(self.classes_)}
        vars(forest).update(told)
        forest.estimators_ = []
        for tree in self.trees_:
            held = (DecisionTreeClassifier if classes else DecisionTreeRegressor)()
            vars(held).update(told | {"tree_": tree})
            forest.estimators_.append(held)
        return QuickTrees(treelite.sklearn.import_model(forest), scale=len(self.trees_))

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """The sum of what the trees say, in their order: (n, C) of classes, else (n,)."""
        matrix = np.ascontiguousarray(X)
        total = self.trees_[0].predict(matrix)
        for tree in self.trees_[1:]:
            total += tree.predict(matrix)
        return total if isinstance(self, OwnClassifier) else total[:, 0]

    def pack(self) -> State:
        """Arrays of the trees, beside what the class keeps."""
        state = super().pack()
        return State(state.meta, state.tensors | pack_trees(self.trees_))

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back."""
        model = super().unpack(state)
        model.trees_ = unpack_trees(state.tensors, model.n_features_in_)
        return model


class ForestClassifier(TreesKept, OwnClassifier):
    """Random forest or extremely randomised trees; probabilities are smoothed by one vote for the class shares.

    Parameters
    ----------
    extra : bool, default=False
        True: extremely randomised trees.
    n_estimators : int, default=200
    features_per_split : float, default=1.0
        Features looked at for a split, relative to the square root of their number.
    min_samples_leaf : int, default=1
    class_weight : {"balanced"}, dict or None, default=None
    n_jobs : int, default=1
        Threads of ``fit``.
    random_state : int, default=0
    """

    kept = ("classes_", "prior_")
    _grown: ClassVar[dict[bool, type]] = {False: RandomForestClassifier, True: ExtraTreesClassifier}

    def __init__(
        self,
        *,
        extra: bool = False,
        n_estimators: int = 200,
        features_per_split: float = 1.0,
        min_samples_leaf: int = 1,
        class_weight: ClassWeight = None,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.extra = extra
        self.n_estimators = n_estimators
        self.features_per_split = features_per_split
        self.min_samples_leaf = min_samples_leaf
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Grow the trees on rows (n, d) and labels (n,)."""
        matrix, codes = self._training(X, y)
        forest = self._grown[self.extra](
            n_estimators=self.n_estimators,
            max_features=features_at_a_split(matrix.shape[1], self.features_per_split),
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        emphasis = self._emphasis(codes, self.class_weight)
        forest.fit(matrix, codes, sample_weight=emphasis)
        self.trees_ = [tree.tree_ for tree in forest.estimators_]
        counts = np.bincount(codes, weights=emphasis)
        self.prior_ = counts / counts.sum()
        return self

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        total = self.prior_ + self.tree_outputs(matrix)
        return total / total.sum(axis=1, keepdims=True)


class ForestRegressor(TreesKept, OwnRegressor):
    """Random forest or extremely randomised trees, for numbers.

    Parameters
    ----------
    extra : bool, default=False
        True: extremely randomised trees.
    n_estimators : int, default=200
    features_per_split : float, default=2.0
        Features looked at for a split, relative to the square root of their number.
    min_samples_leaf : int, default=1
    n_jobs : int, default=1
        Threads of ``fit``.
    random_state : int, default=0
    """

    _grown: ClassVar[dict[bool, type]] = {False: RandomForestRegressor, True: ExtraTreesRegressor}

    def __init__(
        self,
        *,
        extra: bool = False,
        n_estimators: int = 200,
        features_per_split: float = 2.0,
        min_samples_leaf: int = 1,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.extra = extra
        self.n_estimators = n_estimators
        self.features_per_split = features_per_split
        self.min_samples_leaf = min_samples_leaf
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Grow the trees on rows (n, d) and values (n,)."""
        matrix, values = self._training(X, y)
        forest = self._grown[self.extra](
            n_estimators=self.n_estimators,
            max_features=features_at_a_split(matrix.shape[1], self.features_per_split),
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(matrix, values)
        self.trees_ = [tree.tree_ for tree in forest.estimators_]
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        check_is_fitted(self)
        return self.tree_outputs(self._matrix(X)) / len(self.trees_)
