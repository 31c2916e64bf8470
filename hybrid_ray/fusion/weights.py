"""Solvers for the weights of a linear pool, over out-of-fold predictions.

Sampling weights is far worse than solving for them: the problem is convex, and a loss costs microseconds once only the
column of the true class is kept.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hybrid_ray.types import AnyArray

FLOOR = 1e-15
"""Least probability that a loss is taken of."""
_GROUP = 16
_CERTIFIED = 1e-6
_ROUNDS = 2000
_PATIENCE = 15
_REWEIGHTED = 30


def true_class(outputs: AnyArray, y: AnyArray) -> AnyArray:
    """Probability (n,) that outputs (n, C) give to the class codes ``y`` (n,), never below ``FLOOR``."""
    return np.maximum(outputs[np.arange(len(y)), y], FLOOR)


def log_losses(P: AnyArray) -> AnyArray:
    """Mean negative logarithm (b,) of probabilities (b, n) in [1e-15, 1].

    The logarithm is taken of products of 16 rows at a time: exact to rounding, and nearly no logarithms.
    """
    b, n = P.shape
    whole = n - n % _GROUP
    products = np.multiply.reduce(P[:, :whole].reshape(b, _GROUP, -1), axis=1)
    losses: AnyArray = -(np.log(products).sum(axis=1) + np.log(P[:, whole:]).sum(axis=1)) / n
    return losses


class RunningMean(Protocol):
    """The mean of the members added so far, for greedy selection."""

    def losses(self, step: int) -> AnyArray:
        """Loss (m,) of the mean with each member added as the ``step``-th."""

    def add(self, member: int) -> None:
        """Add a member."""


class LogLossMean:
    """A running mean under log loss.

    The logarithm is taken of products of 16 rows at a time: exact to rounding, and nearly no logarithms.

    Parameters
    ----------
    P : ndarray float64 (m, n)
        Probability of the true class by member, in [1e-15, 1].
    """

    def __init__(self, P: AnyArray) -> None:
        m, self._n = P.shape
        self._groups = -(-self._n // _GROUP)
        # Ones fill the last group: sure of their class in every mean, they add nothing to the loss.
        self._members = np.ones((m, self._groups * _GROUP))
        self._members[:, : self._n] = P
        self._total = np.zeros(self._groups * _GROUP)
        self._sums = np.empty_like(self._members)
        self._products = np.empty((m, self._groups))

    def losses(self, step: int) -> AnyArray:
        """Loss (m,) of the mean with each member added as the ``step``-th."""
        np.add(self._members, self._total, out=self._sums)
        grouped = self._sums.reshape(len(self._sums), _GROUP, self._groups)
        np.multiply.reduce(grouped, axis=1, out=self._products)
        np.log(self._products, out=self._products)
        found: AnyArray = (len(self._total) * np.log(step) - self._products.sum(axis=1)) / self._n
        return found

    def add(self, member: int) -> None:
        """Add a member."""
        self._total += self._members[member]


class SquaredErrorMean:
    """A running mean under squared error.

    Parameters
    ----------
    gram : ndarray (m, m)
        Mean products of the members' errors.
    """

    def __init__(self, gram: AnyArray) -> None:
        self._gram = gram
        self._row = np.zeros(len(gram))
        self._square = 0.0

    def losses(self, step: int) -> AnyArray:
        """Loss (m,) of the mean with each member added as the ``step``-th."""
        found: AnyArray = (self._square + 2 * self._row + np.diag(self._gram)) / step**2
        return found

    def add(self, member: int) -> None:
        """Add a member."""
        self._square += float(2 * self._row[member] + self._gram[member, member])
        self._row = self._row + self._gram[member]


def greedy(mean: RunningMean, n_members: int, steps: int, max_members: int) -> AnyArray:
    """Weights (n_members,) by greedy selection with replacement; the best prefix wins.

    Parameters
    ----------
    mean : RunningMean
    n_members : int
    steps : int
        Most additions.
    max_members : int
        Most members with weight.

    References
    ----------
    Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
    """
    counts = np.zeros(n_members)
    best, best_counts, waited = np.inf, counts, 0
    for step in range(1, steps + 1):
        losses = mean.losses(step)
        if np.count_nonzero(counts) >= max_members:
            losses = np.where(counts > 0, losses, np.inf)
        chosen = int(losses.argmin())
        mean.add(chosen)
        counts[chosen] += 1
        waited += 1
        if losses[chosen] < best:
            best, best_counts, waited = float(losses[chosen]), counts.copy(), 0
        elif waited >= _PATIENCE:
            break
    return best_counts / best_counts.sum()


def convex_log_loss(P: AnyArray) -> AnyArray:
    """Weights (m,) on the simplex with the smallest log loss, to 1e-6 nats.

    Multiplicative updates; the exponent grows as long as that helps and falls back to 1, where every step helps.
    The largest component of the update bounds the distance from the optimum, which is when it stops.

    Parameters
    ----------
    P : ndarray float64 (m, n)
        Probability of the true class by member, in [1e-15, 1].

    References
    ----------
    Cover, "An algorithm for maximizing expected log investment return", IEEE Trans. Inf. Theory 1984.
    """
    m, n = P.shape
    weights = np.full(m, 1.0 / m)
    mixed = weights @ P
    loss, power = -float(np.log(mixed).mean()), 1.0
    for _ in range(_ROUNDS):
        growth = P @ (1.0 / mixed) / n
        if growth.max() - 1.0 < _CERTIFIED:
            break
        tried = weights * growth**power
        tried /= tried.sum()
        mixed_tried = tried @ P
        loss_tried = -float(np.log(mixed_tried).mean())
        if loss_tried > loss and power > 1.0:
            power = max(1.0, power / 2)
            continue
        weights, mixed, loss = tried, mixed_tried, loss_tried
        power *= 1.3
    return weights


def convex_squared_error(gram: AnyArray) -> AnyArray:
    """Weights (m,) on the simplex with the smallest squared error, exactly.

    The minimum of w'Gw on the simplex is, up to a factor, that of u'Gu/2 - sum(u) over u >= 0: least squares.

    Parameters
    ----------
    gram : ndarray (m, m)
        Mean products of the members' errors.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    m = len(gram)
    scale = float(np.trace(gram)) / m
    if scale <= 0:
        return np.full(m, 1.0 / m)
    root = np.linalg.cholesky(gram / scale + 1e-9 * np.eye(m))
    found, _ = nnls(root.T, solve_triangular(root, np.ones(m), lower=True))
    weights: AnyArray = found / found.sum()
    return weights


