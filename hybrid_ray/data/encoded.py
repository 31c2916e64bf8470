"""Cells that hold an encoded file, or the path or URL of one: bytes fetched from anywhere, within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from hybrid_ray.data.files import open_file
from hybrid_ray.errors import DataError
from hybrid_ray.types import Kind

MAX_BYTES = 64 * 2**20
"""Size of an encoded file above which it is refused."""
NOUN: dict[Kind, str] = {"image": "an image", "audio": "a sound"}
"""What a cell of each kind holds, for messages."""
PLURAL: dict[Kind, str] = {"image": "images", "audio": "sounds"}
_CONNECTIONS = 8
"""Files that are fetched from URLs at the same time."""


class DecodeError(ValueError):
    """A cell cannot be fetched or decoded."""


def fetch(value: bytes | str, max_bytes: int = MAX_BYTES, kind: Kind = "image") -> bytes:
    """The encoded file that a cell holds or names.

    Parameters
    ----------
    value : bytes or str
        The encoded file, a local path, or a URL of any fsspec protocol.
    max_bytes : int, default 64 MiB
    kind : Kind, default "image"
        Of the cell, for messages.

    Raises
    ------
    DecodeError
        It cannot be read, or is larger than ``max_bytes``.
    """
    if isinstance(value, str):
        value = _read(value, max_bytes, kind)
    if len(value) > max_bytes:
        raise DecodeError(f"{NOUN[kind]} must have at most {max_bytes} bytes; got more")
    return bytes(value)


def fetched(cells: Sequence[bytes | str], kind: Kind) -> Iterator[bytes | str | DecodeError]:
    """The cells in order, those behind a URL fetched, or why they cannot be: several at a time, a few ahead."""
    if not any(isinstance(cell, str) and "://" in cell for cell in cells):
        yield from cells
        return

    def held(cell: bytes | str) -> bytes | DecodeError:
        try:
            return fetch(cell, kind=kind)
        except DecodeError as error:
            return error

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for start in range(0, len(cells), 4 * _CONNECTIONS):
            yield from pool.map(held, cells[start : start + 4 * _CONNECTIONS])


def _read(uri: str, max_bytes: int, kind: Kind) -> bytes:
    try:
        with open_file(uri) as file:
            return bytes(file.read(max_bytes + 1))
    except (DataError, OSError) as error:
        # The reason goes into records: it must not show where the file of a redacted column lies.
        missing = isinstance(error.__cause__ or error.__context__ or error, FileNotFoundError)
        got = "a file that is not there" if missing else "a file that cannot be read"
        raise DecodeError(f"{NOUN[kind]} must be readable; got {got}") from error
