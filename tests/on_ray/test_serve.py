"""A graph behind real HTTP on Ray Serve: on loopback, on ports of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import ray
from ray import serve

from hybrid_ray.errors import BadInputError
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.serve import Serving, serve_graph
from hybrid_ray.on_ray.serve.run import claim_port
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.testing.graphs import ToyModel, toy_batch, toy_graph, toy_rows

GRAPH = toy_graph()
ROWS = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(40, seed=1, missing=0.2)]
EXPECTED = GRAPH.outputs(toy_batch(ROWS))
SENT = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in ROWS]
ONE = ScaleSpec(min_replicas=1, max_replicas=1)


def limits(placement: str) -> ServeSpec:
    return ServeSpec(placement=placement, max_body_mb=2, max_batch_rows=8, ingress=ONE, extractors=ONE)


def probabilities(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([list(p["proba"].values()) for p in answer.json()["predictions"]])


def replicas(deployment: str) -> list[int]:
    """Process ids of a deployment's replicas on this cluster."""
    actors = ray._private.state.actors().values()
    return [a["Pid"] for a in actors if a["State"] == "ALIVE" and f"#{deployment}#" in a["Name"]]


# First, while nothing is served: what follows shares one application a placement.


def test_a_port_in_use_is_one_line(cluster: Cluster) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with (
            pytest.raises(BadInputError, match=f"--port: must be free; got {port}"),
            serve_graph(cluster, GRAPH, ToyModel(), 1, port=port, limits=limits("together")),
        ):
            pass
    with pytest.raises(BadInputError, match="--host: must be an address of this machine"):
        claim_port("203.0.113.7", 0)


@pytest.mark.slow
def test_overload_is_503_with_retry_after_however_many_ask(cluster: Cluster) -> None:
    few = limits("together").model_copy(update={"max_queued": 1})
    with serve_graph(cluster, GRAPH, ToyModel(), 1, port=0, limits=few) as held:

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{held.url}/predict", json={"rows": SENT * 5}, timeout=60)

        with ThreadPoolExecutor(120) as pool:
            answers = list(pool.map(ask, range(240)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(float(answer.headers["retry-after"])) >= 1 for answer in refused)


def test_it_takes_down_what_it_started(cluster: Cluster) -> None:
    graph = toy_graph("regression")
    with serve_graph(cluster, graph, ToyModel("regression"), 2, port=0, limits=limits("auto")) as held:
        assert held.plan.members is None  # cheap stages are not given a hop
        assert "everything runs in the ingress" in held.banner
        assert len(replicas("ingress")) == 1
        port = int(held.url.rpartition(":")[2])
        answer = httpx.post(f"{held.url}/predict", json=SENT[0], timeout=60).json()
        assert abs(answer["predictions"][0]["prediction"] - graph.outputs(toy_batch(ROWS[:1]))[0, 0]) < 1e-5
    assert serve.status().applications == {}
    assert claim_port("127.0.0.1", port) == port
    assert replicas("ingress") == []


@pytest.fixture(scope="module", params=["together", "split"])
def serving(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Serving]:
    with serve_graph(cluster, GRAPH, ToyModel(), 7, port=0, limits=limits(request.param), ready_timeout_s=120) as held:
        yield held


def test_http_answers_equal_the_graph(serving: Serving) -> None:
    answer = httpx.post(f"{serving.url}/predict", json={"rows": SENT}, timeout=60)
    assert np.abs(probabilities(answer) - EXPECTED).max() < 1e-5
    assert (answer.json()["model"], answer.json()["version"]) == ("toy", 7)
    assert httpx.get(f"{serving.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{serving.url}/readyz").json()["status"] == "ready"
    assert httpx.get(f"{serving.url}/docs").status_code == 200
    assert "/predict" in httpx.get(f"{serving.url}/openapi.json").json()["paths"]


def test_requests_at_the_same_time_get_their_own_answers(serving: Serving) -> None:
    def ask(i: int) -> float:
        with httpx.Client(timeout=60) as client:
            answer = client.post(f"{serving.url}/predict", json=SENT[i % len(SENT)])
        return float(np.abs(probabilities(answer)[0] - EXPECTED[i % len(SENT)]).max())

    with ThreadPoolExecutor(12) as threads:
        assert max(threads.map(ask, range(80))) < 1e-5


def test_forms_with_files(serving: Serving) -> None:
    rows = [i for i, row in enumerate(ROWS) if row["photo"]][:5]
    data = {"rows": json.dumps([{k: v for k, v in SENT[i].items() if k != "photo"} for i in rows])}
    files = [("photo", (f"{i}.png", ROWS[i]["photo"], "image/png")) for i in rows]
    answer = httpx.post(f"{serving.url}/predict", data=data, files=files, timeout=60)
    assert np.abs(probabilities(answer) - EXPECTED[rows]).max() < 1e-5


def test_what_is_wrong_is_said(serving: Serving) -> None:
    truncated = base64.b64encode(next(row["photo"] for row in ROWS if row["photo"])[:70]).decode()
    bad = httpx.post(f"{serving.url}/predict", json={"rows": [SENT[0], {"photo": truncated, "price": 1}]}, timeout=60)
    assert bad.status_code == 422
    assert bad.json()["detail"][0]["loc"] == ["body", "rows", 1, "photo"]
    wrong = httpx.post(f"{serving.url}/predict", json={"price": "cheap"})
    assert wrong.status_code == 422
    assert httpx.post(f"{serving.url}/predict", content=b"x", headers={"content-type": "text/csv"}).status_code == 415
    assert httpx.post(f"{serving.url}/predict", json={"title": "x" * 2_100_000}, timeout=60).status_code == 413


@pytest.mark.parametrize("name", ["x-request-id", "x-session-id", "serve_multiplexed_model_id", "x-anything"])
def test_headers_that_are_no_text_are_400(serving: Serving, name: str) -> None:
    answer = httpx.post(f"{serving.url}/predict", json=SENT[0], headers=[(name.encode(), b"\xff")], timeout=60)
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["loc"] == ["header", name]


def test_a_body_without_end_is_refused_while_it_streams(serving: Serving) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield b" " * 100_000

    headers = {"content-type": "application/json"}
    # A client that will not stop may find its connection closed instead of an answer.
    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        assert httpx.post(f"{serving.url}/predict", content=endless(), headers=headers, timeout=60).status_code == 413
    assert httpx.get(f"{serving.url}/healthz").status_code == 200


def test_a_large_request_travels_by_reference(serving: Serving) -> None:
    words = "word1 " * 20_000
    rows = [{"title": words}] * 12
    answer = httpx.post(f"{serving.url}/predict", json={"rows": rows}, timeout=60)
    assert np.abs(probabilities(answer) - GRAPH.outputs(toy_batch(rows))).max() < 1e-5


@pytest.mark.parametrize("serving", ["split"], indirect=True)
def test_a_killed_replica_costs_no_request(serving: Serving) -> None:
    victims = replicas("extractor-words")
    assert len(victims) == 1
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(httpx.post, f"{serving.url}/predict", json=SENT[i % len(SENT)], timeout=60)
            for i in range(30)
        ]
        time.sleep(0.05)
        os.kill(victims[0], signal.SIGKILL)
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers if answer.status_code not in (200, 503)] == []
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    deadline = time.monotonic() + 60
    while httpx.post(f"{serving.url}/predict", json=SENT[0], timeout=60).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listening(pid: int) -> set[str]:
    """Addresses on which a process listens for TCP, as /proc/net/tcp has them."""
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {parts[1] for parts in lines if parts[3] == "0A" and f"socket:[{parts[9]}]" in held}


