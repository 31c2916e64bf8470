"""A graph that forecasts, without Ray: in process, saved and loaded, and over HTTP it answers the same."""

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.forecasts import OUTLOOK, Came, Outlook
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.store.artifact import load_graph, save_graph
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.root import StoreRoot

H, SEASON = 4, 6
COLUMN = {"history": "series"}


def histories(n=30, seed=0):
    rng = np.random.default_rng(seed)
    cells = np.empty(n, object)
    for row in range(n):
        at = np.arange(int(rng.integers(20, 50)))
        wave = rng.uniform(20, 900) * (1 + 0.3 * np.sin(2 * np.pi * at / SEASON)) + rng.normal(size=len(at))
        cells[row] = wave.astype(np.float32)[:, None]
    return cells


@pytest.fixture(scope="module")
def graph():
    load_plugins()
    params = {"horizon": H, "season": SEASON}
    extractors = {name: build_extractor(name, params, COLUMN) for name in ("seasonal_naive", "theta")}
    cells = histories()
    known, came = [cell[:-H] for cell in cells], np.array([cell[-H:, 0] for cell in cells], np.float64)
    batch = {"history": np.empty(len(cells), object)}
    batch["history"][:] = known
    blocks = {name: extractor.transform(batch) for name, extractor in extractors.items()}
    y = Came.after([cell[:, 0].astype(float) for cell in known], came, SEASON).packed()
    candidate = Candidate(("seasonal_naive", "theta"), "forecasts", "forecast_pool", {}, {}, ())
    chain = fit_chain(candidate, blocks, y, task="forecasting", n_outputs=H, seed=0)
    outputs = chain.predict(blocks)
    decision = LinearPool(LinearPoolParams()).fit({"pool": outputs}, y, "forecasting")
    outlook = Outlook.learned(outputs, y, (0.8,)).to_json()
    members = [Member("pool", candidate, [chain])]
    return Graph("sales", "forecasting", "value", dict(COLUMN), None, extractors, members, decision, {OUTLOOK: outlook})


def test_outputs_hold_forecasts_and_ends_of_intervals(graph):
    outputs = graph.outputs({"history": histories(5, seed=1)})
    assert outputs.shape == (5, graph.n_outputs) == (5, 3 * H)
    answer = graph.answer(outputs)
    assert list(answer) == ["prediction", "low_80", "high_80"]
    assert (np.array(answer["low_80"]) < answer["prediction"]).all()
    assert graph.labels(outputs) == answer["prediction"]
    assert graph.outputs({"history": histories(5, seed=1)[:0]}).shape == (0, 3 * H)


def test_a_row_without_a_history_is_an_error_and_changes_no_other(graph):
    cells = histories(3, seed=1)
    whole = graph.outputs({"history": cells})
    cells[1] = None
    blocks, errors = graph.examine({"history": cells})
    assert errors == {1: "history: must hold a number; got none"}
    outputs = graph.combine(blocks)
    np.testing.assert_array_equal(outputs[[0, 2]], whole[[0, 2]])
    assert np.isfinite(outputs).all()


def test_saved_and_loaded_it_answers_the_same(graph, tmp_path):
    import pyarrow as pa

    table = pa.table({"history": [cell[:, 0].tolist() for cell in histories(8, seed=2)]})
    save_graph(StoreRoot(str(tmp_path)), "model", graph, make_golden(graph, table))
    loaded = load_graph(StoreRoot(str(tmp_path)), "model")
    batch = {"history": histories(6, seed=3)}
    np.testing.assert_array_equal(loaded.outputs(batch), graph.outputs(batch))
    assert loaded.info["golden_check"] == "passed"


@pytest.mark.parametrize("split", [True, False])
def test_http_answers_as_the_graph_does(graph, client_of, split):
    cells = histories(4, seed=4)
    cells[2][3] = np.nan
    rows = [{"history": [None if np.isnan(v) else float(v) for v in cell[:, 0]]} for cell in cells]
    with client_of(graph, split, {"history": histories(1)}) as client:
        answer = client.post("/predict", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        for nothing in (None, [], [None, None]):
            refused = client.post("/predict", json={"rows": [rows[0], {"history": nothing}]})
            assert refused.status_code == 422, nothing
            assert "history" in str(refused.json()), refused.text
        schema = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]
    expected = graph.answer(graph.outputs({"history": cells}))
    assert set(schema) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose([row[name] for row in answer.json()["predictions"]], values, rtol=1e-5)
