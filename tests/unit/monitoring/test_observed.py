"""What was logged comes back as it was asked, with the labels that came later; a log never stops an answer."""

import io
import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from hybrid_ray.errors import StoreError
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.monitoring.reference import embeddings_of
from hybrid_ray.serving.log import (
    PredictionLog,
    Seen,
    Written,
    feedback_of,
    feedback_rows,
    is_kept,
    prediction_rows,
)
from hybrid_ray.spec import LogSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

NOW = datetime.now(UTC)
EARLY = NOW - timedelta(hours=1)


@pytest.fixture
def root(tmp_path):
    return StoreRoot(str(tmp_path))


@pytest.fixture(scope="module")
def graph():
    made = toy_graph()
    made.setup()
    return made


def seen(graph, request, n=5, seed=0, shadow=False, version=1):
    batch = toy_batch(list(toy_rows(n, seed=seed, missing=0.3)))
    blocks = graph.extract(batch)
    outputs = graph.combine(blocks)
    return Seen(request, time.time(), version, shadow, 1.5, batch, outputs, embeddings_of(graph, blocks))


def test_rows_come_back_as_they_were_asked(root, graph):
    log = PredictionLog(root, "toy", 1, graph.columns, LogSpec(share=1.0))
    asked = [seen(graph, f"r{i}", seed=i) for i in range(4)]
    for each in asked:
        log.add(each)
    log.close()
    found = read_observed(root, "toy", 1, graph.columns, since=EARLY)
    assert len(found) == 20
    assert np.array_equal(found.outputs, np.concatenate([each.outputs for each in asked]))
    assert graph.outputs(found.batch) == pytest.approx(found.outputs, abs=1e-6)
    for name, block in found.embeddings.items():
        parts = [each.embeddings[name] for each in asked]
        present = np.concatenate([part.present for part in parts])
        assert np.array_equal(block.present, present)
        assert np.array_equal(block.values[present], np.concatenate([part.values for part in parts])[present])
    assert found.labels == [None] * 20


def test_labels_that_come_later_are_joined_and_the_last_counts(root, graph):
    log = PredictionLog(root, "toy", 1, graph.columns, LogSpec(share=1.0))
    log.add(seen(graph, "a"))
    log.close()
    told = Written(root, feedback_of("toy"), LogSpec(rows=1, seconds=60))
    told.add(feedback_rows("a", [(0, "red"), (3, "blue")], time.time()))
    told.add(feedback_rows("a", [(0, "green")], time.time() + 1))
    told.add(feedback_rows("elsewhere", [(1, "green")], time.time()))
    told.close()
    found = read_observed(root, "toy", 1, graph.columns, since=EARLY)
    assert found.labels == ["green", None, None, "blue", None]


def test_what_is_redacted_is_in_no_file(root, graph):
    log = PredictionLog(root, "toy", 1, graph.columns, LogSpec(share=1.0), ("title", "photo"))
    each = seen(graph, "a", n=8)
    log.add(each)
    log.close()
    found = read_observed(root, "toy", 1, graph.columns, since=EARLY)
    assert all(value is None for value in found.batch["title"])
    assert all(value is None for value in found.batch["photo"])
    assert list(found.batch["brand"]) == list(each.batch["brand"])


def test_shadows_versions_and_times_are_kept_apart(root, graph):
    for version in (1, 2):
        log = PredictionLog(root, "toy", version, graph.columns, LogSpec(share=1.0))
        log.add(seen(graph, "a", version=version, shadow=version == 2))
        log.close()
    assert len(read_observed(root, "toy", 1, graph.columns, since=EARLY)) == 5
    assert len(read_observed(root, "toy", 2, graph.columns, since=EARLY)) == 0
    assert len(read_observed(root, "toy", 2, graph.columns, since=EARLY, shadow=True)) == 5
    assert len(read_observed(root, "toy", 1, graph.columns, since=EARLY, until=EARLY + timedelta(minutes=1))) == 0
    assert len(read_observed(root, "other", 1, graph.columns, since=EARLY)) == 0


def test_a_share_is_kept_and_the_same_one_by_all():
    kept = [request for request in map(str, range(5000)) if is_kept(request, 0.1)]
    assert 400 < len(kept) < 600
    assert kept == [request for request in map(str, range(5000)) if is_kept(request, 0.1)]
    assert not any(is_kept(str(i), 0.0) for i in range(100))
    assert all(is_kept(str(i), 1.0) for i in range(100))


def test_files_are_written_when_they_are_full_or_old(root, graph):
    log = Written(root, "there", LogSpec(rows=10, seconds=0.05))
    log.add(prediction_rows(seen(graph, "a", n=10), graph.columns, ()))
    log.add(prediction_rows(seen(graph, "b", n=2), graph.columns, ()))
    deadline = time.monotonic() + 20
    while _rows_in(root) != 12:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log.close()


def _rows_in(root):
    return sum(pq.read_table(io.BytesIO(root.read(path))).num_rows for path in root.list("there"))


def test_what_the_store_cannot_take_is_counted(root, graph, monkeypatch):
    def refuse(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(root, "write", refuse)
    log = Written(root, "there", LogSpec(rows=5, seconds=60, held=10))
    for request in "abcd":
        log.add(prediction_rows(seen(graph, request), graph.columns, ()))
    log.close()
    assert log.dropped == 20
    log.add(prediction_rows(seen(graph, "late"), graph.columns, ()))
    assert log.dropped == 25


def test_a_label_that_is_no_text_is_written_as_json():
    labels = feedback_rows("a", [(0, 3), (1, 2.5), (2, True), (3, "3")], 0.0)["label"].to_pylist()
    assert labels == ["3", "2.5", "true", "3"]
    assert json.loads(labels[0]) == 3
