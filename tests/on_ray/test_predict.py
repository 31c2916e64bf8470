"""Batch prediction: every row once, in order, equal to the graph in process; bad rows told and kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.source import Source, open_source
from hybrid_ray.errors import BadInputError, DataError, HybridRayError
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.predict import Orders, PredictWorker, outputs_of, predict_dataset
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import ToyModel, toy_batch, toy_graph, toy_rows

GRAPH = toy_graph()
N = 2500
BAD = (3, 700, 2499)


def rows() -> list[dict[str, Any]]:
    made = [dict(row) for row in toy_rows(N, seed=2)]
    for i in BAD:
        made[i]["photo"] = b"no image at all"
    made[5]["price"] = "cheap"
    return [{"item_id": f"a{i:05d}"} | row for i, row in enumerate(made)]


ROWS = rows()
PLAIN = [
    row | {"photo": None if i in BAD else row["photo"], "price": None if i == 5 else row["price"]}
    for i, row in enumerate(ROWS)
]
EXPECTED = GRAPH.outputs(toy_batch(PLAIN))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows as Parquet with images inside, and as JSON lines and CSV that name image files."""
    folder = tmp_path_factory.mktemp("rows")
    texts = [row | {"price": None if row["price"] is None else str(row["price"])} for row in ROWS]
    for part in range(2):
        half = texts[part * 1500 : (part + 1) * 1500]
        pq.write_table(pa.Table.from_pylist(half), folder / f"part{part}.parquet", row_group_size=400)
    (folder / "images").mkdir()
    some: list[dict[str, Any]] = []
    for i, row in enumerate(ROWS[:60]):
        name = None if row["photo"] is None else f"images/{i}.png"
        if name is not None:
            (folder / name).write_bytes(row["photo"])
        some.append(row | {"photo": name})
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in some))
    texts = [{k: None if v is None else str(v) for k, v in row.items()} for row in some]
    pyarrow.csv.write_csv(pa.Table.from_pylist(texts), folder / "rows.csv")
    return folder


def source_of(path: Path, pattern: str) -> Source:
    return open_source(DataSpec(path=str(path / pattern), label="label", shard_rows=512), training=False)


def probabilities(table: pa.Table) -> np.ndarray:
    return np.stack([table[f"proba_{name}"].to_numpy() for name in ("red", "green", "blue")], axis=1)


