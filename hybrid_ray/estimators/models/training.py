"""Training of networks by torch and skorch, for neural heads and fusion networks. Only ``fit`` imports this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Dataset

from hybrid_ray.training.loop import OPTIMIZERS
from hybrid_ray.training.settings import Optimizer
from hybrid_ray.types import AnyArray, FloatArray

Schedule = Literal["constant", "exponential", "cosine", "step", "plateau"]
Named = tuple[str, Any]

_END = 0.01
"""Part of the learning rate that the exponential schedule ends with."""
_STEPS = 3
"""Parts of the epochs after which the step schedule, and waiting epochs after which plateau, cut the rate."""
_CUT = 0.3


@dataclass(frozen=True)
class Training:
    """How a network is trained; every field is a parameter of what is trained, described there."""

    optimizer: Optimizer
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    batch_size: int
    max_epochs: int
    patience: int
    label_smoothing: float = 0.0


def train_network(
    net: nn.Module,
    X: FloatArray,
    y: AnyArray,
    rows: tuple[AnyArray, AnyArray],
    training: Training,
    class_weights: AnyArray | None = None,
    callbacks: Sequence[Named] = (),
) -> tuple[Any, int]:
    """Train a network; the caller seeds torch.

    Parameters
    ----------
    net : Module
        Gives outputs (n, n_outputs) of X.
    X : ndarray float32 (n, d)
    y : ndarray (n,)
        int64 class codes, or float32 standardised values.
    rows : tuple of ndarray
        Rows to train on, and rows that say which epoch was best (maybe none).
    training : Training
    class_weights : ndarray (n_outputs,) or None
    callbacks : sequence of (str, Callback)
        Of skorch, called after those that keep the best epoch's network, stop training and lower the learning rate.

    Returns
    -------
    net : Module
        As it was in the best epoch, set to predict.
    epochs : int
        Epochs that were trained.
    """
    train, held = rows
    classes = y.dtype == np.int64
    target = y if classes else y[:, None]
    parts = [_Rows(X[part], target[part]) for part in rows]
    optimizer, settings = OPTIMIZERS[training.optimizer]
    learner = NeuralNet(
        net,
        criterion=_criterion(classes, training.label_smoothing, class_weights),
        optimizer=optimizer,
        **{f"optimizer__{name}": value for name, value in (settings | {"weight_decay": training.weight_decay}).items()},
        lr=training.learning_rate,
        batch_size=min(training.batch_size, len(train)),
        max_epochs=training.max_epochs,
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,  # a last batch of one row has no variance to normalise by
        iterator_train__collate_fn=_as_it_is,
        iterator_valid__collate_fn=_as_it_is,
        iterator_valid__batch_size=4096,
        train_split=predefined_split(parts[1]) if len(held) else None,
        # The best epoch's network is kept before a caller's callbacks change the one that was scored.
        callbacks=[*_callbacks(training, bool(len(held))), *callbacks],
        device="cpu",
        verbose=0,
    )
    learner.fit(parts[0], None)
    return learner.module_.eval(), len(learner.history)


def wide(values: torch.Tensor) -> AnyArray:
    """Float64: in float32 a row's answer would depend on the rows beside it, in the last digit."""
    return np.ascontiguousarray(values.detach().numpy().astype(np.float64))


class _Rows(Dataset[Any]):
    """Rows that are taken a batch at a time: one by one costs more than a small network's step."""

    def __init__(self, X: AnyArray, y: AnyArray) -> None:
        self._tensors = torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(np.ascontiguousarray(y))

    def __len__(self) -> int:
        return len(self._tensors[0])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tensors[0][row], self._tensors[1][row]

    def __getitems__(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.as_tensor(rows)
        return self._tensors[0][chosen], self._tensors[1][chosen]


def _as_it_is(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch


def _criterion(classes: bool, smoothing: float, class_weights: AnyArray | None) -> nn.Module:
    if not classes:
        return nn.MSELoss()
    weights = None if class_weights is None else torch.from_numpy(class_weights.astype(np.float32))
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing)


def _callbacks(training: Training, held: bool) -> list[Named]:
    callbacks: list[Named] = []
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


def _silent(message: str) -> None:
    """Where skorch's messages go: the run tells its own progress."""
