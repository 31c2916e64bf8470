"""One model in a store, three ways to ask it: in process, on Ray Data, over HTTP. All give the same answers."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import serve

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.columns import coerce
from hybrid_ray.errors import ArtifactError, BadInputError
from hybrid_ray.extractors.base import Extractor, FitContext, build_extractor
from hybrid_ray.extractors.fused import FusionEntry, build_fused
from hybrid_ray.graph import Graph, Member, Reserve, fit_chain
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.on_ray.serve import serve_model
from hybrid_ray.on_ray.serve.config import ApplicationArgs, application
from hybrid_ray.on_ray.serve.run import claim_port
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows
from hybrid_ray.types import Kind

ROWS = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(200, seed=5, missing=0.15)]
ONE = ScaleSpec(min_replicas=1, max_replicas=1)
SMALL: dict[str, Any] = {"max_rows": 300, "max_batch_rows": 16, "ingress": ONE, "extractors": ONE}
CLASSES = ("red", "green", "blue")


def fitted(name: str, kinds: dict[str, Kind], params: dict[str, Any], batch: Any, y: Any, seed: int = 0) -> Extractor:
    return ready(build_extractor(name, params, kinds), batch, y, seed)


def ready(extractor: Extractor, batch: Any, y: Any, seed: int = 0) -> Extractor:
    if extractor.tags.trained:
        extractor.fit(extractor.prepare(batch), y, FitContext("multiclass", 3, seed))
    extractor.setup("cpu")
    return extractor


def make_graph(encoder: Path) -> Graph:
    """Real plugins: frozen and trained extractors, one in bf16, fold copies of a network, refitted and bagged members.

    One reads a title and a table as one text; a reserve answers rows without a title.

    What computes bf16 natively answers in it; other machines load the graph in fp32. Either way there is one answer.
    """
    load_plugins()
    rows = list(toy_rows(150, seed=4))
    y = np.array([row["label"] for row in rows])
    batch = coerce(pa.Table.from_pylist(rows), TOY_COLUMNS).batch
    photo, title = {"photo": TOY_COLUMNS["photo"]}, {"title": TOY_COLUMNS["title"]}
    table = {c: TOY_COLUMNS[c] for c in ("price", "brand", "listed")}
    network = {"size": 16, "width": 4, "depth": 1, "features": 8, "epochs": 2}
    extractors = {
        "pixels": fitted("pixels", photo, {"size": 8}, batch, y),
        "cnn@0": fitted("cnn", photo, network, batch, y, seed=0),
        "cnn@1": fitted("cnn", photo, network, batch, y, seed=1),
        "words": ready(build_fused("tfidf", {}, title | table, FusionEntry("serialised")), batch, y),
        "sentences": fitted("transformers", title, {"model": str(encoder), "precision": "bf16"}, batch, y),
        "table": fitted("tabular", table, {}, batch, y),
    }
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    steps = tuple({"name": name, "params": {}} for name in ("clip", "unskew", "weigh_classes"))
    refit = Candidate(("pixels", "words", "sentences", "table"), "concat", "logistic", steps=steps)
    bag = Candidate(("cnn", "table"), "concat", "hist_gradient_boosting")
    made: dict[str, Any] = {"task": "multiclass", "n_outputs": 3, "seed": 0}
    chains = []
    for key in ("cnn@0", "cnn@1"):
        inputs = {"cnn": blocks[key], "table": blocks["table"]}
        chains.append(fit_chain(bag, inputs, y, keys={"cnn": key, "table": "table"}, **made))
    members = [Member("linear", refit, [fit_chain(refit, blocks, y, **made)]), Member("trees", bag, chains)]
    pool = FUSIONS.get("linear_pool")
    decision = pool(pool.Params()).fit({m.name: m.predict(blocks) for m in members}, y, "multiclass")
    untitled = Candidate(("pixels", "table"), "concat", "logistic")
    chain = fit_chain(untitled, blocks, y, **made)
    alone = pool(pool.Params()).fit({"linear": chain.predict(blocks)}, y, "multiclass")
    reserve = Reserve("without:text", ("sentences",), ("pixels", "table"), [Member("linear", untitled, [chain])], alone)
    info = {"serve": ServeSpec(max_rows=300, max_batch_rows=16, ingress=ONE, extractors=ONE).model_dump(mode="json")}
    return Graph(
        "parity",
        "multiclass",
        "label",
        dict(TOY_COLUMNS),
        ["red", "green", "blue"],
        extractors,
        members,
        decision,
        info,
        [reserve],
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that holds the model once."""
    store = str(tmp_path_factory.mktemp("store"))
    graph = make_graph(tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny"))
    golden = make_golden(graph, pa.Table.from_pylist(ROWS[:20]))
    models = ModelStore(StoreRoot(store))
    models.register(graph, golden, {})
    models.set_alias("parity", "best", 1)
    return store


@pytest.fixture(scope="module")
def expected(stored: str) -> np.ndarray:
    """What the loaded graph answers in process."""
    graph = ModelStore(StoreRoot(stored)).load("parity")
    return graph.outputs(coerce(pa.Table.from_pylist(ROWS), graph.columns).batch)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=64)
    return path


