"""The row index of a feature cache: 128-bit row digests to the shard and the row that hold their features.

The index is a set of sorted segments. A segment holds digests that begin with its bucket's hex digits; a bucket is
divided by its next digit when it grows, so that few rows make one small file and many rows make files of a bounded
size. No process ever holds more than what it looks up or adds, and a few segments.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hybrid_ray.digests import KEY_BYTES, digest_bytes
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.tensors import pack_tensors, view_tensors
from hybrid_ray.types import AnyArray

FLUSH_ROWS = 1 << 20
"""Rows gathered before segments are written."""
MAX_SEGMENT_ROWS = 1 << 18
"""Rows of a segment above which it is divided: 6 MB."""
MAX_SEGMENTS = 8
"""Segments of a bucket above which they are merged."""
READ_TOGETHER = 4
"""Segments read side by side."""
MAX_DEPTH = 8
"""Hex digits of a bucket."""

_SEGMENT = re.compile(r"x([0-9a-f]{0,8})/([0-9a-f]{32})\.safetensors")


class Found(NamedTuple):
    """Where the features of m rows are.

    Attributes
    ----------
    keys : tuple of str
        Shards.
    shard : ndarray of int32 (m,)
        Position in ``keys``; -1 for a row that is not in the cache.
    row : ndarray of int32 (m,)
        Row of the shard; -1 for a row that is not in the cache.
    """

    keys: tuple[str, ...]
    shard: AnyArray
    row: AnyArray

    @property
    def hit(self) -> AnyArray:
        """Bool (m,): which rows are in the cache."""
        return self.shard >= 0


class _Segment(NamedTuple):
    """Entries sorted by digest, no digest twice; ``keys`` is (k, 16), ``shard`` points into it."""

    high: AnyArray
    low: AnyArray
    shard: AnyArray
    row: AnyArray
    keys: AnyArray

    def take(self, which: AnyArray | slice) -> _Segment:
        """Some of the entries, with the shards that they need."""
        used, shard = np.unique(self.shard[which], return_inverse=True)
        return _Segment(
            self.high[which], self.low[which], shard.astype(np.uint32), self.row[which], self.keys[used.astype(np.intp)]
        )

    def sorted(self) -> _Segment:
        """In order; of equal digests the first stays."""
        order = np.lexsort((self.low, self.high))
        high, low = self.high[order], self.low[order]
        new = np.ones(len(order), bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return self.take(order[new])

    def find(self, high: AnyArray, low: AnyArray) -> AnyArray:
        """Positions of digests (int64, -1 where they are not)."""
        position = np.searchsorted(self.high, high)
        answer = np.full(len(high), -1, np.int64)
        open_ = np.flatnonzero(position < len(self.high))
        # Entries may share their first half: step over those whose second half differs.
        while len(open_):
            at = position[open_]
            same = self.high[at] == high[open_]
            match = same & (self.low[at] == low[open_])
            answer[open_[match]] = at[match]
            open_ = open_[same & ~match & (at + 1 < len(self.high))]
            position[open_] += 1
        return answer


class RowIndex:
    """Row digests to places. Any number of processes may look up and add at once.

    Parameters
    ----------
    root : StoreRoot
    prefix : str
        Folder of the index.

    Attributes
    ----------
    damaged : int
        Segments that could not be read; their rows are misses.
    """

    def __init__(self, root: StoreRoot, prefix: str) -> None:
        self.root = root
        self.prefix = prefix
        self.damaged = 0

    def lookup(self, row_digests: AnyArray, known: Collection[str]) -> Found:
        """Find rows; entries of shards that are not ``known`` do not count.

        Every bucket that a digest may lie in is read once, so ask for many rows at a time.

        Parameters
        ----------
        row_digests : ndarray of uint8 (m, 16)
        known : collection of str
            Keys of the shards that are there.
        """
        high, low = _halves(row_digests)
        order = np.argsort(high, kind="stable")
        high, low = high[order], low[order]
        shard, row = np.full(len(high), -1, np.int32), np.full(len(high), -1, np.int32)
        numbers: dict[str, int] = {}
        asked: set[str] = set()
        while paths := [path for path in self._segments() if path not in asked]:
            asked |= set(paths)
            wanted = [(path, w) for path in paths if (w := _within(high, _bucket(path))).stop > w.start]
            vanished = False
            for start in range(0, len(wanted), READ_TOGETHER):
                some = wanted[start : start + READ_TOGETHER]
                for (_, within), segment in zip(some, self._read([path for path, _ in some]), strict=True):
                    vanished |= segment is None
                    if segment is not None:
                        _match(segment, (high, low, shard, row), within, known, numbers)
            if not vanished:  # else it was merged into one that a new listing shows
                break
        places = np.empty((2, len(high)), np.int32)
        places[:, order] = shard, row
        return Found(tuple(numbers), places[0], places[1])

    def add(self, entries: Iterable[tuple[str, AnyArray]]) -> int:
        """Add shards that are complete, and merge what has become many segments.

        Parameters
        ----------
        entries : iterable of (str, ndarray of uint8 (n, 16))
            Shard key and row digests; read as a stream.

        Returns
        -------
        int
            Rows added.
        """
        waiting: list[tuple[str, AnyArray]] = []
        rows = total = 0
        for key, digests in entries:
            waiting.append((key, digests))
            rows += len(digests)
            total += len(digests)
            if rows >= FLUSH_ROWS:
                self._flush(waiting)
                waiting, rows = [], 0
        if waiting:
            self._flush(waiting)
        self._compact()
        return total

    def covered(self) -> set[str]:
        """Keys of the shards that were added."""
        found = self.root.read_many(self.root.list(f"{self.prefix}/covered"))
        return {key for data in found.values() for key in from_json(data) or ()}

    def _flush(self, waiting: Sequence[tuple[str, AnyArray]]) -> None:
        parts = [_halves(digests) for _, digests in waiting]
        counts = [len(digests) for _, digests in waiting]
        segment = _Segment(
            np.concatenate([high for high, _ in parts]),
            np.concatenate([low for _, low in parts]),
            np.repeat(np.arange(len(waiting), dtype=np.uint32), counts),
            np.concatenate([np.arange(n, dtype=np.uint32) for n in counts]),
            np.frombuffer(bytes.fromhex("".join(key for key, _ in waiting)), np.uint8).reshape(-1, KEY_BYTES),
        )
        self._write("", segment.sorted())
        data = to_json(sorted(key for key, _ in waiting))
        self.root.write(f"{self.prefix}/covered/{digest_bytes(data)}.json", data)

    def _write(self, bucket: str, segment: _Segment) -> list[str]:
        """Put a sorted segment, divided where it is large; the paths."""
        if len(segment.high) == 0:
            return []
        if len(segment.high) <= MAX_SEGMENT_ROWS or len(bucket) == MAX_DEPTH:
            data = pack_tensors(segment._asdict())
            path = f"{self.prefix}/x{bucket}/{digest_bytes(data)}.safetensors"
            self.root.write(path, data)
            return [path]
        parts = (bucket + digit for digit in "0123456789abcdef")
        return [path for part in parts for path in self._write(part, segment.take(_within(segment.high, part)))]

    def _segments(self) -> list[str]:
        start = len(self.prefix) + 1
        return [path for path in self.root.list(self.prefix) if _SEGMENT.fullmatch(path[start:])]

    def _read(self, paths: Sequence[str]) -> Iterator[_Segment | None]:
        """Segments in the order of their paths; None for one that was merged away meanwhile, or is damaged."""
        found = self.root.read_many(paths)
        for path in paths:
            data = found.pop(path, None)
            yield None if data is None else self._parse(path, data)

    def _parse(self, path: str, data: bytes) -> _Segment | None:
        if digest_bytes(data) != path.rpartition("/")[2].removesuffix(".safetensors"):
            self.damaged += 1
            return None
        return _Segment(**view_tensors(data))

    def _compact(self) -> None:
        buckets: dict[str, list[str]] = {}
        for path in self._segments():
            buckets.setdefault(_bucket(path), []).append(path)
        for bucket, paths in buckets.items():
            if len(paths) > MAX_SEGMENTS:
                self._merge(bucket, paths)

    def _merge(self, bucket: str, paths: Sequence[str]) -> None:
        """Put one segment in place of several.

        What another process merges or adds meanwhile stays: only what was read here is removed, and only after the
        merged segment is there.
        """
        read = [(path, segment) for path, segment in zip(paths, self._read(paths), strict=True) if segment is not None]
        if len(read) < 2:
            return
        segments = [segment for _, segment in read]
        starts = np.cumsum([0] + [len(s.keys) for s in segments])
        merged = _Segment(
            np.concatenate([s.high for s in segments]),
            np.concatenate([s.low for s in segments]),
            np.concatenate([s.shard + np.uint32(start) for s, start in zip(segments, starts, strict=False)]),
            np.concatenate([s.row for s in segments]),
            np.concatenate([s.keys for s in segments]),
        )
        written = set(self._write(bucket, merged.sorted()))
        self.root.delete_many([path for path, _ in read if path not in written])


def _match(
    segment: _Segment,
    rows: tuple[AnyArray, AnyArray, AnyArray, AnyArray],
    within: slice,
    known: Collection[str],
    numbers: dict[str, int],
) -> None:
    """Fill ``shard`` and ``row`` of the sorted ``rows`` (high, low, shard, row) that lie ``within`` and are open."""
    high, low, shard, row = rows
    open_ = within.start + np.flatnonzero(shard[within] < 0)
    at = segment.find(high[open_], low[open_])
    keys = [key.tobytes().hex() for key in segment.keys]
    there = np.array([key in known for key in keys], bool)
    hit = at >= 0
    hit[hit] = there[segment.shard[at[hit]]]
    used = segment.shard[at[hit]]
    translation = np.full(len(keys), -1, np.int32)
    for number in np.unique(used):
        translation[number] = numbers.setdefault(keys[number], len(numbers))
    shard[open_[hit]] = translation[used]
    row[open_[hit]] = segment.row[at[hit]]


def _halves(row_digests: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The first and the last 8 bytes of digests as numbers that sort as the bytes do."""
    digests = np.ascontiguousarray(row_digests, np.uint8)
    if digests.ndim != 2 or digests.shape[1] != KEY_BYTES:
        raise ValueError(f"row digests: must be uint8 (n, {KEY_BYTES}); got shape {digests.shape}")
    pairs = digests.view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _bucket(path: str) -> str:
    return path.split("/")[-2][1:]


def _within(high: AnyArray, bucket: str) -> slice:
    """Where in sorted digests those of a bucket lie."""
    if not bucket:
        return slice(0, len(high))
    shift = 64 - 4 * len(bucket)
    first = int(bucket, 16) << shift
    last = first + (1 << shift) - 1
    return slice(
        int(np.searchsorted(high, np.uint64(first), "left")), int(np.searchsorted(high, np.uint64(last), "right"))
    )
