"""A served model as a process of its own, without Ray: ``python served_process.py FOLDER PORT``."""

from __future__ import annotations

import sys

import uvicorn

from hybrid_ray.on_ray.serve.api import build_api
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.desk import Desk
from hybrid_ray.on_ray.serve.explaining import Explaining
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.spec import ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.shipped import forest_graph

LIMITS = ServeSpec(max_rows=20, max_batch_rows=8, max_body_mb=1, max_pixels=100_000)


def main(folder: str, port: int) -> None:
    graph = forest_graph(0)
    graph.setup()
    root = StoreRoot(folder)
    models = ModelStore(root)
    for _ in range(2):
        models.register(graph, None)
    models.set_alias("toy", "champion", 1)
    served = Served.of(graph, 1, Probe(generated_batch(graph)), LIMITS)
    run = RowBatcher(whole(graph), 8, 0.0)
    pipeline = Pipeline(served, {"+".join(graph.groups()): run.submit}, batchers=[run])
    live = Live(served, pipeline, None, Explaining(lambda: graph, served.probe.batch, 0.1))
    app = build_api(Switch(live), Guard(None), Desk(root, "toy"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
