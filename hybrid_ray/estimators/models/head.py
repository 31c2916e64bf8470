"""Neural heads: trained by torch, kept and applied as plain layers, so that prediction loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hybrid_ray.estimators.models.base import ClassWeight, OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.network import LayersKept, forward, probabilities
from hybrid_ray.estimators.models.resample import hold_out
from hybrid_ray.seeding import reproducible
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.training import Schedule
    from hybrid_ray.training.settings import Optimizer


class Head(LayersKept):
    """What both heads share: how they are trained."""

    hidden: int
    dropout: float
    batch_norm: bool
    optimizer: Optimizer
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    batch_size: int
    max_epochs: int
    patience: int
    held_share: float
    n_jobs: int
    random_state: int

    def _learn(
        self,
        X: FloatArray,
        y: AnyArray,
        codes: AnyArray | None,
        n_outputs: int,
        groups: AnyArray | None,
        label_smoothing: float = 0.0,
        class_weights: AnyArray | None = None,
    ) -> None:
        from hybrid_ray.estimators.models.head_net import Shape, train_head
        from hybrid_ray.estimators.models.training import Training

        shape = Shape(hidden=self.hidden, depth=self.depth, dropout=self.dropout, batch_norm=self.batch_norm)
        training = Training(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            label_smoothing=label_smoothing,
        )
        rows = hold_out(len(y), codes, self.held_share, self.random_state, groups)
        with reproducible(self.random_state, self.n_jobs):
            self.layers_, self.n_iter_ = train_head(X, y, rows, n_outputs, shape, training, class_weights)


class HeadClassifier(Head, OwnClassifier):
    """Neural head for classes.

    Parameters
    ----------
    hidden : int, default=128
        Width of each hidden layer.
    depth : int, default=2
        Number of hidden layers.
    dropout : float, default=0.2
        Share of hidden units left out of each step.
    batch_norm : bool, default=True
        Normalise hidden units by each batch, and by running means at prediction.
    optimizer : {"adam", "adamw", "rmsprop", "adagrad", "sgd"}, default="adamw"
        sgd: with Nesterov's momentum of 0.9.
    learning_rate : float, default=1e-3
    weight_decay : float, default=1e-4
    schedule : {"constant", "exponential", "cosine", "step", "plateau"}, default="cosine"
        How the learning rate falls.
    label_smoothing : float, default=0.0
    batch_size : int, default=64
    class_weight : {"balanced"}, dict or None, default=None
    max_epochs : int, default=60
    patience : int, default=10
        Epochs without a gain on the held-out rows after which training stops.
    held_share : float, default=0.15
        Share of the training rows held out.
    n_jobs : int, default=1
        Threads of ``fit``.
    random_state : int, default=0
    """

    kept = ("classes_",)

    def __init__(
        self,
        *,
        hidden: int = 128,
        depth: int = 2,
        dropout: float = 0.2,
        batch_norm: bool = True,
        optimizer: Optimizer = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        schedule: Schedule = "cosine",
        label_smoothing: float = 0.0,
        batch_size: int = 64,
        class_weight: ClassWeight = None,
        max_epochs: int = 60,
        patience: int = 10,
        held_share: float = 0.15,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.max_epochs = max_epochs
        self.patience = patience
        self.held_share = held_share
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        emphasis = self._emphasis(codes, self.class_weight)
        weights = None if emphasis is None else emphasis[np.unique(codes, return_index=True)[1]]
        self._learn(matrix, codes, codes, len(self.classes_), groups, self.label_smoothing, weights)
        return self

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        return probabilities(forward(self.layers_, matrix))


class HeadRegressor(Head, OwnRegressor):
    """Neural head for numbers; parameters as for :class:`HeadClassifier`, where they apply."""

    kept = ("target_",)

    def __init__(
        self,
        *,
        hidden: int = 128,
        depth: int = 2,
        dropout: float = 0.2,
        batch_norm: bool = True,
        optimizer: Optimizer = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        schedule: Schedule = "cosine",
        batch_size: int = 64,
        max_epochs: int = 60,
        patience: int = 10,
        held_share: float = 0.15,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.held_share = held_share
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        self._learn(matrix, self._standardise(values).astype(np.float32), None, 1, groups)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        return self._restore(forward(self.layers_, matrix))
