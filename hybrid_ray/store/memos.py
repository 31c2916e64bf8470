"""Answers that are quicker to read than to find again. Any of them may be lost at any time."""

from __future__ import annotations

from contextlib import suppress

from hybrid_ray.store.root import StoreRoot, check_name

AREA = "memos"


class Memos:
    """Small answers of one kind, each under the digest of all that decides it.

    Parameters
    ----------
    root : StoreRoot
    kind : str
        What is remembered; a folder of the area.
    """

    def __init__(self, root: StoreRoot, kind: str) -> None:
        self.root = root
        self._prefix = f"{AREA}/{check_name(kind, 'kind of memo')}"

    def get(self, key: str) -> bytes | None:
        """What was remembered under a key, None when nothing was."""
        with suppress(FileNotFoundError):
            return self.root.read(f"{self._prefix}/{key}")
        return None

    def put(self, key: str, data: bytes) -> None:
        """Remember; the last writer wins."""
        self.root.write(f"{self._prefix}/{key}", data)
