"""Rows that an extractor could not decode, by what they hold: known again in a rerun that decodes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_ray.digests import KEY_BYTES, digest_bytes
from hybrid_ray.store.features import AREA
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot

MAX_FILES = 64
"""Files above which they are put together."""


class BadRows:
    """Digests of undecodable rows, and why. Picklable; any number of processes may add.

    A shard of the feature cache says only that a row is not present; whether it was empty or broken stands here.
    Reasons never hold anything of the row.

    Layout: ``features/<fingerprint>/bad/<content>.json``.

    Parameters
    ----------
    root : StoreRoot
    fingerprint : str
        The extractor's.
    """

    def __init__(self, root: StoreRoot, fingerprint: str) -> None:
        self.root = root
        self._prefix = f"{AREA}/{fingerprint}/bad"

    def read(self) -> dict[bytes, str]:
        """Every row digest and its reason. Files that are no record are passed over."""
        found: dict[bytes, str] = {}
        for data in self.root.read_many(self.root.list(self._prefix)).values():
            record = from_json(data)
            for digest, reason in record.items() if isinstance(record, dict) else ():
                if len(digest) == 2 * KEY_BYTES:
                    found[bytes.fromhex(digest)] = str(reason)
        return found

    def add(self, reasons: Mapping[bytes, str]) -> None:
        """Keep some rows; the same rows again change nothing."""
        if reasons:
            self._put(reasons)

    def compact(self) -> None:
        """Put many files together into one; what is added meanwhile stays."""
        paths = self.root.list(self._prefix)
        if len(paths) > MAX_FILES:
            merged = self._put(self.read())
            self.root.delete_many([path for path in paths if path != merged])

    def _put(self, reasons: Mapping[bytes, str]) -> str:
        data = to_json({digest.hex(): reason for digest, reason in sorted(reasons.items())})
        path = f"{self._prefix}/{digest_bytes(data)}.json"
        self.root.write(path, data)
        return path
