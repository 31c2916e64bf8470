"""What a run knows of all rows: labels, split, transform."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec, TargetSpec

N = 100


def read(tmp_path, label, *, task="binary", transform="auto", folds=4, **fields):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(N), "g": np.arange(N) // 5, "label": label}), path, row_group_size=30)
    data = DataSpec(path=str(path), label="label", shard_rows=8, **fields)
    return read_rows(data, TargetSpec(transform=transform), open_source(data), task, folds, 0)


def test_rows_without_a_label_are_in_no_part(tmp_path):
    rows = read(tmp_path, [None if i < 10 else i % 2 for i in range(N)])
    assert (rows.n_rows, rows.unlabelled, rows.n_outputs) == (N, 10, 2)
    assert not rows.split.test[:10].any()
    assert (rows.split.fold[:10] == -1).all()
    assert len(rows.test_rows) == 18
    assert (rows.split.fold >= 0).sum() == 72


def test_the_split_column_is_read_with_the_label(tmp_path):
    rows = read(tmp_path, np.arange(N) % 2, split={"kind": "grouped", "column": "g"})
    for group in range(20):
        assert len(set(rows.split.fold[5 * group : 5 * group + 5].tolist())) == 1


def test_rows_that_the_split_keeps_together_are_known(tmp_path):
    label = [None if i < 2 else i % 2 for i in range(N)]
    rows = read(tmp_path, label, split={"kind": "grouped", "column": "g"})
    assert rows.split.groups[:2].tolist() == [-1, -1]
    assert len(set(rows.split.groups[2:5])) == 1
    assert len(set(rows.split.groups.tolist())) == 21
    np.testing.assert_array_equal(rows.tied, rows.split.groups[rows.test_rows])
    alone = read(tmp_path, label)
    assert alone.split.groups is alone.tied is None


def test_the_split_has_its_own_seed(tmp_path):
    one, two = (read(tmp_path, np.arange(N) % 2, split={"seed": seed}).split.fold for seed in (None, 3))
    assert (one != two).any()


def test_too_few_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"5 folds need at least 10 labelled rows; got 9 of 100"):
        read(tmp_path, [i % 2 if i < 9 else None for i in range(N)], folds=5)


SKEWED = np.exp(np.linspace(0, 9, N))


@pytest.mark.parametrize(
    ("label", "asked", "chosen"),
    [
        (SKEWED, "auto", "log"),
        (SKEWED, "none", "none"),
        (-SKEWED, "auto", "none"),
        (np.arange(N) / 1.0, "auto", "none"),
        (np.arange(N) / 1.0, "log", "log"),
    ],
)
def test_skewed_labels_are_learned_as_logarithms(tmp_path, label, asked, chosen):
    assert read(tmp_path, label, task="regression", transform=asked).transform == chosen


def test_a_logarithm_needs_labels_above_minus_one(tmp_path):
    with pytest.raises(DataError, match=r"target.transform: log needs labels above -1; got -\d"):
        read(tmp_path, -SKEWED, task="regression", transform="log")


def test_labels_have_no_part_in_how_rows_of_clusters_are_divided(tmp_path):
    label = [None if i < 10 else ("a", "b")[i % 2] for i in range(N)]
    rows = read(tmp_path, label, task="clustering")
    assert (rows.split.kind, rows.unlabelled, rows.target.classes) == ("random", 0, ["a", "b"])
    assert not rows.learned.any()
    other = read(tmp_path, ["a"] * N, task="clustering")
    assert other.split.record() == rows.split.record()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_clusters_need_no_column_but_inputs(tmp_path, suffix):
    table = pa.table({"x": np.arange(N)})
    path = tmp_path / f"rows.{suffix}"
    pq.write_table(table, path) if suffix == "parquet" else write_csv(table, path)
    data = DataSpec(path=str(path))
    rows = read_rows(data, TargetSpec(), open_source(data), "clustering", 4, 0)
    assert (rows.n_rows, len(rows.test_rows), rows.n_training) == (N, 20, 80)
    assert rows.target.y.tolist() == [-1] * N
