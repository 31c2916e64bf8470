"""Windows are made of what was logged, drift is seen in the first that holds it, and quiet windows are quiet."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hybrid_ray.monitoring.reference import Reference, embeddings_of, traits_of
from hybrid_ray.monitoring.watch import Watch, window_of, windows_of
from hybrid_ray.serving.log import PredictionLog, Seen
from hybrid_ray.spec import LogSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows
from hybrid_ray.types import Block

EARLY = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture(scope="module")
def graph():
    made = toy_graph()
    made.setup()
    return made


@pytest.fixture(scope="module")
def reference(graph):
    batch = toy_batch(list(toy_rows(1000, seed=100, missing=0.2)))
    blocks = graph.extract(batch)
    return Reference.of(
        traits_of(graph, batch, embeddings_of(graph, blocks), graph.combine(blocks)), 400, "log_loss", 0.5
    )


@pytest.fixture
def root(tmp_path):
    return StoreRoot(str(tmp_path))


def log(root, graph, seeds, change=None, rows=50):
    kept = PredictionLog(root, "toy", 1, graph.columns, LogSpec(share=1.0, held=100_000, rows=100_000))
    for seed in seeds:
        batch = toy_batch(list(toy_rows(rows, seed=seed, missing=0.2)))
        blocks = graph.extract(batch)
        embeddings = embeddings_of(graph, blocks)
        if change is not None:
            embeddings = change(embeddings)
        kept.add(Seen(f"r{seed}", time.time(), 1, False, 1.0, batch, graph.combine(blocks), embeddings))
    kept.close()


def test_windows_are_filled_by_rows_not_by_requests_or_files(root, graph, reference):
    watch = Watch(root, graph, 1, reference, rows=120, since=EARLY)
    assert watch.step() == []
    log(root, graph, [1, 2])
    assert watch.step() == []
    assert watch.waiting == 100
    log(root, graph, [3, 4, 5])
    found = watch.step()
    assert [(window.number, window.rows) for window in found] == [(1, 120), (2, 120)]
    assert watch.waiting == 10
    assert watch.step() == []


def test_windows_like_the_reference_raise_no_alarm(root, graph, reference):
    watch = Watch(root, graph, 1, reference, rows=100, since=EARLY)
    log(root, graph, range(1000, 1020))
    found = watch.step()
    assert len(found) == 10
    assert [window.drifted for window in found] == [[]] * 10


def test_a_drift_in_an_embedding_alone_is_seen_in_its_first_window(root, graph, reference):
    def moved(embeddings):
        block = embeddings["picture"]
        return {**embeddings, "picture": Block(block.values[:, ::-1] * 1.3 + 0.1, block.present)}

    watch = Watch(root, graph, 1, reference, rows=100, since=EARLY)
    log(root, graph, [1, 2])
    log(root, graph, [3, 4], change=moved)
    quiet, loud = watch.step()
    assert quiet.drifted == []
    assert loud.drifted == ["embedding:picture"]


def test_windows_are_kept_and_read_again(root, graph, reference):
    watch = Watch(root, graph, 1, reference, rows=50, since=EARLY)
    log(root, graph, [1])
    (window,) = watch.step()
    number, record = windows_of(root, "toy", 1).last()
    again = window_of(number, record)
    assert again.differences == window.differences
    assert again.drifted == window.drifted


def test_rows_of_before_do_not_count(root, graph, reference):
    log(root, graph, [1, 2])
    time.sleep(0.01)
    watch = Watch(root, graph, 1, reference, rows=50)
    assert watch.step() == []
    assert watch.waiting == 0
    log(root, graph, [3])
    assert len(watch.step()) == 1


def test_without_a_modality_nothing_breaks(root, graph, reference):
    kept = PredictionLog(root, "toy", 1, graph.columns, LogSpec(share=1.0))
    batch = toy_batch([{"price": float(i)} for i in range(60)])
    blocks = graph.extract(batch)
    kept.add(Seen("r", time.time(), 1, False, 1.0, batch, graph.combine(blocks), embeddings_of(graph, blocks)))
    kept.close()
    watch = Watch(root, graph, 1, reference, rows=50, since=EARLY)
    (window,) = watch.step()
    assert "photo:given" in window.drifted
    assert np.isfinite([each.p_value for each in window.differences]).all()
