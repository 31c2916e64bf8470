"""A run keeps its promises: cached, resumed, seeded, honest about bad rows."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hybrid_ray.errors import DataError, ResourceError
from hybrid_ray.on_ray.run import spec_of_run
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore


def image(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "photo": [image(int(v)) for v in np.clip(60 + 110 * y + rng.normal(0, 60, n), 0, 255)],
            "words": [" ".join(rng.choice(["good", "fine"] if v else ["bad", "poor"], 3)) for v in y],
            "size": rng.normal(y, 2.0),
            "label": y,
        }
    )


def spec(path, **search):
    return {
        "name": "toy",
        "task": "binary",
        "data": {
            "path": str(path),
            "label": "label",
            "columns": {"photo": "image", "words": "text", "size": "numeric"},
            "shard_rows": 32,
            "max_bad_fraction": 0.2,
        },
        "extractors": [{"name": "pixels", "params": {"size": 4}}, {"name": "tfidf"}, {"name": "tabular"}],
        "search": {
            "trials": 8,
            "batch": 4,
            "folds": 3,
            "estimators": ["logistic", "knn"],
            "ensemble": {"trials": 4},
            "max_concurrent": 1,  # a second worker takes longer to start than these fits take
            **search,
        },
    }


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.parquet"
    table(120).to_parquet(path)
    return path


class Finished(NamedTuple):
    """A finished run, for tests that leave its rows as they are."""

    rows: Path
    store: Path
    answer: dict[str, Any]


def asked(rows):
    return spec(rows, repeats=2) | {"graph": {"reserves": True}}


def blurred():
    """Rows of which no modality says all."""
    found = table(120)
    found.loc[::4, "words"] = found["words"].iloc[::-4].to_numpy()
    return found


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    blurred().to_parquet(folder / "rows.parquet")
    return Finished(folder / "rows.parquet", folder / "store", run(asked(folder / "rows.parquet"), folder / "store"))


def test_a_run_again_is_the_same_and_grown_rows_cost_what_is_new(finished, run, tmp_path):
    rows, store, first = finished
    distinct = table(120)["photo"].nunique()
    assert distinct < 120
    assert first["extraction"] | {"seconds": 0} == {"rows": 120, "cached": 0, "computed": distinct, "seconds": 0}
    assert {"image", "text", "tabular"} == set(first["modalities"])
    assert {"alone:image", "feature-level fusion", "ensemble", "naive"} <= set(first["levels"])
    report = json.loads(Path(first["report"]).with_suffix(".json").read_text())
    left_out = {row["name"] for row in report["evaluation"]["ablation"] if row["kind"] == "without"}
    assert left_out == {"image", "text", "tabular"}
    graph = ModelStore(StoreRoot(str(store))).load("toy")
    assert all(any(reserve.name in (f"without:{m}", f"alone:{m}") for m in left_out) for reserve in graph.reserves)
    assert sum(note.startswith("Rows that ") for note in report["notes"]) == len(graph.reserves) > 0
    seen = {name: table(40, seed=2)[name].to_numpy() for name in ("photo", "words", "size")}
    key = {"pixels": "photo", "tfidf": "words", "tabular": "size"}
    for reserve in graph.reserves:
        lacking = dict(seen)
        for extractor in reserve.lacks:
            name = key[extractor.partition("@")[0]]
            lacking[name] = np.full(40, np.nan if name == "size" else None, seen[name].dtype)
        [(answered_by, found)] = graph.reserved(graph.extract(lacking))
        assert (answered_by, len(found)) == (reserve, 40)
    assert run(asked(rows), store) == first

    grown = pd.concat([table(120), table(12, seed=1)]).sample(frac=1, random_state=0)
    grown.to_parquet(tmp_path / "grown.parquet")
    again = run(asked(tmp_path / "grown.parquet"), store, stop_after="extract")
    new = len(set(grown["photo"]) - set(table(120)["photo"]))
    assert (again["extraction"]["rows"], again["extraction"]["computed"]) == (132, new)


def test_the_report_says_what_the_search_was_worth(finished):
    report = json.loads(Path(finished.answer["report"]).with_suffix(".json").read_text())
    tests = report["fold_tests"]
    assert (tests["folds"], tests["cuts"], tests["note"]) == (3, 2, "")
    assert 3 <= len(tests["rows"]) <= 10
    assert [row["cuts"] for row in tests["rows"]] == [2] * len(tests["rows"])
    assert [row["rank"] for row in tests["rows"]] == sorted(row["rank"] for row in tests["rows"])
    [best] = [row for row in tests["rows"] if row["p_value"] is None]
    assert best["label"] == report["candidates"][0]["label"]
    assert all(
        row["low"] <= row["gain"] <= row["high"] and 0 <= row["p_value"] <= 1 for row in tests["rows"] if row != best
    )
    assert all(0 <= tests[p] <= 1 for p in ("friedman_p", "anova_p"))
    assert tests["critical_difference"] > 0

    candidates, ensembles = report["sensitivity"]
    assert (candidates["of"], ensembles["of"]) == ("candidates", "ensembles")
    assert (candidates["trials"], ensembles["trials"]) == (8, 4)

    members = report["ensemble"]["members"]
    assert [member["weight"] for member in members] == [m["weight"] for m in finished.answer["members"]]
    assert all(0 <= member["low"] <= member["high"] <= 1 for member in members)
    assert all(member["low"] <= member["weight"] <= member["high"] for member in members)

    tried = report["ensemble"]["tried"]
    assert sum(row["trials"] for row in tried) == 4
    assert {row["combiner"] for row in tried} == {"linear_pool", "stacking", "log_pool", "bayesian_fusion"}
    reached = [row["oof"] for row in tried]
    assert reached == sorted(reached), "log loss, best first"
    assert all(row["seconds"] >= 0 for row in tried)


def test_a_fresh_run_that_stopped_goes_on_under_its_own_id(finished, run, tmp_path):
    rows, store, first = finished
    stopped = run(asked(rows), store, fresh=True, stop_after="search")
    assert stopped["run_id"] == f"{first['run_id']}-2"
    assert stopped["search"]["resumed"] == 0
    answer = run(spec_of_run(str(store), stopped["run_id"]), store, resume=stopped["run_id"])
    assert answer["run_id"] == stopped["run_id"]
    assert answer["search"]["resumed"] == answer["search"]["fits"] > 0
    assert answer["extraction"]["computed"] == 0
    assert answer["version"] == first["version"] + 1
    assert (answer["test"], answer["members"]) == (first["test"], first["members"])
    tried = json.loads((store / "runs" / answer["run_id"] / "trials.json").read_text())["trials"]
    assert [trial["number"] for trial in tried] == list(range(8))
    assert {trial["candidate"]["estimator"] for trial in tried} == {"logistic", "knn"}
    record = RunStore(StoreRoot(str(store))).get(stopped["run_id"])["record"]
    assert (record["split"]["kind"], record["split"]["test"]) == ("stratified", answer["rows"]["test"])

    # Stopped once more, after the model was registered and before all fits on other cuts were done.
    folder = store / "runs" / stopped["run_id"]
    tested = json.loads((folder / "report.json").read_text())["fold_tests"]
    fits = {path: path.read_bytes() for path in sorted((folder / "fits").iterdir())}
    later = [path for path in fits if path.stem not in {key for trial in tried for key in trial["keys"]}]
    assert len(later) >= 3 * len(tested["rows"])
    for path in (folder / "result.json", *later[::2]):
        path.unlink()
    once_more = run(spec_of_run(str(store), stopped["run_id"]), store, resume=stopped["run_id"])
    assert (once_more["version"], once_more["artifact"]) == (answer["version"], answer["artifact"])
    assert sorted(fits) == sorted((folder / "fits").iterdir())
    left = [path for path in fits if path not in later[::2]]
    assert all(path.read_bytes() == fits[path] for path in left), "a finished fit is not done again"
    assert json.loads((folder / "report.json").read_text())["fold_tests"] == tested
    versions = ModelStore(StoreRoot(str(store))).list("toy")
    assert [version.version for version in versions] == [first["version"], answer["version"]]

    table(130).to_parquet(rows)
    try:
        with pytest.raises(DataError, match=r"can only go on with the rows and the code it began with; got others"):
            run(spec_of_run(str(store), stopped["run_id"]), store, resume=stopped["run_id"])
    finally:
        blurred().to_parquet(rows)


@pytest.mark.slow
def test_a_search_above_max_matrix_runs_on_a_sample(rows, run, tmp_path, cluster):
    asked = spec(rows, estimators=["logistic"], trials=2)
    asked["extractors"] = [{"name": "pixels", "params": {"size": 4}}, {"name": "tabular"}]
    asked["graph"] = {"reserves": True}  # so few rows would be bagged, if the search saw them all
    width = 4 * 4 + 3 * 32
    asked["search"]["max_matrix"] = 75 * 4 * width / cluster.view().smallest_store
    answer = run(asked, tmp_path / "store")
    report = json.loads(Path(answer["report"]).with_suffix(".json").read_text())
    [note] = [note for note in report["notes"] if "max_matrix" in note]
    seen = int(note.split(" search sees ")[1].split()[0])
    assert 60 <= seen <= 75
    assert f"{seen} of 96 training rows" in note
    assert report["graph"]["members"] == "refit"
    assert "members: refit" in report["spec"]
    resumable = spec_of_run(str(tmp_path / "store"), answer["run_id"]).graph
    assert (resumable.members, resumable.sampled) == ("bag", "refit")
    assert any("on all 96 training rows in the memory of one task: logistic(" in note for note in report["notes"])
    read = {
        name for member in ModelStore(StoreRoot(str(tmp_path / "store"))).load("toy").members for name in member.keys
    }
    assert sum(note.startswith("Rows that lack ") for note in report["notes"]) == (2 if len(read) == 2 else 0)
    assert answer["rows"] | {"bad": 0} == {"total": 120, "train": 96, "test": 24, "bad": 0, "test_groups": None}
    asked["search"]["max_matrix"] = 10 * 4 * width / cluster.view().smallest_store
    with pytest.raises(ResourceError, match=r"search.max_matrix: .* must hold 20 rows a fold; got room for \d+"):
        run(asked, tmp_path / "store")


@pytest.mark.slow
def test_above_max_matrix_boosters_are_fitted_on_all_rows(run, tmp_path, cluster):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(3000, 3)), columns=["a", "b", "c"])
    frame["kind"] = rng.choice(["x", "y", "z"], 3000)
    frame["label"] = (frame["a"] * np.where(frame["kind"] == "x", 1, -1) + rng.normal(0, 0.5, 3000) > 0).astype(int)
    frame.to_parquet(tmp_path / "table.parquet")
    asked = {
        "name": "tall",
        "task": "binary",
        "data": {"path": str(tmp_path / "table.parquet"), "label": "label", "shard_rows": 100},
        "extractors": [{"name": "tabular"}],
        "search": {
            "trials": 2,
            "folds": 2,
            "estimators": [{"name": "xgboost", "params": {"subsample": 1.0, "n_estimators": 60}}],
            "ensemble": {"trials": 1, "max_members": 1},
            "max_matrix": 600 * 4 * (2 * 4 * 32) / cluster.view().smallest_store,
            "max_concurrent": 1,
        },
        "graph": {"members": "refit", "refit_workers": 2},
    }
    answer = run(asked, tmp_path / "store")
    report = json.loads(Path(answer["report"]).with_suffix(".json").read_text())
    [note] = [note for note in report["notes"] if note.startswith("Fitted")]
    assert "on all 2400 training rows, read as a stream by 2 workers: xgboost(tabular)#" in note
    assert "rows of the sample" not in note
    assert report["graph"]["members"] == "refit"
    assert answer["test"]["accuracy"] > 0.75
    graph = ModelStore(StoreRoot(str(tmp_path / "store"))).load("tall")
    [chain] = graph.members[0].chains
    root_cover = chain.model.booster_.trees_to_dataframe().query("Tree == 0 and Node == 0")["Cover"].item()
    assert root_cover > 0.24 * 2000, "a row of the first tree counts p(1 - p): the sample alone has 600 of them"


def check_costs(answer):
    """What the search measured is on the card, and is about what the graph came to."""
    report = json.loads(Path(answer["report"]).with_suffix(".json").read_text())
    card = report["tradeoff"]
    assert (card["objectives"], card["prefer"]) == (["metric", "latency", "size"], "balanced")
    [taken] = [row for row in card["rows"] if row["chosen"]]
    assert taken["front"]
    assert all(row[cost] > 0 for row in card["rows"] for cost in ("latency_ms", "batch_ms", "size_mb"))
    assert 0.5 < taken["size_mb"] * 1e6 / report["graph"]["bytes"] < 1.1
    assert "Score against cost" in Path(answer["report"]).read_text()


def test_labels_that_are_no_number_and_lines_that_are_no_row_are_listed(run, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    lines = [f"{v:.3f},{2 * v:.3f}" for v in x]
    lines[7] = "1.0,many"
    lines[9] = "1.0,2.0,3.0"
    (tmp_path / "rows.csv").write_text("x,y\n" + "\n".join(lines) + "\n")
    asked = {
        "name": "lines",
        "task": "regression",
        "data": {"path": str(tmp_path / "rows.csv"), "label": "y", "columns": {"x": "numeric"}},
        "search": {
            "trials": 2,
            "folds": 2,
            "estimators": [{"name": "random_forest", "params": {"n_estimators": 50}}],
            "ensemble": {"trials": 2},
            "max_concurrent": 1,
            # Costs are measured in this run too, see below: a run of its own would do the same again.
            "objectives": ["metric", "latency", "size"],
            "prefer": "balanced",
        },
    }
    answer = run(asked, tmp_path / "store")
    check_costs(answer)
    assert (answer["rows"]["total"], answer["rows"]["bad"]) == (119, 1)
    rejects = (tmp_path / "store" / "runs" / answer["run_id"] / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in rejects] == [
        {"row": 7, "column": "y", "reason": "no number"},
        {"lines_left_out": 1},
    ]


def test_bad_rows_are_kept_apart_up_to_a_fraction(rows, run, tmp_path):
    frame = table(120)
    frame.loc[:11, "photo"] = [b"this is no image"] * 12
    frame.loc[20:25, "words"] = None
    frame.to_parquet(rows)
    store = tmp_path / "store"
    answer = run(spec(rows), store)
    assert answer["rows"]["bad"] == 12
    rejects = StoreRoot(str(store)).read(f"runs/{answer['run_id']}/rejects.jsonl").decode()
    assert len(rejects.splitlines()) == 12

    frame.loc[:40, "photo"] = [b"this is no image"] * 41
    frame.to_parquet(rows)
    with pytest.raises(DataError, match=r"max_bad_fraction"):
        run(spec(rows), store)
    unfinished = RunStore(StoreRoot(str(store))).list()[0]
    assert unfinished["status"] == "unfinished"
    rejects = StoreRoot(str(store)).read(f"runs/{unfinished['run_id']}/rejects.jsonl").decode()
    assert len(rejects.splitlines()) == 41, "what must be mended is listed"


def test_redacted_columns_leave_no_trace(rows, run, tmp_path):
    """No file of the store shows them but the fitted word list of the model, which must have read them."""
    frame = table(120)
    frame["words"] = [f"{w} secretword" for w in frame["words"]]
    for row, photo in enumerate(frame["photo"]):
        (tmp_path / f"secretpath{row}.png").write_bytes(photo if row > 2 else b"this is no image")
    frame["photo"] = [f"secretpath{row}.png" for row in range(120)]
    frame.to_parquet(rows)
    asked = spec(rows)
    asked["data"]["redact"] = ["words", "photo"]
    store = tmp_path / "store"
    answer = run(asked, store)
    assert (answer["version"], answer["rows"]["bad"]) == (1, 3)
    states = {path for path in store.rglob("*") if "extractors" in path.parts or "chains" in path.parts}
    files = {path for path in store.rglob("*") if path.is_file()} - states
    assert {"memos", "runs", "models", "features"} <= {path.relative_to(store).parts[0] for path in files}
    for path in sorted(files):
        held = path.read_bytes()
        assert b"secretpath" not in held, path
        assert b"secretword" not in held, path


def test_regression_and_temporal_split(run, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=150), "x": rng.normal(size=150)})
    frame["y"] = np.exp(frame["x"] + rng.normal(0, 0.2, 150))
    frame.to_parquet(tmp_path / "series.parquet")
    answer = run(
        {
            "name": "growth",
            "task": "regression",
            "data": {
                "path": str(tmp_path / "series.parquet"),
                "label": "y",
                "columns": {"x": "numeric"},
                "split": {"kind": "temporal", "column": "day"},
            },
            "search": {
                "trials": 4,
                "folds": 3,
                "estimators": ["ridge", "knn"],
                "ensemble": {"trials": 3},
                "max_concurrent": 1,
            },
        },
        tmp_path / "store",
    )
    assert answer["test"]["r2"] > 0.5
    assert answer["rows"]["test"] == 30


@pytest.mark.slow
@pytest.mark.parametrize("members", ["bag", "refit"])
def test_tables_encoded_in_several_ways_and_prepared_rows_go_from_the_search_to_the_model(members, run, tmp_path):
    rng = np.random.default_rng(0)
    shop = rng.integers(0, 40, 240)
    y = ((shop % 4 == 0) ^ (rng.random(240) < 0.05)).astype(int)
    frame = pd.DataFrame({"shop": [f"s{s}" for s in shop], "size": rng.lognormal(y, 1.0), "label": y})
    frame.loc[::9, "size"] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet")
    ways = [
        {"name": "tabular", "params": {"min_count": 2}},
        {"name": "tabular", "id": "ranks", "params": {"scale": "quantile", "encode": "ordinal", "impute": "knn"}},
        {"name": "tabular_target"},
    ]
    document = spec(tmp_path / "rows.parquet", trials=10, estimators=["logistic"]) | {
        "extractors": ways,
        "graph": {"members": members},
    }
    document["data"]["columns"] = {"shop": "categorical", "size": "numeric"}
    document["search"]["preparations"] = [{"name": "clip", "params": {"blocks": ["tabular"]}, "always": True}, "smote"]
    store = tmp_path / "store"
    answer = run(document, store)
    tried = json.loads((store / "runs" / answer["run_id"] / "trials.json").read_text())["trials"]
    blocks = {tuple(trial["candidate"]["blocks"]) for trial in tried}
    assert {("ranks",), ("tabular",), ("tabular_target",)} <= blocks
    steps = [[step["name"] for step in trial["candidate"]["steps"]] for trial in tried]
    assert all(names[0] == "clip" for names in steps)
    assert ["clip", "smote"] in steps
    graph = ModelStore(StoreRoot(str(store))).load("toy")
    assert graph.info["golden_check"] == "passed"
    assert {step.name for member in graph.members for chain in member.chains for step in chain.steps} >= {"clip"}
    outputs = graph.outputs({"shop": frame["shop"].to_numpy(object), "size": frame["size"].to_numpy()})
    assert (outputs.argmax(axis=1) == y).mean() > 0.8
