"""Versions change behind one address while people ask: nothing is lost, and no answer is of two versions."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.coerce import coerce
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.serve import Serving, serve_model
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.spec import LogSpec, ScaleSpec, ServeSpec
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows
from hybrid_ray.testing.shipped import forest_graph

ROWS = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(20, seed=1, missing=0.2)]
SENT = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in ROWS]
ONE = ScaleSpec(min_replicas=1, max_replicas=1)
RAW = coerce(pa.Table.from_pylist(ROWS), TOY_COLUMNS).batch
LIMITS = ServeSpec(placement="together", ingress=ONE, extractors=ONE, log=LogSpec(share=1.0, seconds=0.2))


GRAPHS = {number: forest_graph(number) for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    store = ModelStore(StoreRoot(str(tmp_path_factory.mktemp("store"))))
    for graph in GRAPHS.values():
        store.register(graph, make_golden(graph, pa.Table.from_pylist(ROWS), rows=4))
    store.set_alias("toy", "champion", 1)
    return store


@pytest.fixture(scope="module")
def serving(cluster: Cluster, models: ModelStore) -> Iterator[Serving]:
    with serve_model(cluster, "toy", models.root.uri, port=0, limits=LIMITS, ready_timeout_s=120) as held:
        yield held


class Asking:
    """Asks without a break in a thread of its own, and checks every answer against the version that it names."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.versions: list[int] = []
        self.wrong: list[Any] = []
        self._expected = {number: graph.outputs(RAW) for number, graph in GRAPHS.items()}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._ended.is_set():
                answer = client.post(f"{self.url}/predict", json={"rows": SENT})
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                    continue
                body = answer.json()
                proba = np.array([list(each["proba"].values()) for each in body["predictions"]])
                if np.abs(proba - self._expected[body["version"]]).max() > 1e-5:
                    self.wrong.append(body["version"])
                self.versions.append(body["version"])

    def until(self, version: int, alone: bool = False) -> None:
        """Wait until a version has answered; with ``alone`` until it has answered often without another between."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            last = self.versions[-20:]
            if version in last and (not alone or (len(last) == 20 and set(last) == {version})):
                return
            time.sleep(0.05)
        raise AssertionError(f"version {version} must answer; the last answers were of {self.versions[-20:]}")


def test_canary_promotion_and_rollback_under_load_lose_nothing(serving: Serving, models: ModelStore) -> None:
    traffic = TrafficStore(models)
    with Asking(serving.url) as asking:
        asking.until(1, alone=True)
        httpx.put(f"{serving.url}/traffic", json={"challengers": [{"version": 2, "share": 0.5}]}).raise_for_status()
        asking.until(2)
        asking.until(1)
        traffic.promote("toy", 2, by="test")
        asking.until(2, alone=True)
        traffic.promote("toy", 3, by="test")
        asking.until(3, alone=True)
        models.rollback("toy")
        asking.until(2, alone=True)
        models.rollback("toy")
        asking.until(1, alone=True)
    assert not asking.wrong
    assert set(asking.versions) == {1, 2, 3}


def test_a_damaged_version_changes_nothing(serving: Serving, models: ModelStore) -> None:
    version = models.register(GRAPHS[2], None)
    root = models.root
    damaged = next(path for path in root.list(version.prefix) if path.endswith(".safetensors"))
    Path(str(root.local_path(damaged))).write_bytes(b"damaged")
    with Asking(serving.url) as asking:
        asking.until(1, alone=True)
        models.set_alias("toy", "champion", version.version)
        deadline = time.monotonic() + 60
        while str(version.version) not in httpx.get(f"{serving.url}/models").json()["problems"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        models.rollback("toy")
        asking.until(1, alone=True)
    assert not asking.wrong
    assert set(asking.versions) == {1}


def test_requests_are_logged_and_labels_joined(serving: Serving, models: ModelStore) -> None:
    since = datetime.now(UTC) - timedelta(minutes=30)
    body = httpx.post(f"{serving.url}/predict", json={"rows": SENT}, headers={"x-request-id": "known"}).json()
    labels = ["red", *[None] * 18, "blue"]
    told = httpx.post(f"{serving.url}/feedback", json={"id": body["id"], "labels": labels})
    assert told.json() == {"accepted": 2}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = read_observed(models.root, "toy", 1, GRAPHS[1].columns, since=since)
        if found.labels.count("blue"):
            break
        time.sleep(0.3)
    assert [found.labels.count(label) for label in ("red", "blue")] == [1, 1]
    assert GRAPHS[1].outputs(found.batch) == pytest.approx(found.outputs, abs=1e-5)
    assert set(found.embeddings) == set(GRAPHS[1].groups())


def test_a_canary_that_keeps_its_limits_is_promoted_by_itself(serving: Serving, models: ModelStore) -> None:
    traffic = TrafficStore(models)
    form = {"challengers": [{"version": 2, "share": 0.9}], "rule": {"min_requests": 60, "max_error_rate": 0.2}}
    with Asking(serving.url) as asking:
        traffic.set("toy", form, by="test")
        deadline = time.monotonic() + 60
        while traffic.now("toy").traffic.champion != 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        asking.until(2, alone=True)
    now = traffic.now("toy")
    assert (now.traffic.champion, now.by) == (2, "rule")
    assert "every limit is kept" in now.reason
    assert not asking.wrong
    metrics = httpx.get(f"{serving.url}/metrics").text
    assert 'hybrid_ray_requests_total{model="toy",version="2"}' in metrics
    explained = httpx.post(f"{serving.url}/explain", json=SENT[0], timeout=60).json()
    (found,) = explained["explanations"]
    assert found["members"]["base"] + sum(found["members"]["shares"].values()) == pytest.approx(found["answer"])
