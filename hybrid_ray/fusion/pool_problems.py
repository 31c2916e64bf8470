"""What the weights of a linear pool are to minimise, and how: each problem knows its own quick solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from hybrid_ray.forecasts import Came
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.fusion.weights import (
    LogLossMean,
    RunningMean,
    SquaredErrorMean,
    convex_absolute_error,
    convex_log_loss,
    convex_squared_error,
    log_losses,
    true_class,
)
from hybrid_ray.types import AnyArray, Task

SQUARED = ("root_mean_squared_error", "r2")
"""Metrics of numbers that rank predictions as the squared error does."""
_TIE = 1e-9
"""Weight of the log loss beside a metric that it is not: so small that it only decides between equals."""
_CELLS = 4_000_000
"""Mixed outputs that are held at once."""


class PoolProblem(Protocol):
    """A loss of weights on the simplex."""

    @property
    def n_members(self) -> int:
        """Number m of members."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def losses(self, weights: AnyArray) -> AnyArray:
        """Loss (b,) of the pools with these weights (b, m)."""

    def alone(self) -> AnyArray:
        """Loss (m,) of each member."""

    def mean(self) -> RunningMean:
        """A mean of members to add to, for greedy selection."""

    def convex(self) -> AnyArray:
        """The best weights there are, where the loss is convex; else those of the task's own loss."""

    def of(self, members: AnyArray) -> PoolProblem:
        """The same for some members."""

    def drawn(self, rows: AnyArray) -> PoolProblem:
        """The same for some rows, by number; a row may come more than once."""


def pool_problem(
    inputs: Mapping[str, AnyArray], names: Sequence[str], y: AnyArray, task: Task, metric: Scoring | None = None
) -> PoolProblem:
    """The problem of a task, or of a metric.

    Parameters
    ----------
    inputs : mapping of str to ndarray (n, n_outputs)
    names : sequence of str
        Members, in the order of the weights.
    y : ndarray (n,)
        Of forecasts (n, 3 h + 2).
    task : Task
    metric : Scoring, optional
        What is to be optimised; left out, log loss for classes, squared error for numbers and MASE for forecasts.

    Returns
    -------
    PoolProblem
    """
    if task == "forecasting":
        came = Came.of(y)
        values = np.stack([np.asarray(inputs[name], np.float64) for name in names])
        missed = _AbsoluteError((values - came.values) / came.scale)
        return missed if metric is None or metric.name == "mase" else _Scored(values, y, metric, missed, 0.0)
    if task == "regression":
        values = np.stack([np.asarray(inputs[name], np.float64) for name in names])
        squared = _SquaredError(values - y[:, None])
        return squared if metric is None or metric.name in SQUARED else _Scored(values, y, metric, squared, 0.0)
    surprise = _LogLoss(np.stack([true_class(inputs[name], y) for name in names]))
    if metric is None or metric.name == "log_loss":
        return surprise
    outputs = np.stack([np.asarray(inputs[name], np.float64) for name in names])
    if metric.name == "brier_score_loss":
        return _SquaredError(outputs - np.eye(outputs.shape[2])[y])
    return _Scored(outputs, y, metric, surprise, _TIE)


class _LogLoss:
    """Weights for classes: the true-class probabilities (m, n) of the members."""

    def __init__(self, P: AnyArray) -> None:
        self._P = P
        self.n_members, self.n_rows = P.shape

    def losses(self, weights: AnyArray) -> AnyArray:
        return np.concatenate([log_losses(weights[part] @ self._P) for part in _parts(len(weights), self.n_rows)])

    def alone(self) -> AnyArray:
        return log_losses(self._P)

    def mean(self) -> RunningMean:
        return LogLossMean(self._P)

    def convex(self) -> AnyArray:
        return convex_log_loss(self._P)

    def of(self, members: AnyArray) -> _LogLoss:
        return _LogLoss(self._P[members])

    def drawn(self, rows: AnyArray) -> _LogLoss:
        return _LogLoss(self._P[:, rows])


class _SquaredError:
    """Weights for numbers, or for probabilities by their Brier score: the errors (m, n, C) of the members."""

    def __init__(self, errors: AnyArray) -> None:
        self._errors = errors
        self.n_members, self.n_rows = errors.shape[:2]

    @cached_property
    def _gram(self) -> AnyArray:
        """Mean products (m, m) of the errors: all that a loss needs."""
        flat = self._errors.reshape(self.n_members, -1)
        gram: AnyArray = flat @ flat.T / self.n_rows
        return gram

    def losses(self, weights: AnyArray) -> AnyArray:
        found: AnyArray = np.einsum("bm,bm->b", weights @ self._gram, weights)
        return found

    def alone(self) -> AnyArray:
        return np.diag(self._gram)

    def mean(self) -> RunningMean:
        return SquaredErrorMean(self._gram)

    def convex(self) -> AnyArray:
        return convex_squared_error(self._gram)

    def of(self, members: AnyArray) -> _SquaredError:
        return _SquaredError(self._errors[members])

    def drawn(self, rows: AnyArray) -> _SquaredError:
        return _SquaredError(self._errors[:, rows])


