"""What the weights of a linear pool are to minimise, and how: each problem knows its own quick solvers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from hybrid_ray.fusion.weights import (
    LogLossMean,
    SquaredErrorMean,
    convex_log_loss,
    convex_squared_error,
    greedy,
    true_class,
)
from hybrid_ray.types import AnyArray, Task


class PoolProblem(Protocol):
    """A loss of weights (m,) on the simplex."""

    @property
    def n_members(self) -> int:
        """Number m of members."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def loss(self, weights: AnyArray) -> float:
        """Loss of the pool with these weights."""

    def alone(self) -> AnyArray:
        """Loss (m,) of each member."""

    def greedy(self, steps: int, most: int) -> AnyArray:
        """Weights by greedy selection, at most ``most`` above 0."""

    def convex(self) -> AnyArray:
        """The best weights there are."""

    def of(self, members: AnyArray) -> PoolProblem:
        """The same for some members."""

    def drawn(self, rows: AnyArray) -> PoolProblem:
        """The same for some rows, by number; a row may come more than once."""


def pool_problem(inputs: Mapping[str, AnyArray], names: Sequence[str], y: AnyArray, task: Task) -> PoolProblem:
    """The problem of a task: log loss for classes, squared error for numbers."""
    if task == "regression":
        return _SquaredError(np.stack([np.asarray(inputs[name], np.float64)[:, 0] - y for name in names]))
    return _LogLoss(np.stack([true_class(inputs[name], y) for name in names]))


class _LogLoss:
    """Weights for classes: the true-class probabilities (m, n) of the members."""

    def __init__(self, P: AnyArray) -> None:
        self._P = P
        self.n_members, self.n_rows = P.shape

    def loss(self, weights: AnyArray) -> float:
        return -float(np.log(weights @ self._P).mean())

    def alone(self) -> AnyArray:
        losses: AnyArray = -np.log(self._P).mean(axis=1)
        return losses

    def greedy(self, steps: int, most: int) -> AnyArray:
        return greedy(LogLossMean(self._P), self.n_members, steps, most)

    def convex(self) -> AnyArray:
        return convex_log_loss(self._P)

    def of(self, members: AnyArray) -> _LogLoss:
        return _LogLoss(self._P[members])

    def drawn(self, rows: AnyArray) -> _LogLoss:
        return _LogLoss(self._P[:, rows])


class _SquaredError:
    """Weights for numbers: the errors (m, n) of the members."""

    def __init__(self, errors: AnyArray) -> None:
        self._errors = errors
        self.n_members, self.n_rows = errors.shape

    @cached_property
    def _gram(self) -> AnyArray:
        """Mean products (m, m) of the errors: all that a loss needs."""
        gram: AnyArray = self._errors @ self._errors.T / self.n_rows
        return gram

    def loss(self, weights: AnyArray) -> float:
        return float(weights @ self._gram @ weights)

    def alone(self) -> AnyArray:
        return np.diag(self._gram)

    def greedy(self, steps: int, most: int) -> AnyArray:
        return greedy(SquaredErrorMean(self._gram), self.n_members, steps, most)

    def convex(self) -> AnyArray:
        return convex_squared_error(self._gram)

    def of(self, members: AnyArray) -> _SquaredError:
        return _SquaredError(self._errors[members])

    def drawn(self, rows: AnyArray) -> _SquaredError:
        return _SquaredError(self._errors[:, rows])
