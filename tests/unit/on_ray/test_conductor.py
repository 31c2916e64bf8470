"""Canaries are promoted and taken back by themselves, by what all replicas counted and what labels say."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from hybrid_ray.monitoring.reference import Reference, embeddings_of, traits_of
from hybrid_ray.on_ray.referring import reference_of
from hybrid_ray.on_ray.serve import conductor as module
from hybrid_ray.on_ray.serve.conductor import Conductor
from hybrid_ray.on_ray.serve.registered import Registered
from hybrid_ray.serving.alerts import send_alert
from hybrid_ray.serving.counts import Counter, Counts
from hybrid_ray.serving.log import PredictionLog, Seen, Written, feedback_of, feedback_rows
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.spec import LogSpec, MonitorSpec, ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import write_state
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

GRAPH = toy_graph()


@pytest.fixture
def models(tmp_path) -> ModelStore:
    store = ModelStore(StoreRoot(str(tmp_path)))
    for _ in range(2):
        store.register(GRAPH, None)
    store.set_alias("toy", "champion", 1)
    return store


def began(models: ModelStore, **rule: Any) -> tuple[Conductor, TrafficStore]:
    traffic = TrafficStore(models)
    traffic.set("toy", {"challengers": [{"version": 2, "share": 0.2}], "rule": rule}, by="cli")
    return Conductor(Registered(models.root, "toy", True)), traffic


def counts(requests: int, errors: int = 0) -> Counts:
    counter = Counter()
    for i in range(requests):
        counter.add(0.01, failed=i < errors)
    return counter.counts()


def judged(conductor: Conductor, *reports: tuple[str, dict[int, Counts]]) -> Any:
    async def run() -> Any:
        first = await conductor.step()  # the canary begins
        for replica, told in reports:
            await conductor.report(replica, told)
        return await conductor.step() or first

    return asyncio.run(run())


def test_a_canary_that_fails_is_taken_back_and_why_is_written(models: ModelStore) -> None:
    conductor, traffic = began(models)
    found = judged(conductor, ("a", {1: counts(400), 2: counts(50, 10)}), ("b", {2: counts(50, 9)}))
    assert found.action == "rollback"
    now = traffic.now("toy")
    assert now.traffic.versions == (1,)
    assert now.by == "rule"
    assert "failed requests must be at most 0.01" in now.reason
    assert "errors 0.08" in now.reason


def test_a_canary_that_keeps_its_limits_becomes_champion(models: ModelStore) -> None:
    conductor, traffic = began(models, min_requests=300)
    found = judged(conductor, ("a", {1: counts(4000), 2: counts(700)}), ("b", {2: counts(600)}))
    assert found.action == "promote"
    now = traffic.now("toy")
    assert (now.traffic.champion, now.traffic.challengers) == (2, ())
    assert "1300 requests" in now.reason
    assert asyncio.run(conductor.step()) is None


def test_what_was_counted_before_the_canary_began_does_not_count(models: ModelStore) -> None:
    conductor, traffic = began(models)
    asyncio.run(conductor.report("a", {2: counts(900, 500)}))
    assert judged(conductor, ("a", {2: counts(960, 500)})).action == "wait"
    assert traffic.now("toy").traffic.versions == (1, 2)


def log_labels(models: ModelStore, version: int, right: float) -> None:
    """Rows that a version answered, and labels that say how often it was right."""
    rng = np.random.default_rng(version)
    log = PredictionLog(models.root, "toy", version, GRAPH.columns, LogSpec(share=1.0))
    told = Written(models.root, feedback_of("toy"), LogSpec(rows=5000, held=10_000))
    rows = list(toy_rows(100, seed=version))
    for i in range(12):
        outputs = np.tile([0.9, 0.05, 0.05], (100, 1))
        log.add(Seen(f"v{version}-{i}", time.time(), version, False, 1.0, toy_batch(rows), outputs))
        labels = [(row, "red" if rng.random() < right else "blue") for row in range(100)]
        told.add(feedback_rows(f"v{version}-{i}", labels, time.time()))
    log.close()
    told.close()


@pytest.mark.parametrize(("right", "action"), [(0.9, "promote"), (0.5, "rollback")])
def test_labels_decide_where_the_rule_asks_for_them(models: ModelStore, right: float, action: str, monkeypatch) -> None:
    conductor, traffic = began(models, margin=0.15)
    time.sleep(1.1)  # the journal tells seconds
    log_labels(models, 1, 0.9)
    log_labels(models, 2, right)
    monkeypatch.setattr(module, "LABELS_S", 0.0)
    found = judged(conductor, ("a", {1: counts(5000), 2: counts(1300)}))
    assert found.action == action
    assert "worse" in found.figures
    assert traffic.now("toy").traffic.champion == (2 if action == "promote" else 1)


def test_replicas_that_are_heard_of_no_more_stay_in_the_totals(models: ModelStore, monkeypatch) -> None:
    conductor, _ = began(models)
    asyncio.run(conductor.report("a", {1: counts(10)}))
    monkeypatch.setattr(module, "GONE_S", 0.0)
    asyncio.run(conductor.step())
    assert asyncio.run(conductor.totals())[1].requests == 10
    assert not conductor._heard


class Heard(BaseHTTPRequestHandler):
    messages: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.messages.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webhook():
    Heard.messages.clear()
    server = HTTPServer(("127.0.0.1", 0), Heard)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/alerts"
    server.shutdown()
    thread.join()
    server.server_close()


def observed(rows: int, seed: int) -> tuple[Any, Any, Any]:
    batch = toy_batch(list(toy_rows(rows, seed=seed, missing=0.2)))
    blocks = GRAPH.extract(batch)
    return batch, GRAPH.combine(blocks), embeddings_of(GRAPH, blocks)


def test_drift_of_the_champion_is_told(models: ModelStore, webhook: str) -> None:
    GRAPH.setup()
    batch, outputs, embeddings = observed(600, 50)
    reference = Reference.of(traits_of(GRAPH, batch, embeddings, outputs), 600, "log_loss", 0.5)
    write_state(models.root, reference_of("toy", 1), reference.state())
    limits = ServeSpec(monitor=MonitorSpec(window=100, webhook=webhook))
    conductor = Conductor(Registered(models.root, "toy", True, limits))
    assert asyncio.run(conductor.watch()) == []
    log = PredictionLog(models.root, "toy", 1, GRAPH.columns, LogSpec(share=1.0))
    for seed in (1, 2):
        batch, outputs, embeddings = observed(100, seed)
        if seed == 2:
            batch = {**batch, "price": batch["price"] * 5}
        log.add(Seen(f"r{seed}", time.time() + seed, 1, False, 1.0, batch, outputs, embeddings))
    log.close()
    quiet, loud = asyncio.run(conductor.watch())
    assert (quiet.drifted, loud.drifted) == ([], ["price"])
    (message,) = Heard.messages
    assert (message["event"], message["model"], message["version"]) == ("drift", "toy", 1)
    assert message["traits"] == ["price"]


def test_what_a_rule_decides_is_told(models: ModelStore, webhook: str) -> None:
    began(models)
    limits = ServeSpec(monitor=MonitorSpec(webhook=webhook))
    conductor = Conductor(Registered(models.root, "toy", True, limits))
    assert judged(conductor, ("a", {1: counts(400), 2: counts(100, 30)})).action == "rollback"
    (message,) = Heard.messages
    assert (message["event"], message["version"]) == ("rollback", 2)


def test_a_webhook_that_is_away_stops_nothing(models: ModelStore) -> None:
    began(models)
    limits = ServeSpec(monitor=MonitorSpec(webhook="http://127.0.0.1:9/"))
    conductor = Conductor(Registered(models.root, "toy", True, limits))
    assert judged(conductor, ("a", {1: counts(400), 2: counts(100, 30)})).action == "rollback"
    assert not send_alert("http://127.0.0.1:9/", {})
    with pytest.raises(ValueError, match="must begin with http"):
        send_alert("file:///etc/passwd", {})
