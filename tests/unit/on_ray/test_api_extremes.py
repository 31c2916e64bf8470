"""What is allowed but extreme, asked of a graph of the plugins that ship: answered or refused, never a 500."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.columns import coerce
from hybrid_ray.extractors.base import Extractor, FitContext, build_extractor
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.spec import ServeSpec
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows

PLUGINS = {"pixels": ["photo"], "tfidf": ["title"], "tabular": ["price", "brand", "listed"]}
MEMBERS = {"logistic": {}, "hist_gradient_boosting": {"n_estimators": 4}, "knn": {}, "svm": {}}


def shipped_graph(task: str) -> Graph:
    load_plugins()
    rows = list(toy_rows(60, 1))
    y = np.array([row["label"] for row in rows])
    batch = coerce(pa.Table.from_pylist(rows), TOY_COLUMNS).batch
    made: dict[str, Any] = {"task": task, "n_outputs": 1 if task == "regression" else 3}
    extractors: dict[str, Extractor] = {}
    for name, columns in PLUGINS.items():
        extractor = build_extractor(name, {}, {c: TOY_COLUMNS[c] for c in columns})
        if extractor.tags.trained:
            extractor.fit(extractor.prepare(batch), y, FitContext(**made))
        extractors[name] = extractor
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    families = {"ridge": {}, "knn": {}} if task == "regression" else MEMBERS
    members = []
    for family, params in families.items():
        candidate = Candidate(tuple(blocks), "concat", family, {}, params)
        transform = {"transform": "log"} if family == "ridge" else {}
        members.append(Member(family, candidate, [fit_chain(candidate, blocks, y, seed=0, **made, **transform)]))
    pool = FUSIONS.get("linear_pool")
    decision = pool(pool.Params()).fit({m.name: m.predict(blocks) for m in members}, y, task)
    classes = None if task == "regression" else ["red", "green", "blue"]
    return Graph("shipped", task, "label", dict(TOY_COLUMNS), classes, extractors, members, decision)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    graph = shipped_graph(request.param)
    served = Served.of(graph, 1, Probe(generated_batch(graph)), ServeSpec(max_batch_rows=8))
    stage = RowBatcher(whole(graph), 8, 0.0).submit
    app = single(served, Pipeline(served, {"+".join(graph.groups()): stage}))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def picture(mode: str, size: tuple[int, int], form: str) -> str:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, form)
    return base64.b64encode(stream.getvalue()).decode()


PICTURES = [
    picture(*asked)
    for asked in [
        ("L", (1, 1), "PNG"),
        ("CMYK", (9, 9), "JPEG"),
        ("I;16", (9, 9), "PNG"),
        ("P", (9, 9), "GIF"),
        ("LA", (5, 7), "PNG"),
        ("RGBA", (1, 3000), "PNG"),
        ("1", (8, 8), "PNG"),
        ("F", (4, 4), "TIFF"),
        ("RGB", (30, 2), "WEBP"),
    ]
]
NO_GREY = picture("LAB", (8, 8), "TIFF")
NUMBERS = [0, -0.0, 3.4e38, -3.4e38, 1e-300, 5e-324, 10**29, 2**53 + 1, None]
TEXTS = ["", " ", "a" * 100_000, "\x00", "\U0001f600" * 300, "\u202e\u200b", "\ufdfa" * 50, "a b " * 20_000, None]
CATEGORIES = ["", "brand0", True, 1, 1.0, 1e300, "x" * 5_000, -0.0, 2**63, 10**40, "NaN", None]
DATES = ["0001-01-01", "9999-12-31T23:59:59.999", "1677-01-01", "2020-13-01", "now", "12:00", "9" * 30, "0", "", None]
CELLS = {
    "photo": st.sampled_from([*PICTURES, NO_GREY, None]),
    "title": st.sampled_from(TEXTS),
    "price": st.one_of(st.sampled_from(NUMBERS), st.floats(-3.4e38, 3.4e38)),
    "brand": st.sampled_from(CATEGORIES),
    "listed": st.sampled_from(DATES),
}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({}, optional=CELLS).filter(bool), min_size=1, max_size=3))
def test_extremes_are_answered_or_refused(client: TestClient, rows: list[dict[str, Any]]) -> None:
    answer = client.post("/predict", json={"rows": rows})
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        predictions = answer.json()["predictions"]
        assert len(predictions) == len(rows)
        assert all(abs(sum(p["proba"].values()) - 1) < 1e-6 for p in predictions if "proba" in p)


@pytest.mark.parametrize("picture", PICTURES)
def test_every_kind_of_picture_is_read(client: TestClient, picture: str) -> None:
    assert client.post("/predict", json={"photo": picture}).status_code == 200
