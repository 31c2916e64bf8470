"""Counterexamples: usual in every feature, unusual together, apart from the rows that they are made of."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ray.search.counterexamples import ENOUGH, with_counterexamples
from hybrid_ray.search.data import FoldedData
from hybrid_ray.types import Block

BOUNDS = np.array([0, 40, 70, 100])


def folded(anomalous=0):
    """Three folds of rows whose two columns are the same; the last rows of each are anomalous."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(100, 1)).astype(np.float32), 2, axis=1)
    y = np.zeros(100, np.int64)
    for stop in BOUNDS[1:]:
        y[stop - anomalous : stop] = 1
    present = np.arange(100) % 7 > 0
    trained = tuple(Block(values * (fold + 1), present) for fold in range(3))
    return FoldedData("anomaly", 2, y, BOUNDS, False, {"a": Block(values, present)}, {"b": trained}, {"a": "", "b": ""})


def test_each_fold_gets_one_for_each_of_its_normal_rows():
    data = folded(anomalous=3)
    grown = with_counterexamples(data, seed=1)
    np.testing.assert_array_equal(np.diff(grown.bounds), [77, 57, 57])
    np.testing.assert_array_equal(grown.y[grown.given], data.y)
    assert (grown.y[grown.made] == 1).all()
    for name in ("a", "b"):
        for fold in range(3):
            own, made = grown.block(name, fold), data.block(name, fold)
            np.testing.assert_array_equal(own.take(grown.given).values, made.values)
            np.testing.assert_array_equal(own.take(grown.given).present, made.present)


def test_every_feature_alone_is_as_in_the_normal_rows_of_the_fold():
    data = folded(anomalous=3)
    grown = with_counterexamples(data, seed=1)
    for fold in range(3):
        held = grown.held_out(fold)
        rows = np.arange(held.start, held.stop)
        made = rows[grown.made[rows]]
        normal = rows[(grown.y[rows] == 0)]
        for column in grown.block("b", fold).values.T:
            np.testing.assert_array_equal(np.sort(column[made]), np.sort(column[normal]))
        together = grown.block("a", fold).values[made]
        assert np.corrcoef(together.T)[0, 1] < 0.5, "columns that are the same are no longer so"


def test_the_seed_decides():
    one, same, other = (with_counterexamples(folded(), seed).frozen["a"].values for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("anomalous", "made"), [(ENOUGH, False), (ENOUGH - 1, True)])
def test_there_are_none_where_anomalies_are_enough(anomalous, made):
    data = folded(anomalous)
    assert (with_counterexamples(data, 0) is not data) == made


def test_what_is_not_there_has_no_part_in_them():
    data = folded()
    present = data.frozen["a"].present
    values = np.where(present[:, None], np.abs(data.frozen["a"].values) + 1, np.float32(0))
    grown = with_counterexamples(replace(data, frozen={"a": Block(values, present)}), seed=1)
    block = grown.frozen["a"]
    assert (block.values[block.present] > 0).all()
    assert (block.values[~block.present] == 0).all()
