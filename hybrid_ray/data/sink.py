"""Writing a table that arrives in parts: Parquet, CSV or JSON lines by suffix, seen by nobody before it is whole."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from hybrid_ray.errors import BadInputError

SUFFIXES = (".parquet", ".csv", ".jsonl")

Write = Callable[[pa.Table], None]

_ANSWERS = re.compile(r"row|prediction|error|proba_.*")
_INTERVALS = re.compile(r"(low|high)_[0-9.]+")


def is_answer(name: str, forecast: bool) -> bool:
    """Whether a column is named like one that predictions, or forecasts, are written under: it cannot stand beside."""
    return bool(_ANSWERS.fullmatch(name) or (forecast and _INTERVALS.fullmatch(name)))


def check_sink(uri: str) -> str:
    """The suffix of a file that can be written.

    Raises
    ------
    BadInputError
        Another suffix.
    """
    suffix = Path(uri.rpartition("/")[2]).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInputError(f"--out: must end in one of {list(SUFFIXES)}; got {uri!r}. Example: predictions.parquet")
    return suffix


@contextmanager
def open_sink(uri: str, schema: pa.Schema) -> Iterator[Write]:
    """Write a table part by part.

    A file that is there is replaced when the block ends, and stays as it was when the block raises.

    Parameters
    ----------
    uri : str
        Path, or URL of any fsspec protocol; its suffix decides the format.
    schema : pa.Schema
        Of every part.

    Yields
    ------
    callable
        Takes the next part.

    Raises
    ------
    BadInputError
        The suffix is another, or the place cannot be written.
    """
    suffix = check_sink(uri)
    with _remote(uri) if "://" in uri else _local(Path(uri)) as file, _FORMATS[suffix](file, schema) as write:
        yield write


@contextmanager
def _local(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        file = part.open("wb")
    except OSError as error:
        raise BadInputError(f"--out: must be a file that can be written; got {str(path)!r}: {error}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _remote(uri: str) -> Iterator[IO[bytes]]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
        transaction = filesystem.transaction
        transaction.__enter__()
        file = filesystem.open(path, "wb")
    except (OSError, ValueError, ImportError) as error:
        raise BadInputError(f"--out: must be a place that can be written; got {uri!r}: {error}") from error
    try:
        with file:
            yield file
    except BaseException:
        transaction.complete(commit=False)
        raise
    transaction.complete(commit=True)


@contextmanager
def _parquet(file: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv(file: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    flat = pa.schema([pa.field(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in schema])
    with pyarrow.csv.CSVWriter(file, flat) as writer:

        def write(table: pa.Table) -> None:
            columns = {field.name: _as_text(table[field.name]) for field in schema}
            writer.write_table(pa.table(columns, flat))

        yield write


def _as_text(column: pa.ChunkedArray) -> Any:
    """Lists as JSON: CSV has none."""
    if not pa.types.is_nested(column.type):
        return column
    return pa.array([None if cell is None else json.dumps(cell) for cell in column.to_pylist()], pa.string())


@contextmanager
def _json_lines(file: IO[bytes], schema: pa.Schema) -> Iterator[Write]:
    def write(table: pa.Table) -> None:
        columns = {field.name: _nullable(table[field.name]) for field in schema}
        for row in pa.table(columns).to_pylist():
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n")

    yield write


def _nullable(column: pa.ChunkedArray) -> Any:
    """Floats that JSON cannot write become null."""
    return pc.if_else(pc.is_finite(column), column, None) if pa.types.is_floating(column.type) else column


_FORMATS: dict[str, Callable[[IO[bytes], pa.Schema], AbstractContextManager[Write]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}
