"""Frozen or tuned: the search decides, the report says so, and a run goes on without what takes too long."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.rows import toy_batch, toy_labels

ROWS = 90
SEARCH = {
    "trials": 8,
    "folds": 2,
    "estimators": ["logistic"],
    "ensemble": {"trials": 2},
    "max_concurrent": 1,
    "tuned": "always",
}


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """A spec without extractors, on texts, where an encoder is at hand."""
    monkeypatch.setenv("HYBRID_RAY_WEIGHTS", str(tiny_encoder(tmp_path / "weights" / "tiny").parent))
    texts = [str(text) for text in toy_batch({"text": "text"}, ROWS, missing=False)["text"]]
    pq.write_table(pa.table({"text": texts, "label": toy_labels(ROWS)}), tmp_path / "rows.parquet")
    data = {"path": str(tmp_path / "rows.parquet"), "label": "label", "columns": {"text": "text"}}
    return {"name": "toy", "task": "multiclass", "data": data, "search": SEARCH}


def record_of(answer):
    report = Path(answer["report"]).with_suffix(".json")
    trials = json.loads((report.parent / "trials.json").read_text())["trials"]
    return json.loads(report.read_text()), {tuple(t["candidate"]["blocks"]) for t in trials}


@pytest.mark.slow
def test_the_search_decides_between_an_extractor_and_its_twin_and_the_report_says_what_was_taken(
    request_of, run, tmp_path
):
    report, tried = record_of(run(request_of, tmp_path / "store"))
    alone = {("transformers",), ("tuned_transformers",)}
    others = {("tfidf", "transformers"), ("tfidf", "tuned_transformers")}
    assert alone | others | {("tfidf", "transformers", "tuned_transformers")} <= tried
    assert report["graph"]["members"] == "bag"
    (note,) = [note for note in report["notes"] if note.startswith("Frozen or tuned: ")]
    assert "of transformers and tuned_transformers, the model reads " in note
    assert "not known" not in note
    levels = {level["name"] for level in report["evaluation"]["levels"]}
    assert {"alone:transformers", "alone:tuned_transformers"} <= levels


@pytest.mark.slow
def test_a_run_goes_on_without_an_optional_extractor_for_which_there_is_no_time(request_of, run, tmp_path):
    model = {"model": str(tmp_path / "weights" / "tiny")}
    request = request_of | {
        "time_limit_s": 1e-3,
        "extractors": ["tfidf", {"name": "tuned_transformers", "params": model, "optional": True}],
        "search": SEARCH | {"tuned": "auto"},
    }
    searched = run(request, tmp_path / "store", stop_after="search")
    runs = RunStore(StoreRoot(str(tmp_path / "store")))
    (why,) = runs.given_up(searched["run_id"]).values()
    assert why.startswith("tuned_transformers: given up, as it is optional: training must end in its share")
    answer = run(request, tmp_path / "store")
    assert answer["run_id"] == searched["run_id"]
    report, tried = record_of(answer)
    assert tried == {("tfidf",)}
    assert report["notes"].count(why) == 1
    assert report["graph"]["extractors"] == ["tfidf"]
