"""Files on any fsspec root: finding them, stating what identifies them, reading their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import fsspec
import pyarrow as pa

from hybrid_ray.errors import DataError

HEAD_BYTES = 4096
GLOB_SIGNS = "*?["
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}

_MAGIC = (
    (b"PAR1", "Parquet"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip (or a spreadsheet)"),
    (b"ARROW1", "Arrow IPC"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"SQLite format 3", "SQLite"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet"),
)
_CODECS = {"gzip": "gzip", "bzip2": "bz2", "zstd": "zstd"}
_STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True)
class File:
    """A file and what identifies its content without reading it.

    Attributes
    ----------
    uri : str
        Absolute path, or URL.
    size : int
        Bytes.
    stamp : str
        Entity tag or time of the last change; empty where the file system tells none.
    """

    uri: str
    size: int
    stamp: str


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turn whatever a file system raises into one line.

    Raises
    ------
    DataError
        The file cannot be reached.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"data.path: must be there; got {public_uri(uri)!r}, which is not") from None
    except ImportError as error:
        raise DataError(f"data.path: {public_uri(uri)!r} needs a package that is not installed; {error}") from None
    except Exception as error:  # each remote file system raises its own library's errors, of no common root
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data.path: must be readable; got {public_uri(uri)!r}: {reason}") from error


def public_uri(uri: str) -> str:
    """The URI without user, password and query: what may stand in logs and records."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the path within it."""
    with reaching(uri):
        fs, path = fsspec.core.url_to_fs(os.path.expanduser(uri))
    return fs, path


def stamp(info: Mapping[str, Any]) -> str:
    """What a file system tells about when a file last changed."""
    return next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")


def state_of(uri: str) -> File:
    """Size and stamp of one file."""
    if "://" not in uri:
        try:
            state = os.stat(uri)
        except FileNotFoundError:
            raise DataError(f"data.path: must be there; got {uri!r}, which is not") from None
        return File(uri, state.st_size, str(state.st_mtime))
    fs, path = filesystem(uri)
    with reaching(uri):
        info = fs.info(path)
    return File(uri, int(info.get("size") or 0), stamp(info))


def list_files(paths: str | Sequence[str]) -> tuple[list[File], str]:
    """Files of a path, folder, glob or URL, or of several; and the folder that they lie in.

    Folders are listed in depth; hidden files and files whose name starts with ``_`` are left out. The order is that of
    ``paths``, and by name within each.

    Raises
    ------
    DataError
        A path is not there, or holds no file.
    """
    asked = [paths] if isinstance(paths, str) else list(paths)
    files: list[File] = []
    folder = ""
    for path in asked:
        found, root = _expand(path)
        if not found:
            raise DataError(f"data.path: must hold at least one file; got {public_uri(path)!r}, which holds none")
        files += found
        folder = folder or root
    return files, folder


def _expand(path: str) -> tuple[list[File], str]:
    fs, inner = filesystem(path)
    with reaching(path):
        try:
            info = fs.info(inner)
        except FileNotFoundError:
            if not any(sign in inner for sign in GLOB_SIGNS):
                raise
            found = fs.glob(inner, detail=True)
            infos = {name: info for name, info in found.items() if info["type"] == "file"}
            return _files(fs, infos, inner.partition("*")[0]), parent_of(_uri(fs, min(infos, default=inner)))
        if info["type"] == "directory":
            root = inner.rstrip("/")
            return _files(fs, fs.find(inner, detail=True), root), _uri(fs, root)
    uri = path if "::" in path else _uri(fs, inner)
    return [File(uri, int(info.get("size") or 0), stamp(info))], parent_of(uri)


def _files(fs: Any, infos: Mapping[str, Mapping[str, Any]], root: str) -> list[File]:
    shown = (
        name for name in sorted(infos) if not any(part[:1] in "._" for part in name[len(root) :].split("/") if part)
    )
    return [File(_uri(fs, name), int(infos[name].get("size") or 0), stamp(infos[name])) for name in shown]


def _uri(fs: Any, path: str) -> str:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return os.path.abspath(path) if protocol in ("file", "local") else str(fs.unstrip_protocol(path))


def parent_of(uri: str) -> str:
    """The folder of a file."""
    head, _, _ = uri.rpartition("/")
    return head


def resolve(path: str, base: str) -> str:
    """An absolute path or URL: a relative path is taken from ``base``."""
    if not base or "://" in path or path.startswith(("/", "data:")):
        return path
    return f"{base.rstrip('/')}/{path.removeprefix('./')}"


def open_file(uri: str) -> IO[bytes]:
    """A file, opened to be read; remote ones in blocks, as they are asked for."""
    if "://" not in uri:
        with reaching(uri):
            return open(uri, "rb")
    fs, path = filesystem(uri)
    with reaching(uri):
        opened: IO[bytes] = fs.open(path, "rb")
    return opened


def read_head(uri: str, size: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file, decompressed when it is compressed."""
    with reaching(uri), open_plain(uri) as file:
        return bytes(file.read(size))


def open_plain(uri: str) -> Any:
    """A stream of the file's bytes, decompressed when its first bytes say that it is compressed."""
    file = open_file(uri)
    codec = _CODECS.get(kind_of(file.read(8)))
    file.seek(0)
    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec) if codec else file


def kind_of(head: bytes) -> str:
    """What the first bytes of a file say it is: a format's name, ``text``, ``empty`` or ``binary``."""
    if not head:
        return "empty"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "text"
    return "binary" if b"\x00" in head else "text"


def bare_name(uri: str) -> str:
    """Lower-case file name without the suffix of a compression: ``a.csv`` for ``s3://b/A.csv.gz``."""
    name = public_uri(uri).rsplit("/", 1)[-1].lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return name