class _AbsoluteError:
    """Weights for forecasts: the errors (m, n, h) of the members in units of the rows, so that the loss is MASE."""

    def __init__(self, errors: AnyArray) -> None:
        self._errors = errors
        self.n_members, self.n_rows = errors.shape[:2]

    def losses(self, weights: AnyArray) -> AnyArray:
        flat = self._errors.reshape(self.n_members, -1)
        parts = _parts(len(weights), flat.shape[1])
        return np.concatenate([np.abs(weights[part] @ flat).mean(axis=1) for part in parts])

    def alone(self) -> AnyArray:
        return np.abs(self._errors).mean(axis=(1, 2))

    def mean(self) -> RunningMean:
        def loss(mixed: AnyArray) -> AnyArray:
            return np.asarray(np.abs(mixed).mean(axis=(1, 2)))

        return _ScoredMean(self._errors, loss, SquaredErrorMean(np.zeros((self.n_members,) * 2)), 0.0)

    def convex(self) -> AnyArray:
        return convex_absolute_error(self._errors.reshape(self.n_members, -1))

    def of(self, members: AnyArray) -> _AbsoluteError:
        return _AbsoluteError(self._errors[members])

    def drawn(self, rows: AnyArray) -> _AbsoluteError:
        return _AbsoluteError(self._errors[:, rows])


class _Scored:
    """Weights for any metric: the outputs (m, n, C) of the members, and the problem of the task's own loss beside it.

    Parameters
    ----------
    outputs : ndarray float64 (m, n, C)
    y : ndarray (n,)
    metric : Scoring
    own : PoolProblem
        Of the task's own loss: it stands in where the metric is not defined (a ROC area of one class only) and where
        only a convex loss can be solved for.
    tie : float
        Weight of that loss beside the metric; metrics of labels are the same for many weights.
    """

    def __init__(self, outputs: AnyArray, y: AnyArray, metric: Scoring, own: PoolProblem, tie: float) -> None:
        self._outputs = outputs
        self._y = y
        self._metric = metric
        self._own = own
        self._tie = tie
        self.n_members, self.n_rows = outputs.shape[:2]

    def losses(self, weights: AnyArray) -> AnyArray:
        flat, shape = self._outputs.reshape(self.n_members, -1), self._outputs.shape[1:]
        parts = _parts(len(weights), flat.shape[1])
        found = np.concatenate([self._losses((weights[part] @ flat).reshape(-1, *shape)) for part in parts])
        return found + self._tie * self._own.losses(weights) if self._tie else found

    def _losses(self, mixed: AnyArray) -> AnyArray:
        """Loss (b,) of mixed outputs (b, n, C)."""
        scores = self._metric.scores(self._y, mixed)
        return np.where(np.isfinite(scores), -scores if self._metric.direction == "maximize" else scores, np.inf)

    def alone(self) -> AnyArray:
        return self.losses(np.eye(self.n_members))

    def mean(self) -> RunningMean:
        if not np.isfinite(self.alone()).all():
            return self._own.mean()
        return _ScoredMean(self._outputs, self._losses, self._own.mean(), self._tie)

    def convex(self) -> AnyArray:
        return self._own.convex()

    def of(self, members: AnyArray) -> _Scored:
        return _Scored(self._outputs[members], self._y, self._metric, self._own.of(members), self._tie)

    def drawn(self, rows: AnyArray) -> _Scored:
        return _Scored(self._outputs[:, rows], self._y[rows], self._metric, self._own.drawn(rows), self._tie)


class _ScoredMean:
    """A running mean under any loss of mixed outputs, with another loss that decides between equals."""

    def __init__(self, outputs: AnyArray, loss: Callable[[AnyArray], AnyArray], own: RunningMean, tie: float) -> None:
        self._outputs = outputs
        self._loss = loss
        self._own = own
        self._tie = tie
        self._total = np.zeros(outputs.shape[1:])

    def losses(self, step: int) -> AnyArray:
        """Loss (m,) of the mean with each member added as the ``step``-th."""
        parts = _parts(len(self._outputs), self._total.size)
        found = np.concatenate([self._loss((self._outputs[part] + self._total) / step) for part in parts])
        return found + self._tie * self._own.losses(step) if self._tie else found

    def add(self, member: int) -> None:
        """Add a member."""
        self._total += self._outputs[member]
        self._own.add(member)


def _parts(n: int, width: int) -> Iterator[slice]:
    """Slices of n weight vectors, so that no more than so many mixed outputs are held."""
    size = max(1, _CELLS // max(width, 1))
    return (slice(start, start + size) for start in range(0, n, size))
