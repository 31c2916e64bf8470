"""A replica follows its model's traffic: new versions are ready before they answer, and faults change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from hybrid_ray.errors import ArtifactError
from hybrid_ray.on_ray.serve.api import build_api
from hybrid_ray.on_ray.serve.contract import Outcome, Probe, Served
from hybrid_ray.on_ray.serve.desk import Desk
from hybrid_ray.on_ray.serve.follower import Follower
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.pipeline import WRONG
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.serving.tokens import Keyring, TokenStore
from hybrid_ray.spec import ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_batch, toy_graph

GRAPH = toy_graph()
LIMITS = ServeSpec(timeout_s=0.05, ready_timeout_s=0.3)


class Stub:
    def __init__(self, waiting: str = "") -> None:
        self.waiting = waiting
        self.closed = False

    async def predict(self, batch: Any) -> Outcome:
        return Outcome(np.full((len(batch["title"]), 3), 1 / 3))

    async def ready(self) -> str:
        return self.waiting

    async def close(self) -> None:
        self.closed = True


def live(version: int, backend: Stub) -> Live:
    return Live(Served.of(GRAPH, version, Probe(toy_batch([{"title": "a"}])), LIMITS), backend)


class Rig:
    """A store of three versions, a switch that answers by the first, and a follower."""

    def __init__(self, folder: Any) -> None:
        self.models = ModelStore(StoreRoot(str(folder)))
        for _ in range(3):
            self.models.register(GRAPH, None)
        self.models.set_alias("toy", "champion", 1)
        self.traffic = TrafficStore(self.models)
        self.first = Stub()
        self.switch = Switch(live(1, self.first))
        self.backends: dict[int, Stub | Exception] = {2: Stub(), 3: Stub()}
        self.made: list[int] = []
        self.follower = Follower(self.switch, lambda: self.traffic.now("toy"), self.make)

    async def make(self, version: int) -> Live:
        self.made.append(version)
        backend = self.backends[version]
        if isinstance(backend, Exception):
            raise backend
        return live(version, backend)

    def step(self, wait_s: float = 0.0) -> None:
        async def run() -> None:
            await self.follower.step()
            await asyncio.sleep(wait_s)

        asyncio.run(run())


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def test_a_canary_joins_and_leaves(rig: Rig) -> None:
    rig.step()
    assert list(rig.switch.versions) == ["1"]
    rig.traffic.set("toy", {"challengers": [{"version": 2, "share": 0.5}]}, by="cli")
    rig.step()
    assert list(rig.switch.versions) == ["1", "2"]
    rig.step()
    assert rig.made == [2]
    rig.traffic.clear("toy", by="cli")
    rig.step(wait_s=0.2)
    assert list(rig.switch.versions) == ["1"]
    assert rig.backends[2].closed
    assert not rig.first.closed


def test_promoting_and_rolling_back_changes_the_champion(rig: Rig) -> None:
    rig.step()
    rig.models.set_alias("toy", "champion", 3)
    rig.step(wait_s=0.2)
    assert rig.switch.champion.served.version == 3
    assert rig.first.closed
    rig.models.rollback("toy")
    rig.backends[1] = Stub()
    rig.step()
    assert rig.switch.champion.served.version == 1


@pytest.mark.parametrize("fault", [ArtifactError("damaged"), Stub(f"{WRONG}: golden row 0"), Stub("warming up")])
def test_a_champion_that_cannot_answer_leaves_all_as_it_was(rig: Rig, fault: Any) -> None:
    rig.backends[2] = fault
    rig.models.set_alias("toy", "champion", 2)
    rig.step()
    assert rig.switch.champion.served.version == 1
    assert set(rig.switch.problems) == {2}
    rig.step()
    assert rig.made == [2]  # not tried again at every look
    if isinstance(fault, Stub):
        assert fault.closed
    rig.models.rollback("toy")
    rig.step()
    assert not rig.switch.problems


def test_a_challenger_that_cannot_answer_takes_no_part(rig: Rig) -> None:
    rig.backends[2] = ArtifactError("damaged")
    form = {"challengers": [{"version": 2, "share": 0.9}, {"version": 3, "share": 0.1}], "shadows": [2]}
    rig.traffic.set("toy", form, by="cli")
    rig.step()
    assert list(rig.switch.versions) == ["1", "3"]
    assert rig.switch.traffic.shadows == ()
    assert rig.switch.problems == {2: "damaged"}


def test_a_store_that_is_away_changes_nothing(rig: Rig) -> None:
    def away() -> Any:
        raise OSError("the store is away")

    rig.follower._look = away

    async def run() -> None:
        rig.follower._every_s = 0.01
        rig.follower.start()
        await asyncio.sleep(0.1)
        rig.follower._look = lambda: rig.traffic.now("toy")
        rig.traffic.set("toy", {"shadows": [3]}, by="cli")
        await asyncio.sleep(0.2)

    asyncio.run(run())
    assert list(rig.switch.versions) == ["1", "3"]


def test_traffic_is_changed_over_http_by_admins(rig: Rig, tmp_path) -> None:
    tokens = TokenStore(StoreRoot(str(tmp_path)))
    admin, asks = (tokens.issue([role]) for role in ("admin", "predict"))
    desk = Desk(StoreRoot(str(tmp_path)), "toy")
    app = build_api(rig.switch, Guard(Keyring(tokens.tokens())), desk)
    heads = {name: {"authorization": f"Bearer {text}"} for name, (_, text) in (("admin", admin), ("asks", asks))}
    form = {"challengers": [{"version": 2, "share": 0.25}], "reason": "try it"}
    with TestClient(app) as client:
        assert client.put("/traffic", json=form, headers=heads["asks"]).status_code == 403
        told = client.put("/traffic", json=form, headers=heads["admin"]).json()
        assert (told["by"], told["reason"]) == (f"token {admin[0].id}", "try it")
        assert client.get("/traffic", headers=heads["asks"]).json()["challengers"] == form["challengers"]
        for wrong in ([], {"champion": 2}, {"challengers": [{"version": 9, "share": 0.1}]}, {"shadows": "x"}):
            assert client.put("/traffic", json=wrong, headers=heads["admin"]).status_code == 422
        as_json = {"content-type": "application/json"}
        assert client.put("/traffic", content=b"{", headers=heads["admin"] | as_json).status_code == 422
        assert client.post("/models/9/promote", json={}, headers=heads["admin"]).status_code == 422
        assert client.post("/models/2/promote", json={}, headers=heads["asks"]).status_code == 403
        assert client.post("/models/2/promote", json={}, headers=heads["admin"]).json()["champion"] == 2
    rig.step()
    assert rig.switch.champion.served.version == 2


def test_labels_are_told_and_checked(rig: Rig, tmp_path) -> None:
    desk = Desk(StoreRoot(str(tmp_path)), "toy")
    with TestClient(build_api(rig.switch, Guard(None), desk)) as client:
        answer = client.post("/feedback", json={"id": "a", "labels": ["red", None, "blue"]})
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
        for body, told in (
            ({"id": "a", "labels": ["read"]}, "Did you mean 'red'"),
            ({"id": "a", "labels": [["red"]]}, "one of the classes"),
            ({"id": "a b", "labels": ["red"]}, "pattern"),
            ({"labels": ["red"]}, "required"),
            ({"id": "a", "labels": []}, "at least 1"),
            (3, "dictionary"),
        ):
            refused = client.post("/feedback", json=body)
            assert refused.status_code == 422
            assert told in refused.text
    asyncio.run(desk.close())
    found = [path for path in StoreRoot(str(tmp_path)).list("served/toy/feedback") if path.endswith(".parquet")]
    assert len(found) == 1


def test_a_page_of_another_site_changes_nothing(rig: Rig, tmp_path) -> None:
    """A browser sends forms and plain text anywhere without asking; JSON it asks for first."""
    desk = Desk(StoreRoot(str(tmp_path)), "toy")
    before = rig.traffic.now("toy")
    with TestClient(build_api(rig.switch, Guard(None), desk)) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            heads = {"content-type": kind, "origin": "https://elsewhere.example"}
            assert client.post("/models/2/promote", content=b"{}", headers=heads).status_code == 415
            assert client.post("/feedback", content=b'{"id":"a","labels":["red"]}', headers=heads).status_code == 415
            assert client.put("/traffic", content=b"{}", headers=heads).status_code == 415
    assert rig.traffic.now("toy") == before
