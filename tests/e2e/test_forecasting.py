"""Series of points to a model that forecasts: in process, from a table of points, and over HTTP the same."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.generate import generated
from hybrid_ray.data.source import read_piece
from hybrid_ray.evaluation.metrics import score_all
from hybrid_ray.evaluation.schema import Report
from hybrid_ray.forecasts import Came
from hybrid_ray.on_ray.evaluate import evaluate_file
from hybrid_ray.on_ray.model import open_rows
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

POINTS = "generated://points?series=24&steps=70&season=6&id=name&time=t"


def test_points_of_series(run, cluster, tmp_path):
    spec = {
        "name": "sales",
        "data": {
            "path": POINTS,
            "label": "value",
            "series": {"id": "name", "time": "t", "horizon": 4, "season": 6, "folds": "series"},
        },
        "extractors": ["seasonal_naive", "theta", {"name": "forecast_rnn", "params": {"epochs": 2, "windows": 6}}],
        "search": {"trials": 5, "folds": 2, "ensemble": {"trials": 2}},
        "graph": {"members": "refit"},
    }
    store = str(tmp_path / "store")
    answer = run(spec, store)
    assert (answer["task"], answer["metric"]) == ("forecasting", "mase")
    assert answer["rows"] == {"total": 72, "train": 48, "test": 24, "bad": 0, "test_groups": None}
    assert answer["test"]["owa"] < 1.2
    assert {"naive", "seasonal naive", "naive2", "alone:theta", "ensemble"} <= set(answer["levels"])
    report = Report.model_validate(json.loads(Path(answer["report"]).with_suffix(".json").read_text()))
    assert [row.level for row in report.evaluation.forecast.intervals] == [0.8, 0.95]

    graph = ModelStore(StoreRoot(store)).load("sales")
    graph.setup("cpu")
    points = generated(POINTS, DataSpec(path=POINTS, label="value"))
    asked, told = str(tmp_path / "points.parquet"), str(tmp_path / "answers.parquet")
    pq.write_table(points, asked)
    assert predict_file(cluster, "sales", store, asked, told)["bad"] == 0
    answers = pq.read_table(told).to_pydict()
    assert answers["name"] == [f"series {i}" for i in range(24)]
    assert answers["t"] == [69] * 24

    rows = open_rows(graph, asked, training=False)
    table = next(read_piece(rows, rows.pieces[0], ["history"], 64))
    outputs = graph.outputs(coerce(table, graph.columns).batch)
    expected = graph.answer(outputs)
    for name in ("prediction", "low_80", "high_80", "low_95", "high_95"):
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-5)
    (first, *_) = Served.of(graph, 1, Probe({})).answers(outputs)
    assert first == {name: values[0] for name, values in expected.items()}
    assert first["low_95"][0] <= first["low_80"][0] <= first["prediction"][0] <= first["high_80"][0]

    # Every second point alone: the steps are still those that the graph has learned.
    sparse = str(tmp_path / "sparse.parquet")
    pq.write_table(points.filter(pa.array(points["t"].to_numpy() % 2 == 1)), sparse)
    rows = open_rows(graph, sparse, training=False)
    (history, *_) = next(read_piece(rows, rows.pieces[0], ["history"], 64))["history"].to_pylist()
    assert len(history) == 69
    assert [n for n, value in enumerate(history) if np.isnan(value)] == list(range(1, 69, 2))

    scored = evaluate_file(cluster, "sales", store, asked)
    assert (scored["rows"], scored["unlabelled"]) == (24, 0)
    assert scored["test"] == pytest.approx(answer["test"], rel=1e-5)


def test_points_that_a_column_divides(run, cluster, tmp_path):
    points = generated(POINTS, DataSpec(path=POINTS, label="value"))
    t = points["t"].to_numpy()
    asked = str(tmp_path / "points.parquet")
    pq.write_table(points.append_column("part", pa.array(np.where(t < 62, "train", "test"))), asked)
    spec = {
        "name": "parts",
        "data": {
            "path": asked,
            "label": "value",
            "series": {"id": "name", "time": "t", "horizon": 4, "season": 6, "folds": "series"},
            "split": {"column": "part"},
        },
        "extractors": ["seasonal_naive", "theta"],
        "search": {"trials": 3, "folds": 2, "ensemble": {"trials": 2}},
        "graph": {"members": "refit"},
    }
    store = str(tmp_path / "store")
    answer = run(spec, store)
    scored = evaluate_file(cluster, "parts", store, asked)
    assert scored["rows"] == answer["rows"]["test"] == 48
    assert scored["test"] == pytest.approx(answer["test"], rel=1e-5)

    late, told = points.filter(pa.array(t >= 40)), str(tmp_path / "late.parquet")
    pq.write_table(late.append_column("part", pa.array(["test"] * len(late))), told)
    scored = evaluate_file(cluster, "parts", store, told)
    assert (scored["rows"], scored["unlabelled"]) == (24 * 3, 0), "of 30 steps 16 are history before any forecast"
    graph = ModelStore(StoreRoot(store)).load("parts")
    graph.setup("cpu")
    values = late["value"].to_numpy().reshape(24, 30)
    histories = [own[:stop] for own in values for stop in (16, 20, 24)]
    futures = np.array([own[stop : stop + 4] for own in values for stop in (16, 20, 24)])
    table = pa.table({"history": pa.array(histories, pa.list_(pa.float64()))})
    y = Came.after(histories, futures, 6).packed()
    expected = score_all(y, graph.outputs(coerce(table, graph.columns).batch), "forecasting")
    assert scored["test"] == pytest.approx(expected, rel=1e-4)


def test_covariates_of_points(run, cluster, tmp_path):
    told = POINTS + "&known=promo&observed=heat"
    covariates = {"known": ["promo"], "observed": ["heat"]}
    spec = {
        "name": "offers",
        "data": {
            "path": told,
            "label": "value",
            "series": {"id": "name", "time": "t", "horizon": 4, "season": 6, "covariates": covariates},
        },
        "extractors": ["theta", "autoregression", {"name": "forecast_rnn", "params": {"epochs": 2, "windows": 6}}],
        "search": {"trials": 4, "folds": 2, "ensemble": {"trials": 2}},
        "graph": {"members": "refit"},
    }
    store = str(tmp_path / "store")
    answer = run(spec, store)
    assert answer["levels"]["alone:autoregression"]["test"] < 0.7 * answer["levels"]["alone:theta"]["test"]

    points = generated(told, DataSpec(path=told, label="value"))
    ahead = [(f"series {i}", 70 + step, float(step == 1), None, None) for i in range(24) for step in range(4)]
    columns = dict(zip(points.column_names, map(list, zip(*ahead, strict=True)), strict=True))
    answers = {}
    for what, table in (
        ("told", pa.concat_tables([points, pa.table(columns, points.schema)])),
        ("carried", points),
    ):
        asked, out = str(tmp_path / f"{what}.parquet"), str(tmp_path / f"{what} answers.parquet")
        pq.write_table(table, asked)
        summary = predict_file(cluster, "offers", store, asked, out)
        assert summary["bad"] == 0
        assert [note[:33] for note in summary["notes"]] == (
            ["96 of 96 steps ahead have no numb"] if what == "carried" else []
        )
        answers[what] = pq.read_table(out).to_pydict()
        assert answers[what]["t"] == [69] * 24
    last = points["promo"].to_numpy().reshape(24, 70)[:, -1]
    ratio = np.array(answers["told"]["prediction"]) / np.array(answers["carried"]["prediction"])
    assert np.median(ratio[last == 0, 1]) > 1.1
    np.testing.assert_allclose(np.median(ratio[last == 0][:, [0, 2, 3]]), 1, atol=0.02)
    scored = evaluate_file(cluster, "offers", store, str(tmp_path / "told.parquet"))
    assert scored["test"] == pytest.approx(answer["test"], rel=1e-5)


def test_points_put_together_to_longer_steps(run, cluster, tmp_path):
    hourly = "generated://points?series=20&steps=160&season=12&id=name&time=t"
    spec = {
        "name": "pairs",
        "data": {
            "path": hourly,
            "label": "value",
            "series": {
                "id": "name",
                "time": "t",
                "horizon": 4,
                "season": 6,
                "resample": {"every": 2, "by": "sum"},
                "levels": [0.8, 0.99],
            },
        },
        "extractors": ["seasonal_naive", "theta"],
        "search": {"trials": 3, "folds": 2, "ensemble": {"trials": 2}},
        "graph": {"members": "refit"},
    }
    store = str(tmp_path / "store")
    answer = run(spec, store)
    report = json.loads(Path(answer["report"]).with_suffix(".json").read_text())
    assert "3200 points are put together to 1600 steps." in report["notes"]
    (short,) = [note for note in report["notes"] if note.startswith("No interval of 0.99 is given: it takes 99 rows")]
    assert "and 40 are there" in short
    assert [row["level"] for row in report["evaluation"]["forecast"]["intervals"]] == [0.8]
    assert answer["levels"]["ensemble"]["test"] < answer["levels"]["naive"]["test"]

    # What is told of points is told of histories of the longer steps too.
    points = generated(hourly, DataSpec(path=hourly, label="value"))
    pairs = points["value"].to_numpy().reshape(20, 80, 2).sum(axis=2)
    graph = ModelStore(StoreRoot(store)).load("pairs")
    graph.setup("cpu")
    told = pa.table({"history": pa.array(list(pairs), pa.list_(pa.float64()))})
    expected = graph.answer(graph.outputs(coerce(told, graph.columns).batch))
    asked, out = str(tmp_path / "points.parquet"), str(tmp_path / "answers.parquet")
    pq.write_table(points, asked)
    assert predict_file(cluster, "pairs", store, asked, out)["bad"] == 0
    np.testing.assert_allclose(pq.read_table(out)["prediction"].to_pylist(), expected["prediction"], rtol=1e-5)
    assert evaluate_file(cluster, "pairs", store, asked)["test"] == pytest.approx(answer["test"], rel=1e-5)
