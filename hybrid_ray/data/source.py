"""Opening the rows of a spec: what they are, and in which pieces they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hybrid_ray.data.bundled import ABOUT, SCHEME, bundled
from hybrid_ray.data.cuts import cut_points, points_of, scan_cut
from hybrid_ray.data.delimited import read_csv, scan_csv
from hybrid_ray.data.files import File, bare_name, kind_of, list_files, open_file, public_uri, read_head
from hybrid_ray.data.folders import ends_like, read_folders, scan_folders
from hybrid_ray.data.generate import GENERATED, generated
from hybrid_ray.data.json_lines import read_json_lines, scan_json_lines
from hybrid_ray.data.parquet import read_parquet, scan_parquet
from hybrid_ray.data.pieces import Piece, Scan, cut, first_rows
from hybrid_ray.digests import digest_json
from hybrid_ray.errors import DataError
from hybrid_ray.registry import nearest
from hybrid_ray.spec import DataSpec
from hybrid_ray.types import Kind

__all__ = ["Format", "Piece", "Source", "open_source", "read_piece"]

Format = Literal["parquet", "csv", "jsonl", "images", "audio", "made", "windows"]
_FOLDERS: Mapping[Format, Kind] = {"images": "image", "audio": "audio"}
"""Formats that are folders of class folders, and the kind of the files in them."""

SAMPLE_BYTES = 64 << 20
SPREAD_BYTES = 128 << 20
SAMPLE_PIECES = 16
MADE_ROWS = 4096

_FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


@dataclass(frozen=True)
class Source:
    """Rows that can be read piece by piece, here or in another process. Made by :func:`open_source`.

    Attributes
    ----------
    data : DataSpec
        What was asked for.
    format : {"parquet", "csv", "jsonl", "images", "audio", "made", "windows"}
    schema : pa.Schema
        Columns, without those that are dropped, unless rows are grouped by them. Columns of a CSV file are all text:
        their kinds say what they mean.
    n_rows : int
    pieces : list of Piece
        In row order.
    base : str
        Folder that relative paths of images and sounds start from.
    digest : str
        Digest of the manifest: URIs, sizes, times of change; with ``data.verify: content``, of the files' content.
    malformed : int
        Lines of the files that are no row, and are left out.
    about : dict
        Facts for the data card.
    points : Source or None
        The points that rows are cut from, where they are.
    """

    data: DataSpec
    format: Format
    schema: pa.Schema
    n_rows: int
    pieces: list[Piece]
    base: str
    digest: str
    malformed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    points: Source | None = None

    def bare(self) -> Source:
        """The same without its pieces: what a worker needs beside the one piece that it is sent."""
        return replace(self, pieces=[])

    def describe(self) -> dict[str, Any]:
        """What it is, for the data card: JSON-able, without passwords."""
        columns = {f.name: str(f.type) for f in self.schema}
        return {
            "format": self.format,
            "rows": self.n_rows,
            "pieces": len(self.pieces),
            "malformed": self.malformed,
            "columns": columns,
            "digest": self.digest,
            **self.about,
        }

    def sample(self, n: int = 2000) -> pa.Table:
        """About n rows to look at: spread evenly over small data, from the start of evenly spaced pieces of large.

        Holds at most 64 MiB: fewer rows when rows are large.
        """
        if self.about.get("bytes_in_memory", 0) <= SPREAD_BYTES:
            step = max(1, -(-self.n_rows // n))
            return _bounded(self._spread(step), SAMPLE_BYTES, self.schema)
        count = min(len(self.pieces), SAMPLE_PIECES)
        chosen = [self.pieces[i * len(self.pieces) // count] for i in range(count)]
        parts = [
            _bounded(
                first_rows(_read(self, piece, self.schema, 64), -(-n // count)), SAMPLE_BYTES // count, self.schema
            )
            for piece in chosen
        ]
        return pa.concat_tables(parts)

    def _spread(self, step: int) -> Iterator[pa.Table]:
        for piece in self.pieces:
            start = piece.start
            for table in read_piece(self, piece, self.schema.names, 1024):
                rows = np.arange(-start % step, table.num_rows, step)
                start += table.num_rows
                yield table.take(pa.array(rows))


def open_source(
    data: DataSpec, limit: int | None = None, *, training: bool = True, only_scored: bool = False
) -> Source:
    """Find the rows of a spec, without reading them (text files are counted).

    Parameters
    ----------
    data : DataSpec
    limit : int, optional
        Rows at most, from the start; default: ``data.limit``, else all.
    training : bool, default True
        False for rows to predict: they may lack the label and every column that is no input.
    only_scored : bool, default False
        True: of points to forecast the rows of the final score alone, which need none to learn from beside them.

    Raises
    ------
    DataError
        There are no rows, the files are of another format, or columns that the spec names are not there.
    """
    limit = data.limit if limit is None else limit
    if data.series is not None or data.windows is not None:
        return _open_cut(data, limit, training, only_scored)
    paths = [data.path] if isinstance(data.path, str) else list(data.path)
    if paths and all(path.startswith((SCHEME, GENERATED)) for path in paths):
        return _open_made(data, paths, limit, training)
    files, base = list_files(paths)
    kind = _format(data, files)
    if kind not in _FOLDERS:
        files = _of_format(files, kind, len(paths))
    scan = _scan(kind, data, files, base, limit)
    names = [file.uri for file in files]
    about = {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "paths": [public_uri(path) for path in paths],
        "bytes_in_memory": scan.n_bytes,
        **{key: value for key, value in scan.options.items() if key != "names"},
    }
    content = _content_digest(files) if data.verify == "content" else None
    identity: Any = content or [(file.uri, file.size, file.stamp) for file in files]
    return _finish(data, kind, scan, identity, limit, base, about, training, names[0])


def _bounded(tables: Iterator[pa.Table], max_bytes: int, schema: pa.Schema) -> pa.Table:
    """The tables put together, as many as fit into some bytes; always the first."""
    kept: list[pa.Table] = []
    size = 0
    for table in tables:
        size += table.nbytes
        if kept and size > max_bytes:
            break
        kept.append(table)
    return pa.concat_tables(kept) if kept else schema.empty_table()


def read_piece(source: Source, piece: Piece, columns: Sequence[str], shard_rows: int) -> Iterator[pa.Table]:
    """Rows of a piece as consecutive tables of exactly ``shard_rows`` rows (the last may be shorter): its shards.

    Parameters
    ----------
    source : Source
        Or its :meth:`Source.bare` form.
    piece : Piece
    columns : sequence of str
        Columns to read, in this order; a dropped column is never given, unless rows are grouped by it.
    shard_rows : int

    Raises
    ------
    DataError
        The file cannot be read, or has changed since it was opened.
    """
    missing = sorted(set(columns) - set(source.schema.names))
    if missing:
        raise DataError(f"data: columns to read must be in {source.schema.names}; got {missing}")
    schema = pa.schema([source.schema.field(name) for name in columns])
    seen = 0
    for table in cut(first_rows(_read(source, piece, schema, shard_rows), piece.n_rows), shard_rows):
        seen += table.num_rows
        yield table
    if seen != piece.n_rows:
        raise DataError(
            f"data.path: {public_uri(piece.uri)!r} must not change while it is read; got {seen} rows instead of "
            f"{piece.n_rows}. Start again"
        )


def _read(source: Source, piece: Piece, schema: pa.Schema, batch_rows: int) -> Iterator[pa.Table]:
    if source.format == "parquet":
        return read_parquet(piece, schema, batch_rows)
    if source.format == "csv":
        return read_csv(piece, schema, source.options)
    if source.format == "jsonl":
        return read_json_lines(piece, schema)
    if source.format in _FOLDERS:
        return read_folders(piece, schema)
    if source.format == "windows":
        assert source.points is not None
        made = cut_points(source.data, source.points, source.options["training"], source.options["only_scored"])
        return iter([made.table(piece.first, piece.n_rows, schema.names)])
    return iter([_made(piece.uri, source.data).slice(piece.first, piece.n_rows).select(schema.names)])


def _open_cut(data: DataSpec, limit: int | None, training: bool, only_scored: bool) -> Source:
    """Rows cut from points; see :mod:`hybrid_ray.data.cuts`."""
    points = open_source(points_of(data), training=False)
    made = cut_points(data, points, training, only_scored)
    if data.series is not None:
        asked = data.series.identity()
    else:
        assert data.windows is not None
        asked = {"windows": data.windows.identity(), "test": data.split.test}
    identity = [points.digest, asked, data.label, data.split.column, training, *(["scored"] if only_scored else [])]
    about = {**points.about, "notes": made.notes, "points": points.n_rows, "series": made.n_series}
    about |= {} if made.step_length is None else {"step_length": made.step_length}
    options = {"training": training, "only_scored": only_scored}
    scan = replace(scan_cut(made, data.shard_rows), malformed=points.malformed, options=options)
    paths = [data.path] if isinstance(data.path, str) else list(data.path)
    bare = data.model_copy(update={"columns": None, "split": data.split.model_copy(update={"column": None})})
    source = _finish(bare, "windows", scan, identity, limit, points.base, about, training, paths[0])
    return replace(source, data=data, points=points)


def _made(uri: str, data: DataSpec) -> pa.Table:
    return bundled(uri) if uri.startswith(SCHEME) else generated(uri, data)


def _open_made(data: DataSpec, paths: Sequence[str], limit: int | None, training: bool) -> Source:
    pieces: list[Piece] = []
    tables = [_made(path, data) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        rows = range(0, table.num_rows, MADE_ROWS)
        pieces += [Piece(0, path, 0, min(MADE_ROWS, table.num_rows - i), i, i + MADE_ROWS) for i in rows]
    names = [path.removeprefix(SCHEME) for path in paths]
    about = {"paths": list(paths), "bytes_in_memory": sum(t.nbytes for t in tables), **ABOUT.get(names[0], {})}
    scan = Scan(tables[0].schema, pieces, 0, {}, 0)
    identity = [*paths, dict(data.columns or {}), data.label]
    return _finish(data, "made", scan, identity, limit, "", about, training, paths[0])


def _finish(
    data: DataSpec,
    kind: Format,
    scan: Scan,
    identity: Any,
    limit: int | None,
    base: str,
    about: dict[str, Any],
    training: bool,
    first: str,
) -> Source:
    """Number the pieces, check the columns, and leave out the dropped ones that no rows are grouped by."""
    _check_columns(data, scan.schema, training, first)
    pieces: list[Piece] = []
    total = 0
    for piece in scan.pieces:
        left = piece.n_rows if limit is None else min(piece.n_rows, limit - total)
        if left > 0:
            pieces.append(replace(piece, index=len(pieces), start=total, n_rows=left))
            total += left
    if not total:
        raise DataError(f"data.path: must hold rows; got none in {public_uri(first)!r}")
    share = scan.malformed / (total + scan.malformed)
    if share > data.max_bad_fraction:
        raise DataError(
            f"data.path: at most {data.max_bad_fraction:.1%} of the lines may be broken (data.max_bad_fraction); got "
            f"{scan.malformed} of {total + scan.malformed} in {public_uri(first)!r} that do not fit its {kind} format"
        )
    dropped = set(data.drop) - set(data.groups)
    schema = pa.schema([f for f in scan.schema if f.name not in dropped])
    digest = digest_json({"format": kind, "files": identity, "limit": limit, "drop": sorted(set(data.drop))})
    return Source(data, kind, schema, total, pieces, base, digest, scan.malformed, scan.options, about)


def _scan(kind: Format, data: DataSpec, files: Sequence[File], base: str, limit: int | None) -> Scan:
    if kind == "parquet":
        return scan_parquet(files, data.shard_rows)
    if kind == "csv":
        return scan_csv(files, limit)
    return scan_json_lines(files, limit) if kind == "jsonl" else scan_folders(files, base, _FOLDERS[kind])


def _format_of(uri: str) -> Format | None:
    name = bare_name(uri)
    return next((kind for suffix, kind in _FORMATS.items() if name.endswith(suffix)), None)


def _of_format(files: Sequence[File], kind: Format, asked: int) -> list[File]:
    """The files to read: those that were asked for by name, or of a folder or glob those whose names say the format.

    Where no name says it, all are of the one format that the first bytes or the spec told.
    """
    named = [file for file in files if _format_of(file.uri) == kind]
    return named if named and len(files) > asked else list(files)


def _format(data: DataSpec, files: Sequence[File]) -> Format:
    """The format asked for, or told by the files' names, or by the first bytes of a single file."""
    if data.format != "auto":
        return data.format
    found = Counter(kind for kind in (_format_of(file.uri) for file in files) if kind is not None)
    if len(found) > 1:
        raise DataError(
            f"data.path: files must be of one format; got {dict(found)}. Set data.format, or a glob such as *.parquet"
        )
    if found:
        return next(iter(found))
    for folders, files_of in _FOLDERS.items():
        if any(ends_like(files_of, file.uri) for file in files):
            return folders
    head = read_head(files[0].uri)
    kind = kind_of(head)
    if kind == "Parquet":
        return "parquet"
    if kind == "text":
        return "jsonl" if head.lstrip()[:1] == b"{" else "csv"
    held = "an empty file" if kind == "empty" else kind
    raise DataError(
        "data.path: must be Parquet, CSV, JSON lines or a folder of images or of sounds; got "
        f"{held} in {public_uri(files[0].uri)!r}"
    )


