"""Parquet files: pieces are groups of adjacent row groups, read as a stream of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ray.data.files import File, kind_of, open_file, public_uri, reaching, read_head
from hybrid_ray.data.pieces import Piece, Scan, conform, plain_type
from hybrid_ray.errors import DataError

PIECE_BYTES = 64 << 20
PIECE_SHARDS = 64
BUFFER_BYTES = 1 << 20
FOOTER_THREADS = 8


def scan_parquet(files: Sequence[File], shard_rows: int) -> Scan:
    """Read the footers of some Parquet files.

    A piece has at least ``shard_rows`` rows where the file has them, and is closed at 64 MiB or 64 shards.

    Raises
    ------
    DataError
        A file is no Parquet file, or has other columns than the first.
    """
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        footers = list(pool.map(_footer, files))
    schema = footers[0][0]
    pieces: list[Piece] = []
    n_bytes = 0
    for file, (own, metadata) in zip(files, footers, strict=True):
        schema = _same_columns(schema, own, file.uri, files[0].uri)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        n_bytes += sum(group.total_byte_size for group in groups)
        pieces += _group(file.uri, [(group.num_rows, group.total_byte_size) for group in groups], shard_rows)
    return Scan(schema, pieces, 0, {}, n_bytes)


def read_parquet(piece: Piece, schema: pa.Schema, batch_rows: int) -> Iterator[pa.Table]:
    """Rows of a piece as tables of ``batch_rows`` rows, in the columns and types of a schema."""
    with reaching(piece.uri), open_file(piece.uri) as source:
        # Without pre-buffering, pages are read as they are needed: a row group never lies in memory whole.
        file = pq.ParquetFile(source, pre_buffer=False, buffer_size=BUFFER_BYTES)
        groups = range(piece.first, piece.stop)
        for batch in file.iter_batches(batch_rows, row_groups=groups, columns=schema.names, use_threads=False):
            yield conform(pa.table(batch), schema)


def count_nulls(pieces: Sequence[Piece], columns: Sequence[str]) -> dict[str, int]:
    """Nulls of some plain columns, as the files' statistics tell; a column that they do not tell of is left out.

    Statistics speak of whole row groups: they are used only where every piece is whole.
    """
    counts = dict.fromkeys(columns, 0)
    for piece in pieces:
        with reaching(piece.uri), open_file(piece.uri) as source:
            metadata = pq.read_metadata(source)
        groups = [metadata.row_group(i) for i in range(piece.first, piece.stop)]
        if sum(group.num_rows for group in groups) != piece.n_rows:
            return {}
        for group in groups:
            told = {}
            for i in range(group.num_columns):
                chunk = group.column(i)
                if chunk.is_stats_set and chunk.statistics.has_null_count:
                    told[chunk.path_in_schema] = chunk.statistics.null_count
            counts = {name: n + told[name] for name, n in counts.items() if name in told}
    return counts


def _footer(file: File) -> tuple[pa.Schema, pq.FileMetaData]:
    head = kind_of(read_head(file.uri, 16))
    if head == "empty":
        raise DataError(f"data.path: must hold rows; got the empty file {public_uri(file.uri)!r}")
    if head != "Parquet":
        raise DataError(f"data.path: {public_uri(file.uri)!r} must be a Parquet file; got {head}. Set data.format")
    with reaching(file.uri), open_file(file.uri) as source:
        metadata = pq.read_metadata(source)
        arrow = metadata.schema.to_arrow_schema()
    return pa.schema([pa.field(f.name, plain_type(f.type)) for f in arrow]), metadata


def _same_columns(schema: pa.Schema, own: pa.Schema, uri: str, first: str) -> pa.Schema:
    odd = sorted(set(schema.names) ^ set(own.names))
    if odd:
        raise DataError(
            f"data.path: all files must have the same columns; got {odd} in only one of {public_uri(first)!r} "
            f"and {public_uri(uri)!r}"
        )
    try:
        return pa.unify_schemas([schema, own], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"data.path: all files must have the same types; in {public_uri(uri)!r}: {error}") from None


def _group(uri: str, groups: Sequence[tuple[int, int]], shard_rows: int) -> list[Piece]:
    pieces: list[Piece] = []
    first = rows = size = 0
    for i, (n_rows, n_bytes) in enumerate(groups):
        rows, size = rows + n_rows, size + n_bytes
        full = rows >= shard_rows and (size >= PIECE_BYTES or rows >= PIECE_SHARDS * shard_rows)
        if full or i == len(groups) - 1:
            pieces.append(Piece(0, uri, 0, rows, first, i + 1))
            first, rows, size = i + 1, 0, 0
    return pieces
