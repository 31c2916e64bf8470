"""An extractor that takes too long, or is away: rows are answered without it, where the spec allows, and it is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served, unavailable
from hybrid_ray.on_ray.serve.pipeline import Extraction, Pipeline, combination
from hybrid_ray.spec import ServeSpec
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

GRAPH = toy_graph()
ROWS = [{k: v for k, v in row.items() if k not in ("label", "photo")} for row in toy_rows(5, seed=2)]
GROUPS = list(GRAPH.groups())
SLOW = next(group for group, keys in GRAPH.groups().items() if "title" in GRAPH.extractors[keys[0]].columns)


async def slow(arrays: Any) -> Any:
    await asyncio.sleep(60)


async def away(arrays: Any) -> Any:
    raise unavailable("a part of the model is away")


class Switchable:
    """A stage that works until it is told otherwise."""

    def __init__(self, run: Any) -> None:
        self._works = RowBatcher(run, 8, 0.0).submit
        self.instead: Callable[[Any], Any] | None = None

    async def __call__(self, arrays: Any) -> Any:
        return await (self.instead or self._works)(arrays)


def served_by(partial_s: float | None) -> tuple[dict[str, Switchable], TestClient]:
    limits = ServeSpec(partial_s=partial_s, timeout_s=1.0)
    served = Served.of(GRAPH, 1, Probe(toy_batch(list(toy_rows(1, seed=3)))), limits)
    stages = {group: Switchable(Extraction(GRAPH, [group])) for group in GROUPS}
    pipeline = Pipeline(served, stages, RowBatcher(combination(GRAPH), 8, 0.0).submit)
    client = TestClient(single(served, pipeline))
    client.__enter__()
    deadline = time.monotonic() + 30
    while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.02)
    return stages, client


def expected_without(group: str) -> np.ndarray:
    """What the graph says of the rows where what an extractor reads is missing."""
    blocks = GRAPH.extract(toy_batch(ROWS))
    nothing = GRAPH.extract(toy_batch([{"nothing": 1} for _ in ROWS]))
    return GRAPH.combine(blocks | {key: nothing[key] for key in GRAPH.groups()[group]})


@pytest.mark.parametrize("instead", [slow, away])
def test_rows_are_answered_without_it(instead: Any) -> None:
    stages, client = served_by(0.2)
    whole = client.post("/predict", json={"rows": ROWS}).json()
    assert "without" not in whole
    stages[SLOW].instead = instead
    answer = client.post("/predict", json={"rows": ROWS})
    assert answer.status_code == 200, answer.text
    assert answer.json()["without"] == [SLOW]
    assert answer.headers["x-answered-without"] == SLOW
    said = np.array([list(each["proba"].values()) for each in answer.json()["predictions"]])
    assert np.abs(said - expected_without(SLOW)).max() < 1e-5
    assert np.abs(said - [list(each["proba"].values()) for each in whole["predictions"]]).max() > 1e-3
    stages[SLOW].instead = None
    assert "without" not in client.post("/predict", json={"rows": ROWS}).json()


def test_no_part_in_time_is_503() -> None:
    stages, client = served_by(0.2)
    for stage in stages.values():
        stage.instead = slow
    assert client.post("/predict", json={"rows": ROWS}).status_code == 503


@pytest.mark.parametrize(("instead", "status"), [(slow, 504), (away, 503)])
def test_otherwise_it_is_not_answered(instead: Any, status: int) -> None:
    stages, client = served_by(None)
    stages[SLOW].instead = instead
    assert client.post("/predict", json={"rows": ROWS}).status_code == status


def test_what_is_wrong_in_a_row_is_still_said() -> None:
    stages, client = served_by(0.2)

    async def cannot(arrays: Any) -> Any:
        raise ValueError("this value")

    stages[SLOW].instead = cannot
    assert client.post("/predict", json={"rows": ROWS}).status_code == 422
