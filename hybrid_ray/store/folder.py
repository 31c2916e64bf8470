"""A store in a folder of the file system."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hybrid_ray.errors import StoreError
from hybrid_ray.store.backends import Entry, Range

TEMPORARY = ".tmp-"
"""How the name of a file that is still being written begins."""
PRUNED = 100
"""How often a folder is made again that others remove because it is empty."""


class FolderBackend:
    """A folder: a file appears under its name whole (``os.replace``), or by a hard link where it must be new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, path: str) -> bytes:
        """Bytes of a file."""
        with self._faults("read", path):
            return (self.folder / path).read_bytes()

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Bytes of the files that are there."""
        found: dict[str, bytes] = {}
        for path in paths:
            try:
                found[path] = self.read(path)
            except FileNotFoundError:
                continue
        return found

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes | None]:
        """Some bytes of each file; fewer where it ends, None where there is none."""
        found: list[bytes | None] = []
        for path, start, stop in ranges:
            with self._faults("read", path), suppress(FileNotFoundError), (self.folder / path).open("rb") as file:
                file.seek(start)
                found.append(file.read(stop - start))
                continue
            found.append(None)
        return found

    def write_many(self, files: Mapping[str, bytes]) -> None:
        """Put files, one after another."""
        for path, data in files.items():
            with self._faults("write", path), self._temporary(path, data) as temporary:
                os.replace(temporary, self.folder / path)

    def create(self, path: str, data: bytes) -> bool:
        """Put a file that must be new."""
        with self._faults("write", path), self._temporary(path, data) as temporary:
            try:
                os.link(temporary, self.folder / path)
            except FileExistsError:
                return False
            return True

    def find(self, path: str) -> Entry | None:
        """One file, or None."""
        with self._faults("read", path):
            try:
                stat = (self.folder / path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            is_folder = (self.folder / path).is_dir()
            return None if is_folder else Entry(path, stat.st_size, stat.st_mtime)

    def entries(self, prefix: str) -> list[Entry]:
        """Every file below a folder; none where there is no such folder."""
        with self._faults("list", prefix):
            return list(self._scan(prefix))

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders in a folder."""
        with self._faults("list", prefix):
            try:
                return [entry.name for entry in os.scandir(self.folder / prefix) if entry.is_dir()]
            except FileNotFoundError:
                return []

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove files, those that are there; folders that this empties go too."""
        for path in paths:
            with self._faults("delete", path):
                (self.folder / path).unlink(missing_ok=True)
            self._prune((self.folder / path).parent)

    def local_path(self, path: str) -> Path | None:
        """Where a path is in the file system."""
        return self.folder / path

    def sweep(self, before: float) -> int:
        """Remove what killed processes left half-written before a time; the number of files."""
        with self._faults("delete", TEMPORARY):
            old = [path for path in self.folder.rglob(f"{TEMPORARY}*") if path.stat().st_mtime < before]
            for path in old:
                path.unlink(missing_ok=True)
        return len(old)

    def _scan(self, prefix: str) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(self.folder / prefix), key=lambda e: e.name)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            if self.folder.is_dir():  # the prefix is a file: nothing lies below it
                return
            raise
        for entry in found:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir():
                yield from self._scan(path)
            elif not entry.name.startswith(TEMPORARY):
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # removed by another process since the folder was read
                    continue
                yield Entry(path, stat.st_size, stat.st_mtime)

    @contextmanager
    def _temporary(self, path: str, data: bytes) -> Iterator[Path]:
        """A whole file beside the target, removed when it was not moved there."""
        folder = (self.folder / path).parent
        temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            self._put(temporary, data)
        except FileNotFoundError:  # the folder is not there yet
            self._put_in_new(folder, temporary, data)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _put_in_new(self, folder: Path, temporary: Path, data: bytes) -> None:
        """Make the folder first; another process may prune it or its parents while it is empty, but not for ever."""
        for _ in range(PRUNED):
            # Gone between two steps of mkdir itself, there is no parent, or a folder "exists" that is none.
            with suppress(FileNotFoundError, FileExistsError):
                folder.mkdir(parents=True, exist_ok=True)
                return self._put(temporary, data)
        folder.mkdir(parents=True, exist_ok=True)
        self._put(temporary, data)

    def _put(self, temporary: Path, data: bytes) -> None:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _prune(self, folder: Path) -> None:
        while folder != self.folder and self.folder in folder.parents:
            try:
                folder.rmdir()
            except OSError:  # not empty
                return
            folder = folder.parent

    @contextmanager
    def _faults(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if action == "read" and isinstance(error, FileNotFoundError):
                raise
            raise StoreError(
                f"store {self.folder}: must be a folder that can be read and written; cannot {action} "
                f"{path or 'it'}: {error.strerror or error}"
            ) from error
