"""A graph that forecasts from covariates, without Ray: saved and loaded, and over HTTP it answers the same."""

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.columns import coerce
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.forecasts import OUTLOOK, Came, Outlook
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.artifact import load_graph, save_graph
from hybrid_ray.store.golden import SERIES_STEPS, make_golden, to_batch, to_cells
from hybrid_ray.store.root import StoreRoot

H, SEASON = 4, 7
COLUMNS = {"history": "series", "promo": "series", "heat": "series"}
POINTS = "generated://points?series=20&steps=90&season=7&id=name&time=t&known=promo&observed=heat"
SERIES = {"id": "name", "time": "t", "horizon": H, "season": SEASON} | {
    "covariates": {"known": ["promo"], "observed": ["heat"]}
}


def table_of(training):
    source = open_source(DataSpec(path=POINTS, label="value", series=SERIES), training=training)
    return pa.concat_tables(t for piece in source.pieces for t in read_piece(source, piece, source.schema.names, 64))


@pytest.fixture(scope="module")
def graph():
    load_plugins()
    asked = {"horizon": H, "season": SEASON}
    theta = build_extractor("theta", asked, {"history": "series"})
    extractors = {
        "theta": theta,
        "autoregression": build_extractor("autoregression", asked | {"known": ["promo"]}, COLUMNS),
    }
    table = table_of(training=True)
    batch = coerce(table, COLUMNS).batch
    blocks = {name: extractor.transform(batch) for name, extractor in extractors.items()}
    came = np.array(table["value"].to_pylist(), np.float64)
    y = Came.after([cell[:, 0].astype(float) for cell in batch["history"]], came, SEASON).packed()
    candidate = Candidate(tuple(extractors), "forecasts", "forecast_pool", {}, {}, ())
    chain = fit_chain(candidate, blocks, y, task="forecasting", n_outputs=H, seed=0)
    outputs = chain.predict(blocks)
    decision = LinearPool(LinearPoolParams()).fit({"pool": outputs}, y, "forecasting")
    outlook = Outlook.learned(outputs, y, (0.8,)).to_json()
    members = [Member("pool", candidate, [chain])]
    return Graph(
        "sales", "forecasting", "value", dict(COLUMNS), None, extractors, members, decision, {OUTLOOK: outlook}
    )


def rows_of(batch):
    return [
        {name: [None if np.isnan(v) else float(v) for v in cells[row][:, 0]] for name, cells in batch.items()}
        for row in range(len(batch["history"]))
    ]


def test_a_promotion_ahead_raises_the_steps_that_it_is_in(graph):
    batch = coerce(table_of(training=True).slice(0, 6), COLUMNS).batch
    plain = {**batch, "promo": np.array([None, *batch["promo"]], object)[1:]}
    told = {**batch, "promo": plain["promo"].copy()}
    for row, cell in enumerate(batch["promo"]):
        plain["promo"][row], told["promo"][row] = cell.copy(), cell.copy()
        plain["promo"][row][-H:], told["promo"][row][-H:] = 0, np.array([[0], [1], [0], [1]])
    ratio = graph.outputs(told)[:, :H] / graph.outputs(plain)[:, :H]
    assert (ratio[:, [1, 3]] > 1.15).all()
    np.testing.assert_allclose(ratio[:, 0], 1, atol=0.02)


def test_saved_and_loaded_it_answers_the_same(graph, tmp_path):
    save_graph(StoreRoot(str(tmp_path)), "model", graph, make_golden(graph, table_of(training=True)))
    loaded = load_graph(StoreRoot(str(tmp_path)), "model")
    batch = coerce(table_of(training=False), COLUMNS).batch
    np.testing.assert_array_equal(loaded.outputs(batch), graph.outputs(batch))
    assert loaded.info["golden_check"] == "passed"
    assert list(loaded.columns) == list(COLUMNS)


def test_golden_rows_cut_covariates_as_they_cut_the_history(graph):
    n = SERIES_STEPS + 50
    steps = np.arange(n + H, dtype=np.float32)[:, None]
    batch = {name: np.empty(2, object) for name in COLUMNS}
    for row, m in enumerate((n, 30)):
        batch["history"][row], batch["heat"][row], batch["promo"][row] = steps[:m], steps[:m], steps[: m + H]
    cut = to_batch(to_cells(batch, COLUMNS), COLUMNS)
    assert [len(cut[name][0]) for name in COLUMNS] == [SERIES_STEPS - H, SERIES_STEPS, SERIES_STEPS - H]
    assert {cut[name][0][0, 0] for name in COLUMNS} == {54.0}
    assert [len(cut[name][1]) for name in COLUMNS] == [30, 30 + H, 30]
    assert graph.prepare("autoregression", cut).errors == {}


@pytest.mark.parametrize("split", [True, False])
def test_http_answers_as_the_graph_does(graph, client_of, split):
    batch = coerce(table_of(training=True).slice(0, 5), COLUMNS).batch
    rows = rows_of(batch)
    del rows[1]["heat"]
    rows[2]["promo"] = rows[2]["promo"][:-H]
    rows[3]["promo"][4] = None
    batch["heat"][1] = None
    batch["promo"][2] = batch["promo"][2][:-H]
    batch["promo"][3] = batch["promo"][3].copy()
    batch["promo"][3][4] = np.nan
    with client_of(graph, split, {}) as client:
        answer = client.post("/predict", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        row = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    expected = graph.answer(graph.outputs(batch))
    for name, values in expected.items():
        np.testing.assert_allclose([row[name] for row in answer.json()["predictions"]], values, rtol=1e-5)
    assert set(row["application/json"]["schema"]["oneOf"][1]["properties"]) == set(COLUMNS)


@pytest.mark.parametrize("split", [True, False])
def test_http_refuses_covariates_that_do_not_fit_the_history(graph, client_of, split):
    (row,) = rows_of(coerce(table_of(training=True).slice(0, 1), COLUMNS).batch)
    n = len(row["history"])
    with client_of(graph, split, {}) as client:
        answer = client.post("/predict", json={"rows": [row, {**row, "heat": row["heat"][1:]}]})
        assert answer.status_code == 422
        (fault,) = answer.json()["detail"]
        assert fault["loc"] == ["body", "rows", 1, "heat"]
        assert fault["msg"] == f"must have {n} steps, as many as history; got {n - 1}"
        unknown = client.post("/predict", json={"rows": [{**row, "heta": row["heat"]}]}).json()["detail"]
        assert unknown[0]["msg"].endswith("Did you mean 'heat'?")
        words = client.post("/predict", json={"rows": [{**row, "promo": ["yes"] * n}]})
        assert (words.status_code, words.json()["detail"][0]["loc"][:4]) == (422, ["body", "rows", 0, "promo"])
