"""The console in a real browser: a prediction with an image, an explanation, traffic that changes, charts that move."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import uvicorn

from hybrid_ray.data.coerce import coerce
from hybrid_ray.monitoring.reference import Reference, embeddings_of, traits_of
from hybrid_ray.on_ray.referring import reference_of
from hybrid_ray.on_ray.serve.api import build_api
from hybrid_ray.on_ray.serve.desk import Desk
from hybrid_ray.on_ray.serve.follower import Follower
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.registered import Registered
from hybrid_ray.on_ray.serve.switch import Switch
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.spec import LogSpec, MonitorSpec, ServeSpec
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import write_state
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows
from hybrid_ray.testing.shipped import forest_graph

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
ROWS = list(toy_rows(200, seed=3, missing=0.1))
LIMITS = ServeSpec(log=LogSpec(share=1.0, seconds=0.2), monitor=MonitorSpec(window=20), explain_s=30)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    store = ModelStore(StoreRoot(str(tmp_path_factory.mktemp("store"))))
    graph, other = forest_graph(1), forest_graph(2)
    for each in (graph, other):
        store.register(each, make_golden(each, pa.Table.from_pylist(ROWS[:20]), rows=4))
    store.set_alias("toy", "champion", 1)
    batch = coerce(pa.Table.from_pylist(ROWS), TOY_COLUMNS).batch
    blocks = graph.extract(batch)
    traits = traits_of(graph, batch, embeddings_of(graph, blocks), graph.combine(blocks))
    write_state(store.root, reference_of("toy", 1), Reference.of(traits, 200, "log_loss", 0.5).state())
    return store


@pytest.fixture(scope="module")
def url(models: ModelStore) -> Iterator[str]:
    """The application of a replica, without Serve around it."""
    registered = Registered(models.root, "toy", True, LIMITS)
    switch = Switch(registered.live(1, "cpu"))

    async def make(version: int) -> Any:
        return registered.live(version, "cpu")

    follower = Follower(switch, registered.look, make, every_s=0.2)
    app = build_api(switch, Guard(None), Desk(models.root, "toy"))

    async def following(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            follower.start()
        await app(scope, receive, send)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(following, "127.0.0.1", port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        held = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield held
        held.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The console, of which no line of its own says that anything is wrong."""
    held = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    held.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    held.on("pageerror", lambda error: errors.append(str(error)))
    held.goto(f"{url}/console/")
    held.wait_for_selector("#row input")
    yield held
    held.close()
    assert errors == []


def test_a_row_with_an_image_is_predicted_and_explained(page: Any, tmp_path: Path) -> None:
    row = next(row for row in ROWS if all(value is not None for value in row.values()))
    (tmp_path / "photo.png").write_bytes(row["photo"])
    page.set_input_files("input[name=photo]", str(tmp_path / "photo.png"))
    page.fill("[name=title]", row["title"])
    page.fill("[name=price]", str(row["price"]))
    page.fill("[name=brand]", row["brand"])
    page.click("#predict")
    page.wait_for_selector("#answer .bars")
    assert page.inner_text("#answer h3") in ("red", "green", "blue")
    assert page.locator("#answer .bars .bar").count() == 3
    page.click("#explain")
    page.wait_for_selector("#why .bars", timeout=60_000)
    assert "photo" in page.inner_text("#why")
    assert page.inner_text("#fault") == ""


def test_a_fault_is_told_in_a_line(browser: Any, url: str) -> None:
    page = browser.new_page()
    page.goto(f"{url}/console/")
    page.wait_for_selector("#row input")
    page.fill("[name=listed]", "some day")
    page.click("#predict")
    page.wait_for_function("document.querySelector('#fault').textContent.length > 0")
    assert "listed" in page.inner_text("#fault")
    page.close()


def test_the_canary_share_changes_and_the_chart_moves(page: Any, models: ModelStore) -> None:
    page.wait_for_selector("#canary-version option", state="attached")
    page.select_option("#canary-version", "2")
    page.evaluate("share.value = '40'; share.dispatchEvent(new Event('input'))")
    assert page.inner_text("#share-told") == "40 %"
    page.click("#canary button:not([type])")
    page.wait_for_function("document.querySelector('#traffic').textContent.includes('challenger')")
    assert TrafficStore(models).now("toy").traffic.challengers[0].share == 0.4
    page.wait_for_function("document.querySelector('#traffic').textContent.includes('40 %')")
    before = int(page.get_attribute("#rate", "data-points") or 0)
    page.wait_for_function(f"Number(document.querySelector('#rate').dataset.points) > {before + 1}", timeout=30_000)
    page.click("#clear")
    page.wait_for_function("!document.querySelector('#traffic').textContent.includes('challenger')")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(browser: Any, url: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(f"{url}/console/")
    page.wait_for_selector("#traffic table")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
