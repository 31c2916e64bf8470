"""The root of a store: whole files under checked paths, on any fsspec root."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hybrid_ray.errors import StoreError
from hybrid_ray.store.backends import Backend, Entry, Range
from hybrid_ray.store.folder import FolderBackend
from hybrid_ray.store.remote import RemoteBackend

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@=+-]{0,127}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*://")
MAX_PATH = 512
"""Characters of a path below the root."""


def check_name(value: str, what: str) -> str:
    """A name that may stand in a path: of a model, an alias.

    Raises
    ------
    StoreError
        It holds other characters, or too many.
    """
    if not _NAME.fullmatch(value):
        raise StoreError(
            f"{what}: must begin with a letter and hold at most 64 letters, digits, '_', '.', '-'; got {value[:80]!r}"
        )
    return value


class StoreRoot:
    """One root (a folder, ``s3://bucket/prefix``, ``memory://name``) that holds features, runs and models.

    Paths are relative, with ``/`` between parts. A file is seen whole or not at all. Every record of the store is made
    of data files first and one manifest last, so that what is visible is complete; nothing is ever renamed on an object
    store. Credentials and the endpoint of S3 come from the environment (``AWS_*``, ``AWS_ENDPOINT_URL``,
    ``FSSPEC_S3_…``) or fsspec's configuration, on every node alike.

    Parameters
    ----------
    uri : str
        A folder (made absolute here, so that a worker elsewhere means the same one), ``file://…``, or any URL that
        fsspec opens.

    Raises
    ------
    StoreError
        The protocol is unknown, or its package is not installed.
    """

    def __init__(self, uri: str) -> None:
        self.uri = _normal(uri)
        self._backend: Backend = RemoteBackend(self.uri) if "://" in self.uri else FolderBackend(Path(self.uri))

    def __reduce__(self) -> tuple[type[StoreRoot], tuple[str]]:
        return StoreRoot, (self.uri,)

    def __repr__(self) -> str:
        return f"StoreRoot({self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreRoot) and other.uri == self.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def read(self, path: str) -> bytes:
        """Bytes of a file.

        Raises
        ------
        FileNotFoundError
            There is none.
        StoreError
            The store does not answer.
        """
        return self._backend.read(_checked(path))

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Bytes of several files, read side by side where the store is far; those that are not there are left out."""
        return self._backend.read_many([_checked(path) for path in paths])

    def read_ranges(self, ranges: Sequence[Range]) -> Sequence[bytes | None]:
        """Some bytes of several files, given as (path, first byte, byte after the last), in that order.

        Fewer bytes come where a file ends, None where there is none.
        """
        return self._backend.read_ranges([(_checked(path), start, stop) for path, start, stop in ranges])

    def write(self, path: str, data: bytes) -> None:
        """Put a file, in place of one that is there."""
        self._backend.write_many({_checked(path): data})

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Put several files, in no order that a reader may count on."""
        self._backend.write_many({_checked(path): data for path, data in files.items()})

    def create(self, path: str, data: bytes) -> bool:
        """Put a file that must be new.

        Returns
        -------
        bool
            False when the path is taken: of several writers exactly one gets True.
        """
        return self._backend.create(_checked(path), data)

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self._backend.find(_checked(path)) is not None

    def size(self, path: str) -> int:
        """Bytes of a file; FileNotFoundError when there is none."""
        found = self._backend.find(_checked(path))
        if found is None:
            raise FileNotFoundError(f"{self.uri}/{path}")
        return found.size

    def list(self, prefix: str = "") -> list[str]:
        """Paths of all files below a prefix, at any depth, sorted, relative to the root."""
        return [entry.path for entry in self.entries(prefix)]

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        """The same with size and time of writing."""
        return sorted(self._backend.entries(_checked(prefix) if prefix else ""))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly below a prefix, sorted: quick where they hold many files."""
        return sorted(self._backend.folders(_checked(prefix) if prefix else ""))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        self._backend.delete_many([_checked(path)])

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove files, those that are there, in order."""
        self._backend.delete_many([_checked(path) for path in paths])

    def local_path(self, path: str) -> Path | None:
        """Where a path lies in the file system; None for a store that is not a folder."""
        return self._backend.local_path(_checked(path) if path else "")

    def sweep(self, before: float) -> int:
        """Remove files that killed processes left half-written before a time (seconds since the epoch); how many."""
        return self._backend.sweep(before)

    def check_writable(self) -> None:
        """Put a probe, refuse to put it twice, and take it away again.

        Raises
        ------
        StoreError
            The store cannot be written, or does not keep two writers apart.
        """
        probe = f"_probe/{uuid.uuid4().hex}"
        kept_apart = self.create(probe, b"1") and not self.create(probe, b"2")
        self.delete(probe)
        if not kept_apart:
            raise StoreError(
                f"store {self.uri}: must honour conditional puts (If-None-Match: *), or two writers would overwrite "
                "each other; this one does not. Use a store that does: a folder, AWS S3, MinIO, GCS, Azure"
            )


def _normal(uri: str) -> str:
    if not isinstance(uri, str) or not uri.strip():
        raise StoreError(f"store: must be a folder or a URL; got {uri!r}")
    if "::" in uri:
        raise StoreError(f"store {uri}: must be one place, not a chain of file systems; got '::'")
    if uri.startswith("file://"):
        return str(Path(unquote(urlsplit(uri).path)))
    if _PROTOCOL.match(uri):
        return uri.rstrip("/") if not uri.endswith("://") else uri
    # Resolved against this process's folder only: links stay, so that a store may be moved behind one.
    return str(Path(uri).expanduser().absolute())


def _checked(path: str) -> str:
    """The path itself, when it cannot lead out of the store."""
    if len(path) > MAX_PATH or not all(_PART.fullmatch(part) for part in path.split("/")):
        raise StoreError(
            f"store path: must be relative, of parts of letters, digits and '_.@=+-', not beginning with a dot; "
            f"got {path[:120]!r}"
        )
    return path
