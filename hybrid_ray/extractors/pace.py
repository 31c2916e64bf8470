"""What checkpoints of a training cost, and how long it will take: one that a run can go without is given up early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hybrid_ray.errors import TooSlowError

if TYPE_CHECKING:
    from hybrid_ray.training.loop import Checkpoints
    from hybrid_ray.types import State

PASSES = 6
"""Passes of a tuning, about: the hold-out loss ends most before the last that they may have."""

_SHARE = 0.1
"""Most of a training's time that saving it may take."""


class Sparing:
    """Checkpoints that are left out as often as saving them would take more than a tenth of the time.

    A training that is taken up again does a few passes more, to the same end.

    Parameters
    ----------
    checkpoints : Checkpoints
    clock : callable, default time.monotonic
    """

    def __init__(self, checkpoints: Checkpoints, clock: Callable[[], float] = time.monotonic) -> None:
        self._checkpoints = checkpoints
        self._clock = clock
        self._next = -math.inf

    def load(self) -> State | None:
        """What was saved last."""
        return self._checkpoints.load()

    def save(self, state: State) -> None:
        """Keep a state, unless the last one is too new."""
        began = self._clock()
        if began < self._next:
            return
        self._checkpoints.save(state)
        ended = self._clock()
        self._next = ended + (ended - began) / _SHARE


class Paced:
    """Checkpoints of a training that ends with ``TooSlowError`` once its passes show that it would take too long.

    What was saved stays: a run with more time goes on from there.

    Parameters
    ----------
    checkpoints : Checkpoints or None
        Where states are kept.
    allowed_s : float
        Seconds that the training may take from ``load`` on.
    epochs, patience : int
        Its most passes, and its passes without a better loss, after which it is over.
    clock : callable, default time.monotonic
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        allowed_s: float,
        epochs: int,
        patience: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpoints = checkpoints
        self._allowed_s = allowed_s
        self._epochs, self._patience = epochs, patience
        self._clock = clock
        self._start, self._before = clock(), 0

    def load(self) -> State | None:
        """What was saved last; time counts from now."""
        state = self._checkpoints.load() if self._checkpoints is not None else None
        self._start, self._before = self._clock(), 0 if state is None else int(state.meta["done"])
        return state

    def save(self, state: State) -> None:
        """Keep a state, and look at the clock.

        Raises
        ------
        TooSlowError
            The training is not over, and would take longer than it may by what its passes took so far.
        """
        if self._checkpoints is not None:
            self._checkpoints.save(state)
        done, worse = int(state.meta["done"]), int(state.meta["worse"])
        if done >= self._epochs or worse >= self._patience:
            return
        here = done - self._before
        spent = self._clock() - self._start
        expected = spent / here * max(min(PASSES, self._epochs) - self._before, here + 1)
        if expected > self._allowed_s:
            raise TooSlowError(
                f"training must end within {self._allowed_s:.0f} s; passes so far: {here} in {spent:.0f} s, so that it "
                f"would take about {expected:.0f} s"
            )
