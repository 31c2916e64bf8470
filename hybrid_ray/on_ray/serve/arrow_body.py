"""Rows of a request as an Arrow stream: for many at once. Nothing in it may be larger than it looks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hybrid_ray.on_ray.serve.contract import Served, unprocessable

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

_RECORD_BATCH = 3
_LENGTH, _COMPRESSION = 0, 3
"""Fields of a record batch in its flatbuffer: rows, and how buffers are compressed."""


def parse_arrow(body: bytes, served: Served) -> list[dict[str, Any]]:
    """Raw rows of an Arrow IPC stream.

    Its buffers must not be compressed, and its columns plain: numbers, texts, bytes, dates, and lists of numbers. A
    dictionary, or a list that shares its values, says much in few bytes.

    Raises
    ------
    RequestError
        422.
    """
    try:
        rows = sum(_rows_in(body))
        if rows > served.limits.max_rows:
            what = f"a request must hold at most {served.limits.max_rows} rows; got {rows}"
            raise unprocessable(what, "rows", type_="too_long")
        with pa.ipc.open_stream(body) as stream:
            _check_types(stream.schema)
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OSError, struct.error, IndexError, KeyError) as error:
        what = f"the body must be an Arrow stream; {str(error).splitlines()[0][:200] if str(error) else 'it is none'}"
        raise unprocessable(what, type_="arrow_invalid") from None
    cells = {name: _cells(table[name]) for name in table.column_names}
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _rows_in(body: bytes) -> Sequence[int]:
    """Rows of each batch of a stream, before anything of it is unpacked."""
    found: list[int] = []
    reader = pa.ipc.MessageReader.open_stream(body)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return found
        if message.type == "record batch":
            rows, compressed = _batch_head(message.metadata.to_pybytes())
            if compressed:
                raise ValueError("its buffers must not be compressed")
            found.append(rows)
        elif message.type not in ("schema",):
            raise ValueError(f"it must hold record batches; got a {message.type}")


def _batch_head(metadata: bytes) -> tuple[int, bool]:
    """Rows of a record batch, and whether its buffers are compressed, from its flatbuffer.

    A table begins with the distance back to its vtable, which holds a field's distance from the table, 0 for none.
    """
    message = struct.unpack_from("<I", metadata, 0)[0]
    kind = _field(metadata, message, 1)
    if kind is None or metadata[kind] != _RECORD_BATCH:
        raise ValueError("a record batch must say that it is one")
    place = _field(metadata, message, 2)
    if place is None:
        raise ValueError("a record batch must have a head")
    batch = place + struct.unpack_from("<I", metadata, place)[0]
    length = _field(metadata, batch, _LENGTH)
    rows = 0 if length is None else struct.unpack_from("<q", metadata, length)[0]
    if rows < 0:
        raise ValueError("a record batch must not have less than no rows")
    return rows, _field(metadata, batch, _COMPRESSION) is not None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table lies; None where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("a table must have its fields inside the message")
    size = struct.unpack_from("<H", data, vtable)[0]
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    offset = struct.unpack_from("<H", data, vtable + place)[0]
    return table + offset if offset else None


def _check_types(schema: pa.Schema) -> None:
    names = schema.names
    if len(set(names)) < len(names):
        raise ValueError("columns must have different names")
    for field in schema:
        if not _plain(field.type):
            raise ValueError(
                f"columns must hold numbers, texts, bytes, dates, or lists of numbers; got {str(field.type)[:60]} in "
                f"{field.name[:60]!r}"
            )


def _plain(kind: pa.DataType) -> bool:
    """Whether a cell of this type takes as many bytes as it seems to."""
    nested = 0
    while _is_list(kind) and nested < 2:
        kind, nested = kind.value_type, nested + 1
    return any(test(kind) for test in (_NUMBERS if nested else _CELLS))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


_NUMBERS = (pa.types.is_integer, pa.types.is_floating)
_CELLS = (
    *_NUMBERS,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_timestamp,
    pa.types.is_date,
    pa.types.is_null,
)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Cells as in a JSON request: NaN is missing, dates are text."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    if pa.types.is_floating(kind):
        return [None if value is None or value != value else value for value in column.to_pylist()]
    cells: list[Any] = column.to_pylist()
    return cells
