"""Labelled rows of the log become rows to learn from, beside those of before; a challenger must be surely better."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.source import open_source
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.monitoring.fresh import fresh_rows, together
from hybrid_ray.monitoring.gate import judge
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.serving.log import PredictionLog, Seen, Written, feedback_of, feedback_rows
from hybrid_ray.spec import DataSpec, LogSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_batch, toy_rows

ROWS = list(toy_rows(30, seed=4, missing=0.2))
NAMES = ["red", "green", "blue"]


@pytest.fixture
def root(tmp_path):
    return StoreRoot(str(tmp_path / "store"))


@pytest.fixture
def fresh(root):
    log = PredictionLog(root, "toy", 1, TOY_COLUMNS, LogSpec(share=1.0))
    told = Written(root, feedback_of("toy"), LogSpec())
    for i in range(3):
        rows = ROWS[10 * i : 10 * i + 10]
        log.add(Seen(f"r{i}", time.time() + i, 1, False, 1.0, toy_batch(rows), np.full((10, 3), 1 / 3)))
        told.add(feedback_rows(f"r{i}", [(n, NAMES[row["label"]]) for n, row in enumerate(rows) if n % 2], time.time()))
    log.close()
    told.close()
    since, until = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (-60, 60))
    found = read_observed(root, "toy", 1, TOY_COLUMNS, since=since, until=until)
    return fresh_rows([found], TOY_COLUMNS, "label", root, "served/toy/files")


def test_labelled_rows_are_those_that_were_asked(fresh):
    wanted = [row for n, row in enumerate(ROWS) if n % 2]
    assert fresh.table["label"].to_pylist() == [NAMES[row["label"]] for row in wanted]
    batch = coerce(fresh.table, TOY_COLUMNS).batch
    expected = toy_batch(wanted)
    for name in ("title", "brand"):
        assert list(batch[name]) == list(expected[name])
    assert np.array_equal(batch["price"], expected["price"], equal_nan=True)
    assert np.array_equal(batch["listed"], expected["listed"].astype("datetime64[ms]"), equal_nan=True)
    for path, data in zip(batch["photo"], expected["photo"], strict=True):
        assert (path is None) == (data is None)
        assert data is None or Path(path).read_bytes() == data
    assert (np.diff(fresh.times.astype(np.int64)) >= 0).all()


def test_the_last_rows_are_held_out(fresh):
    learned, held = fresh.divided(0.3)
    assert (len(learned), len(held)) == (10, 5)
    assert learned.times.max() <= held.times.min()


def test_old_and_fresh_rows_are_one_table(root, fresh, tmp_path):
    (tmp_path / "a.png").write_bytes(ROWS[0]["photo"])
    old = pa.table(
        {
            "photo": ["a.png", None],
            "title": ["word0", "word1"],
            "price": pa.array([1, 2], pa.int64()),
            "brand": ["brand0", None],
            "listed": pa.array([datetime(2015, 1, 1), None], pa.timestamp("us")),
            "note": ["kept", "kept"],
            "split": ["train", "test"],
            "label": ["red", "blue"],
        }
    )
    pq.write_table(old, tmp_path / "old.parquet")
    source = open_source(DataSpec(path=str(tmp_path / "old.parquet"), label="label"))
    whole = pa.concat_tables(together(source, TOY_COLUMNS, "label", fresh, "split"))
    assert len(whole) == 17
    assert whole["note"].to_pylist() == ["kept", "kept", *[None] * 15]
    assert whole["split"].to_pylist() == ["train", "test", *["train"] * 15]
    assert whole["photo"][0].as_py() == str(tmp_path / "a.png")
    batch = coerce(whole, TOY_COLUMNS).batch
    assert batch["price"][:2].tolist() == [1.0, 2.0]
    assert batch["listed"][0] == np.datetime64("2015-01-01")
    assert whole["label"].to_pylist()[:2] == ["red", "blue"]


def test_labels_that_are_numbers_stay_numbers(root, tmp_path):
    pq.write_table(pa.table({"price": [1.0, 2.0], "label": pa.array([0, 1])}), tmp_path / "old.parquet")
    source = open_source(DataSpec(path=str(tmp_path / "old.parquet"), label="label"))
    log = PredictionLog(root, "toy", 1, {"price": "numeric"}, LogSpec(share=1.0))
    log.add(Seen("r", time.time(), 1, False, 1.0, {"price": np.array([3.0, 4.0])}, np.full((2, 2), 0.5)))
    log.close()
    told = Written(root, feedback_of("toy"), LogSpec())
    told.add(feedback_rows("r", [(0, 1), (1, 0)], time.time()))
    told.close()
    found = read_observed(root, "toy", 1, {"price": "numeric"}, since=datetime.now(UTC) - timedelta(hours=1))
    fresh = fresh_rows([found], {"price": "numeric"}, "label", root, "files")
    whole = pa.concat_tables(together(source, {"price": "numeric"}, "label", fresh, None))
    assert whole["label"].cast(pa.int64()).to_pylist() == [0, 1, 1, 0]


def test_a_challenger_must_be_surely_better():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    metric = get_metric("log_loss", "binary")

    def outputs(sure):
        p = np.clip(0.5 + sure * (y - 0.5) + rng.normal(0, 0.2, len(y)), 0.02, 0.98)
        return np.column_stack([1 - p, p])

    champion = outputs(0.3)
    better = judge(y, champion, outputs(0.7), metric)
    assert better.accepted
    assert better.challenger < better.champion
    assert "is better: log_loss" in better.reason
    for other in (outputs(0.1), champion, champion + rng.normal(0, 1e-3, champion.shape)):
        assert not judge(y, champion, np.clip(other, 0.001, 0.999), metric).accepted
