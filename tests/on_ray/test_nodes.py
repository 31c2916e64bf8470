"""Known nodes and new ones: the same answers in process, on Ray Data and over HTTP; strangers are refused."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.columns import coerce
from hybrid_ray.data.generate import NODES, generated_node_graph
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.on_ray.serve import serve_model
from hybrid_ray.registry import FUSIONS
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

ONE = ScaleSpec(min_replicas=1, max_replicas=1)
IDS = [str(row) for row in range(0, NODES, 10)]
NEW = [
    {"features": [float(v) for v in generated_node_graph().features[[row]].toarray()[0]], "neighbours": near}
    for row, near in ((7, ["3", "9"]), (390, ["388"]), (200, []))
]
SENT = [*IDS, *NEW]
ROWS = [{"node": json.dumps(cell) if isinstance(cell, dict) else cell} for cell in SENT]


def in_memory(path: Path) -> Graph:
    """Fold copies of a network and smoothed features under logistic regression; the graph comes from a file."""
    held = generated_node_graph()
    edges = np.stack([np.repeat(np.arange(NODES), held.degrees), held.neighbours], axis=1)
    np.savez(path, x=held.features.toarray(), edges=edges)
    batch = coerce(pa.table({"node": IDS}), {"node": "node"}).batch
    y = np.arange(len(IDS)) * 2 // len(IDS)
    extractors = {}
    for key, seed in (("sage@0", 0), ("sage@1", 1), ("propagated", 0)):
        few = {"hidden": 4, "epochs": 2} if key != "propagated" else {}
        own = extractors[key] = build_extractor(key.partition("@")[0], {"graph": str(path)} | few, {"node": "node"})
        own.setup()
        if own.tags.trained:
            own.fit(own.prepare(batch), y, FitContext("multiclass", 2, seed))
    blocks = {key: own.transform(batch) for key, own in extractors.items()}
    candidate = Candidate(("sage", "propagated"), "concat", "logistic")
    chains = [
        fit_chain(
            candidate,
            {"sage": blocks[key], "propagated": blocks["propagated"]},
            y,
            task="binary",
            n_outputs=2,
            seed=0,
            keys={"sage": key, "propagated": "propagated"},
        )
        for key in ("sage@0", "sage@1")
    ]
    member = Member("linear", candidate, chains)
    pool = FUSIONS.get("linear_pool")
    decision = pool(pool.Params()).fit({"linear": member.predict(blocks)}, y, "binary")
    return Graph("nodes", "binary", "label", {"node": "node"}, [0, 1], extractors, [member], decision)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the model; the file of the graph is gone."""
    store, path = str(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("graph") / "graph.npz"
    graph = in_memory(path)
    ModelStore(StoreRoot(store)).register(graph, make_golden(graph, pa.Table.from_pylist(ROWS)), {})
    path.unlink()
    return store


def test_known_and_new_nodes_are_answered_alike_everywhere(cluster: Cluster, stored: str, tmp_path: Path) -> None:
    graph = ModelStore(StoreRoot(stored)).load("nodes")
    expected = graph.outputs(coerce(pa.Table.from_pylist(ROWS), graph.columns).batch)
    assert len(np.unique(expected[:, 0].round(6))) > len(ROWS) // 2

    pq.write_table(pa.Table.from_pylist([*ROWS, {"node": "nobody"}]), tmp_path / "rows.parquet")
    told = predict_file(cluster, "nodes", stored, str(tmp_path / "rows.parquet"), str(tmp_path / "answers.parquet"))
    assert (told["rows"], told["bad"]) == (len(ROWS) + 1, 1)
    answers = pq.read_table(tmp_path / "answers.parquet").slice(0, len(ROWS))
    assert np.abs(np.stack([answers["proba_0"], answers["proba_1"]], axis=1) - expected).max() < 1e-5

    limits = ServeSpec(placement="together", ingress=ONE, extractors=ONE)
    with serve_model(cluster, "nodes", stored, port=0, limits=limits, ready_timeout_s=180) as serving:
        url = f"{serving.url}/predict"
        answer = httpx.post(url, json={"rows": [{"node": cell} for cell in SENT]}, timeout=60)
        assert answer.status_code == 200, answer.text
        served = np.array([list(p["proba"].values()) for p in answer.json()["predictions"]])
        assert np.abs(served - expected).max() < 1e-5
        alone = httpx.post(url, json={"rows": [{"node": NEW[0]}]}, timeout=60).json()["predictions"][0]
        assert np.abs(np.array(list(alone["proba"].values())) - expected[len(IDS)]).max() < 1e-5
        refused = httpx.post(url, json={"rows": [{"node": "nobody"}, {"node": {"features": "x"}}]}, timeout=60)
        assert refused.status_code == 422
        stranger = httpx.post(url, json={"rows": [{"node": "nobody"}]}, timeout=60)
        assert stranger.status_code == 422
        assert "not the id of a node" in stranger.text
