"""Training of neural heads by torch and skorch. Only the heads' ``fit`` imports this: prediction needs neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from hybrid_ray.estimators.models.network import Layers
from hybrid_ray.types import AnyArray, FloatArray

Optimizer = Literal["adam", "adamw", "rmsprop", "adagrad", "sgd"]
Schedule = Literal["constant", "exponential", "cosine", "step", "plateau"]

_END = 0.01
"""Part of the learning rate that the exponential schedule ends with."""
_STEPS = 3
"""Parts of the epochs after which the step schedule, and waiting epochs after which plateau, cut the rate."""
_CUT = 0.3
_OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
}


@dataclass(frozen=True)
class Training:
    """How a head is trained; every field is a parameter of the heads, described there."""

    hidden: int
    depth: int
    dropout: float
    batch_norm: bool
    optimizer: Optimizer
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    batch_size: int
    max_epochs: int
    patience: int
    label_smoothing: float = 0.0


def train_head(
    X: FloatArray,
    y: AnyArray,
    rows: tuple[AnyArray, AnyArray],
    n_outputs: int,
    training: Training,
    class_weights: AnyArray | None,
) -> tuple[Layers, int]:
    """Train a head; the caller seeds torch.

    Parameters
    ----------
    X : ndarray float32 (n, d)
    y : ndarray (n,)
        int64 class codes, or float32 standardised values.
    rows : tuple of ndarray
        Rows to train on, and rows that say which epoch was best (maybe none).
    n_outputs : int
        Number of classes, or 1.
    training : Training
    class_weights : ndarray (n_outputs,) or None

    Returns
    -------
    layers : list of (weights, offsets)
        Batch normalisation is folded into the weights.
    epochs : int
        Epochs that were trained.
    """
    train, held = rows
    net = _Head(X.shape[1], n_outputs, training)
    classes = y.dtype == np.int64
    target = y if classes else y[:, None]
    parts = [Dataset(torch.from_numpy(X[part]), torch.from_numpy(target[part])) for part in rows]
    optimizer, settings = _OPTIMIZERS[training.optimizer]
    batch = min(training.batch_size, len(train))
    learner = NeuralNet(
        net,
        criterion=_criterion(classes, training.label_smoothing, class_weights),
        optimizer=optimizer,
        **{f"optimizer__{name}": value for name, value in (settings | {"weight_decay": training.weight_decay}).items()},
        lr=training.learning_rate,
        batch_size=batch,
        max_epochs=training.max_epochs,
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,  # a last batch of one row has no variance to normalise by
        iterator_valid__batch_size=4096,
        train_split=predefined_split(parts[1]) if len(held) else None,
        callbacks=_callbacks(training, bool(len(held))),
        device="cpu",
        verbose=0,
    )
    learner.fit(parts[0], None)
    return _folded(learner.module_.eval()), len(learner.history)


class _Hidden(nn.Module):
    """A linear map, normalised if asked, rectified and thinned out."""

    def __init__(self, n_inputs: int, width: int, training: Training) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, width)
        self.norm = nn.BatchNorm1d(width) if training.batch_norm else None
        self.dropout = nn.Dropout(training.dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Hidden units (n, width)."""
        values = self.linear(X) if self.norm is None else self.norm(self.linear(X))
        units: torch.Tensor = self.dropout(torch.relu(values))
        return units

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (n_inputs, width) and offsets (width,) of the map, running normalisation included."""
        weights, offsets = self.linear.weight.T, self.linear.bias
        if self.norm is None:
            return weights, offsets
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None, "a norm that tracks its inputs"
        assert variance is not None, "a norm that tracks its inputs"
        factor = self.norm.weight / torch.sqrt(variance + self.norm.eps)
        return weights * factor, (offsets - mean) * factor + self.norm.bias


class _Head(nn.Module):
    """Hidden layers of one width, and a linear one."""

    def __init__(self, n_features: int, n_outputs: int, training: Training) -> None:
        super().__init__()
        widths = [n_features, *[training.hidden] * training.depth]
        self.hidden = nn.Sequential(*(_Hidden(a, b, training) for a, b in pairwise(widths)))
        self.last = nn.Linear(widths[-1], n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs (n, n_outputs)."""
        outputs: torch.Tensor = self.last(self.hidden(X))
        return outputs


def _criterion(classes: bool, smoothing: float, class_weights: AnyArray | None) -> nn.Module:
    if not classes:
        return nn.MSELoss()
    weights = None if class_weights is None else torch.from_numpy(class_weights.astype(np.float32))
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing)


def _callbacks(training: Training, held: bool) -> Sequence[tuple[str, Any]]:
    callbacks: list[tuple[str, Any]] = []
    if held:
        callbacks.append(("best", EarlyStopping(patience=training.patience, load_best=True, sink=_silent)))
    schedule = _SCHEDULES[training.schedule](training, "valid_loss" if held else "train_loss")
    if schedule is not None:
        callbacks.append(("schedule", schedule))
    return callbacks


def _constant(training: Training, loss: str) -> LRScheduler | None:
    return None


def _exponential(training: Training, loss: str) -> LRScheduler | None:
    return LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=_END ** (1 / training.max_epochs))


def _cosine(training: Training, loss: str) -> LRScheduler | None:
    return LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=training.max_epochs)


def _step(training: Training, loss: str) -> LRScheduler | None:
    every = max(1, training.max_epochs // _STEPS)
    return LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=every, gamma=_CUT)


def _plateau(training: Training, loss: str) -> LRScheduler | None:
    wait = max(1, training.patience // _STEPS)
    return LRScheduler(torch.optim.lr_scheduler.ReduceLROnPlateau, monitor=loss, factor=_CUT, patience=wait)


_SCHEDULES: dict[str, Callable[[Training, str], LRScheduler | None]] = {
    "constant": _constant,
    "exponential": _exponential,
    "cosine": _cosine,
    "step": _step,
    "plateau": _plateau,
}


def _folded(net: _Head) -> Layers:
    """The layers of a trained head, each normalisation made part of the linear map before it."""
    with torch.no_grad():
        pairs = [layer.folded() for layer in net.hidden if isinstance(layer, _Hidden)]
        pairs.append((net.last.weight.T, net.last.bias))
        return [(_wide(weights), _wide(offsets)) for weights, offsets in pairs]


def _wide(values: torch.Tensor) -> AnyArray:
    """Float64: in float32 a row's answer would depend on the rows beside it, in the last digit."""
    return np.ascontiguousarray(values.numpy().astype(np.float64))


def _silent(message: str) -> None:
    """Where skorch's messages go: the run tells its own progress."""
