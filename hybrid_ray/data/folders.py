"""Folders of images or sounds: the class of a file is the folder that it lies in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from hybrid_ray.data.encoded import PLURAL
from hybrid_ray.data.files import File, public_uri
from hybrid_ray.data.pieces import Piece, Scan
from hybrid_ray.errors import DataError
from hybrid_ray.types import Kind

SUFFIXES: Mapping[Kind, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".flac", ".ogg", ".oga"),
}
"""How names of encoded files end, by kind."""
SPLIT_NAMES = frozenset({"train", "training", "dev", "val", "valid", "validation", "test", "testing"})
PIECE_FILES = 4096


def ends_like(kind: Kind, name: str) -> bool:
    """Whether a path or URL ends like an encoded file of a kind."""
    return public_uri(name).lower().endswith(SUFFIXES[kind])


def scan_folders(files: Sequence[File], root: str, kind: Kind) -> Scan:
    """Images or sounds below a folder, with the first folder below it as the label.

    Where the first folders are called train, dev, test or the like, they are the column ``split``, and the label is
    the folder below them.

    Raises
    ------
    DataError
        There is no such file, or none lies in a class folder.
    """
    wanted, plural = [file.uri for file in files if ends_like(kind, file.uri)], PLURAL[kind]
    if not wanted:
        raise DataError(f"data.path: must hold {plural}; got {len(files)} other files in {public_uri(root)!r}")
    inside = [uri[len(root) :].strip("/").split("/")[:-1] for uri in wanted]
    tops = {parts[0] for parts in inside if parts}
    split = bool(tops) and {top.lower() for top in tops} <= SPLIT_NAMES
    depth = 1 if split else 0
    rows = tuple(
        (uri, parts[depth] if len(parts) > depth else None, parts[0] if split and parts else None)
        for uri, parts in zip(wanted, inside, strict=True)
    )
    if all(label is None for _, label, _ in rows):
        raise DataError(
            f"data.path: {plural} must lie in folders named after their classes; got {len(wanted)} {plural} "
            f"without one in {public_uri(root)!r}"
        )
    pieces = [
        Piece(0, root, 0, len(rows[i : i + PIECE_FILES]), encoded=rows[i : i + PIECE_FILES])
        for i in range(0, len(rows), PIECE_FILES)
    ]
    names = [kind, "label", *(["split"] if split else [])]
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    options = {"other_files": len(files) - len(wanted)}
    return Scan(schema, pieces, 0, options, 256 * len(wanted))


def read_folders(piece: Piece, schema: pa.Schema) -> Iterator[pa.Table]:
    """URIs, labels and splits of a piece."""
    uris, labels, splits = zip(*piece.encoded, strict=True)
    told = {"label": labels, "split": splits}
    yield pa.table({name: pa.array(told.get(name, uris), pa.string()) for name in schema.names}, schema=schema)
