"""Scratch folders on a worker's local disk, and what is left of those whose processes were killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """An empty folder ``<name>_*`` in the system's temporary folder, removed when the block ends.

    A process that is killed leaves its folder behind: it is removed by the next call on that machine. A folder in use
    is known by a lock that ends with its process, also where process ids say nothing, as between containers.

    Parameters
    ----------
    name : str
        Start of the folder's name, distinct for distinct uses.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{name}_*"):
        _remove_unless_held(left)
    # Locked before it has a name that others look for.
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}_"))
    folder = place / fresh.name.removeprefix(".")
    held = os.open(fresh, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        fresh.rename(folder)
        yield folder
    finally:
        for path in (fresh, folder):
            shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def _remove_unless_held(folder: Path) -> None:
    """Remove a folder that no living process holds; one of another user, or that is gone already, is left alone."""
    with suppress(OSError):
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(held)
