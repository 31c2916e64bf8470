"""CSV files: every column is read as text, so that a bad cell is one bad cell and not a failed file."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv as pacsv

from hybrid_ray.data.files import File, bare_name, kind_of, open_plain, public_uri, reaching, read_head
from hybrid_ray.data.pieces import Piece, Scan
from hybrid_ray.errors import DataError

BLOCK_BYTES = 512 << 10
MAX_BLOCK_BYTES = 64 << 20
SNIFF_BYTES = 1 << 16
SEPARATORS = (",", ";", "\t", "|")
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>")


class _Watch:
    """A stream that notes how many bytes passed through it, and whether they were UTF-8."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")() if encoding == "utf-8" else None
        self.valid = True
        self.n_bytes = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._stream.read(size))
        self.n_bytes += len(data)
        if self._decoder is not None and self.valid:
            try:
                self._decoder.decode(data, final=not data)
            except UnicodeDecodeError:
                self.valid = False
        return data

    def close(self) -> None:
        self.closed = True


class _FromHeader:
    """A stream without the empty lines before its first: Arrow counts them as the header's line."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._blank = True
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._stream.read(size))
        while self._blank and data:
            mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
            rest = data.removeprefix(mark).lstrip(b"\r\n")
            if rest:
                self._blank = False
                return mark + rest
            data = bytes(self._stream.read(size))
        return data

    def close(self) -> None:
        self.closed = True


def scan_csv(files: Sequence[File], limit: int | None) -> Scan:
    """Read the header of some CSV files and count their rows.

    Raises
    ------
    DataError
        A file is empty, is no CSV file, or has other columns than the first.
    """
    options = _dialect(files[0].uri)
    names = _header(files[0].uri, options)
    pieces: list[Piece] = []
    malformed = total = n_bytes = 0
    for file in files:
        own = _header(file.uri, options)
        if own != names:
            odd = sorted(set(own) ^ set(names)) or "another order"
            raise DataError(
                f"data.path: all CSV files must have the same header; got {odd} in {public_uri(file.uri)!r}"
            )
        n_rows, bad, size = _counted(file.uri, names, options, None if limit is None else limit - total)
        pieces.append(Piece(0, file.uri, 0, n_rows))
        total, malformed, n_bytes = total + n_rows, malformed + bad, n_bytes + size
        if limit is not None and total >= limit:
            break
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    return Scan(schema, pieces, malformed, options, n_bytes)


def read_csv(piece: Piece, schema: pa.Schema, options: dict[str, Any]) -> Iterator[pa.Table]:
    """Rows of a file, as text, in tables of about half a MiB of the file (Arrow reads up to 32 such blocks ahead)."""
    names = options["names"]
    with reaching(piece.uri), open_plain(piece.uri) as stream:
        for table, _ in _tables(stream, names, schema.names, options):
            yield table.select(schema.names)


def _dialect(uri: str) -> dict[str, Any]:
    head = read_head(uri, SNIFF_BYTES)
    kind = kind_of(head)
    if kind == "empty":
        raise DataError(f"data.path: must hold rows; got the empty file {public_uri(uri)!r}")
    if kind != "text":
        raise DataError(f"data.path: {public_uri(uri)!r} must be a CSV file; got {kind}. Set data.format")
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = text.splitlines()[:20]
    if len(head) == SNIFF_BYTES and len(lines) > 1:
        lines = lines[:-1]
    separator = "\t" if bare_name(uri).endswith(".tsv") else _separator(lines)
    return {"separator": separator, "encoding": encoding}


def _separator(lines: Sequence[str]) -> str:
    """The sign that cuts the header into most columns, counted outside quotes; comma when there is none."""
    header = next((line for line in lines if line.strip()), "")
    counts = {sign: len(next(csv.reader([header], delimiter=sign), [])) for sign in SEPARATORS}
    return max(SEPARATORS, key=lambda sign: counts[sign])


def _header(uri: str, options: dict[str, Any]) -> list[str]:
    head = read_head(uri, SNIFF_BYTES * 16)
    if not head:
        raise DataError(f"data.path: must hold rows; got the empty file {public_uri(uri)!r}")
    text = head.decode(options["encoding"], errors="replace").removeprefix("\ufeff")
    rows = csv.reader((line for line in text.splitlines(keepends=True)), delimiter=options["separator"])
    raw = next((row for row in rows if row), [])
    names = [name.strip() or f"unnamed_{i}" for i, name in enumerate(raw)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise DataError(
            f"data.path: a CSV file must start with a line of different column names; got {twice or 'none'} "
            f"more than once in {public_uri(uri)!r}"
        )
    options.setdefault("names", names)
    return names


def _counted(uri: str, names: Sequence[str], options: dict[str, Any], limit: int | None) -> tuple[int, int, int]:
    """As :func:`_count`, with blocks as large as the longest row needs; their size is noted in ``options``."""
    while True:
        try:
            return _count(uri, names, options, limit)
        except DataError as error:
            block = 8 * options.get("block", BLOCK_BYTES)
            if "straddling" not in str(error) or block > MAX_BLOCK_BYTES:
                raise
            options["block"] = block


def _count(uri: str, names: Sequence[str], options: dict[str, Any], limit: int | None) -> tuple[int, int, int]:
    """Rows of a file, lines that are no row, and bytes; notes in ``options`` when the text is no UTF-8."""
    rows = bad = 0
    with reaching(uri), open_plain(uri) as stream:
        watch = _Watch(stream, options["encoding"])
        for table, skipped in _tables(watch, names, names[:1], options | {"check": False}):
            rows, bad = rows + table.num_rows, skipped
            if limit is not None and rows >= limit:
                rows = limit
                break
    if not watch.valid:
        options["encoding"] = "cp1252"
    return rows, bad, watch.n_bytes


def _tables(
    stream: Any, names: Sequence[str], wanted: Sequence[str], options: dict[str, Any]
) -> Iterator[tuple[pa.Table, int]]:
    """Tables of the wanted columns as text, each with the number of lines left out so far."""
    skipped = 0

    def leave_out(row: pacsv.InvalidRow) -> str:
        nonlocal skipped
        skipped += 1
        return "skip"

    read = pacsv.ReadOptions(
        use_threads=False,
        block_size=options.get("block", BLOCK_BYTES),
        column_names=list(names),
        skip_rows_after_names=1,
        encoding={"utf-8": "utf8"}.get(options["encoding"], options["encoding"]),
    )
    parse = pacsv.ParseOptions(delimiter=options["separator"], newlines_in_values=True, invalid_row_handler=leave_out)
    convert = pacsv.ConvertOptions(
        check_utf8=options.get("check", True),
        column_types={name: pa.string() for name in wanted},
        include_columns=list(wanted),
        null_values=list(MISSING),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    reader = pacsv.open_csv(_FromHeader(stream), read_options=read, parse_options=parse, convert_options=convert)
    for batch in reader:
        yield pa.table(batch), skipped
