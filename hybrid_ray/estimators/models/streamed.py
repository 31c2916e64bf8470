"""Boosting on a stream of rows: what the libraries that can share it with other workers have in common."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from hybrid_ray.estimators.models.base import ClassWeight
from hybrid_ray.estimators.models.boosting import BoostedClassifier, BoostedRegressor
from hybrid_ray.estimators.streaming import RowStream, Team
from hybrid_ray.types import AnyArray

M = TypeVar("M", BoostedClassifier, BoostedRegressor)


def fit_on_stream(model: M, stream: RowStream, team: Team) -> M:
    """A model with the parameters and rounds of a fitted one, on rows that are never held together.

    Parameters
    ----------
    model : BoostedClassifier or BoostedRegressor
        Fitted on a sample; its ``train_stream(stream, y, weights, team)`` gives a booster of ``rounds_`` rounds.
    stream : RowStream
        May hold classes that the sample did not.
    team : Team

    Raises
    ------
    ValueError
        A classifier's team does not count rows of two classes or more.
    """
    check_is_fitted(model)
    heir: Any = clone(model)
    heir.n_features_in_ = stream.n_features
    heir.rounds_ = model.rounds_
    y, weights = stream.labels, None
    if isinstance(model, BoostedRegressor):
        # The sample's scale: it decides what a step of the learning rate is, not what can be learned.
        heir.target_ = model.target_
        y = (y - model.target_[0]) / model.target_[1]
    else:
        counts = team.counts
        if counts is None or len(counts) < 2 or counts.min() < 1:
            raise ValueError(f"{type(model).__name__}: a team must count rows of two classes or more; got {counts}")
        heir.classes_ = np.arange(len(counts))
        if model.class_weight is not None:
            weights = class_weights(counts, model.class_weight)[y]
    heir.booster_ = heir.train_stream(stream, y, weights, team)
    fitted: M = heir
    return fitted


def class_weights(counts: AnyArray, class_weight: ClassWeight) -> AnyArray:
    """Weight of a row of each class, float64 (C,), from the number of rows of each."""
    if isinstance(class_weight, dict):
        return np.array([float(class_weight.get(code, 1.0)) for code in range(len(counts))])
    weights: AnyArray = counts.sum() / (len(counts) * counts.astype(np.float64))
    return weights
