"""The scikit-learn face: what goes in, and that labels come out as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone

from hybrid_ray import HybridClassifier, HybridRegressor
from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.on_ray.cluster import Cluster

SEARCH = {"folds": 2, "batch": 2, "trials": 2, "ensemble": {"trials": 2}, "max_concurrent": 1}


def rows(n: int = 90) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, n)
    return {"size": codes + rng.normal(0, 0.2, n), "weight": rng.normal(size=n)}, codes


@pytest.mark.slow
def test_labels_come_out_as_they_went_in(cluster: Cluster, tmp_path: Path) -> None:
    """Text that is all numbers is numbers to a table, in another order than as text: 10 after 9, "10" before "9"."""
    X, codes = rows()
    y = np.array(["10", "9", "100"])[codes]
    spec = {"search": {**SEARCH, "estimators": ["logistic"]}}
    model = HybridClassifier(spec, store=str(tmp_path / "store"), seed=1).fit(X, y)
    assert model.classes_.tolist() == ["10", "100", "9"]
    assert model.classes_.dtype == y.dtype
    frame = pl.DataFrame(X)
    proba = model.predict_proba(frame)
    assert proba.shape == (90, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    predicted = model.predict(pa.table(X))
    assert predicted.dtype == y.dtype
    np.testing.assert_array_equal(predicted, model.classes_[proba.argmax(axis=1)])
    assert model.score(X, y) > 0.9
    assert clone(model).get_params() == model.get_params()


@pytest.mark.slow
def test_numbers_are_learned_as_numbers(cluster: Cluster, tmp_path: Path) -> None:
    X, codes = rows()
    model = HybridRegressor({"search": {**SEARCH, "estimators": ["ridge"]}}, store=str(tmp_path / "store"))
    model.fit(pa.table(X), codes)
    assert model.report_["task"] == "regression"
    assert model.predict(X).shape == (90,)
    assert model.score(X, codes) > 0.9


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a", "b"] * 30, "binary"),
        ([1.5, 2.5] * 30, "binary"),
        (np.arange(60).repeat(2), "multiclass"),
        ([0.5, 1.5, 2.5, None] * 15, "multiclass"),
        ([True, False] * 30, "binary"),
    ],
)
def test_a_classifier_classifies_whatever_the_labels_look_like(labels: list[object], task: str) -> None:
    assert HybridClassifier()._request("rows.parquet", np.asarray(labels)).task == task


def test_what_cannot_be_is_told() -> None:
    X, codes = rows()
    with pytest.raises(BadInputError, match="y: must hold one label a row; got 3 labels for 90 rows"):
        HybridClassifier().fit(X, codes[:3])
    with pytest.raises(BadInputError, match="the name 'target' is kept for the labels"):
        HybridClassifier().fit({"target": codes}, codes)
    with pytest.raises(BadInputError, match=r"spec.task: must be one of \['binary', 'multiclass'\]"):
        HybridClassifier({"task": "regression"}).fit(X, codes)
    for model in (HybridClassifier(), HybridRegressor()):
        with pytest.raises(NotFittedError, match="must be fitted before it predicts"):
            model.predict(X)
