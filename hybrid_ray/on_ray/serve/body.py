"""From the body of a request to raw rows: bounded while it streams in, then parsed off the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Mapping
from email.message import Message
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hybrid_ray.on_ray.serve.arrow_body import MEDIA_TYPE
from hybrid_ray.on_ray.serve.contract import Fault, RequestError, Served, unprocessable
from hybrid_ray.types import ENCODED, Kind

_INDEXED = re.compile(r"(?P<column>.+)\[(?P<row>\d{1,6})\]", re.DOTALL)
_DRAIN_FACTOR = 4
_PART_ROOM = 64
KINDS = ("application/json", "multipart/form-data", MEDIA_TYPE)
"""Media types that ``/predict`` reads."""


def content_type(headers: Mapping[str, str], kinds: Collection[str] = KINDS) -> str:
    """The media type of a request, when it is one of ``kinds``; default: those that ``/predict`` takes.

    Raises
    ------
    RequestError
        415: another type, another charset, or a compressed body.
    """
    message = Message()
    message["content-type"] = headers.get("content-type", "")
    try:
        kind = message.get_content_type() if message["content-type"] else ""
        charset = str(message.get_param("charset", "utf-8")).lower().replace("_", "-")
    except ValueError:  # the number of a continued parameter (RFC 2231) may be too long to be one
        raise _unsupported(f"content-type must be one of {list(kinds)}; got what is none") from None
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if kind not in kinds:
        raise _unsupported(f"content-type must be one of {list(kinds)}; got {kind or 'none'!r}")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise _unsupported(f"charset must be utf-8; got {charset[:40]!r}")
    if encoding not in ("", "identity"):
        raise _unsupported(f"content-encoding must be identity; got {encoding[:40]!r}")
    return kind


def _unsupported(msg: str) -> RequestError:
    return RequestError(415, [Fault(("header",), msg, "unsupported_media_type")])


async def read_body(headers: Mapping[str, str], stream: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """The whole body, refused as soon as it is known to be above ``max_bytes``.

    What a refused client still sends is read and dropped, up to a few times the limit, so that it gets to read
    the answer.

    Raises
    ------
    RequestError
        413.
    """
    declared = headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    chunks: list[bytes] = []
    held = 0
    async for chunk in stream:
        held += len(chunk)
        if max(held, size) > max_bytes:
            chunks.clear()
            if held > _DRAIN_FACTOR * max_bytes:
                break
            continue
        chunks.append(chunk)
    if max(held, size) > max_bytes:
        what = f"a request must be at most {max_bytes} bytes; got {max(held, size)} or more. Send fewer rows at a time"
        raise RequestError(413, [Fault(("body",), what, "too_large")])
    return b"".join(chunks)


def parse_json(body: bytes) -> list[Any]:
    """Raw rows of a JSON body: ``{"rows": [...]}`` or one row.

    Raises
    ------
    RequestError
        422: no JSON (NaN and Infinity are none), nested too deep, a number of thousands of digits, or another shape.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise unprocessable(f"the body must be JSON; {error}", type_="json_invalid") from None
    return _rows_of(value)


def _rows_of(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        raise unprocessable('the body must be {"rows": [...]} or one row as an object', type_="dict_type")
    rows = value.get("rows")
    if isinstance(rows, list):
        other = [name for name in value if name != "rows"]
        if other:
            what = 'an object with "rows" must hold nothing else'
            raise unprocessable(what, str(other[0])[:100], type_="extra_forbidden")
        return rows
    return [value]


def parse_multipart(headers: Mapping[str, str], body: bytes, served: Served) -> list[Any]:
    """Raw rows of a form.

    A part named ``rows`` holds JSON (as the body of a JSON request); any other text part is a column of a single row.
    A file part is named by its column: the i-th file of a name belongs to row i, ``column[i]`` says the row itself.

    Raises
    ------
    RequestError
        422.
    """
    fields, files = _parts(headers, body, served)
    rows = _json_part(fields, files)
    if rows is None:
        counts = [len(found) for name, found in files.items() if name in served.columns]
        rows = [{} for _ in range(max([1 if fields else 0, *counts]))]
        rows = rows or [{} for name in files if _INDEXED.fullmatch(name)]
    for name, values in fields.items():
        if len(values) > 1 or len(rows) != 1:
            what = f"a form field gives the value of a single row; got {len(rows)} rows. Use a JSON part named rows"
            raise unprocessable(what, "rows", name)
        _put(rows, 0, name, _text_cell(values[0], served.columns.get(name)))
    for name, contents in files.items():
        match = None if name in served.columns else _INDEXED.fullmatch(name)
        column, first = (match["column"], int(match["row"])) if match else (name, 0)
        for i, content in enumerate(contents, start=first):
            _put(rows, i, column, content)
    return rows


def _json_part(fields: dict[str, list[str]], files: dict[str, list[bytes]]) -> list[Any] | None:
    texts = [text.encode() for text in fields.pop("rows", [])] + files.pop("rows", [])
    if not texts:
        return None
    if len(texts) > 1:
        raise unprocessable(f"a form must have one part named rows; got {len(texts)}", "rows")
    value = texts[0].strip()
    return parse_json(b'{"rows":' + value + b"}") if value.startswith(b"[") else parse_json(value)


def _parts(
    headers: Mapping[str, str], body: bytes, served: Served
) -> tuple[dict[str, list[str]], dict[str, list[bytes]]]:
    encoded = sum(kind in ENCODED for kind in served.columns.values())
    room = len(served.columns) + _PART_ROOM

    async def once() -> AsyncIterator[bytes]:
        yield body

    async def run() -> tuple[dict[str, list[str]], dict[str, list[bytes]]]:
        parser = MultiPartParser(
            Headers(dict(headers)),
            once(),  # type: ignore[arg-type]
            max_files=served.limits.max_rows * max(encoded, 1) + _PART_ROOM,
            max_fields=room,
            max_part_size=len(body) + 1,
        )
        parser.spool_max_size = len(body) + 1
        form = await parser.parse()
        fields: dict[str, list[str]] = {}
        files: dict[str, list[bytes]] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                content = value.file.read()
                if content or value.filename:
                    files.setdefault(name, []).append(content)
            else:
                fields.setdefault(name, []).append(value)
        await form.close()
        return fields, files

    try:
        return asyncio.run(run())
    except (MultiPartException, KeyError, ValueError) as error:
        message = getattr(error, "message", "") or f"the boundary or a part is malformed ({type(error).__name__})"
        raise unprocessable(f"the body must be multipart/form-data; {message}", type_="multipart_invalid") from None


def _put(rows: list[Any], row: int, column: str, value: Any) -> None:
    if row >= len(rows):
        raise unprocessable(f"a file must belong to a row; got row {row} of {len(rows)}", "rows", row, column[:100])
    if not isinstance(rows[row], dict):
        raise unprocessable("a row must be an object of column to value", "rows", row, type_="dict_type")
    if column in rows[row]:
        raise unprocessable("a value must be given once; got it twice", "rows", row, column[:100])
    rows[row][column] = value


def _text_cell(text: str, kind: Kind | None) -> Any:
    if not text:
        return None
    if kind not in ("numeric", "series"):
        return text
    try:
        value = from_json(text.strip(), allow_inf_nan=False)
    except ValueError:
        return text
    if kind == "series":
        return value if isinstance(value, list) else text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text
