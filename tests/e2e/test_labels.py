"""Several annotators' labels, and labels that are wrong: from the rows to the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.evaluation.schema import Report
from hybrid_ray.on_ray.evaluate import evaluate_file
from hybrid_ray.on_ray.explain import explain_file
from hybrid_ray.spec import DataSpec, TargetSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

MISTAKEN = {"ann": 0.05, "ben": 0.2, "cleo": 0.3}


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """A run on rows of which three people labelled most, and the truth."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    rows = pd.DataFrame({"size": rng.normal(3 * truth, 1.0), "weight": rng.normal(2 * truth, 1.0)})
    for name, share in MISTAKEN.items():
        wrong = rng.random(len(truth)) < share
        rows[name] = pd.Series(np.where(wrong, 1 - truth, truth)).map({0: "well", 1: "sick"})
        rows.loc[rng.random(len(truth)) < 0.1, name] = None
    rows.to_csv(folder / "rows.csv", index=False)
    spec = {
        "name": "annotated",
        "data": {
            "path": str(folder / "rows.csv"),
            "label": "state",
            "annotators": list(MISTAKEN),
            "columns": {"size": "numeric", "weight": "numeric"},
        },
        "search": {"trials": 3, "folds": 3, "batch": 2, "estimators": ["logistic"], "ensemble": {"trials": 2}},
    }
    answer = run(spec, folder / "store")
    report = Report.model_validate(json.loads(Path(answer["report"]).with_suffix(".json").read_text()))
    return answer, report, truth, folder


def test_the_report_tells_how_annotators_agree(found):
    _, report, _, _ = found
    said = report.labels.annotation
    assert said.how == "dawid_skene"
    assert [row.name for row in said.annotators] == list(MISTAKEN)
    for row in said.annotators:
        assert row.accuracy == pytest.approx(1 - MISTAKEN[row.name], abs=0.08)
        assert 240 <= row.labelled <= 290
    assert 0.3 < said.krippendorff < 0.75
    assert 0.3 < said.fleiss < 0.75
    assert len(said.pairs) == 3
    html = Path(found[0]["report"]).read_text()
    assert "Krippendorff" in html
    assert "Labels that are likely wrong" in html


def test_it_learns_what_annotators_mean(found):
    answer, _, truth, folder = found
    assert answer["task"] == "binary"
    graph = ModelStore(StoreRoot(str(folder / "store"))).load(answer["model"])
    graph.setup("cpu")
    rows = pd.read_csv(folder / "rows.csv")
    outputs = graph.outputs({name: rows[name].to_numpy() for name in ("size", "weight")})
    said = np.array(graph.classes)[outputs.argmax(axis=1)]
    assert (said == np.where(truth, "sick", "well")).mean() > 0.93  # more often right than all annotators but one


def test_a_file_of_its_own_kind_is_scored_by_its_consensus(found, cluster):
    answer, _, truth, folder = found
    store, rows = str(folder / "store"), pd.read_csv(folder / "rows.csv")
    own = evaluate_file(cluster, answer["model"], store, str(folder / "rows.csv"))
    assert own["notes"] == ["The label is the consensus (dawid_skene) of 'ann', 'ben', 'cleo'."]
    assert own["rows"] + own["unlabelled"] == len(rows)
    graph = ModelStore(StoreRoot(store)).load(answer["model"])
    graph.setup("cpu")
    said = graph.outputs({name: rows[name].to_numpy() for name in ("size", "weight")}).argmax(axis=1)
    asked = DataSpec(path=str(folder / "rows.csv"), label="state", annotators=tuple(MISTAKEN))
    taught = read_rows(asked, TargetSpec(), open_source(asked), "binary", 3, 0).target
    assert own["test"]["accuracy"] == pytest.approx((said == taught.y)[~taught.missing].mean())
    rows["state"] = np.where(truth, "sick", "well")
    rows.to_csv(folder / "true.csv", index=False)
    true = evaluate_file(cluster, answer["model"], store, str(folder / "true.csv"))
    assert (true["rows"], true["unlabelled"], true["notes"]) == (len(rows), 0, [])
    assert true["test"]["accuracy"] > 0.93 > own["test"]["accuracy"]


def test_what_it_needs_of_such_a_file_is_explained(found, cluster, tmp_path):
    answer, _, _, folder = found
    told = explain_file(
        cluster,
        answer["model"],
        str(folder / "store"),
        str(folder / "rows.csv"),
        str(tmp_path / "out"),
        rows=100,
        repeats=2,
    )
    assert told["rows"] > 90
    assert {each["name"] for each in told["importance"]} >= {"size", "weight"}


def test_rows_whose_label_is_likely_wrong_are_listed(found):
    answer, report, truth, folder = found
    errors = report.labels.errors
    path = folder / "store" / errors.path
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert errors.rows == answer["rows"]["train"]
    assert 0 < len(rows) == errors.found < 30
    assert [row["row"] for row in rows[:20]] == [row.row for row in errors.first]
    assert all(row["given"] != row["likely"] for row in rows)
    assert all(row["likely_probability"] > row["given_probability"] for row in rows)
    right = [row["likely"] == ("sick" if truth[row["row"]] else "well") for row in rows]
    assert np.mean(right) > 0.6
