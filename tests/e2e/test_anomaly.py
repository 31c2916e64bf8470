"""Anomalies, from normal training rows to answers: a small run, its report, and predictions by the saved graph."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from hybrid_ray.evaluation.schema import Report
from hybrid_ray.on_ray.evaluate import evaluate_file
from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.spec import ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """A run on rows whose columns go together; faults, in test rows only, break how they do."""
    folder = tmp_path_factory.mktemp("anomaly")
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(260, 2))
    values = hidden @ rng.normal(size=(2, 4)) + 0.2 * rng.normal(size=(260, 4))
    faulty = np.arange(260) % 2 * (np.arange(260) >= 160)
    values[faulty == 1] = rng.permuted(values[faulty == 1], axis=0)
    rows = pd.DataFrame(values, columns=["a", "b", "c", "d"])
    rows["state"] = np.where(faulty, "fault", "ok")
    rows["split"] = np.where(np.arange(260) < 160, "train", "test")
    rows["pump"] = np.arange(260) // 10
    rows.to_csv(folder / "rows.csv", index=False)
    spec = {
        "name": "pump",
        "task": "anomaly",
        "data": {
            "path": str(folder / "rows.csv"),
            "label": "state",
            "split": {"kind": "column", "column": "split", "together": "pump"},
        },
        "target": {"anomalous": "fault", "false_alarms": 0.05},
        "search": {"trials": 4, "folds": 3, "batch": 2, "ensemble": {"trials": 3}},
        "graph": {"members": "refit"},
    }
    spec["search"]["estimators"] = ["pca_reconstruction", "isolation_forest"]
    return run(spec, folder / "store"), rows[rows["split"] == "test"], folder


def test_faults_are_told_by_normal_rows_alone(found):
    answer, rows, _ = found
    assert answer["task"] == "anomaly"
    assert answer["test"]["roc_auc"] > 0.85
    assert answer["test"]["false_alarm_rate"] < 0.25
    assert answer["baselines"]["naive"]["f1"] == pytest.approx(2 / 3)
    assert "log_loss" not in answer["test"]
    assert answer["rows"]["test"] == len(rows)


def test_the_report_shows_scores_and_alarms(found):
    answer, rows, _ = found
    report = Report.model_validate(json.loads(Path(answer["report"]).with_suffix(".json").read_text()))
    alarms = report.alarms
    assert alarms.borne == 0.05
    assert 0 < alarms.threshold < 1
    assert (alarms.normal, alarms.anomalous) == (50, 50)
    assert alarms.false_alarms / 50 == answer["test"]["false_alarm_rate"]
    assert alarms.missed / 50 == answer["test"]["missed_alarm_rate"]
    assert sum(each.normal + each.anomalous for each in alarms.bins) == len(rows)
    assert report.labels is None
    assert "raise an alarm" in Path(answer["report"]).read_text()


def test_rows_of_one_pump_are_drawn_together(found, cluster):
    answer, rows, folder = found
    assert answer["rows"]["test_groups"] == 10
    rows.to_csv(folder / "later.csv", index=False)
    scored = evaluate_file(cluster, "pump", str(folder / "store"), str(folder / "later.csv"))
    assert (scored["test_groups"], scored["notes"]) == (10, [])
    assert scored["ci95"]["roc_auc"] == pytest.approx(answer["ci95"]["roc_auc"], abs=1e-3)
    rows.drop(columns="pump").to_csv(folder / "bare.csv", index=False)
    bare = evaluate_file(cluster, "pump", str(folder / "store"), str(folder / "bare.csv"))
    assert (bare["test"], bare["test_groups"]) == (scored["test"], None)
    assert bare["notes"] == [
        "There is no column 'pump' that tells which rows go together: intervals take them one by one."
    ]


def test_the_saved_graph_answers_as_it_was_scored(found):
    answer, rows, folder = found
    graph = ModelStore(StoreRoot(str(folder / "store"))).load("pump")
    graph.setup("cpu")
    batch = {name: rows[name].to_numpy(np.float64) for name in "abcd"}
    outputs = graph.outputs(batch)
    labels = np.array(graph.labels(outputs))
    normal = (rows["state"] == "ok").to_numpy()
    assert (labels[normal] == "fault").mean() == answer["test"]["false_alarm_rate"]
    assert (labels[~normal] == "ok").mean() == answer["test"]["missed_alarm_rate"]
    np.testing.assert_array_equal(labels == "fault", outputs[:, 1] > 0.5)

    served = Served.of(graph, 1, Probe({name: values[:1] for name, values in batch.items()}), ServeSpec())
    stage = RowBatcher(whole(graph), 8, 0.001).submit
    asked = rows[list("abcd")].head(20)
    with TestClient(single(served, Pipeline(served, {"+".join(graph.groups()): stage}))) as client:
        told = client.post("/predict", json={"rows": asked.to_dict("records")})
        schema = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]
    assert told.status_code == 200, told.text
    assert [each["prediction"] for each in told.json()["predictions"]] == labels[:20].tolist()
    np.testing.assert_allclose(
        [each["proba"]["fault"] for each in told.json()["predictions"]], outputs[:20, 1], rtol=1e-5
    )
    assert "threshold" in schema["prediction"]["description"]
    assert "no probabilities" in schema["proba"]["description"]