def test_every_row_once_in_order_as_in_process(cluster: Cluster, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "answers.parquet"
    answer = predict_dataset(cluster, source_of(files, "*.parquet"), GRAPH, ToyModel(), str(out))
    table = pq.read_table(out)
    assert table["row"].to_pylist() == list(range(N))
    assert table["item_id"].to_pylist() == [row["item_id"] for row in ROWS]
    assert np.abs(probabilities(table) - EXPECTED).max() < 1e-5
    assert table["prediction"].to_pylist() == GRAPH.labels(EXPECTED)
    assert (answer["rows"], answer["bad"], answer["kept"]) == (N, 4, ["item_id"])
    assert [i for i, why in enumerate(table["error"].to_pylist()) if why] == sorted([*BAD, 5])
    assert [reject["row"] for reject in answer["rejects"]] == sorted([*BAD, 5])
    assert table["error"][5].as_py() == "price: not a number"
    assert "photo: an image must be decodable" in table["error"][3].as_py()
    assert answer["missing_columns"] == []
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_formats_in_and_out(cluster: Cluster, files: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"answers.{form}"
    predict_dataset(cluster, source_of(files, f"rows.{form}"), GRAPH, ToyModel(), str(out), keep=["item_id", "brand"])
    if form == "jsonl":
        table = pa.Table.from_pylist([json.loads(line) for line in out.read_text().splitlines()])
    else:
        table = pyarrow.csv.read_csv(out)
    assert table.column_names[:3] == ["row", "item_id", "brand"]
    assert table["row"].to_pylist() == list(range(60))
    assert np.abs(probabilities(table) - EXPECTED[:60]).max() < 1e-5


def test_a_kept_column_is_not_taken_for_what_a_worker_adds() -> None:
    table = pa.Table.from_pylist(
        [{"_row": i, "outputs": f"o{i}", "title": row["title"]} for i, row in enumerate(ROWS[:5])]
    )
    raw = PredictWorker(Orders(ToyModel(), "", ("outputs",), "cpu", 1, 2))(table)
    assert len(set(raw.column_names)) == len(raw.column_names)
    assert raw["outputs"].to_pylist() == [f"o{i}" for i in range(5)]


def test_missing_columns_and_regression(cluster: Cluster, files: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(files / "part0.parquet", columns=["title", "item_id"]), tmp_path / "few.parquet")
    graph = toy_graph("regression")
    out = tmp_path / "answers.parquet"
    answer = predict_dataset(
        cluster, source_of(tmp_path, "few.parquet"), graph, ToyModel("regression"), str(out), keep=[]
    )
    assert answer["missing_columns"] == ["photo", "price", "brand", "listed"]
    table = pq.read_table(out)
    assert table.column_names == ["row", "prediction", "error"]
    expected = graph.outputs(toy_batch([{"title": row["title"]} for row in ROWS[:1500]]))[:, 0]
    assert np.abs(table["prediction"].to_numpy() - expected).max() < 1e-5


def test_outputs_for_evaluation_are_those_of_the_graph(cluster: Cluster, files: Path, tmp_path: Path) -> None:
    outputs = outputs_of(cluster, source_of(files, "*.parquet"), GRAPH, ToyModel())
    assert np.abs(outputs - EXPECTED).max() < 1e-5


def test_too_many_bad_rows_leave_what_was_there(cluster: Cluster, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    out.write_text("yesterday's")
    with pytest.raises(DataError, match=r"at most 1\.0% of the rows may be bad; got 2 of 60; the first is row 3"):
        predict_dataset(cluster, source_of(files, "rows.jsonl"), GRAPH, ToyModel(), str(out), max_bad_fraction=0.01)
    assert out.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


def test_bad_requests_are_refused_before_anything_runs(cluster: Cluster, files: Path, tmp_path: Path) -> None:
    source = source_of(files, "*.parquet")
    with pytest.raises(BadInputError, match=r"--out: must end in one of"):
        predict_dataset(cluster, source, GRAPH, ToyModel(), str(tmp_path / "answers.xlsx"))
    with pytest.raises(BadInputError, match="--out: must be a file that can be written"):
        predict_dataset(cluster, source, GRAPH, ToyModel(), "/dev/null/answers.csv")
    with pytest.raises(BadInputError, match="Did you mean 'brand'"):
        predict_dataset(cluster, source, GRAPH, ToyModel(), str(tmp_path / "a.csv"), keep=["brnd"])
    with pytest.raises(BadInputError, match="which holds binary"):
        predict_dataset(cluster, source, GRAPH, ToyModel(), str(tmp_path / "a.csv"), keep=["photo"])
    pq.write_table(pa.table({"title": ["a"], "row": [1]}), tmp_path / "numbered.parquet")
    with pytest.raises(BadInputError, match="must not be a column of the answer; got 'row'"):
        predict_dataset(
            cluster, source_of(tmp_path, "numbered.parquet"), GRAPH, ToyModel(), str(tmp_path / "a.csv"), keep=["row"]
        )
    (tmp_path / "numbered.parquet").unlink()
    pq.write_table(pa.table({"other": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="rows must have some of the columns"):
        predict_dataset(cluster, source_of(tmp_path, "other.parquet"), GRAPH, ToyModel(), str(tmp_path / "a.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.parquet"]


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (partial(open, "/nowhere/weights"), "FileNotFoundError.*/nowhere/weights"),
        (partial(sys.exit, 3), "must not exit"),
        (partial(StoreRoot, "nosuch://place"), "nosuch"),
    ],
)
def test_a_worker_that_fails_ends_it_in_one_line(
    cluster: Cluster, files: Path, tmp_path: Path, all_free: Callable[[], bool], loader: Any, said: str
) -> None:
    with pytest.raises(HybridRayError, match=said) as caught:
        predict_dataset(cluster, source_of(files, "rows.jsonl"), GRAPH, loader, str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert all_free(), "somebody who keeps the exception does not keep the CPUs"
