"""Tables written part by part: whole or not at all, on a folder and on a remote filesystem."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.sink import check_sink, is_answer, open_sink
from hybrid_ray.errors import BadInputError

SCHEMA = pa.schema([("row", pa.int64()), ("score", pa.float64()), ("said", pa.string())])


def part(start: int, n: int = 3) -> pa.Table:
    rows = range(start, start + n)
    said = ["ü,\n" if i % 2 else None for i in rows]
    return pa.table({"row": list(rows), "score": [i / 4 for i in rows], "said": said}, SCHEMA)


def read(data: bytes, suffix: str) -> pa.Table:
    if suffix == ".parquet":
        return pq.read_table(io.BytesIO(data))
    if suffix == ".csv":
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options, parse_options=parse)
    return pa.Table.from_pylist([json.loads(line) for line in data.decode().split("\n") if line], SCHEMA)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("place", ["folder", "memory"])
def test_parts_come_back_as_one_table(tmp_path: Path, suffix: str, place: str) -> None:
    uri = str(tmp_path / "deep" / f"t{suffix}") if place == "folder" else f"memory://sink/t{suffix}"
    with open_sink(uri, SCHEMA) as write:
        write(part(0))
        write(part(3))
    data = Path(uri).read_bytes() if place == "folder" else fsspec.filesystem("memory").cat_file(uri)
    assert read(data, suffix).to_pylist() == part(0, 6).to_pylist()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("place", ["folder", "memory"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, suffix: str, place: str) -> None:
    memory = fsspec.filesystem("memory")
    uri = str(tmp_path / f"t{suffix}") if place == "folder" else f"memory://kept/t{suffix}"
    if place == "folder":
        Path(uri).write_bytes(b"old")
    else:
        memory.pipe_file(uri, b"old")

    def fail() -> None:
        with open_sink(uri, SCHEMA) as write:
            write(part(0))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert (Path(uri).read_bytes() if place == "folder" else memory.cat_file(uri)) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ([f"t{suffix}"] if place == "folder" else [])


def test_json_lines_hold_no_nan(tmp_path: Path) -> None:
    with open_sink(str(tmp_path / "t.jsonl"), pa.schema([("v", pa.float64())])) as write:
        write(pa.table({"v": [float("nan"), float("inf"), 1.0]}))
    assert (tmp_path / "t.jsonl").read_text() == '{"v": null}\n{"v": null}\n{"v": 1.0}\n'


@pytest.mark.parametrize("uri", ["t.xlsx", "folder/", "s3://bucket/t", ".parquet/x"])
def test_other_suffixes_are_refused(uri: str) -> None:
    with pytest.raises(BadInputError, match=r"--out: must end in one of \['.parquet', '.csv', '.jsonl'\]"):
        check_sink(uri)


@pytest.mark.parametrize("uri", ["/dev/null/t.csv", "nosuch://place/t.csv"])
def test_places_that_cannot_be_written(uri: str) -> None:
    with (
        pytest.raises(BadInputError, match=r"--out: must be a (file|place) that can be written"),
        open_sink(uri, SCHEMA),
    ):
        pass


def test_lists_are_json_in_csv_and_lists_elsewhere(tmp_path: Path) -> None:
    table = pa.table({"row": [0, 1], "prediction": pa.array([[1.5, 2.0], None], pa.list_(pa.float64()))})
    for name in ("told.csv", "told.parquet", "told.jsonl"):
        with open_sink(str(tmp_path / name), table.schema) as write:
            write(table)
    told = (tmp_path / "told.csv").read_text().splitlines()
    assert told[1:] == ['0,"[1.5, 2.0]"', "1,"]
    assert pq.read_table(tmp_path / "told.parquet").equals(table)
    lines = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [[1.5, 2.0], None]


@pytest.mark.parametrize("name", ["row", "prediction", "error", "proba_yes"])
def test_columns_of_answers_are_known(name: str) -> None:
    assert is_answer(name, forecast=False)
    assert not is_answer(f"my_{name}", forecast=False)


@pytest.mark.parametrize("name", ["low_80", "high_99.5"])
def test_intervals_are_columns_of_forecasts_only(name: str) -> None:
    assert (is_answer(name, forecast=True), is_answer(name, forecast=False)) == (True, False)
    assert not is_answer("low_tide", forecast=True)
