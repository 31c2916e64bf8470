"""Where a store's bytes lie: what any place must be able to do.

Paths here are relative, with ``/`` between parts, and already checked by :class:`hybrid_ray.store.root.StoreRoot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

CONFLICTS = 5
"""Times a put is repeated when another process is in the way."""


class Entry(NamedTuple):
    """One file of a store: its path, bytes, and when it was written (seconds since the epoch)."""

    path: str
    size: int
    modified: float


Range = tuple[str, int, int]
"""Path, first byte, byte after the last."""


class Backend(Protocol):
    """What a place must be able to do. Writes are atomic for readers; ``create`` is exclusive."""

    def read(self, path: str) -> bytes: ...  # noqa: D102
    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]: ...  # noqa: D102
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes | None]: ...  # noqa: D102
    def write_many(self, files: Mapping[str, bytes]) -> None: ...  # noqa: D102
    def create(self, path: str, data: bytes) -> bool: ...  # noqa: D102
    def find(self, path: str) -> Entry | None: ...  # noqa: D102
    def entries(self, prefix: str) -> list[Entry]: ...  # noqa: D102
    def folders(self, prefix: str) -> list[str]: ...  # noqa: D102
    def delete_many(self, paths: Iterable[str]) -> None: ...  # noqa: D102
    def local_path(self, path: str) -> Path | None: ...  # noqa: D102
    def sweep(self, before: float) -> int: ...  # noqa: D102
