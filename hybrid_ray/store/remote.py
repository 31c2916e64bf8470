"""A store anywhere else that fsspec reaches: an object store, or the memory of this process."""

from __future__ import annotations

import importlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from hybrid_ray.errors import StoreError
from hybrid_ray.store.backends import CONFLICTS, Entry, Range

RETRIES = {"max_attempts": 4, "mode": "standard"}
"""Attempts of one S3 request; s3fs repeats the lot for lost connections and throttling."""

# Objects of memory:// belong to the whole process, and so must what keeps two of its threads apart.
_MEMORY_LOCK = threading.Lock()


class RemoteBackend:
    """An object store, or memory://, through fsspec: an object is put whole, or not at all."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.protocol, _, rest = uri.partition("://")
        self.base = rest.strip("/")
        if not self.base:
            raise StoreError(f"store {uri}: a bucket or folder must follow {self.protocol}://; got none")
        self.is_s3 = self.protocol in ("s3", "s3a")
        self._faulty = self._fault_types()
        self._filesystem()

    def read(self, path: str) -> bytes:
        """Bytes of an object."""
        with self._faults("read", path):
            data: bytes = self._filesystem().cat_file(self._full(path))
            return data

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Bytes of the objects that are there, read side by side."""
        if not paths:
            return {}
        full = {self._full(path): path for path in paths}
        with self._faults("read", paths[0]):
            found: Mapping[str, Any] = self._filesystem().cat(list(full), on_error="return")
        answer: dict[str, bytes] = {}
        for name, data in found.items():
            path = full[name.lstrip("/")]
            if isinstance(data, FileNotFoundError):
                continue
            if isinstance(data, Exception):
                with self._faults("read", path):
                    raise data
            answer[path] = data
        return answer

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes | None]:
        """Some bytes of each object, read side by side; fewer where it ends, None where there is none."""
        paths = [self._full(path) for path, _, _ in ranges]
        starts, stops = [start for _, start, _ in ranges], [stop for _, _, stop in ranges]
        with self._faults("read", ranges[0][0] if ranges else ""):
            found = self._filesystem().cat_ranges(paths, starts, stops, on_error="return") if ranges else []
        answer: list[bytes | None] = []
        for (path, _, _), data in zip(ranges, found, strict=True):
            if isinstance(data, Exception) and not isinstance(data, FileNotFoundError):
                with self._faults("read", path):
                    raise data
            answer.append(None if isinstance(data, FileNotFoundError) else data)
        return answer

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Put objects, side by side."""
        if not files:
            return
        with self._faults("write", next(iter(files))):
            self._filesystem().pipe({self._full(path): data for path, data in files.items()})

    def create(self, path: str, data: bytes) -> bool:
        """Put an object that must be new."""
        with self._faults("write", path):
            if self.is_s3:
                return self._create_on_s3(self._full(path), data)
            lock = _MEMORY_LOCK if self.protocol == "memory" else nullcontext()
            try:
                with lock:
                    self._filesystem().pipe_file(self._full(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def _create_on_s3(self, full: str, data: bytes) -> bool:
        """Put with ``If-None-Match: *``.

        A put whose answer was lost is repeated by the client and then refused: the name of the writer, kept with the
        object, tells that case from another writer's object.
        """
        filesystem, writer = self._filesystem(), uuid.uuid4().hex
        for attempt in range(CONFLICTS):
            try:
                filesystem.pipe_file(full, data, mode="create", Metadata={"writer": writer})
                return True
            except OSError as error:
                code = _s3_code(error)
                if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "412"):
                    return bool(filesystem.metadata(full, refresh=True).get("writer") == writer)
                if code not in ("ConditionalRequestConflict", "409") or attempt + 1 == CONFLICTS:
                    raise
                time.sleep(0.05 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def find(self, path: str) -> Entry | None:
        """One object, or None."""
        with self._faults("read", path):
            try:
                info: Mapping[str, Any] = self._filesystem().info(self._full(path))
            except FileNotFoundError:
                return None
            return None if info["type"] == "directory" else Entry(path, int(info["size"]), _modified(info))

    def entries(self, prefix: str) -> list[Entry]:
        """Every object below a prefix."""
        filesystem = self._filesystem()
        full = self._full(prefix)
        with self._faults("list", prefix):
            try:
                found: Mapping[str, Mapping[str, Any]] = filesystem.find(full, detail=True)
            except FileNotFoundError:
                if filesystem.exists(self.base.partition("/")[0]):
                    return []
                raise
        start = len(self.base) + 1
        named = ((name.lstrip("/"), info) for name, info in found.items())
        # Answers for a prefix that is itself an object hold that object: it does not lie below the prefix.
        below = ((name, info) for name, info in named if name.startswith(full.rstrip("/") + "/"))
        return sorted(
            Entry(name[start:], int(info["size"]), _modified(info))
            for name, info in below
            if info["type"] != "directory" and not name.endswith("/")
        )

    def folders(self, prefix: str) -> list[str]:
        """Names of the parts that follow a prefix and are not its last."""
        with self._faults("list", prefix):
            try:
                found: Sequence[Mapping[str, Any]] = self._filesystem().ls(self._full(prefix), detail=True)
            except FileNotFoundError:
                return []
        return [i["name"].rstrip("/").rpartition("/")[2] for i in found if i["type"] == "directory"]

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove objects, those that are there."""
        filesystem = self._filesystem()
        for path in paths:
            with self._faults("delete", path):
                try:
                    filesystem.rm_file(self._full(path))
                except FileNotFoundError:
                    continue

    def local_path(self, path: str) -> Path | None:
        """None: the bytes are elsewhere."""
        return None

    def sweep(self, before: float) -> int:
        """Nothing: an object is put whole or not at all."""
        return 0

    def _full(self, path: str) -> str:
        return f"{self.base}/{path}" if path else self.base

    def _filesystem(self) -> Any:
        """The fsspec file system; fsspec keeps one a process, so this is cheap and safe after a fork."""
        import fsspec

        # Other processes write too: a listing that was kept is a listing that is wrong.
        options: dict[str, Any] = {"use_listings_cache": False}
        if self.is_s3:
            configured = fsspec.config.conf.get(self.protocol, {}).get("config_kwargs", {})
            options["config_kwargs"] = {"retries": RETRIES, "connect_timeout": 10, **configured}
        try:
            return fsspec.filesystem(self.protocol, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"store {self.uri}: must be a folder or a URL that fsspec can open; got {error}. "
                "For s3:// install hybrid-ray[s3]"
            ) from error

    def _fault_types(self) -> tuple[type[Exception], ...]:
        if not self.is_s3:
            return (OSError,)
        try:
            botocore = importlib.import_module("botocore.exceptions")
        except ImportError:
            return (OSError,)
        return (OSError, botocore.BotoCoreError, botocore.ClientError)

    @contextmanager
    def _faults(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except self._faulty as error:
            if action == "read" and isinstance(error, FileNotFoundError):
                raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(
                f"store {self.uri}: must exist and be readable and writable with the credentials at hand; cannot "
                f"{action} {path or 'it'}: {said}"
            ) from error


def _s3_code(error: OSError) -> str:
    """The S3 error code behind a translated error, or an empty string."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


def _modified(info: Mapping[str, Any]) -> float:
    """When an object was written; now, where its file system does not tell: it is then never old."""
    for name in ("LastModified", "last_modified", "mtime", "created", "updated"):
        value = info.get(name)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, str) and value:
            return datetime.fromisoformat(value).timestamp()
    return time.time()
