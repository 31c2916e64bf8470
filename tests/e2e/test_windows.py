"""Windows of points to a model that tells faults: in process, from a table of points, and over HTTP the same."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from hybrid_ray.errors import DataError
from hybrid_ray.evaluation.intervals import wilson
from hybrid_ray.on_ray.evaluate import evaluate_file
from hybrid_ray.on_ray.explain import explain_file
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.pipeline import Pipeline, whole
from hybrid_ray.spec import ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

LENGTH = 12


def readings(machines=4, seconds=300, seed=0):
    """Two sensors that go together, a point a second; of the last third every second minute they do not."""
    rng = np.random.default_rng(seed)
    rows = []
    for machine in range(machines):
        load = np.cumsum(rng.normal(0, 0.3, seconds))
        load -= np.linspace(0, load[-1], seconds)
        faulty = (np.arange(seconds) >= 200) & (np.arange(seconds) // 20 % 2 == 1)
        heat = np.where(faulty, rng.normal(0, 2, seconds), load + 0.1 * rng.normal(size=seconds))
        rows.append(pd.DataFrame({"machine": f"m{machine}", "second": np.arange(seconds), "load": load, "heat": heat}))
        rows[-1]["fault"] = faulty.astype(int)
        rows[-1]["split"] = np.where(np.arange(seconds) < 190, "train", "test")
    return pd.concat(rows, ignore_index=True)


def test_faults_of_machines_are_told_by_windows_of_their_sensors(run, cluster, tmp_path):
    points = readings()
    points.to_csv(tmp_path / "points.csv", index=False)
    spec = {
        "name": "machines",
        "task": "anomaly",
        "data": {
            "path": str(tmp_path / "points.csv"),
            "label": "fault",
            "windows": {
                "id": "machine",
                "time": "second",
                "channels": ["load", "heat"],
                "length": LENGTH,
                "step": 2,
                "label": "max",
            },
        },
        "target": {"false_alarms": 0.05},
        "extractors": ["series_stats"],
        "search": {"trials": 3, "folds": 3, "estimators": ["mahalanobis", "knn_distance"], "ensemble": {"trials": 2}},
        "graph": {"members": "refit"},
    }
    store = str(tmp_path / "store")
    answer = run(spec, store)
    assert answer["rows"]["test"] == 4 * 55
    assert answer["test"]["roc_auc"] > 0.9
    notes = json.loads(Path(answer["report"]).with_suffix(".json").read_text())["notes"]
    assert any("training windows overlap with others that folds hold out" in note for note in notes)
    # Windows of one stretch of time are alike: five stretches of each machine are drawn, not 220 windows.
    assert answer["rows"]["test_groups"] == 20
    assert "20 groups of rows that go together" in Path(answer["report"]).read_text()
    low, high = answer["ci95"]["accuracy"]
    alone = wilson(220 * answer["test"]["accuracy"], 220)
    assert high - low > 1.2 * (alone[1] - alone[0])

    # Points of a later day, without labels: every window is answered, under its machine and its last second.
    later = readings(seed=1)
    later.drop(columns=["fault", "split"]).to_csv(tmp_path / "later.csv", index=False)
    out = str(tmp_path / "answers.csv")
    assert predict_file(cluster, "machines", store, str(tmp_path / "later.csv"), out)["bad"] == 0
    answers = pd.read_csv(out)
    assert len(answers) == 4 * 145
    assert answers.columns[:3].tolist() == ["row", "machine", "second"]
    assert answers.loc[144, ["machine", "second"]].tolist() == ["m0", 299]
    true = [later.fault[i * 300 + s - LENGTH + 1 : i * 300 + s + 1].max() for i in range(4) for s in range(11, 300, 2)]
    assert np.mean(answers["prediction"] == true) > 0.8

    later.drop(columns="split").to_csv(tmp_path / "labelled.csv", index=False)
    scored = evaluate_file(cluster, "machines", store, str(tmp_path / "labelled.csv"))
    assert (scored["rows"], scored["test_groups"]) == (4 * 145, 20)
    assert scored["test"]["accuracy"] == pytest.approx(np.mean(answers["prediction"] == true))
    with pytest.raises(DataError, match=r"data.label: must be a column of the points; got 'fault'"):
        evaluate_file(cluster, "machines", store, str(tmp_path / "later.csv"))
    why = explain_file(cluster, "machines", store, str(tmp_path / "labelled.csv"), str(tmp_path / "why"), repeats=2)
    assert why["importance"][0]["name"] == "window"

    # What is told of points is told of a window that is sent.
    graph = ModelStore(StoreRoot(store)).load("machines")
    graph.setup("cpu")
    served = Served.of(graph, 1, Probe({}), ServeSpec())
    stage = RowBatcher(whole(graph), 8, 0.001).submit
    window = later.loc[300 - LENGTH : 299, ["load", "heat"]].to_numpy().tolist()
    with TestClient(single(served, Pipeline(served, {"+".join(graph.groups()): stage}))) as client:
        (told,) = client.post("/predict", json={"rows": [{"window": window}]}).json()["predictions"]
    assert told["prediction"] == answers.loc[144, "prediction"]
    assert told["proba"]["1"] == pytest.approx(answers.loc[144, "proba_1"], abs=1e-5)
