"""Pieces: what one read task reads; and the cutting of a stream of tables into shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Piece:
    """A run of consecutive rows that is read in one go.

    Attributes
    ----------
    index : int
        Position among the pieces of its source.
    uri : str
        File (for a folder of images or sounds: the folder) that the rows come from.
    start : int
        Number of its first row among all rows of the source.
    n_rows : int
    first, stop : int
        What of the file it is: row groups of a Parquet file, rows of rows that are made; unused elsewhere.
    encoded : tuple of (str, str or None, str or None)
        For a folder of images or sounds: URI, label and split of each.
    """

    index: int
    uri: str
    start: int
    n_rows: int
    first: int = 0
    stop: int = 0
    encoded: tuple[tuple[str, str | None, str | None], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Scan:
    """What opening the files of one format tells.

    Attributes
    ----------
    schema : pa.Schema
        Every column, those that are dropped included.
    pieces : list of Piece
        With ``start`` and ``index`` not yet counted.
    malformed : int
        Rows that are no row of the format: they are left out.
    options : dict
        How the files are read (separator, encoding); JSON-able.
    n_bytes : int
        Size of the rows in memory, about.
    """

    schema: pa.Schema
    pieces: list[Piece]
    malformed: int
    options: dict[str, Any]
    n_bytes: int


def cut(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows as consecutive tables of exactly ``rows`` rows; the last may be shorter."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        rest = table
        while rest.num_rows:
            taken = min(rows - count, rest.num_rows)
            held.append(rest.slice(0, taken))
            count += taken
            rest = rest.slice(taken)
            if count == rows:
                yield pa.concat_tables(held)
                held, count = [], 0
    if count:
        yield pa.concat_tables(held)


def first_rows(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The first ``rows`` rows of a stream; what follows is not read."""
    left = rows
    for table in tables:
        if table.num_rows >= left:
            yield table.slice(0, left)
            return
        left -= table.num_rows
        yield table


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type under an extension or a dictionary."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    return plain_type(kind.value_type) if pa.types.is_dictionary(kind) else kind


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, in its order and with its types."""
    columns = []
    for wanted in schema:
        column = table.column(wanted.name)
        if isinstance(column.type, pa.BaseExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
        columns.append(column if column.type == wanted.type else column.cast(wanted.type))
    return pa.Table.from_arrays(columns, schema=schema)
