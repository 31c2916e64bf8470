"""What tests of served graphs share: a graph behind the HTTP API, without Ray."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.pipeline import Extraction, Pipeline, combination, whole
from hybrid_ray.spec import ServeSpec
from hybrid_ray.types import Batch


@pytest.fixture(scope="session")
def client_of() -> Callable[[Graph, bool, Batch], TestClient]:
    """Make a client of a graph, by its extractors apart or in one stage, and by a batch that shows it is ready."""

    def make(graph: Graph, split: bool, shown: Batch) -> TestClient:
        served = Served.of(graph, 1, Probe(shown), ServeSpec())

        def batched(run):
            return RowBatcher(run, 8, 0.001).submit

        if split:
            stages = {group: batched(Extraction(graph, [group])) for group in graph.groups()}
            pipeline = Pipeline(served, stages, batched(combination(graph)))
        else:
            pipeline = Pipeline(served, {"+".join(graph.groups()): batched(whole(graph))})
        return TestClient(single(served, pipeline))

    return make
