"""Winsorising: values far out are brought to the edge of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.columns import ColumnParams, ColumnStep, many_valued
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, FloatArray, Task


class ClipParams(ColumnParams):
    """Parameters of :class:`Clip`."""

    how: Literal["quantile", "iqr"] = "quantile"
    """quantile: the outer ``tail`` of the rows on each side; iqr: what lies ``fences`` interquartile ranges outside the
    quartiles (Tukey)."""
    tail: float = Field(0.01, gt=0, lt=0.5)
    """Share of the rows on each side that is brought in."""
    fences: float = Field(3.0, ge=0, le=1000)
    """Interquartile ranges beyond the quartiles that are left alone; 1.5 are Tukey's inner fences, 3 his outer."""


@PREPARATIONS.register("clip")
class Clip(ColumnStep):
    """Extreme values of each column clipped to the range of the bulk of the training rows.

    Columns of 16 or fewer different values (categories, counts) are left alone.
    """

    Params = ClipParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Both ways."""
        yield ClipParams(tail=0.05)
        yield ClipParams(how="iqr", fences=1.5)
        yield ClipParams(blocks=("table",))

    def learn(self, values: FloatArray) -> dict[str, AnyArray]:
        """Lowest and highest value of each column of many values."""
        columns = np.flatnonzero(many_valued(values)) if len(values) else np.zeros(0, np.int64)
        if not len(columns):
            return {"columns": columns, "low": np.zeros(0, np.float32), "high": np.zeros(0, np.float32)}
        chosen = values[:, columns].astype(np.float64)
        if self.params.how == "quantile":
            low, high = np.quantile(chosen, [self.params.tail, 1 - self.params.tail], axis=0)
            varies = high > low
        else:
            first, third = np.quantile(chosen, [0.25, 0.75], axis=0)
            reach = self.params.fences * (third - first)
            low, high, varies = first - reach, third + reach, third > first
        return {
            "columns": columns[varies],
            "low": low[varies].astype(np.float32),
            "high": high[varies].astype(np.float32),
        }

    def change(self, values: FloatArray, learned: Mapping[str, AnyArray]) -> FloatArray:
        """Clipped values."""
        clipped: FloatArray = np.clip(values, learned["low"], learned["high"])
        return clipped

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The way and how much."""
        how = trial.suggest_categorical("how", ("quantile", "iqr"))
        if how == "quantile":
            return {"how": how, "tail": trial.suggest_float("tail", 0.001, 0.05, log=True)}
        return {"how": how, "fences": trial.suggest_float("fences", 1.5, 6.0)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A hundredth on each side; Tukey's outer fences."""
        return [{"how": "quantile", "tail": 0.01}, {"how": "iqr", "fences": 3.0}]
