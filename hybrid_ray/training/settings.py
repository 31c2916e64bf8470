"""How a network is trained, as the loop takes it. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "adamw", "rmsprop", "adagrad", "sgd"]
Schedule = Literal["constant", "exponential", "cosine", "step", "plateau", "warm_cosine"]

_END = 0.01
"""Part of the learning rate that the exponential schedule ends with."""
_PARTS = 3
"""Parts of the passes after which the step schedule, and waiting passes after which plateau, cut the rate."""
_CUT = 0.3
_WARM_UP = 0.1
"""Share of the steps in which the rate of ``warm_cosine`` rises."""


@dataclass(frozen=True)
class Settings:
    """How a network is trained; every field is a parameter of what is trained, described there."""

    epochs: int
    patience: int
    batch_size: int
    lr: float
    weight_decay: float
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "warm_cosine"
    mixed: bool = False
    """True: on a GPU, matrix products of the training are made in bfloat16."""

    @property
    def wait(self) -> int:
        """Passes without a better loss after which ``plateau`` cuts the rate."""
        return max(1, self.patience // _PARTS)


def rate(settings: Settings, done: float, cuts: int) -> float:
    """The learning rate of a step, from nothing but how far the training is: one that is taken up again needs no more.

    Parameters
    ----------
    settings : Settings
    done : float
        Steps done as a share of all steps, in [0, 1).
    cuts : int
        How often ``plateau`` has cut the rate.
    """
    if settings.schedule == "plateau":
        return settings.lr * _CUT**cuts
    return settings.lr * _SHAPES[settings.schedule](done)


def _warm_cosine(done: float) -> float:
    """A rate that rises over the first steps and falls along a cosine."""
    if done < _WARM_UP:
        return (done + 1e-3) / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


_SHAPES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "exponential": lambda done: _END**done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "step": lambda done: _CUT ** int(done * _PARTS),
    "warm_cosine": _warm_cosine,
}
