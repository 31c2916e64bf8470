"""Which rows of the missed shards must be computed: not those that are in the cache, and of equal rows only one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray.on_ray.identities import LITTLE, Manifest, shard_digests
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.types import AnyArray

BUCKET_ROWS = 1 << 18
"""Rows that are looked up in one process; more are divided by the first digits of their digests."""


@dataclass(frozen=True)
class Work:
    """What is to be done about the missed shards.

    Attributes
    ----------
    todo : dict of int to (ndarray of bool or None)
        Shard number to its rows that are to be computed; None: all of them. Shards without such rows are left out.
    missed : tuple of int
        Every missed shard: those that ``todo`` does not hold whole are put together from rows that are in the cache.
    cached, deduplicated : int
        Rows of the missed shards that are in the cache, and that equal a row that is computed.
    """

    todo: dict[int, AnyArray | None]
    missed: tuple[int, ...]
    cached: int
    deduplicated: int

    def rows(self, manifest: Manifest) -> int:
        """Rows to compute."""
        return sum(
            int(manifest.rows[number]) if mask is None else int(mask.sum()) for number, mask in self.todo.items()
        )


class _Decided(NamedTuple):
    """Global numbers of rows to compute, sorted; rows in the cache; rows equal to a computed one."""

    rows: AnyArray
    cached: int
    deduplicated: int


def resolve(cache: FeatureCache, manifest: Manifest, missed: Sequence[int], known: Collection[str]) -> Work:
    """Look the rows of missed shards up in the row index, one bucket of digests at a time.

    No process holds more digests than those of a bucket and of a part.
    """
    by_part: dict[int, set[int]] = {}
    for number in missed:
        by_part.setdefault(int(manifest.part_of[number]), set()).add(number)
    n_rows = int(manifest.rows[list(missed)].sum())
    far = any(part.far for part in manifest.parts)
    buckets = -(-n_rows // BUCKET_ROWS) if far else 1
    if buckets == 1:
        pieces = [shard_rows_of(manifest.parts[part].table(), numbers) for part, numbers in by_part.items()]
        decided = iter([decide(cache, known, *_joined(pieces))])
    else:
        decided = _decide_far(cache, manifest, by_part, known, buckets)
    chosen = np.zeros(manifest.n_rows, bool)
    cached = deduplicated = 0
    for some in decided:
        chosen[some.rows] = True
        cached += some.cached
        deduplicated += some.deduplicated
    todo: dict[int, AnyArray | None] = {}
    for number in missed:
        start = int(manifest.starts[number])
        mask = chosen[start : start + int(manifest.rows[number])]
        if mask.any():
            todo[number] = None if mask.all() else mask.copy()
    return Work(todo, tuple(missed), cached, deduplicated)


def shard_rows_of(table: pa.Table, numbers: Collection[int]) -> tuple[AnyArray, AnyArray]:
    """Digests uint8 (m, 16) and global row numbers int64 (m,) of some shards of a part."""
    starts = dict(zip(table["shard"].to_pylist(), table["start"].to_pylist(), strict=True))
    digests = shard_digests(table, numbers)
    rows = [np.arange(starts[number], starts[number] + len(found)) for number, found in digests.items()]
    return np.concatenate(list(digests.values())), np.concatenate(rows)


def decide(cache: FeatureCache, known: Collection[str], digests: AnyArray, rows: AnyArray) -> _Decided:
    """Of each group of equal rows the first, unless the cache has it."""
    pairs = np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((rows, pairs[:, 1], pairs[:, 0]))
    first = np.ones(len(order), bool)
    first[1:] = (pairs[order[1:]] != pairs[order[:-1]]).any(axis=1)
    group = np.cumsum(first) - 1
    hit = cache.lookup(digests[order[first]], known).hit
    cached = int(hit[group].sum())
    computed = np.sort(rows[order[first]][~hit])
    return _Decided(computed, cached, len(rows) - cached - len(computed))


def _joined(pieces: Sequence[tuple[AnyArray, AnyArray]]) -> tuple[AnyArray, AnyArray]:
    return np.concatenate([digests for digests, _ in pieces]), np.concatenate([rows for _, rows in pieces])


def _decide_far(
    cache: FeatureCache, manifest: Manifest, by_part: dict[int, set[int]], known: Collection[str], buckets: int
) -> Iterator[_Decided]:
    """A shuffle of digests by their first bits: a task a part divides them, a task a bucket decides."""
    shared = ray.put(known)
    divided = [
        _divide.options(num_returns=buckets).remote(manifest.parts[part].held, numbers, buckets)
        for part, numbers in by_part.items()
    ]
    answers = [_decide_bucket.remote(cache, shared, *bucket) for bucket in zip(*divided, strict=True)]
    return (ray.get(answer) for answer in answers)


@ray.remote(num_cpus=LITTLE)
def _divide(table: pa.Table, numbers: Collection[int], buckets: int) -> tuple[tuple[AnyArray, AnyArray], ...]:
    """Digests and rows of some shards, divided by the first bits of the digests."""
    digests, rows = shard_rows_of(table, numbers)
    lead = np.ascontiguousarray(digests[:, :4]).view(">u4").reshape(-1).astype(np.uint64)
    bucket = (lead * np.uint64(buckets)) >> np.uint64(32)
    return tuple((digests[bucket == b], rows[bucket == b]) for b in range(buckets))


@ray.remote(num_cpus=LITTLE)
def _decide_bucket(cache: FeatureCache, known: Collection[str], *pieces: tuple[AnyArray, AnyArray]) -> _Decided:
    return decide(cache, known, *_joined(pieces))
