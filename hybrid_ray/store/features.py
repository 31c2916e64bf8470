"""The feature cache: a row is extracted once, whatever shard it stands in."""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from hybrid_ray.digests import KEY_BYTES, digest_bytes
from hybrid_ray.errors import StoreError
from hybrid_ray.store.index import Found, RowIndex
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.tensors import Place, pack_tensors, tensor_places, view_tensors
from hybrid_ray.types import AnyArray, Block

AREA = "features"
READ_TOGETHER = 8
"""Shards read side by side from a store that is far."""

HEADS_TOGETHER = 64
"""Shards whose row digests are read side by side."""
HEAD_BYTES = 1024
"""First bytes of a shard: its header and more."""

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_CHECK_SEED = np.uint32(0x9E3779B9)


class FeatureCache:
    """Features of one extractor, on two levels. Picklable; any number of processes may read and write.

    Shard: consecutive rows of a source make a shard, whose key is the digest of its rows' digests; a run asks once for
    ``known_shards`` and computes only the others. Row: for those others ``lookup`` tells which rows lie in other shards
    already, and ``read_rows`` brings them; the new shard is then written whole. After shards, ``write_index`` makes
    their rows known: an index entry never points at a shard that is not complete.

    Layout: ``features/<fingerprint>/shards/<key>.safetensors`` and ``features/<fingerprint>/index/``.

    Parameters
    ----------
    root : StoreRoot
    fingerprint : str
        The extractor's.

    Attributes
    ----------
    damaged : int
        Shards and index segments that this instance found lost or damaged; each was treated as not there.
    """

    def __init__(self, root: StoreRoot, fingerprint: str) -> None:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise StoreError(f"feature cache: the fingerprint must be 32 hex digits; got {fingerprint[:80]!r}")
        self.root = root
        self.fingerprint = fingerprint
        self._prefix = f"{AREA}/{fingerprint}"
        self._index = RowIndex(root, f"{self._prefix}/index")
        self._damaged_shards = 0

    @property
    def damaged(self) -> int:
        """Shards and index segments found lost or damaged."""
        return self._damaged_shards + self._index.damaged

    def shard_key(self, row_digests: AnyArray) -> str:
        """Key of the shard of these rows, in this order: uint8 (n, 16)."""
        digests = _checked_digests(row_digests)
        return digest_bytes(self.fingerprint.encode() + digests.tobytes())

    def known_shards(self) -> set[str]:
        """Keys of all shards: one listing."""
        paths = self.root.list(f"{self._prefix}/shards")
        return {path.rpartition("/")[2].removesuffix(".safetensors") for path in paths}

    def read_shard(self, key: str) -> Block | None:
        """Features of a shard; None (and counted) when it is lost or damaged: compute it again."""
        try:
            arrays = _parse(self.root.read(self._path(key)))
        except (FileNotFoundError, ValueError):
            self._damaged_shards += 1
            return None
        block = Block(np.array(arrays["values"]), np.array(arrays["present"]))
        if not np.array_equal(_row_checks(block), arrays["check"]):
            self._damaged_shards += 1
            return None
        return block

    def write_shard(self, key: str, row_digests: AnyArray, block: Block) -> None:
        """Put a shard whole.

        Parameters
        ----------
        key : str
            ``shard_key(row_digests)``.
        row_digests : ndarray of uint8 (n, 16)
        block : Block
            n rows.
        """
        digests = _checked_digests(row_digests)
        kept = Block(np.ascontiguousarray(block.values, np.float32), np.ascontiguousarray(block.present, bool))
        if kept.values.ndim != 2 or not len(digests) == len(kept.values) == len(kept.present):
            raise ValueError(
                f"shard: digests, values and present must have the same rows; got {digests.shape}, "
                f"{kept.values.shape}, {kept.present.shape}"
            )
        tensors = {"values": kept.values, "present": kept.present, "digests": digests, "check": _row_checks(kept)}
        self.root.write(self._path(key), pack_tensors(tensors))

    def lookup(self, row_digests: AnyArray, known: Collection[str] | None = None) -> Found:
        """Find rows in the shards that are there.

        The index buckets of all rows are read once a call: look up many rows together (some 100,000), not a shard.

        Parameters
        ----------
        row_digests : ndarray of uint8 (m, 16)
        known : collection of str, optional
            ``known_shards()``, where the caller has it at hand.

        Returns
        -------
        Found
            Hits and misses, in the order of the rows.
        """
        return self._index.lookup(row_digests, self.known_shards() if known is None else known)

    def read_rows(self, found: Found) -> tuple[Block, AnyArray]:
        """Features of rows that ``lookup`` found.

        Each shard is opened once a call, and in a folder only the rows' own pages are read: bring many rows together.

        Returns
        -------
        Block
            (m, d); (m, 0) when no row is there.
        ndarray of bool (m,)
            Which rows are there: those of a lost or damaged shard are not, as those that were not found.
        """
        hits = np.flatnonzero(found.hit)
        order = hits[np.argsort(found.shard[hits], kind="stable")]
        starts = np.flatnonzero(np.diff(found.shard[order], prepend=-1))
        groups = {found.keys[found.shard[g[0]]]: g for g in np.split(order, starts[1:])} if len(order) else {}
        there, present = np.zeros(len(found.shard), bool), np.zeros(len(found.shard), bool)
        values = np.zeros((len(found.shard), 0), np.float32)
        for key, arrays in self._open(list(groups)):
            rows = groups[key]
            picked = found.row[rows]
            good = self._pick(arrays, picked) if arrays is not None else None
            if good is None:
                self._damaged_shards += 1
                continue
            block, whole = good
            if values.shape[1] == 0:
                values = np.zeros((len(values), block.values.shape[1]), np.float32)
            values[rows[whole]] = block.values[whole]
            present[rows[whole]] = block.present[whole]
            there[rows[whole]] = True
            self._damaged_shards += not whole.all()
        return Block(values, present), there

    def write_index(self, entries: Iterable[tuple[str, AnyArray]]) -> int:
        """Make rows of complete shards known to ``lookup``.

        Parameters
        ----------
        entries : iterable of (str, ndarray of uint8 (n, 16))
            Shard key and row digests. Read as a stream: about a million rows are held at a time.

        Returns
        -------
        int
            Rows added.
        """
        return self._index.add(entries)

    def repair_index(self) -> int:
        """Index the shards that no ``write_index`` came to: a run was killed between the two. Gives the rows added."""
        missing = sorted(self.known_shards() - self._index.covered())
        return self._index.add(self._digests(missing)) if missing else 0

    def forget(self, keys: Iterable[str]) -> None:
        """Remove shards that were found damaged: they are then missed, and computed again."""
        self.root.delete_many([self._path(key) for key in keys])

    def _digests(self, keys: list[str]) -> Iterator[tuple[str, AnyArray]]:
        """Row digests of shards, read without the features."""
        for start in range(0, len(keys), HEADS_TOGETHER):
            some = keys[start : start + HEADS_TOGETHER]
            heads = self.root.read_ranges([(self._path(key), 0, HEAD_BYTES) for key in some])
            places = {key: _digests_place(head) for key, head in zip(some, heads, strict=True)}
            ranges = [(self._path(key), place.start, place.stop) for key, place in places.items() if place is not None]
            found = iter(self.root.read_ranges(ranges))
            for key, place in places.items():
                data = next(found) if place is not None else None
                if place is None or data is None or len(data) != place.stop - place.start:
                    self._damaged_shards += 1
                else:
                    yield key, place.array(data)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/shards/{key}.safetensors"

    def _open(self, keys: list[str]) -> Iterator[tuple[str, dict[str, AnyArray] | None]]:
        """Arrays of shards as views: of a memory map in a folder, of bytes elsewhere. None for a lost or torn one."""
        for start in range(0, len(keys), READ_TOGETHER):
            some = keys[start : start + READ_TOGETHER]
            buffers: dict[str, Any] = {}
            if self.root.local_path("") is not None:
                buffers = {self._path(key): self._map(key) for key in some}
            else:
                buffers = dict(self.root.read_many([self._path(key) for key in some]))
            for key in some:
                try:
                    buffer = buffers.pop(self._path(key), None)
                    yield key, None if buffer is None else _parse(buffer)
                except ValueError:
                    yield key, None

    def _map(self, key: str) -> mmap.mmap | None:
        path = self.root.local_path(self._path(key))
        assert path is not None
        try:
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # lost, or empty
            return None

    @staticmethod
    def _pick(arrays: dict[str, AnyArray], rows: AnyArray) -> tuple[Block, AnyArray] | None:
        """Copies of some rows and which of them are as they were written; None when the shard has fewer rows."""
        if rows.max() >= len(arrays["values"]):
            return None
        block = Block(arrays["values"][rows], arrays["present"][rows])
        return block, _row_checks(block) == arrays["check"][rows]