def asked(url: str) -> np.ndarray:
    sent = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in ROWS]
    answer = httpx.post(f"{url}/predict", json={"rows": sent}, timeout=120)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["model"], answer.json()["version"]) == ("parity", 1)
    return np.array([list(p["proba"].values()) for p in answer.json()["predictions"]])


def test_ray_data_equals_in_process(
    cluster: Cluster, stored: str, table: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "answers.parquet"
    answer = predict_file(cluster, "parity", stored, str(table), str(out))
    got = pq.read_table(out)
    assert (answer["model"], answer["version"], answer["rows"], answer["bad"]) == ("parity", 1, 200, 0)
    assert np.abs(np.stack([got[f"proba_{c}"] for c in CLASSES], axis=1) - expected).max() < 1e-5


@pytest.mark.slow
def test_http_equals_in_process(cluster: Cluster, stored: str, expected: np.ndarray) -> None:
    limits = ServeSpec(placement="split", **SMALL)
    with serve_model(cluster, "parity@best", stored, port=0, limits=limits, ready_timeout_s=180) as serving:
        assert set(serving.plan.extractors) == {"pixels", "cnn", "words", "sentences", "table"}
        assert np.abs(asked(serving.url) - expected).max() < 1e-5


@pytest.mark.slow
def test_a_serve_config_gives_the_same_together(cluster: Cluster, stored: str, expected: np.ndarray) -> None:
    port = claim_port("127.0.0.1", 0)
    limits = ServeSpec(placement="together", **SMALL)
    serve.start(http_options={"port": port})
    try:
        with pytest.raises(BadInputError, match="args: tokens: the store must hold a token"):
            application(ApplicationArgs(model="parity:1", store=stored))
        told = ApplicationArgs(model="parity:1", store=stored, limits=limits, tokens=False)
        serve.run(application(told), name="parity")
        assert np.abs(asked(f"http://127.0.0.1:{port}") - expected).max() < 1e-5
        assert list(serve.status().applications["parity"].deployments) == ["ingress"]
    finally:
        serve.shutdown()


def test_a_changed_byte_is_refused_before_anything_starts(
    cluster: Cluster, stored: str, table: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ModelStore(StoreRoot(stored)).resolve("parity").uri, folder)
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    with (
        pytest.raises(ArtifactError, match=victim.name),
        serve_model(cluster, str(folder), stored, port=0),
    ):
        pass
    assert serve.status().applications == {}
    with pytest.raises(ArtifactError, match=victim.name):
        predict_file(cluster, str(folder), stored, str(table), str(tmp_path / "a.csv"))
    assert not (tmp_path / "a.csv").exists()
