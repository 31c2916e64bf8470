"""Records: JSON documents, and journals of numbered ones that several writers may add to at once."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from hybrid_ray.store.root import StoreRoot

_NUMBER = re.compile(r"(\d{8})\.json")


def to_json(value: Any) -> bytes:
    """A JSON-able value, numpy's scalars and arrays included, as UTF-8 text; the order of keys is kept."""
    return json.dumps(value, default=_plain, separators=(",", ":")).encode()


def from_json(data: bytes) -> Any:
    """The value back, or None for a torn or foreign text."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"record: must be JSON-able; got a {type(value).__name__}")


class Journal:
    """An append-only list of records, numbered from 1: what is compared and set where nothing can be renamed.

    A number is taken by putting its record exclusively, so that of two writers one gets the number and the other the
    next one. Records are never changed and numbers never used again.

    Parameters
    ----------
    root : StoreRoot
    prefix : str
        Folder of the records.
    """

    def __init__(self, root: StoreRoot, prefix: str) -> None:
        self.root = root
        self.prefix = prefix

    def path(self, number: int) -> str:
        """Where a record lies."""
        return f"{self.prefix}/{number:08d}.json"

    def records(self) -> dict[int, dict[str, Any]]:
        """All records by number, in order: one listing, and reads side by side."""
        numbers = {path: n for path in self.root.list(self.prefix) if (n := self._number(path)) is not None}
        found = self.root.read_many(list(numbers))
        parsed = {numbers[path]: from_json(data) for path, data in found.items()}
        return {n: parsed[n] for n in sorted(parsed) if isinstance(parsed[n], dict)}

    def newest(self, most: int) -> dict[int, dict[str, Any]]:
        """The newest records by number, in order, at most so many."""
        last = self._newest()
        found = {number: self.get(number) for number in range(max(last - most, 0) + 1, last + 1)}
        return {number: record for number, record in found.items() if record is not None}

    def get(self, number: int) -> dict[str, Any] | None:
        """One record."""
        try:
            record = from_json(self.root.read(self.path(number)))
        except FileNotFoundError:
            return None
        return record if isinstance(record, dict) else None

    def last(self) -> tuple[int, dict[str, Any]] | None:
        """The newest record and its number, or None."""
        number = self._newest()
        record = self.get(number) if number else None
        return (number, record) if record is not None else None

    def append(self, record: Mapping[str, Any]) -> int:
        """Add a record under the next free number, which comes back."""
        number = self._newest()
        while True:
            number += 1
            if self.try_append(number, record):
                return number

    def try_append(self, number: int, record: Mapping[str, Any]) -> bool:
        """Add a record under this number; False when another writer has it."""
        data = to_json({**record, "writer": uuid.uuid4().hex})
        # A put whose answer was lost is repeated and refused: what lies there then is this writer's own.
        return self.root.create(self.path(number), data) or self.root.read(self.path(number)) == data

    def _newest(self) -> int:
        return max((n for path in self.root.list(self.prefix) if (n := self._number(path)) is not None), default=0)

    def _number(self, path: str) -> int | None:
        match = _NUMBER.fullmatch(path[len(self.prefix) + 1 :])
        return int(match[1]) if match else None