def _checked_digests(row_digests: AnyArray) -> AnyArray:
    digests = np.ascontiguousarray(row_digests, np.uint8)
    if digests.ndim != 2 or digests.shape[1] != KEY_BYTES:
        raise ValueError(f"row digests: must be uint8 (n, {KEY_BYTES}); got shape {digests.shape}")
    return digests


def _row_checks(block: Block) -> AnyArray:
    """A checksum of each row, uint32 (n,): one row can be checked without reading the others.

    Multipliers are odd, so that any change of one value changes the sum; a row of zeros has a sum of its own.
    """
    n, d = block.values.shape
    multipliers = (np.arange(1, d + 2, dtype=np.uint32) * np.uint32(2654435761)) | np.uint32(1)
    bits = np.ascontiguousarray(block.values, np.float32).view(np.uint32).reshape(n, d)
    sums = np.einsum("ij,j->i", bits, multipliers[:d]).astype(np.uint32)
    return sums + block.present.astype(np.uint32) * multipliers[d] + _CHECK_SEED


def _digests_place(head: bytes | None) -> Place | None:
    """Where a shard's row digests lie; None for a lost or damaged shard."""
    try:
        place = tensor_places(head or b"")["digests"]
    except (ValueError, KeyError):
        return None
    return place if len(place.shape) == 2 and place.shape[1] == KEY_BYTES and place.dtype == np.uint8 else None


def _parse(buffer: Any) -> dict[str, AnyArray]:
    """Arrays of a shard file; ValueError when they are not all there with the same rows."""
    arrays = view_tensors(buffer)
    if {"values", "present", "digests", "check"} - arrays.keys() or arrays["values"].ndim != 2:
        raise ValueError("shard: must hold values, present, digests and check")
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("shard: arrays must have the same rows")
    return arrays
