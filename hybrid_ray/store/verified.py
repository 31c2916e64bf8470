"""Files that are checked against their digests before anything looks into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.state import FileInfo, Files, file_info


def joined(prefix: str, path: str) -> str:
    """``prefix/path``, for an empty prefix too."""
    return f"{prefix}/{path}" if prefix else path


class VerifiedFiles:
    """Files of one folder; bytes come out only when size and sha256 are those of a manifest.

    What was fetched is handed out from memory, the very bytes that were checked, and let go of when it is read.

    Parameters
    ----------
    root : Files
        Where they lie.
    prefix : str
        The folder; empty for the root itself.
    infos : mapping of str to dict
        ``{"sha256", "size"}`` of each file, by path below the folder.
    """

    def __init__(self, root: Files, prefix: str, infos: Mapping[str, FileInfo]) -> None:
        self.root = root
        self.infos = {joined(prefix, path): info for path, info in infos.items()}
        self._held: dict[str, bytes] = {}

    def fetch(self, below: str = "") -> Self:
        """Read and check all files, or those below a path, side by side.

        Raises
        ------
        ArtifactError
            A file is not there, or differs from its digest.
        """
        paths = [path for path in self.infos if not below or path == below or path.startswith(below + "/")]
        found = self.root.read_many(paths)
        for path in paths:
            if path not in found:
                raise ArtifactError(f"{path}: must be there; the manifest names it. Restore it from a copy")
            self._check(path, found[path])
        self._held |= found
        return self

    def read(self, path: str) -> bytes:
        """Checked bytes of a file."""
        if path in self._held:
            return self._held.pop(path)
        try:
            data = self.root.read(path)
        except FileNotFoundError:
            raise ArtifactError(f"{path}: must be there; the manifest names it. Restore it from a copy") from None
        self._check(path, data)
        return data

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Checked bytes of several files."""
        return {path: self.read(path) for path in paths}

    def local_path(self, path: str) -> Path | None:
        """Where a path lies in the file system."""
        return self.root.local_path(path)

    def _check(self, path: str, data: bytes) -> None:
        expected = self.infos.get(path)
        if expected is None:
            raise ArtifactError(f"{path}: must be named by the manifest; it is not")
        found = file_info(data)
        if found != expected:
            raise ArtifactError(
                f"{path}: must be as it was saved, {_said(expected)}; got {_said(found)}. Restore it from a copy"
            )


class SharedFiles:
    """Files some of which lie under other paths than they are asked for.

    Parameters
    ----------
    files : Files
    moved : mapping of str to str
        Path that is asked for to path that is read.
    held : dict of str to bytes
        Bytes by path that is read: those who share a file share its bytes too. What is read is put there.
    """

    def __init__(self, files: Files, moved: Mapping[str, str], held: dict[str, bytes]) -> None:
        self.files, self.moved, self.held = files, moved, held

    def read(self, path: str) -> bytes:
        """Bytes of a file."""
        at = self.moved.get(path)
        if at is None:
            return self.files.read(path)
        if at not in self.held:
            self.held[at] = self.files.read(at)
        return self.held[at]

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Bytes of several files."""
        return {path: self.read(path) for path in paths}

    def local_path(self, path: str) -> Path | None:
        """Where a path lies in the file system."""
        return self.files.local_path(path)


def extra_files(paths: Iterable[str], prefix: str, infos: Mapping[str, FileInfo], allowed: Sequence[str]) -> list[str]:
    """Paths that are neither in a manifest nor allowed, sorted."""
    known = {joined(prefix, path) for path in (*infos, *allowed)}
    return sorted(set(paths) - known)


def _said(info: FileInfo) -> str:
    return f"sha256 {str(info.get('sha256'))[:12]}… ({info.get('size')} bytes)"
