"""Multilayer perceptrons that stop where held-out rows get no better."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.neural_network import MLPClassifier, MLPRegressor

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnEstimator, OwnRegressor
from hybrid_ray.estimators.models.resample import hold_out
from hybrid_ray.types import AnyArray, FloatArray, State

FEW_EPOCHS = 60
"""Epochs when there are too few rows to hold any out."""
_TINY = 1e-12

Layers = list[tuple[AnyArray, AnyArray]]


class LayersKept(OwnEstimator):
    """Saves ``layers_``: ``depth`` hidden ones and the last."""

    layers_: Layers
    depth: int

    def pack(self) -> State:
        """Weights and offsets of the layers, beside what the class keeps."""
        state = super().pack()
        layers = {
            f"{part}.{i}": array for i, pair in enumerate(self.layers_) for part, array in zip("wb", pair, strict=True)
        }
        return State(state.meta, state.tensors | layers)

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back."""
        model = super().unpack(state)
        names = [(f"w.{i}", f"b.{i}") for i in range(model.depth + 1)]
        missing = [name for pair in names for name in pair if name not in state.tensors]
        if missing:
            raise ArtifactError(f"{cls.__name__}: a saved network must hold its layers; missing {missing}")
        model.layers_ = [(state.tensors[w], state.tensors[b]) for w, b in names]
        return model


class Network(LayersKept):
    """What both networks share: how they are trained and applied, and how their layers are kept.

    scikit-learn's own early stopping watches accuracy; this one watches the loss that is minimised.
    """

    hidden: int
    learning_rate: float
    alpha: float
    batch_size: int
    max_epochs: int
    patience: int
    held_share: float
    random_state: int

    def _shape(self) -> tuple[int, ...]:
        return (self.hidden,) * self.depth

    def _learn(
        self,
        net: Any,
        X: FloatArray,
        y: AnyArray,
        codes: AnyArray | None,
        weights: AnyArray | None,
        groups: AnyArray | None,
    ) -> None:
        """Train epoch by epoch and keep the layers that were best on held-out rows."""
        train, held = hold_out(len(y), codes, self.held_share, self.random_state, groups)
        part, targets = X[train], y[train]
        emphasis = None if weights is None else weights[train]
        net.set_params(batch_size=min(self.batch_size, len(train)))
        judges = None if weights is None else weights[held]
        classes = None if codes is None else np.arange(int(codes.max()) + 1)
        best, waited = np.inf, 0
        for epoch in range(1, (self.max_epochs if len(held) else min(FEW_EPOCHS, self.max_epochs)) + 1):
            self.n_iter_ = epoch
            if classes is None:
                net.partial_fit(part, targets, sample_weight=emphasis)
            else:
                net.partial_fit(part, targets, classes=classes, sample_weight=emphasis)
            if not len(held):
                continue
            loss = self._loss(forward(_layers(net), X[held]), y[held], judges)
            waited += 1
            if loss < best:
                best, waited = loss, 0
                self.layers_ = _copied(_layers(net))
            elif waited >= self.patience:
                break
        if not np.isfinite(best):
            self.layers_ = _copied(_layers(net))

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray | None) -> float:
        """What held-out rows are judged by."""
        raise NotImplementedError


def _layers(net: Any) -> Layers:
    return list(zip(net.coefs_, net.intercepts_, strict=True))


def _copied(layers: Layers) -> Layers:
    """Layers that further training leaves alone."""
    return [(np.array(weights, order="C"), np.array(offsets)) for weights, offsets in layers]


def forward(layers: Layers, X: AnyArray) -> AnyArray:
    """Outputs (n, k) before the last activation."""
    values = X
    for weights, offsets in layers[:-1]:
        values = np.maximum(values @ weights + offsets, 0.0)
    weights, offsets = layers[-1]
    outputs: AnyArray = values @ weights + offsets
    return outputs


class NetworkClassifier(Network, OwnClassifier):
    """Multilayer perceptron for classes.

    Parameters
    ----------
    hidden : int, default=128
        Width of each hidden layer.
    depth : int, default=1
        Number of hidden layers.
    learning_rate : float, default=1e-3
        Of Adam.
    alpha : float, default=1e-2
        Strength of the L2 penalty.
    batch_size : int, default=64
    class_weight : {"balanced"}, dict or None, default=None
    max_epochs : int, default=200
    patience : int, default=8
        Epochs without a gain on the held-out rows after which training stops.
    held_share : float, default=0.15
        Share of the training rows held out.
    random_state : int, default=0
    """

    kept = ("classes_",)

    def __init__(
        self,
        *,
        hidden: int = 128,
        depth: int = 1,
        learning_rate: float = 1e-3,
        alpha: float = 1e-2,
        batch_size: int = 64,
        class_weight: ClassWeight = None,
        max_epochs: int = 200,
        patience: int = 8,
        held_share: float = 0.15,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.depth = depth
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.max_epochs = max_epochs
        self.patience = patience
        self.held_share = held_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        net = MLPClassifier(
            hidden_layer_sizes=self._shape(),
            alpha=self.alpha,
            learning_rate_init=self.learning_rate,
            random_state=self.random_state,
        )
        self._learn(net, matrix, codes, codes, self._emphasis(codes, self.class_weight), groups)
        return self

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray | None) -> float:
        logs = np.log(np.maximum(probabilities(outputs)[np.arange(len(y)), y], _TINY))
        return -float(np.average(logs, weights=weights))

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        return probabilities(forward(self.layers_, matrix))


class NetworkRegressor(Network, OwnRegressor):
    """Multilayer perceptron for numbers; parameters as for :class:`NetworkClassifier`, without ``class_weight``."""

    kept = ("target_",)

    def __init__(
        self,
        *,
        hidden: int = 128,
        depth: int = 1,
        learning_rate: float = 1e-3,
        alpha: float = 1e-2,
        batch_size: int = 64,
        max_epochs: int = 200,
        patience: int = 8,
        held_share: float = 0.15,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.depth = depth
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.held_share = held_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        net = MLPRegressor(
            hidden_layer_sizes=self._shape(),
            alpha=self.alpha,
            learning_rate_init=self.learning_rate,
            random_state=self.random_state,
        )
        self._learn(net, matrix, self._standardise(values).astype(np.float32), None, None, groups)
        return self

    def _loss(self, outputs: AnyArray, y: AnyArray, weights: AnyArray | None) -> float:
        return float(np.average((outputs[:, 0] - y) ** 2, weights=weights))

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        return self._restore(forward(self.layers_, matrix))


def probabilities(outputs: AnyArray) -> AnyArray:
    """Class probabilities float64 (n, C) of outputs (n, 1) or (n, C)."""
    values = outputs.astype(np.float64)
    if values.shape[1] == 1:
        return np.column_stack([expit(-values[:, 0]), expit(values[:, 0])])
    proba: AnyArray = softmax(values, axis=1)
    return proba
