"""Networks made smaller after the search: taken where answers stay what they were, told where they do not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.evaluation.schema import Report
from hybrid_ray.extractors.pretrained import COMPRESSED
from hybrid_ray.spec import load_spec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.encoders import tiny_sentence_encoder

GOOD, BAD = ("fine", "great", "lovely", "warm"), ("poor", "dull", "awful", "cold")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts of 200 rows, whose words tell the label, a number that tells it too, and an encoder."""
    folder = tmp_path_factory.mktemp("compression")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    texts = [" ".join(rng.choice(GOOD if label else BAD, 6)) for label in labels]
    rows = pd.DataFrame({"text": texts, "size": rng.normal(labels, 1.0), "label": labels})
    rows.to_parquet(folder / "rows.parquet")
    tiny_sentence_encoder(folder / "encoder")
    return folder


def spec_of(folder, compression, **graph):
    return {
        "name": "smaller",
        "data": {
            "path": str(folder / "rows.parquet"),
            "label": "label",
            "columns": {"text": "text", "size": "numeric"},
        },
        "extractors": [
            {"name": "transformers", "params": {"model": str(folder / "encoder")}},
            {"name": "tabular"},
        ],
        "search": {
            "trials": 4,
            "folds": 2,
            "batch": 2,
            "metric": "log_loss",
            "estimators": ["logistic"],
            "ensemble": {"trials": 2},
        },
        "graph": {"compression": compression, **graph},
    }


@pytest.fixture(scope="module")
def plain(run, folder, tmp_path_factory):
    """The same without smaller networks."""
    return run(spec_of(folder, {}), tmp_path_factory.mktemp("plain"))


def report_of(answer):
    return Report.model_validate(json.loads(Path(answer["report"]).with_suffix(".json").read_text()))


@pytest.mark.parametrize(("members", "int8"), [("bag", "dynamic"), ("refit", "weights")])
def test_the_graph_has_the_smaller_network_and_was_scored_with_it(run, folder, tmp_path, members, int8):
    spec = spec_of(folder, {"int8": int8, "max_loss": 0.2}, members=members, reserves=True)
    answer = run(spec, tmp_path)
    card = report_of(answer).compression
    [network] = card.networks
    assert network.taken
    assert card.note == ""
    assert 0.99 < network.cosine < 1
    assert network.after.size_mb < network.before.size_mb
    assert abs(card.after - card.before) <= 0.2 * card.before
    assert card.after != card.before
    made = [row.extractor for row in report_of(answer).extraction]
    assert made == ["transformers", "transformers (smaller)"]
    held = {path.name for path in Path(answer["artifact"]).rglob("*")}
    assert COMPRESSED in held
    assert "model.safetensors" not in held
    graph = ModelStore(StoreRoot(str(tmp_path))).load(answer["model"])
    assert {reserve.name for reserve in graph.reserves} == {"without:tabular", "without:text"}
    graph.setup("cpu")
    asked = load_spec(spec)
    rows = read_rows(asked.data, asked.target, open_source(asked.data), "binary", 2, asked.seed).test_rows
    test = pd.read_parquet(folder / "rows.parquet").iloc[rows]
    outputs = graph.outputs({"text": test["text"].to_numpy(object), "size": test["size"].to_numpy(float)})
    score = get_metric("log_loss", "binary").score(test["label"].to_numpy(), outputs)
    assert score == pytest.approx(answer["test"]["log_loss"], rel=1e-3)
    assert "The graph has smaller networks than the search saw" in Path(answer["report"]).read_text()


@pytest.mark.parametrize(
    ("compression", "note", "compared"),
    [
        ({"int8": "dynamic", "min_cosine": 1}, "the features of each would change too much", False),
        ({"prune": 0.9, "min_cosine": 0.5}, "the out-of-fold score goes from", True),
    ],
)
def test_a_network_that_would_answer_otherwise_stays_as_it_is(
    run, folder, plain, tmp_path, compression, note, compared
):
    answer = run(spec_of(folder, compression), tmp_path)
    report = report_of(answer)
    assert note in report.compression.note
    assert not any(network.taken for network in report.compression.networks)
    assert (report.compression.after is not None) == compared
    assert plain["test"] == answer["test"]
    assert report_of(plain).compression is None
    assert "model.safetensors" in {path.name for path in Path(answer["artifact"]).rglob("*")}


def test_where_nothing_is_pretrained_that_is_told(run, folder, tmp_path):
    spec = spec_of(folder, {"int8": "weights"}) | {"extractors": [{"name": "tabular"}]}
    answer = run(spec, tmp_path)
    assert report_of(answer).compression.note == "it reads no pretrained network that can be made smaller"
