"""Skewed columns made even: by a logarithm, the Yeo-Johnson power, or their ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.columns import ColumnParams, ColumnStep, many_valued, sampled
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, BoolArray, FloatArray, Task

KNOTS = 201
"""Quantiles that are remembered of a column."""
_FAR = 8.0
"""Deviations beyond which a changed value is brought in: a power of what training never saw knows no bounds."""
_POWERS = (-5.0, 5.0)
_REACH = 1e3
"""Deviations that a value may be from the mean before it is raised to a power."""
_SMALL = 1e-8
_GOLDEN = (5**0.5 - 1) / 2
_SECTIONS = 24
"""Sections that narrow ``_POWERS`` down to 1e-4."""


class UnskewParams(ColumnParams):
    """Parameters of :class:`Unskew`."""

    how: Literal["log", "yeo_johnson", "quantile"] = "yeo_johnson"
    """log: log1p of the distance from the end that the tail does not lie at, in lower quartiles of it; yeo_johnson: the
    power that makes the training rows most nearly normal; quantile: normal scores of ranks."""
    skewness: float = Field(1.0, ge=0)
    """Size of the skewness above which a column is changed; 0 changes every column."""


@PREPARATIONS.register("unskew")
class Unskew(ColumnStep):
    """Skewed columns changed by an increasing function, so that their training rows look more nearly normal.

    Mean and deviation of a column stay those of its training rows. Columns of 16 or fewer different values are left
    alone.

    References
    ----------
    Yeo, Johnson, "A new family of power transformations to improve normality or symmetry", Biometrika 2000.
    """

    Params = UnskewParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Each way, on every column."""
        yield UnskewParams(how="log", skewness=0.0)
        yield UnskewParams(how="yeo_johnson", skewness=0.0)
        yield UnskewParams(how="quantile", skewness=0.0)

    def learn(self, values: FloatArray) -> dict[str, AnyArray]:
        """The skewed columns, and the function of each."""
        chosen = _skewed(values, self.params.skewness) if len(values) else np.zeros(values.shape[1], bool)
        columns = np.flatnonzero(chosen)
        bulk = values[:, columns].astype(np.float64)
        if not len(columns):
            empty = np.zeros((0,), np.float64)
            return {"columns": columns} | dict.fromkeys(("shape", "mean", "deviation", "inner", "spread"), empty)
        mean, deviation = bulk.mean(axis=0), bulk.std(axis=0)
        learned = {"columns": columns, "mean": mean, "deviation": deviation}
        learned["shape"] = self._shape(bulk, mean, deviation)
        changed = self._even(bulk, learned)
        spread = changed.std(axis=0)
        return learned | {"inner": changed.mean(axis=0), "spread": np.where(spread > 0, spread, 1.0)}

    def _shape(self, bulk: AnyArray, mean: AnyArray, deviation: AnyArray) -> AnyArray:
        """What the function of each column needs: (3, k) end, way and unit, (k,) power, or (KNOTS, k) quantiles."""
        if self.params.how == "quantile":
            knots: AnyArray = np.quantile(bulk, np.linspace(0, 1, KNOTS), axis=0)
            return knots
        z = (bulk - mean) / deviation
        if self.params.how == "log":
            towards = np.where((z**3).mean(axis=0) >= 0, 1.0, -1.0)
            end = (z * towards).min(axis=0)
            unit = np.quantile(z * towards, 0.25, axis=0) - end
            return np.stack([end, towards, np.where(unit > 0, unit, 1.0)])
        return _powers(sampled(z))

    def _even(self, bulk: AnyArray, learned: Mapping[str, AnyArray]) -> AnyArray:
        """The function itself, before mean and deviation are put back: float64 (m, k)."""
        shape = learned["shape"]
        if self.params.how == "quantile":
            return rank_scores(bulk, shape)
        z = (bulk - learned["mean"]) / learned["deviation"]
        if self.params.how == "log":
            distance = (z * shape[1] - shape[0]) / shape[2]
            return np.asarray(np.sign(distance) * np.log1p(np.abs(distance)) * shape[1])
        return _yeo_johnson(z.clip(-_REACH, _REACH), shape)

    def change(self, values: FloatArray, learned: Mapping[str, AnyArray]) -> FloatArray:
        """Changed values."""
        even = (self._even(values.astype(np.float64), learned) - learned["inner"]) / learned["spread"]
        back = learned["mean"] + learned["deviation"] * even.clip(-_FAR, _FAR)
        return np.asarray(back, np.float32)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The way, and which columns."""
        return {
            "how": trial.suggest_categorical("how", ("log", "yeo_johnson", "quantile")),
            "skewness": trial.suggest_categorical("skewness", (0.0, 0.5, 1.0, 2.0)),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """The power for skewed columns; ranks for all."""
        return [{"how": "yeo_johnson", "skewness": 1.0}, {"how": "quantile", "skewness": 0.0}]


def _skewed(values: FloatArray, least: float) -> BoolArray:
    """Which columns of many values have at least this skewness."""
    some = sampled(values).astype(np.float64)
    deviation = some.std(axis=0)
    deviation[deviation == 0] = 1.0
    skewness = (((some - some.mean(axis=0)) / deviation) ** 3).mean(axis=0)
    return np.asarray(many_valued(values) & (np.abs(skewness) >= least), bool)


def _yeo_johnson(z: AnyArray, powers: AnyArray) -> AnyArray:
    """The Yeo-Johnson transform of each column, (m, k), by its power (k,)."""
    # Beyond zero it is Box and Cox's of 1 + z by the power, below zero the mirror image by 2 - power.
    power = np.where(z >= 0, powers, 2 - powers)
    log = np.log1p(np.abs(z))
    straight = np.abs(power) > _SMALL
    grown = np.expm1(power * log) / np.where(straight, power, 1.0)
    return np.asarray(np.sign(z) * np.where(straight, grown, log))


def _powers(z: AnyArray) -> AnyArray:
    """The power (k,) of each column (m, k) that has the largest likelihood of a normal distribution.

    By golden sections, all columns at once: scipy solves one at a time, which takes longer than most fits where columns
    are many.
    """
    signed = (np.sign(z) * np.log1p(np.abs(z))).mean(axis=0)

    def likelihood(powers: AnyArray) -> AnyArray:
        spread = _yeo_johnson(z, powers).var(axis=0)
        return np.asarray((powers - 1) * signed - 0.5 * np.log(np.maximum(spread, 1e-300)))

    low, high = (np.full(z.shape[1], edge) for edge in _POWERS)
    for _ in range(_SECTIONS):
        reach = _GOLDEN * (high - low)
        left, right = high - reach, low + reach
        better = likelihood(left) >= likelihood(right)
        low, high = np.where(better, low, left), np.where(better, right, high)
    return np.asarray((low + high) / 2)


def rank_scores(bulk: AnyArray, knots: AnyArray) -> AnyArray:
    """Normal quantiles of the ranks among training rows; ties get the middle of their ranks."""
    from scipy.special import ndtri

    share = np.linspace(0, 1, KNOTS)
    scores = np.empty_like(bulk)
    for j in range(bulk.shape[1]):
        up = np.interp(bulk[:, j], knots[:, j], share)
        down = 1 - np.interp(-bulk[:, j], -knots[::-1, j], share)
        scores[:, j] = (up + down) / 2
    edge = 0.5 / KNOTS
    return np.asarray(ndtri(scores.clip(edge, 1 - edge)))
