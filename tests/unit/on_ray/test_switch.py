"""Several versions behind one address: shares, keys, shadows, counts, tokens, and other protocols, without Ray."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from hybrid_ray.monitoring.drift import Difference
from hybrid_ray.monitoring.watch import Window
from hybrid_ray.on_ray.serve.answering import SHADOWS
from hybrid_ray.on_ray.serve.api import build_api
from hybrid_ray.on_ray.serve.arrow_body import MEDIA_TYPE
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Outcome, Probe, Served
from hybrid_ray.on_ray.serve.explaining import Explaining
from hybrid_ray.on_ray.serve.exposition import exposition
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.serving.counts import Counts
from hybrid_ray.serving.tokens import Keyring, TokenStore
from hybrid_ray.serving.traffic import Challenger, Traffic
from hybrid_ray.spec import CanaryRule, ServeSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = [{"title": row["title"], "price": row["price"]} for row in toy_rows(3, seed=1, missing=0.0)]
GRAPHS = {1: toy_graph(seed=0), 2: toy_graph(seed=7)}
LIMITS = ServeSpec(timeout_s=2.0)


class Stub:
    """A backend that answers, waits or fails, and keeps what it was asked."""

    def __init__(self, answer: Any = None, wait_s: float = 0.0) -> None:
        self.asked: list[int] = []
        self._answer = answer
        self._wait_s = wait_s

    async def predict(self, batch: Any) -> Outcome:
        n = len(batch["title"])
        self.asked.append(n)
        await asyncio.sleep(self._wait_s)
        if isinstance(self._answer, Exception):
            raise self._answer
        return Outcome(np.tile([0.2, 0.3, 0.5], (n, 1)))

    async def ready(self) -> str:
        return ""

    async def close(self) -> None:
        self.closed = True


def live(version: int, backend: Any = None, limits: ServeSpec = LIMITS) -> Live:
    graph = GRAPHS[1 if version == 1 else 2]
    graph.setup()
    served = Served.of(graph, version, Probe(toy_batch([{"title": "a"}])), limits)
    stage = RowBatcher(whole(graph), 8, 0.001).submit
    return Live(served, backend or Pipeline(served, {"+".join(graph.groups()): stage}))


def client_of(switch: Switch, guard: Guard | None = None) -> TestClient:
    return TestClient(build_api(switch, guard or Guard(None)), raise_server_exceptions=False)


def switched(traffic: Traffic, lives: dict[int, Live]) -> Switch:
    switch = Switch(lives[traffic.champion])
    switch.change(traffic, lives)
    return switch


def test_each_answer_is_of_one_version_and_says_which():
    lives = {1: live(1), 2: live(2)}
    expected = {number: GRAPHS[number].outputs(toy_batch(ROWS)) for number in lives}
    switch = switched(Traffic(champion=1, challengers=(Challenger(version=2, share=0.5),)), lives)
    seen = []
    with client_of(switch) as client:
        for _ in range(40):
            body = client.post("/predict", json={"rows": ROWS}).json()
            proba = np.array([list(each["proba"].values()) for each in body["predictions"]])
            assert proba == pytest.approx(expected[body["version"]], abs=1e-5)
            seen.append(body["version"])
    assert {1, 2} == set(seen)
    assert lives[1].counts().requests + lives[2].counts().requests == 40


def test_a_key_always_gets_the_same_version():
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=0.5),), key="x-user")
    with client_of(switched(traffic, {1: live(1), 2: live(2)})) as client:
        got = {
            user: {client.post("/predict", json=ROWS[0], headers={"x-user": user}).json()["version"] for _ in range(4)}
            for user in "abcdefgh"
        }
    assert all(len(versions) == 1 for versions in got.values())
    assert {1, 2} == set().union(*got.values())


def test_a_change_takes_effect_at_once_and_breaks_no_request():
    slow = Stub(wait_s=0.3)
    switch = Switch(live(1, slow))
    with client_of(switch) as client:
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(client.post("/predict", json=ROWS[0]).json()))
        asking.start()
        deadline = time.monotonic() + 5
        while not slow.asked and time.monotonic() < deadline:
            time.sleep(0.005)
        switch.change(Traffic(champion=2), {2: live(2, Stub())})
        assert client.post("/predict", json=ROWS[0]).json()["version"] == 2
        asking.join(5)
        assert answers[0]["version"] == 1
        assert client.get("/openapi.json").json()["info"]["version"] == "2"


def test_traffic_names_only_what_is_ready():
    with pytest.raises(ValueError, match=r"\[2\] are not"):
        Switch(live(1)).change(Traffic(champion=2), {1: live(1)})


def test_shadows_see_what_is_asked_and_nobody_sees_them():
    shadow, broken = Stub(), Stub(RuntimeError("secret"))
    lives = {1: live(1, Stub()), 2: live(2, shadow), 3: live(3, broken)}
    with client_of(switched(Traffic(champion=1, shadows=(2, 3)), lives)) as client:
        for _ in range(5):
            answer = client.post("/predict", json={"rows": ROWS})
            assert answer.status_code == 200
            assert answer.json()["version"] == 1
        deadline = time.monotonic() + 5
        while lives[3].counts().requests < 5 and time.monotonic() < deadline:
            client.get("/healthz")
    assert shadow.asked == [3] * 5
    assert (lives[2].counts().errors, lives[3].counts().errors) == (0, 5)


def test_a_slow_shadow_makes_nobody_wait():
    shadow = Stub(wait_s=1e6)  # it never answers
    limits = ServeSpec(timeout_s=600)
    with client_of(
        switched(Traffic(champion=1, shadows=(2,)), {1: live(1, Stub()), 2: live(2, shadow, limits)})
    ) as client:
        for _ in range(12):
            assert client.post("/predict", json=ROWS[0]).status_code == 200
    assert len(shadow.asked) == SHADOWS  # further requests it does not see


def test_what_is_the_versions_fault_is_counted_and_what_is_the_clients_is_not():
    rule = CanaryRule(max_latency_ms=100)
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=1.0),), rule=rule)
    limits = ServeSpec(timeout_s=0.3)
    for backend, status, errors, slow in (
        (Stub(), 200, 0, 0),
        (Stub(wait_s=0.15), 200, 0, 1),
        (Stub(wait_s=5), 504, 1, 1),
        (Stub(RuntimeError("secret")), 500, 1, 0),
    ):
        canary = live(2, backend, limits)
        with client_of(switched(traffic, {1: live(1), 2: canary})) as client:
            assert client.post("/predict", json={"title": 3}).status_code == 422
            assert client.post("/predict", json=ROWS[0]).status_code == status
        assert canary.counts().tally()[:3] == (2, errors, slow)
        assert sum(canary.counts().bins) == 2


def test_a_request_keeps_the_id_that_it_was_given():
    with client_of(Switch(live(1, Stub()))) as client:
        answer = client.post("/predict", json=ROWS[0], headers={"x-request-id": "order:17"})
        assert (answer.json()["id"], answer.headers["x-request-id"]) == ("order:17", "order:17")
        for odd in ("", "a b", "x" * 65, "ü".encode()):
            told = client.post("/predict", json=ROWS[0], headers={"x-request-id": odd}).json()["id"]
            assert len(told) == 32


@pytest.fixture
def tokens(tmp_path):
    store = TokenStore(StoreRoot(str(tmp_path)))
    texts = {role: store.issue([role])[1] for role in ("predict", "feedback", "admin")}
    texts["slow"] = store.issue(["predict"], per_second=0.01)[1]
    return store, texts


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_only_who_may_is_let_in(tokens):
    store, texts = tokens
    backend = Stub()
    guard = Guard(Keyring(store.tokens()))
    with client_of(Switch(live(1, backend)), guard) as client:
        refused = client.post("/predict", json=ROWS[0])
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert client.post("/predict", json=ROWS[0], headers=bearer("hr_no")).status_code == 401
        assert client.post("/predict", json=ROWS[0], headers=bearer(texts["feedback"])).status_code == 403
        assert client.post("/v2/models/toy/infer", content=b"{}").status_code == 401
        assert client.get("/models").status_code == 401
        assert not backend.asked
        for role in ("predict", "admin"):
            assert client.post("/predict", json=ROWS[0], headers=bearer(texts[role])).status_code == 200
        assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/docs")] == [200] * 3
        store.revoke(store.tokens()[0].id)
        guard.change(Keyring(store.tokens()))
        assert client.post("/predict", json=ROWS[0], headers=bearer(texts["predict"])).status_code == 401


def test_a_token_has_its_rate(tokens):
    store, texts = tokens
    with client_of(Switch(live(1, Stub())), Guard(Keyring(store.tokens()))) as client:
        assert client.post("/predict", json=ROWS[0], headers=bearer(texts["slow"])).status_code == 200
        refused = client.post("/predict", json=ROWS[0], headers=bearer(texts["slow"]))
        assert refused.status_code == 429
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert client.post("/predict", json=ROWS[0], headers=bearer(texts["predict"])).status_code == 200


def test_an_arrow_stream_is_answered_as_json_is():
    table = pa.Table.from_pylist(ROWS)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    with client_of(Switch(live(1))) as client:
        answer = client.post("/predict", content=out.getvalue(), headers={"content-type": MEDIA_TYPE})
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == client.post("/predict", json={"rows": ROWS}).json()["predictions"]
        broken = client.post("/predict", content=out.getvalue()[:50], headers={"content-type": MEDIA_TYPE})
        assert broken.status_code == 422


def infer_body() -> dict[str, Any]:
    titles, prices = ([row[name] for row in ROWS] for name in ("title", "price"))
    return {
        "inputs": [
            {"name": "title", "datatype": "BYTES", "shape": [3], "data": titles},
            {"name": "price", "datatype": "FP64", "shape": [3], "data": prices},
        ]
    }


def test_the_open_inference_protocol_answers_as_predict_does():
    lives = {1: live(1), 2: live(2)}
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=0.001),))
    with client_of(switched(traffic, lives)) as client:
        assert client.get("/v2").json()["name"] == "hybrid_ray"
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/models/toy").json()["versions"] == ["1", "2"]
        for number in (1, 2):
            answer = client.post(f"/v2/models/toy/versions/{number}/infer", json=infer_body()).json()
            proba = next(each for each in answer["outputs"] if each["name"] == "proba")
            expected = GRAPHS[number].outputs(toy_batch(ROWS))
            assert np.reshape(proba["data"], proba["shape"]) == pytest.approx(expected, abs=1e-5)
            assert answer["model_version"] == str(number)
        for path in ("/v2/models/other", "/v2/models/toy/versions/3", "/v2/models/toy/versions/x/ready"):
            assert client.get(path).status_code == 404
        assert client.post("/v2/models/toy/infer", json=infer_body()).status_code == 200
        assert client.post("/v2/models/toy/infer", content=b"{").status_code == 422


def test_models_and_traffic_are_told():
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=0.25),))
    with client_of(switched(traffic, {1: live(1, Stub()), 2: live(2, Stub())})) as client:
        told = client.get("/models").json()
    assert told["champion"] == 1
    assert [each["version"] for each in told["versions"]] == [1, 2]
    assert told["traffic"]["challengers"] == [{"version": 2, "share": 0.25}]
    assert json.dumps(told)


def test_answers_are_explained_and_add_up():
    made = live(1)
    graph = GRAPHS[1]
    explaining = Explaining(lambda: graph, toy_batch(list(toy_rows(6, seed=4))), 10.0)
    switch = Switch(Live(made.served, made.backend, explaining=explaining))
    with client_of(switch) as client:
        answer = client.post("/explain", json={"rows": ROWS})
        assert answer.status_code == 200, answer.text
        predicted = client.post("/predict", json={"rows": ROWS}).json()["predictions"]
        for found, told in zip(answer.json()["explanations"], predicted, strict=True):
            assert found["output"] == told["prediction"]
            assert found["answer"] == pytest.approx(told["proba"][told["prediction"]], abs=1e-5)
            for level in ("columns", "modalities", "extractors", "members"):
                total = found[level]["base"] + sum(found[level]["shares"].values())
                assert total == pytest.approx(found["answer"], abs=1e-6)
        many = client.post("/explain", json={"rows": ROWS * 10})
        assert (many.status_code, many.json()["detail"][0]["type"]) == (422, "too_long")
        assert "/explain" in client.get("/openapi.json").json()["paths"]
    with client_of(Switch(live(1))) as client:
        assert client.post("/explain", json={"rows": ROWS}).status_code == 404


def test_prometheus_reads_what_was_counted():
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=1.0),))
    lives = {1: live(1, Stub()), 2: live(2, Stub(RuntimeError("secret")))}
    with client_of(switched(traffic, lives)) as client:
        for _ in range(3):
            client.post("/predict", json=ROWS[0])
        answer = client.get("/metrics")
    found = {
        (sample.name, sample.labels["version"], sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["hybrid_ray_requests_total", "2", None] == 3
    assert found["hybrid_ray_errors_total", "2", None] == 3
    assert found["hybrid_ray_requests_total", "1", None] == 0
    assert found["hybrid_ray_request_seconds_bucket", "2", "+Inf"] == 3
    assert found["hybrid_ray_traffic_share", "2", None] == 1.0


def test_the_dashboard_asks_for_what_is_told(project_root):
    differences = [Difference("price", "input", "Kolmogorov-Smirnov", 0.5, 0.3, 1e-6, 1e-5, 100, True)]
    window = Window(4, 100, "", "", differences)
    told = exposition("toy", {1: Counts(3)}, Traffic(champion=1), (1, window)).decode()
    samples = {sample.name for family in text_string_to_metric_families(told) for sample in family.samples}
    assert 'hybrid_ray_trait_psi{model="toy",trait="price",version="1"} 0.3' in told
    assert 'hybrid_ray_drifted_traits{model="toy",version="1"} 1.0' in told
    board = json.loads((project_root / "deploy" / "grafana" / "hybrid_ray.json").read_text())
    asked = {
        name for panel in board["panels"] for t in panel["targets"] for name in re.findall(r"hybrid_ray_\w+", t["expr"])
    }
    assert asked
    assert asked <= samples
