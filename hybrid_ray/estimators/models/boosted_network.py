"""Gradient-boosted neural networks: each small network learns what those before it left over.

Networks of one hidden layer, added up, are one network with a wide hidden layer: so the sum is kept and applied.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.estimators.models.resample import hold_out
from hybrid_ray.types import AnyArray, FloatArray

FEW_STAGES = 20
"""Networks when there are too few rows to hold any out."""
MIN_STEPS = 20
"""Steps of an epoch that few rows are given at least, by smaller batches: a network that has not moved says nothing."""
MIN_BATCH = 8
LONGEST_STEP = 20.0
"""Farthest that the line search looks."""


class BoostedNetwork(OwnEstimator):
    """What both boosters share: how networks are added, and how their sum is applied.

    References
    ----------
    Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 2001, algorithm 1 with
    networks for trees; Badirli et al., "Gradient boosting neural networks: GrowNet", 2020.
    """

    n_estimators: int
    hidden: int
    shrinkage: float
    epochs: int
    learning_rate: float
    alpha: float
    batch_size: int
    patience: int
    held_share: float
    random_state: int

    def _boost(
        self,
        X: FloatArray,
        y: AnyArray,
        base: AnyArray,
        codes: AnyArray | None,
        weights: AnyArray,
        groups: AnyArray | None,
    ) -> None:
        """Add networks to the constant ``base`` (k,) until held-out rows get no better; keeps the sum's layers.

        Parameters
        ----------
        X : ndarray float32 (n, d)
        y : ndarray (n,)
            Codes, or standardised values.
        base : ndarray (k,)
        codes : ndarray of int (n,) or None
        weights : ndarray (n,)
            Weight of each row; mean 1.
        groups : ndarray of int (n,) or None
            Rows of one group are copies of one row.
        """
        train, held = hold_out(len(y), codes, self.held_share, self.random_state, groups)
        outputs = np.tile(base, (len(y), 1))
        stages: list[tuple[AnyArray, ...]] = []
        best, kept = self._loss(outputs[held], y[held], weights[held]) if len(held) else np.inf, 0
        for stage in range(self.n_estimators if len(held) else min(FEW_STAGES, self.n_estimators)):
            left = self._residuals(outputs[train], y[train])
            layers = self._network(X[train], left, weights[train], self.random_state + stage)
            added = _apply(layers, X)
            step = self.shrinkage * self._step(outputs[train], added[train], y[train], weights[train])
            outputs += step * added
            stages.append((*layers[:2], step * layers[2], step * layers[3]))
            if not len(held):
                kept = stage + 1
                continue
            loss = self._loss(outputs[held], y[held], weights[held])
            if loss < best:
                best, kept = loss, stage + 1
            elif stage + 1 - kept >= self.patience:
                break
        self.n_iter_ = max(1, len(stages))
        self._sum(stages[:kept], X.shape[1], base)

    def _network(self, X: FloatArray, left: AnyArray, weights: AnyArray, seed: int) -> tuple[AnyArray, ...]:
        """Layers of one small network that was trained on residuals (n, k)."""
        net = MLPRegressor(
            hidden_layer_sizes=(self.hidden,),
            alpha=self.alpha,
            batch_size=min(self.batch_size, len(X), max(MIN_BATCH, len(X) // MIN_STEPS)),
            learning_rate_init=self.learning_rate,
            max_iter=self.epochs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the few epochs are meant
            net.fit(X, left if left.shape[1] > 1 else left[:, 0], sample_weight=weights)
        (inner, outer), (offset, last) = net.coefs_, net.intercepts_
        return inner, offset, outer, last

    def _step(self, outputs: AnyArray, added: AnyArray, y: AnyArray, weights: AnyArray) -> float:
        """How far to go along what a network says, for the least loss on the rows that it was trained on."""

        def loss(step: float) -> float:
            return self._loss(outputs + step * added, y, weights)

        found = minimize_scalar(loss, bounds=(0.0, LONGEST_STEP), method="bounded", options={"xatol": 0.05})
        return float(found.x)

    def _sum(self, stages: list[tuple[AnyArray, ...]], n_features: int, base: AnyArray) -> None:
        """Keep networks added up as one; none of them leaves the constant."""
        if not stages:
            stages = [(np.zeros((n_features, 1)), np.zeros(1), np.zeros((1, len(base))), np.zeros(len(base)))]
        # Float64: in float32 a row's answer would depend on the rows beside it, in the last digit.
        self.inner_ = np.ascontiguousarray(np.hstack([stage[0] for stage in stages]), np.float64)
        self.inner_offsets_ = np.concatenate([stage[1] for stage in stages]).astype(np.float64)
        self.outer_ = np.ascontiguousarray(np.vstack([stage[2] for stage in stages]), np.float64)
        self.outer_offsets_ = base + np.sum([stage[3] for stage in stages], axis=0, dtype=np.float64)

    def _outputs(self, matrix: FloatArray) -> AnyArray:
        """Outputs float64 (n, k) before the last activation."""
        layers = (self.inner_, self.inner_offsets_, self.outer_, self.outer_offsets_)
        return _apply(layers, matrix)

    def _residuals(self, outputs: AnyArray, y: AnyArray) -> AnyArray:
        """Negative gradient (n, k) of the loss."""
        raise NotImplementedError

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray) -> float:
        """What is minimised."""
        raise NotImplementedError


def _apply(layers: tuple[AnyArray, ...], X: AnyArray) -> AnyArray:
    inner, offset, outer, last = layers
    outputs: AnyArray = np.maximum(X @ inner + offset, 0.0) @ outer + last
    return outputs


class BoostedNetworkClassifier(BoostedNetwork, OwnClassifier):
    """Small networks boosted on log loss.

    Parameters
    ----------
    n_estimators : int, default=100
        Most networks.
    hidden : int, default=16
        Hidden units of each.
    shrinkage : float, default=0.3
        Part of its best step that a network is given.
    epochs : int, default=5
        Passes over the training rows for each network.
    learning_rate : float, default=1e-2
        Of Adam.
    alpha : float, default=1e-3
        Strength of the L2 penalty.
    batch_size : int, default=128
        Rows of one step, or fewer so that an epoch has 20 steps.
    patience : int, default=8
        Networks without a gain on the held-out rows after which boosting stops.
    held_share : float, default=0.15
    class_weight : {"balanced"}, dict or None, default=None
    random_state : int, default=0
    """

    kept = ("classes_", "inner_", "inner_offsets_", "outer_", "outer_offsets_")

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        hidden: int = 16,
        shrinkage: float = 0.3,
        epochs: int = 5,
        learning_rate: float = 1e-2,
        alpha: float = 1e-3,
        batch_size: int = 128,
        patience: int = 8,
        held_share: float = 0.15,
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden = hidden
        self.shrinkage = shrinkage
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.batch_size = batch_size
        self.patience = patience
        self.held_share = held_share
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        emphasis = self._emphasis(codes, self.class_weight)
        weights = np.ones(len(codes)) if emphasis is None else emphasis * len(codes) / emphasis.sum()
        shares = np.bincount(codes, weights=weights) / weights.sum()
        self._boost(matrix, codes, np.log(shares), codes, weights, groups)
        return self

    def _residuals(self, outputs: AnyArray, y: AnyArray) -> AnyArray:
        left: AnyArray = np.eye(outputs.shape[1])[y] - softmax(outputs, axis=1)
        return left

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray) -> float:
        return -float(np.average(log_softmax(outputs, axis=1)[np.arange(len(y)), y], weights=weights))

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        proba: AnyArray = softmax(self._outputs(matrix), axis=1)
        return proba


class BoostedNetworkRegressor(BoostedNetwork, OwnRegressor):
    """Small networks boosted on squared error; parameters as for the classifier, without ``class_weight``."""

    kept = ("target_", "inner_", "inner_offsets_", "outer_", "outer_offsets_")

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        hidden: int = 16,
        shrinkage: float = 0.3,
        epochs: int = 5,
        learning_rate: float = 1e-2,
        alpha: float = 1e-3,
        batch_size: int = 128,
        patience: int = 8,
        held_share: float = 0.15,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden = hidden
        self.shrinkage = shrinkage
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.batch_size = batch_size
        self.patience = patience
        self.held_share = held_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        self._boost(matrix, self._standardise(values), np.zeros(1), None, np.ones(len(values)), groups)
        return self

    def _residuals(self, outputs: AnyArray, y: AnyArray) -> AnyArray:
        return y[:, None] - outputs

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray) -> float:
        return float(np.average(np.square(outputs[:, 0] - y), weights=weights))

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        return self._restore(self._outputs(matrix)[:, 0])