def convex_absolute_error(errors: AnyArray) -> AnyArray:
    """Weights (m,) on the simplex with a small absolute error: squared errors, each over its size, again and again.

    Parameters
    ----------
    errors : ndarray (m, n)
        Of the members.

    References
    ----------
    Schlossmacher, "An iterative technique for absolute deviations curve fitting", JASA 1973.
    """
    weights = np.full(len(errors), 1.0 / len(errors))
    best, least = weights, float(np.abs(weights @ errors).mean())
    for _ in range(_REWEIGHTED):
        size = np.abs(weights @ errors)
        scaled = errors / np.maximum(size, 1e-4 * size.mean() + 1e-300)
        weights = convex_squared_error(scaled @ errors.T / errors.shape[1])
        loss = float(np.abs(weights @ errors).mean())
        if loss >= least * (1 - 1e-6):
            break
        best, least = weights, loss
    return best


def convex_log_pool(logs: AnyArray, y: AnyArray) -> AnyArray:
    """Weights (m,) on the simplex with which the geometric mean has the smallest log loss.

    The loss is convex in the weights: a log-sum-exp of linear functions, less a linear one.

    Parameters
    ----------
    logs : ndarray float64 (m, n, C)
        Finite log probabilities by member.
    y : ndarray of int (n,)
        Class codes.

    References
    ----------
    Heskes, "Selecting weighting factors in logarithmic opinion pools", NIPS 1997.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    m, n, _ = logs.shape
    flat = logs.reshape(m, -1)
    truth = logs[:, np.arange(n), y].mean(axis=1)

    def loss(weights: AnyArray) -> tuple[float, AnyArray]:
        mixed = (weights @ flat).reshape(n, -1)
        norms = logsumexp(mixed, axis=1)
        proba = np.exp(mixed - norms[:, None])
        return float(norms.mean() - weights @ truth), flat @ proba.reshape(-1) / n - truth

    found = minimize(
        loss,
        np.full(m, 1.0 / m),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda _: np.ones(m)},
        options={"maxiter": 200, "ftol": 1e-9},
    )
    weights: AnyArray = np.maximum(found.x, 0.0)
    return weights / weights.sum()
