"""scikit-learn's histogram gradient boosting behind the interface of :mod:`hybrid_ray.estimators.models.boosting`."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.codecs import from_skops, to_skops
from hybrid_ray.estimators.models.base import ClassWeight
from hybrid_ray.estimators.models.boosting import MIN_GAIN, Boosted, BoostedClassifier, BoostedRegressor, bins
from hybrid_ray.estimators.models.quick import QuickTrees
from hybrid_ray.estimators.models.thresholds import neighbours
from hybrid_ray.types import AnyArray, FloatArray, State

BLOB = "model.skops"

ALLOWED = frozenset(
    {
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.preprocessing._label.LabelEncoder",
    }
)
"""Every scikit-learn type that a saved model of this family may hold."""


class HistBoosted(Boosted):
    """How scikit-learn's histogram boosting trains and is kept; the model comes from ``_blank``."""

    learning_rate: float
    max_leaf_nodes: int
    min_samples_leaf: int
    max_features: float
    l2_regularization: float

    def _blank(self, n_features: int, rounds: int, stopping: bool) -> Any:
        """An unfitted scikit-learn model."""
        raise NotImplementedError

    def _train(
        self,
        X: FloatArray,
        y: AnyArray,
        weights: AnyArray | None,
        rounds: int,
        held: tuple[FloatArray, AnyArray, AnyArray | None] | None,
    ) -> tuple[Any, int]:
        model = self._blank(X.shape[1], rounds, stopping=held is not None)
        if held is None:
            model.fit(X, y, sample_weight=weights)
            _part_halfway(model, X)
            return model, rounds
        model.fit(X, y, sample_weight=weights, X_val=held[0], y_val=held[1], sample_weight_val=held[2])
        best = max(int(np.argmax(model.validation_score_)), 1)
        model._predictors = model._predictors[:best]
        _part_halfway(model, X)
        return model, best

    def compiled(self) -> QuickTrees:
        """The model's trees, compiled."""
        import treelite

        return QuickTrees(treelite.sklearn.import_model(self.booster_))

    def pack(self) -> State:
        """The model as skops bytes, beside what the class keeps."""
        state = super().pack()
        model = copy(self.booster_)
        # A random generator is of use to ``fit`` only, and one more type to let in.
        model._feature_subsample_rng = None
        return State(state.meta, state.tensors, {BLOB: to_skops(model, ALLOWED)})

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back."""
        model = super().unpack(state)
        if BLOB not in state.blobs:
            raise ArtifactError(f"{cls.__name__}: a saved model must hold {BLOB}; got {sorted(state.blobs)}")
        model.booster_ = from_skops(state.blobs[BLOB], ALLOWED)
        return model


def _part_halfway(model: Any, X: FloatArray) -> None:
    """Put the thresholds of a fitted model half-way between the rows that it was fitted on, which fall as they fell."""
    nodes = [tree.nodes for trees in model._predictors for tree in trees]
    inner = [own["is_leaf"] == 0 for own in nodes]
    features = np.concatenate([own["feature_idx"][kept] for own, kept in zip(nodes, inner, strict=True)])
    thresholds = [own["num_threshold"][kept] for own, kept in zip(nodes, inner, strict=True)]
    low, high = neighbours(X, features, np.concatenate(thresholds), goes_left="equal")
    moved = np.split((low + high) / 2, np.cumsum([len(each) for each in thresholds])[:-1])
    for own, kept, values in zip(nodes, inner, moved, strict=True):
        own["num_threshold"][kept] = values


class HistClassifier(HistBoosted, BoostedClassifier):
    """scikit-learn's histogram gradient boosting for classes.

    Parameters
    ----------
    n_estimators : int, default=1000
        Most rounds; fewer for many classes.
    learning_rate : float, default=0.05
    max_leaf_nodes : int, default=15
    min_samples_leaf : int, default=20
    max_features : float, default=1.0
        Share of features looked at for a split.
    l2_regularization : float, default=1.0
    class_weight : {"balanced"}, dict or None, default=None
    patience : int, default=30
        Rounds without a gain on the held-out rows after which growing stops.
    held_share : float, default=0.15
        Share of the training rows held out to decide the number of rounds.
    refit_rows : int, default=3000
        Up to this many training rows a last fit uses all of them, with the rounds found.
    random_state : int, default=0
    """

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        learning_rate: float = 0.05,
        max_leaf_nodes: int = 15,
        min_samples_leaf: int = 20,
        max_features: float = 1.0,
        l2_regularization: float = 1.0,
        class_weight: ClassWeight = None,
        patience: int = 30,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.l2_regularization = l2_regularization
        self.class_weight = class_weight
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.random_state = random_state

    def _blank(self, n_features: int, rounds: int, stopping: bool) -> Any:
        return HistGradientBoostingClassifier(
            max_iter=rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            max_bins=bins(n_features),
            l2_regularization=self.l2_regularization,
            early_stopping=stopping,
            n_iter_no_change=self.patience,
            tol=MIN_GAIN,
            random_state=self.random_state,
        )

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """What scikit-learn answers: of two classes the probability of the second."""
        proba: AnyArray = self.booster_.predict_proba(X)
        return proba[:, 1] if proba.shape[1] == 2 else proba


class HistRegressor(HistBoosted, BoostedRegressor):
    """Histogram gradient boosting for numbers; parameters as for :class:`HistClassifier`, without ``class_weight``."""

    def __init__(
        self,
        *,
        n_estimators: int = 1000,
        learning_rate: float = 0.05,
        max_leaf_nodes: int = 15,
        min_samples_leaf: int = 20,
        max_features: float = 1.0,
        l2_regularization: float = 1.0,
        patience: int = 30,
        held_share: float = 0.15,
        refit_rows: int = 3000,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.l2_regularization = l2_regularization
        self.patience = patience
        self.held_share = held_share
        self.refit_rows = refit_rows
        self.random_state = random_state

    def _blank(self, n_features: int, rounds: int, stopping: bool) -> Any:
        return HistGradientBoostingRegressor(
            max_iter=rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            max_bins=bins(n_features),
            l2_regularization=self.l2_regularization,
            early_stopping=stopping,
            n_iter_no_change=self.patience,
            tol=MIN_GAIN,
            random_state=self.random_state,
        )

    def slow_outputs(self, X: FloatArray) -> AnyArray:
        """What scikit-learn answers."""
        values: AnyArray = self.booster_.predict(X)
        return values
