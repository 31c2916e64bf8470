"""Folders of images: the class of an image is the folder that it lies in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from hybrid_ray.data.files import File, public_uri
from hybrid_ray.data.pieces import Piece, Scan
from hybrid_ray.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLIT_NAMES = frozenset({"train", "training", "dev", "val", "valid", "validation", "test", "testing"})
PIECE_IMAGES = 4096


def is_image_name(name: str) -> bool:
    """Whether a path or URL ends like an image."""
    return public_uri(name).lower().endswith(IMAGE_SUFFIXES)


def scan_images(files: Sequence[File], root: str) -> Scan:
    """Images below a folder, with the first folder below it as the label.

    Where the first folders are called train, dev, test or the like, they are the column ``split``, and the label is
    the folder below them.

    Raises
    ------
    DataError
        There is no image, or none lies in a class folder.
    """
    images = [file.uri for file in files if is_image_name(file.uri)]
    if not images:
        raise DataError(f"data.path: must hold images; got {len(files)} other files in {public_uri(root)!r}")
    inside = [uri[len(root) :].strip("/").split("/")[:-1] for uri in images]
    tops = {parts[0] for parts in inside if parts}
    split = bool(tops) and {top.lower() for top in tops} <= SPLIT_NAMES
    depth = 1 if split else 0
    rows = tuple(
        (uri, parts[depth] if len(parts) > depth else None, parts[0] if split and parts else None)
        for uri, parts in zip(images, inside, strict=True)
    )
    if all(label is None for _, label, _ in rows):
        raise DataError(
            f"data.path: images must lie in folders named after their classes; got {len(images)} images without one "
            f"in {public_uri(root)!r}"
        )
    pieces = [
        Piece(0, root, 0, len(rows[i : i + PIECE_IMAGES]), images=rows[i : i + PIECE_IMAGES])
        for i in range(0, len(rows), PIECE_IMAGES)
    ]
    names = ["image", "label", *(["split"] if split else [])]
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    options = {"other_files": len(files) - len(images)}
    return Scan(schema, pieces, 0, options, 256 * len(images))


def read_images(piece: Piece, schema: pa.Schema) -> Iterator[pa.Table]:
    """URIs, labels and splits of a piece."""
    columns = dict(zip(("image", "label", "split"), zip(*piece.images, strict=True), strict=True))
    yield pa.table({name: pa.array(columns[name], pa.string()) for name in schema.names}, schema=schema)
