"""Rows made to a schema: learnable from every column, the same for the same seed."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.generate import generate_rows
from hybrid_ray.data.images import decode

KINDS = {"n": "numeric", "c": "categorical", "d": "date", "t": "text", "i": "image"}


def features(name, column):
    kind = KINDS[name]
    if kind == "image":
        return np.stack([np.asarray(decode(v)).reshape(-1) for v in column]).astype(float)
    if kind == "numeric":
        return column[:, None]
    if kind == "date":
        return column.astype("int64")[:, None] / 1e9
    words = sorted({word for value in column for word in value.split()})
    return np.array([[value.split().count(word) for word in words] for value in column], float)


@pytest.mark.parametrize("name", KINDS)
def test_each_column_tells_something_of_the_label(name):
    table = generate_rows(KINDS, "multiclass", 300, 3, 0, "y")
    out = coerce(table, KINDS)
    assert out.errors == []
    X, y = StandardScaler().fit_transform(features(name, out.batch[name])), np.array(table["y"])
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(X[:200], y[:200])
    assert fitted.score(X[200:], y[200:]) > 0.55


@pytest.mark.parametrize(("task", "classes", "expected"), [("binary", 7, [0, 1]), ("multiclass", 4, [0, 1, 2, 3])])
def test_classes_are_balanced(task, classes, expected):
    y = generate_rows({"n": "numeric"}, task, 100, classes, 0, "y")["y"].to_pylist()
    assert sorted(set(y)) == expected
    assert np.ptp(np.bincount(y)) <= 1


def test_numbers_for_a_regression():
    table = generate_rows({"n": "numeric"}, "regression", 200, 2, 0, "y")
    assert np.corrcoef(table["n"], table["y"])[0, 1] > 0.8


def test_all_columns_together_are_good_and_not_perfect():
    kinds = {f"n{i}": "numeric" for i in range(12)}
    table = generate_rows(kinds, "binary", 2000, 2, 0, "y")
    X, y = np.column_stack([table[name] for name in kinds]), np.array(table["y"])
    score = LogisticRegression().fit(X[:1000] / 100, y[:1000]).score(X[1000:] / 100, y[1000:])
    assert 0.9 < score < 0.995


def test_the_seed_decides():
    one, again, other = (generate_rows(KINDS, "binary", 20, 2, seed, "y") for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
