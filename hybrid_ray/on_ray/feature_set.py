"""Features of every row of a source, as they lie in the store, and how they are read from there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import ray

from hybrid_ray.errors import RunFailedError
from hybrid_ray.on_ray.identities import LITTLE, Part, Reject, shard_digests
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.index import Found
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Block


@dataclass(frozen=True)
class ExtractionStats:
    """What an extraction did: ``cached + computed + deduplicated == rows``.

    Attributes
    ----------
    rows : int
    cached : int
        Rows whose features were in the store.
    computed : int
        Rows that an extractor saw.
    deduplicated : int
        Rows equal to one that was computed.
    bad : int
        Rows that hold something unreadable, whenever that was found.
    seconds : float
    """

    rows: int
    cached: int
    computed: int
    deduplicated: int
    bad: int
    seconds: float


@dataclass(frozen=True)
class FeatureSet:
    """Where the features of every row are. Small and picklable; the features stay in the store.

    Attributes
    ----------
    id : str
        Of the extractor.
    fingerprint : str
    shards : tuple of (str, int)
        Key and rows of each shard, in row order.
    n_features : int
    stats : ExtractionStats
    rejects : tuple of Reject
        The first 100 000 unreadable rows.
    """

    id: str
    fingerprint: str
    shards: tuple[tuple[str, int], ...]
    n_features: int
    stats: ExtractionStats
    rejects: tuple[Reject, ...]


def load_block(root: StoreRoot, features: FeatureSet, rows: AnyArray | None = None) -> Block:
    """Features of rows, read shard by shard from the store: beside the answer, one shard is held at a time.

    Parameters
    ----------
    root : StoreRoot
    features : FeatureSet
    rows : ndarray of int (m,), optional
        Row numbers, in any order; default: all rows.

    Raises
    ------
    RunFailedError
        A shard was lost or damaged since it was extracted; it is removed, so that the same run makes it again.
    """
    cache = FeatureCache(root, features.fingerprint)
    bounds = np.cumsum([0] + [n for _, n in features.shards])
    wanted = np.arange(bounds[-1]) if rows is None else np.asarray(rows, np.int64)
    values = np.empty((len(wanted), features.n_features), np.float32)
    present = np.empty(len(wanted), bool)
    order = np.argsort(wanted, kind="stable")
    cuts = np.searchsorted(wanted[order], bounds)
    for number, (key, n) in enumerate(features.shards):
        targets = order[cuts[number] : cuts[number + 1]]
        if not len(targets):
            continue
        block = cache.read_shard(key)
        if block is None or block.values.shape != (n, features.n_features):
            cache.forget([key])
            raise RunFailedError(
                f"features of {features.id}: every shard must be as it was written; {key} in {root.uri} is damaged and "
                "was removed. Start the same command again: only that shard is computed"
            )
        inner = wanted[targets] - bounds[number]
        values[targets] = block.values[inner]
        present[targets] = block.present[inner]
    return Block(values, present)


def width(cache: FeatureCache, key: str) -> int:
    """Number of features of a shard, from one of its rows."""
    one = np.zeros(1, np.int32)
    block, there = cache.read_rows(Found((key,), one, one))
    if not there.all():
        cache.forget([key])
        raise RunFailedError(
            f"features: every shard must be as it was written; {key} in {cache.root.uri} is damaged and was removed. "
            "Start the same command again: only that shard is computed"
        )
    return int(block.values.shape[1])


@ray.remote(num_cpus=LITTLE)
def assemble(cache: FeatureCache, known: Collection[str], keys: Mapping[int, str], parts: Mapping[int, Part]) -> None:
    """Write shards whose rows all lie in other shards; those of which some row is lost are left out.

    Parameters
    ----------
    cache : FeatureCache
    known : collection of str
        Shards that are there.
    keys : mapping of int to str
        Shard number to its key.
    parts : mapping of int to Part
        Where the digests of these shards are.
    """
    digests: dict[int, AnyArray] = {}
    for part in {id(part): part for part in parts.values()}.values():
        digests |= shard_digests(part.table(), keys)
    numbers = list(digests)
    found = cache.lookup(np.concatenate([digests[number] for number in numbers]), known)
    block, there = cache.read_rows(found)
    lost = np.unique(found.shard[found.hit & ~there])
    cache.forget([found.keys[shard] for shard in lost])
    start = 0
    for number in numbers:
        rows = slice(start, start + len(digests[number]))
        start = rows.stop
        if there[rows].all():
            cache.write_shard(keys[number], digests[number], block.take(rows))


@ray.remote(num_cpus=LITTLE)
def index(cache: FeatureCache) -> int:
    """Make the rows of all shards known to the row index; the rows added."""
    return cache.repair_index()
