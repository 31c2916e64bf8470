"""How a graph is timed before it is saved."""

import time
from types import SimpleNamespace

import pyarrow as pa
import pytest

from hybrid_ray.on_ray import saving


@pytest.mark.parametrize(("limit_s", "rows"), [(1000.0, saving.LATENCY_ROWS), (0.0, 4)])
def test_of_a_slow_graph_fewer_rows_are_timed_than_of_a_quick_one(limit_s, rows, monkeypatch):
    monkeypatch.setattr(saving, "LATENCY_S", limit_s)
    asked = []

    def outputs(batch):
        asked.append(len(batch["a"]))
        time.sleep(0.001)

    graph = SimpleNamespace(columns={"a": "numeric"}, outputs=outputs)
    assert saving._latency_ms(graph, pa.table({"a": [1.0] * 30}), "") > 0
    assert asked == [1] * rows
