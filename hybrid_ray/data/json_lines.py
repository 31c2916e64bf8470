"""JSON lines: one object a line, its keys are columns; a line that is no object is left out and counted."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hybrid_ray.data.files import File, kind_of, open_plain, public_uri, reaching, read_head
from hybrid_ray.data.pieces import Piece, Scan
from hybrid_ray.errors import DataError

MAX_LINE_BYTES = 64 << 20
BATCH_ROWS = 1024
BUFFER_BYTES = 1 << 20


def scan_json_lines(files: Sequence[File], limit: int | None) -> Scan:
    """Count the rows of some files, and find the type that holds every value of a key.

    Raises
    ------
    DataError
        A file is empty, or is no JSON lines file.
    """
    types: dict[str, set[type]] = {}
    pieces: list[Piece] = []
    malformed = total = 0
    for file in files:
        rows = bad = 0
        for row in _rows(file.uri):
            if row is None:
                bad += 1
                if rows == 0 and bad >= 10:
                    break
                continue
            rows += 1
            for key, value in row.items():
                types.setdefault(key, set()).add(_held(value))
            if limit is not None and total + rows >= limit:
                break
        if not rows:
            raise DataError(_no_rows(file.uri))
        pieces.append(Piece(0, file.uri, 0, rows))
        total, malformed = total + rows, malformed + bad
        if limit is not None and total >= limit:
            break
    schema = pa.schema([pa.field(key, _type(held)) for key, held in types.items()])
    return Scan(schema, pieces, malformed, {}, sum(file.size for file in files))


def read_json_lines(piece: Piece, schema: pa.Schema) -> Iterator[pa.Table]:
    """The piece's rows of a file as tables of 1024 rows; rows behind them, which no type was found for, stay unread."""
    rows: list[Mapping[str, Any]] = []
    objects = (row for row in _rows(piece.uri) if row is not None)
    for row in itertools.islice(objects, piece.n_rows):
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield table_of(rows, schema)
            rows = []
    if rows:
        yield table_of(rows, schema)


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; a value that its column's type does not hold is written as JSON."""
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if pa.types.is_string(field.type):
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        elif pa.types.is_float64(field.type):
            values = [v if v is None else float(v) for v in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _rows(uri: str) -> Iterator[dict[str, Any] | None]:
    """Objects of a file, None for a line that holds none; empty lines count for nothing."""
    with reaching(uri), open_plain(uri) as stream:
        lines = io.BufferedReader(_Raw(stream), BUFFER_BYTES)
        while line := lines.readline(MAX_LINE_BYTES):
            text = line.strip().removeprefix(b"\xef\xbb\xbf")
            if not text:
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            yield value if isinstance(value, dict) else None


class _Raw(io.RawIOBase):
    """Any stream with ``read``, as Python's own reader wants it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = bytes(self._stream.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def _held(value: Any) -> type:
    # An integer that 64 bits do not hold is kept as a float.
    return float if type(value) is int and not -(2**63) <= value < 2**63 else type(value)


def _type(held: set[type]) -> pa.DataType:
    kinds = held - {type(None)}
    if not kinds:
        return pa.null()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else pa.string()


def _no_rows(uri: str) -> str:
    head = read_head(uri)
    kind = kind_of(head)
    if not head.strip():
        return f"data.path: must hold rows; got the empty file {public_uri(uri)!r}"
    got = "a JSON array" if head.lstrip()[:1] == b"[" else kind
    return f"data.path: {public_uri(uri)!r} must hold one JSON object a line; got {got}. Set data.format"
