"""A source as a Ray Data dataset: every row once, numbered through, with the asked columns only."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data

from hybrid_ray.data.source import open_source
from hybrid_ray.errors import DataError
from hybrid_ray.on_ray.dataset import (
    PieceRead,
    data_context,
    first_shards,
    gather,
    number_rows,
    shard_counts,
    to_dataset,
)
from hybrid_ray.spec import DataSpec

ROWS = (70, 1, 128, 33)


@pytest.fixture
def source(tmp_path):
    """Four files of odd sizes."""
    start = 0
    for i, n in enumerate(ROWS):
        numbers = np.arange(start, start + n)
        table = pa.table({"text": [f"row {k}" for k in numbers], "other": numbers * 2, "y": numbers % 2})
        pq.write_table(table, tmp_path / f"{i}.parquet")
        start += n
    return open_source(DataSpec(path=str(tmp_path), label="y", shard_rows=32))


def test_shards_never_span_pieces(source):
    assert shard_counts(source, 32) == [3, 1, 4, 2]
    assert first_shards(source, 32) == [0, 3, 4, 8]


def test_every_row_comes_once_with_its_number_and_its_shard(cluster, source):
    with data_context({}):
        table = pa.concat_tables(
            to_dataset(source, ["text"], 32, rows_per_task=64).iter_batches(batch_size=None, batch_format="pyarrow")
        ).sort_by("_row")
    assert table.column_names == ["text", "_shard", "_row"]
    assert table["_row"].to_pylist() == list(range(sum(ROWS)))
    assert table["text"].to_pylist() == [f"row {k}" for k in range(sum(ROWS))]
    expected = np.repeat(np.arange(10), [32, 32, 6, 1, 32, 32, 32, 32, 32, 1])
    assert table["_shard"].to_pylist() == expected.tolist()


def test_small_pieces_are_read_together(source):
    reads = [PieceRead(piece, 0, number_rows) for piece in source.pieces]
    assert [[read.piece.n_rows for read in group] for group in gather(reads, 71)] == [[70, 1], [128], [33]]
    assert len(gather(reads, 1)) == 4
    assert len(gather(reads, 10**6)) == 1
    assert gather([], 5) == []


def test_a_read_that_fails_says_why(cluster, source, tmp_path):
    (tmp_path / "2.parquet").unlink()
    with data_context({}), pytest.raises(ray.exceptions.RayTaskError, match=r"2\.parquet"):
        to_dataset(source, ["text"], 32).materialize()


def test_a_column_that_is_not_there_is_refused(cluster, source):
    with data_context({}), pytest.raises((DataError, ray.exceptions.RayTaskError), match="nothing"):
        to_dataset(source, ["nothing"], 32).materialize()


def test_settings_hold_inside_only():
    before = ray.data.DataContext.get_current().target_max_block_size
    with data_context({"target_max_block_size": 1}) as context:
        assert ray.data.DataContext.get_current() is context
        assert context.target_max_block_size == 1
        assert context.enable_progress_bars is False
    assert ray.data.DataContext.get_current().target_max_block_size == before
