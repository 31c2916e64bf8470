"""Arrow streams are the rows that JSON would be; what is larger than it looks is refused unread."""

import io
from contextlib import suppress
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.on_ray.serve.arrow_body import parse_arrow
from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.spec import ServeSpec
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = list(toy_rows(5, seed=3, missing=0.3))


@pytest.fixture(scope="module")
def graph():
    made = toy_graph()
    made.setup()
    return made


@pytest.fixture(scope="module")
def served(graph):
    return Served.of(graph, 1, Probe(toy_batch(ROWS)), ServeSpec(max_rows=100))


def stream(table, pieces=1, **options):
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches(max_chunksize=max(len(table) // pieces, 1)):
            writer.write_batch(batch)
    return out.getvalue()


def test_a_stream_is_the_rows_that_predict_reads(graph, served):
    batch = toy_batch(ROWS)
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in batch.items()})
    for pieces in (1, 3):
        rows = parse_arrow(stream(table, pieces), served)
        assert graph.outputs(RowReader(served).read(rows)) == pytest.approx(graph.outputs(batch), abs=1e-6)


def test_cells_are_those_of_json(served):
    table = pa.table(
        {
            "price": pa.array([1.5, np.nan, None]),
            "listed": pa.array([datetime(2024, 5, 1, 12), None, None]),
            "title": pa.array(["a", None, ""]),
            "x": pa.array([[1.0, None], [], None]),
            "y": pa.array([[[1.0, 2.0]], [], None]),
        }
    )
    first, second, third = parse_arrow(stream(table), served)
    assert first == {"price": 1.5, "listed": "2024-05-01T12:00:00", "title": "a", "x": [1.0, None], "y": [[1.0, 2.0]]}
    assert second == {"price": None, "listed": None, "title": None, "x": [], "y": []}
    assert third == {"price": None, "listed": None, "title": "", "x": None, "y": None}


def refused(body, served):
    with pytest.raises(RequestError) as error:
        parse_arrow(body, served)
    assert error.value.status == 422
    return str(error.value)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_buffers_are_refused(served, codec):
    table = pa.table({"title": ["a" * 10_000] * 100})
    assert "must not be compressed" in refused(stream(table, compression=codec), served)


def test_too_many_rows_are_refused_before_they_are_read(served):
    nothing = pa.table({"price": pa.nulls(2_000_000_000)})
    assert "at most 100 rows; got 2000000000" in refused(stream(nothing), served)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b"] * 20).dictionary_encode(),
        pa.array([{"a": 1}]),
        pa.array([["a"]]),
        pa.array([[[[1.0]]]]),
        pa.RunEndEncodedArray.from_arrays(pa.array([50], pa.int32()), pa.array(["a"])),
        pa.array([[1.0]], pa.list_view(pa.float64())),
        pa.array(["a"], pa.string_view()),
    ],
)
def test_columns_that_say_much_in_few_bytes_are_refused(served, column):
    assert "must hold" in refused(stream(pa.table({"title": column})), served)


def test_two_columns_of_one_name_are_refused(served):
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["price", "price"])
    assert "different names" in refused(stream(table), served)


def test_what_is_no_stream_is_refused(served):
    whole = stream(pa.table({"price": [1.0, 2.0], "title": ["a", "b"]}))
    rng = np.random.default_rng(0)
    for body in (b"", b"{}", b"\xff\xff\xff\xff" + b"\x00" * 20, whole[:-40], whole[:60], rng.bytes(500)):
        refused(body, served)
    for _ in range(300):  # whatever is broken in it, it is refused or read
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            broken[at] = rng.integers(256)
        with suppress(RequestError):
            parse_arrow(bytes(broken), served)
