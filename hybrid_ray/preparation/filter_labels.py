"""Training rows whose label looks wrong, left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Blocks, Preparation, Rows
from hybrid_ray.preparation.columns import side_by_side, standardised, taken
from hybrid_ray.preparation.drop_outliers import FEWEST, worst
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, FloatArray, Task

FOLDS = 3
_SPREADS = 3.0
"""Robust deviations beyond which a number is suspected."""
_DEVIATION_OF_MAD = 1.4826
"""Deviation of a normal distribution whose median absolute deviation is 1."""


class FilterLabelsParams(PluginParams):
    """Parameters of :class:`FilterLabels`."""

    share: float = Field(0.05, ge=0, lt=0.5)
    """Most rows of each class (of all rows, for numbers) that are left out, the least plausible first."""


@PREPARATIONS.register("filter_labels")
class FilterLabels(Preparation):
    """Training rows whose label a linear model on the other training rows finds implausible are not learned from.

    Classes: a row is suspected when some other class is more probable than its own, and at least as probable as it is
    on average for rows of that class (confident learning). Numbers: when the residual of a ridge regression is beyond
    three robust deviations. The labels that rows are scored by are never touched.

    References
    ----------
    Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021.
    """

    Params = FilterLabelsParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Up to a tenth."""
        yield FilterLabelsParams(share=0.1)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0, groups: AnyArray | None = None) -> Rows:
        """The training rows that stay, in their order; no row is judged by rows of its own group."""
        X = standardised(side_by_side(blocks)[0])[0]
        if len(y) < FEWEST or X.shape[1] == 0:
            return Rows(blocks, y)
        if task == "regression":
            residual = np.abs(_residuals(X, y, seed, groups))
            middle = float(np.median(residual)) * _DEVIATION_OF_MAD
            dropped = worst(residual, np.zeros(len(y), np.int64), self.params.share, _SPREADS * middle)
        else:
            codes = np.unique(y, return_inverse=True)[1]
            dropped = worst(_doubts(X, codes, seed, groups), codes, self.params.share, 0.0)
        kept = np.delete(np.arange(len(y)), dropped)
        return Rows(taken(blocks, kept), y[kept], kept)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """How many at most."""
        return {"share": trial.suggest_float("share", 0.01, 0.2, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A twentieth."""
        return [{"share": 0.05}]


def _doubts(X: FloatArray, codes: AnyArray, seed: int, groups: AnyArray | None) -> AnyArray:
    """By how much another class is more plausible than the own, float64 (n,); 0 where it is not.

    Plausible is what is as probable as it is on average for rows of that class.
    """
    from hybrid_ray.estimators.models.linear import LinearClassifier

    n_classes = int(codes.max()) + 1
    proba = np.zeros((len(codes), n_classes))
    if n_classes < 2:
        return np.zeros(len(codes))
    folds = inner_folds(codes, FOLDS, seed, groups)
    for fold in range(FOLDS):
        held, train = folds == fold, folds != fold
        if held.any():
            proba[held] = LinearClassifier(C=10.0).fit(X[train], codes[train]).predict_proba(X[held])
    judged = folds >= 0
    own = proba[np.arange(len(codes)), codes]
    counts = np.bincount(codes[judged], minlength=n_classes)
    usual = np.where(counts > 0, np.bincount(codes[judged], own[judged], n_classes) / np.maximum(counts, 1), 1.0)
    plausible = np.where(proba >= usual, proba, 0.0)
    plausible[np.arange(len(codes)), codes] = 0.0
    # The only row, or the only group, of its class: every model saw it, and none may doubt it.
    return np.where(judged, np.maximum(plausible.max(axis=1) - own, 0.0), 0.0)


def _residuals(X: FloatArray, y: AnyArray, seed: int, groups: AnyArray | None) -> AnyArray:
    """What a ridge regression on the other rows leaves of each label, float64 (n,)."""
    from hybrid_ray.estimators.models.linear import LinearRegressor

    folds = inner_folds(np.zeros(len(y), np.int64), FOLDS, seed, groups)
    residual = np.zeros(len(y))
    for fold in np.unique(folds[folds >= 0]):
        held = folds == fold
        residual[held] = y[held] - LinearRegressor(alpha=0.1).fit(X[~held], y[~held]).predict(X[held])
    return residual
