"""Series from rows to a model that answers: beside a table, statistics and a trained network fused."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.generate import generate_rows
from hybrid_ray.on_ray.explain import explain_file
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

COLUMNS = {"signal": "series", "age": "numeric"}


def test_series_beside_a_table(run, cluster, tmp_path):
    table = generate_rows(COLUMNS, "binary", 120, 2, 0, "label")
    pq.write_table(table, tmp_path / "rows.parquet")
    spec = {
        "name": "signals",
        "data": {"path": str(tmp_path / "rows.parquet"), "label": "label"},
        "extractors": [
            "series_stats",
            {"name": "series_cnn", "params": {"filters": 4, "blocks": 2, "epochs": 2}},
            "tabular",
        ],
        "search": {"trials": 3, "folds": 2, "estimators": ["logistic", "knn"], "ensemble": {"trials": 2}},
    }
    answer = run(spec, tmp_path / "store")
    assert "series" in answer["modalities"]
    assert answer["test"]["roc_auc"] > 0.7
    graph = ModelStore(StoreRoot(str(tmp_path / "store"))).load(answer["model"])
    assert graph.columns == COLUMNS
    graph.setup("cpu")
    batch = coerce(table.slice(0, 8), COLUMNS).batch
    outputs = graph.outputs(batch)
    assert outputs.sum(axis=1) == pytest.approx(1)

    asked, told = str(tmp_path / "rows.parquet"), str(tmp_path / "answers.parquet")
    assert predict_file(cluster, "signals", str(tmp_path / "store"), asked, told)["bad"] == 0
    answers = pq.read_table(told).slice(0, 8)
    np.testing.assert_allclose(np.column_stack([answers["proba_0"], answers["proba_1"]]), outputs, atol=1e-5)

    batch["signal"][:] = None
    assert np.isfinite(graph.outputs(batch)).all()
    found = explain_file(cluster, "signals", str(tmp_path / "store"), asked, str(tmp_path / "why"), rows=60, repeats=2)
    assert {row["name"] for row in found["importance"]} >= set(COLUMNS)
