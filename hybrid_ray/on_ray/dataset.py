"""Rows of a source as a Ray Data dataset: read tasks over its pieces, shards numbered through."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from hybrid_ray.data.source import Piece, Source, read_piece

SHARD, ROW = "_shard", "_row"
"""Columns of :func:`to_dataset`: number of the shard and of the row, through the whole source."""
NO_PROGRESS_S = 3600
"""Time without any finished unit of work after which a dataset's execution is given up."""


@dataclass(frozen=True)
class Shard:
    """One shard as it is read.

    Attributes
    ----------
    number : int
        Position among the shards of the source.
    start : int
        Number of its first row.
    table : pa.Table
    """

    number: int
    start: int
    table: pa.Table


Transform = Callable[[Source, Piece, Iterator[Shard]], Iterator[pa.Table]]
"""What a read task makes of the shards of one piece before anything leaves it. Picklable."""


@dataclass(frozen=True)
class PieceRead:
    """A piece, the number of its first shard, and what is made of it."""

    piece: Piece
    first_shard: int
    transform: Transform


def shard_counts(source: Source, shard_rows: int) -> list[int]:
    """Number of shards of each piece: a shard never spans pieces."""
    return [-(-piece.n_rows // shard_rows) for piece in source.pieces]


def first_shards(source: Source, shard_rows: int) -> list[int]:
    """Number of the first shard of each piece."""
    firsts = [0]
    for count in shard_counts(source, shard_rows):
        firsts.append(firsts[-1] + count)
    return firsts[:-1]


def iter_shards(
    source: Source, piece: Piece, first_shard: int, columns: Sequence[str], shard_rows: int
) -> Iterator[Shard]:
    """The shards of a piece, one at a time."""
    start = piece.start
    for offset, table in enumerate(read_piece(source, piece, columns, shard_rows)):
        yield Shard(first_shard + offset, start, table)
        start += table.num_rows


def number_rows(source: Source, piece: Piece, shards: Iterator[Shard]) -> Iterator[pa.Table]:
    """Each shard as it is, with the columns ``_shard`` and ``_row``."""
    for shard in shards:
        n = shard.table.num_rows
        numbers = pa.array(np.full(n, shard.number, np.int64))
        rows = pa.array(np.arange(shard.start, shard.start + n, dtype=np.int64))
        yield shard.table.append_column(SHARD, numbers).append_column(ROW, rows)


def to_dataset(source: Source, columns: Sequence[str], shard_rows: int, *, rows_per_task: int = 16_384) -> Any:
    """Rows of a source as a dataset, with their shard's and their own number.

    Parameters
    ----------
    source : Source
    columns : sequence of str
        Columns to read; the others stay on disk.
    shard_rows : int
    rows_per_task : int, default 16 384
        Rows of one read task, about: small pieces are read together.

    Returns
    -------
    ray.data.Dataset
        The columns, and int64 ``_shard`` and ``_row``. Blocks come in any order; a block holds rows of one read task,
        in order.
    """
    firsts = first_shards(source, shard_rows)
    reads = [PieceRead(piece, first, number_rows) for piece, first in zip(source.pieces, firsts, strict=True)]
    return read_dataset(source, columns, shard_rows, gather(reads, rows_per_task))


def gather(reads: Sequence[PieceRead], rows: int) -> list[list[PieceRead]]:
    """Adjacent reads put together, each group of at least ``rows`` rows (the last may be smaller)."""
    groups: list[list[PieceRead]] = []
    held = rows
    for read in reads:
        if held >= rows:
            groups.append([])
            held = 0
        groups[-1].append(read)
        held += read.piece.n_rows
    return groups


def read_dataset(
    source: Source,
    columns: Sequence[str],
    shard_rows: int,
    groups: Sequence[Sequence[PieceRead]],
    *,
    num_cpus: float = 1.0,
    readers: int | None = None,
) -> Any:
    """A dataset of what the transforms of some reads yield, one read task a group.

    Parameters
    ----------
    source : Source
    columns : sequence of str
    shard_rows : int
    groups : sequence of sequence of PieceRead
    num_cpus : float, default 1
        What one read task asks of Ray.
    readers : int, optional
        Read tasks at the same time.
    """
    return ray.data.read_datasource(
        _ShardDatasource(source.bare(), tuple(columns), shard_rows, groups),
        override_num_blocks=len(groups),
        num_cpus=num_cpus,
        compute=ray.data.TaskPoolStrategy(size=min(readers or len(groups), len(groups))),
    )


class _ShardDatasource(Datasource):
    """Read tasks over groups of pieces; made by :func:`read_dataset`."""

    def __init__(
        self, source: Source, columns: tuple[str, ...], shard_rows: int, groups: Sequence[Sequence[PieceRead]]
    ) -> None:
        super().__init__()
        self._source = source
        self._columns = columns
        self._shard_rows = shard_rows
        self._groups = groups

    def get_name(self) -> str:
        return "Shards"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        # One task a group whatever parallelism is asked for: read_dataset asks for just that.
        return [self._task(group, per_task_row_limit) for group in self._groups]

    def _task(self, group: Sequence[PieceRead], limit: int | None) -> ReadTask:
        source, columns, shard_rows = self._source, self._columns, self._shard_rows

        def read() -> Iterator[pa.Table]:
            for part in group:
                shards = iter_shards(source, part.piece, part.first_shard, columns, shard_rows)
                yield from part.transform(source, part.piece, shards)

        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return ReadTask(read, metadata, per_task_row_limit=limit)


@contextmanager
def data_context(settings: Mapping[str, Any]) -> Iterator[DataContext]:
    """Ray Data settings for datasets made inside, and no line of its log on the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a copy touches Ray's own old settings
        context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    for name, value in settings.items():
        setattr(context, name, value)
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with DataContext.current(context):
            yield context
    finally:
        logger.setLevel(level)
