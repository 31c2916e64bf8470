"""Several annotators' labels, and labels that are wrong: from the rows to the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.evaluation.schema import Report
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