def _check_columns(data: DataSpec, schema: pa.Schema, training: bool, first: str) -> None:
    """Refuse a spec that names columns which are not there: each name, with the nearest that is."""
    asked = {"data.split.column": data.split.column, "data.split.together": data.split.together}
    split = [(where, name) for where, name in asked.items() if name is not None]
    labels = [("data.annotators", c) for c in data.annotators] or [("data.label", data.label)] * bool(data.label)
    named = [*labels, *split, *(("data.drop", c) for c in data.drop)] if training else []
    named += [("data.redact", c) for c in data.redact if training]
    named += [("data.groups", c) for c in data.groups if training]
    named += [(f"data.columns.{c}", c) for c in data.columns or ()]
    known = list(schema.names)
    faults = [f"{where}: must be a column; got {c!r}.{nearest(c, known)}" for where, c in named if c not in known]
    if faults:
        shown = known if len(known) <= 40 else [*known[:40], "…"]
        raise DataError(f"{' '.join(faults)} Columns of {public_uri(first)!r}: {shown}")
    if training and data.annotators and data.label in known:
        raise DataError(
            f"data.label: must be a new name where data.annotators are given, as the label is made of them; got "
            f"{data.label!r}, which is a column of {public_uri(first)!r}. Give another name, and drop that column"
        )


def _content_digest(files: Sequence[File]) -> list[tuple[str, str]]:
    return [(public_uri(file.uri), file_digest(file.uri).hex()) for file in files]


def file_digest(uri: str) -> bytes:
    """128-bit digest of a file's bytes, read in blocks."""
    import hashlib

    state = hashlib.blake2b(digest_size=16)
    with open_file(uri) as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.digest()
