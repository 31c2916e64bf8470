"""Learners of forecasts: weights of several forecasts, for all series or for each."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import validate_data

from hybrid_ray.estimators.models.base import OwnRegressor
from hybrid_ray.forecasts import ERROR, LEVEL, REST, SCALE
from hybrid_ray.types import AnyArray

_ROUND = 1e-3
"""Error, in units of a row's scale, below which the absolute loss is rounded: its corner has no slope."""
_ITERATIONS = 200
_LEAST = 1e-3
"""Back-test error, in units of a row's scale, below which smaller ones count the same."""


class Told(NamedTuple):
    """What forecasters say of n rows, see :class:`hybrid_ray.fusion.forecasts.Forecasts`.

    Attributes
    ----------
    level, scale : ndarray float64 (n, 1)
        Of each row's history; a row without one has scale 1.
    doubts : ndarray float64 (n, k)
        Logarithm of each forecaster's back-test error, less the row's mean: 0 where it was not tested.
    steps : ndarray float64 (n, k, h)
        Forecasts in units of the row.
    """

    level: AnyArray
    scale: AnyArray
    doubts: AnyArray
    steps: AnyArray

    @classmethod
    def of(cls, matrix: AnyArray, horizon: int) -> Told:
        """Rows as a feature-level fusion gives them.

        Raises
        ------
        ValueError
            They are not level and scale, and as many numbers as forecasters of that horizon give.
        """
        width = 1 + horizon
        k, rest = divmod(matrix.shape[1] - ERROR, width)
        if rest or k < 1:
            raise ValueError(
                f"forecasts: X must hold {ERROR} + k x {width} columns for {horizon} steps, as the fusion `forecasts` "
                f"gives them; got {matrix.shape[1]}"
            )
        values = np.asarray(matrix, np.float64)
        level, scale = values[:, [LEVEL]] + values[:, [REST]], values[:, [SCALE]]
        blocks = values[:, ERROR:].reshape(len(values), k, width)
        errors = blocks[:, :, 0]
        logs = np.where(errors >= 0, np.log(np.maximum(errors, _LEAST)), np.nan)
        known = np.isfinite(logs)
        mean = np.where(known, logs, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
        return cls(level, np.where(scale > 0, scale, 1.0), np.where(known, logs - mean, 0.0), blocks[:, :, 1:])


class ForecastRegressor(OwnRegressor):
    """Base of learners of forecasts: targets and predictions (n, h) in the unit of the values.

    A subclass says ``_learn`` and ``_steps``, both in units of the rows.
    """

    kept: ClassVar[tuple[str, ...]] = ("horizon_",)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on rows (n, d) and what came (n, h)."""
        matrix, came = validate_data(
            self, X, y, dtype=np.float32, y_numeric=True, multi_output=True, ensure_min_samples=2
        )
        came = np.asarray(came, np.float64).reshape(len(matrix), -1)
        self.horizon_ = np.array([came.shape[1]])
        told = Told.of(matrix, came.shape[1])
        self._learn(told, (came - told.level) / told.scale)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Forecasts float64 (n, h)."""
        told = Told.of(self._matrix(X), int(self.horizon_[0]))
        forecasts: AnyArray = self._steps(told) * told.scale + told.level
        return forecasts

    def _learn(self, told: Told, came: AnyArray) -> None:
        """Learn from what was told and what came (n, h), in units of the rows."""
        raise NotImplementedError

    def _steps(self, told: Told) -> AnyArray:
        """Forecasts (n, h) in units of the rows."""
        raise NotImplementedError


class ForecastPool(ForecastRegressor):
    """Weighted mean of forecasts, whose weights may hang on how each did in the row's own back-test.

    The weights of a row are the softmax of a number for each forecaster less ``trust`` times the logarithm of its error
    in the back-test; numbers and trust are learned for each part of the horizon under the mean absolute error in units
    of the rows, which is MASE.

    Parameters
    ----------
    combine : {"weights", "median", "mean"}, default="weights"
    own : bool, default=True
        Whether weights hang on back-tests.
    segments : int, default=1
        Parts of the horizon with weights of their own.
    penalty : float, default=0.01
        Of the squared numbers: pulls weights together.

    Attributes
    ----------
    shares_ : ndarray (segments, k)
        Softmax of each part's numbers: the weights where back-tests say nothing.
    trust_ : ndarray (segments,)
    """

    kept = ("horizon_", "shares_", "trust_")

    def __init__(
        self,
        *,
        combine: Literal["weights", "median", "mean"] = "weights",
        own: bool = True,
        segments: int = 1,
        penalty: float = 0.01,
    ) -> None:
        self.combine = combine
        self.own = own
        self.segments = segments
        self.penalty = penalty

    def _learn(self, told: Told, came: AnyArray) -> None:
        k, h = told.steps.shape[1:]
        parts = self._parts(h)
        self.shares_ = np.full((len(parts), k), 1.0 / k)
        self.trust_ = np.zeros(len(parts))
        if self.combine != "weights" or k == 1:
            return
        for number, part in enumerate(parts):
            shares, trust = self._solved(told.steps[:, :, part], told.doubts, came[:, part])
            self.shares_[number], self.trust_[number] = shares, trust

    def _parts(self, h: int) -> list[AnyArray]:
        return [part for part in np.array_split(np.arange(h), min(self.segments, h)) if len(part)]

    def _solved(self, steps: AnyArray, doubts: AnyArray, came: AnyArray) -> tuple[AnyArray, float]:
        """Shares (k,) and trust of one part: the numbers' mean is free, and the penalty takes it to 0."""
        from scipy.optimize import minimize

        k = steps.shape[1]

        def loss(point: AnyArray) -> tuple[float, AnyArray]:
            weights = _softmax(point[:k] - point[k] * doubts)
            mixed = np.einsum("nk,nkh->nh", weights, steps)
            missed = mixed - came
            size = np.sqrt(missed**2 + _ROUND**2)
            pull = weights * np.einsum("nh,nkh->nk", missed / size, steps - mixed[:, None]) / missed.size
            slope = np.append(pull.sum(axis=0), -(pull * doubts).sum() if self.own else 0.0)
            return float(size.mean() + self.penalty * point @ point), slope + 2 * self.penalty * point

        bounds = [(-10.0, 10.0)] * k + [(0.0, 5.0 if self.own else 0.0)]
        found = minimize(
            loss, np.zeros(k + 1), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS}
        )
        return _softmax(found.x[None, :k])[0], float(found.x[k])

    def _steps(self, told: Told) -> AnyArray:
        if self.combine == "median":
            middle: AnyArray = np.median(told.steps, axis=1)
            return middle
        forecasts = np.empty((len(told.steps), told.steps.shape[2]))
        parts = self._parts(told.steps.shape[2])
        for shares, trust, part in zip(self.shares_, self.trust_, parts, strict=True):
            weights = _softmax(np.log(shares) - trust * told.doubts)
            forecasts[:, part] = np.einsum("nk,nkh->nh", weights, told.steps[:, :, part])
        return forecasts


def _softmax(numbers: AnyArray) -> AnyArray:
    grown = np.exp(numbers - numbers.max(axis=1, keepdims=True))
    shares: AnyArray = grown / grown.sum(axis=1, keepdims=True)
    return shares