def haproxies(folder: str) -> list[int]:
    """Those whose configuration lies in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_haproxy_listens_at_the_front_door_only(serving: Serving) -> None:
    folder = os.path.dirname(os.environ["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    port = int(serving.url.rpartition(":")[2])
    found = haproxies(folder)
    assert found
    assert set().union(*(listening(pid) for pid in found)) == {f"0100007F:{port:04X}"}


SERVES = """
import os, time
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.serve import serve_graph
from hybrid_ray.testing.graphs import ToyModel, toy_graph

with connect(num_cpus=1) as cluster, serve_graph(cluster, toy_graph(), ToyModel(), 1, port=0):
    print(os.path.dirname(os.environ["RAY_SERVE_HAPROXY_SOCKET_PATH"]), flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_haproxy_ends_with_a_killed_driver() -> None:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}  # not this cluster's
    with subprocess.Popen([sys.executable, "-c", SERVES], env=alone, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        folder = driver.stdout.readline().strip()
        assert haproxies(folder)
        driver.kill()
    deadline = time.monotonic() + 60
    while haproxies(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert haproxies(folder) == []
    shutil.rmtree(folder, ignore_errors=True)


def test_serve_that_runs_elsewhere_is_said(serving: Serving, cluster: Cluster) -> None:
    with (
        pytest.raises(BadInputError, match=r"Serve already listens on 127\.0\.0\.1"),
        serve_graph(cluster, GRAPH, ToyModel(), 8, port=1, limits=limits("together")),
    ):
        pass
    with (
        pytest.raises(BadInputError, match="the application 'toy' has it"),
        serve_graph(cluster, GRAPH, ToyModel(), 8, port=0, limits=limits("together")),
    ):
        pass
    assert httpx.get(f"{serving.url}/readyz").json()["version"] == 7
