"""All training rows as a stream: features are read from shards in the store, and no process holds them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray

from hybrid_ray.graph import Chain
from hybrid_ray.on_ray.cluster import usable_device, use_threads
from hybrid_ray.on_ray.feature_set import ExtractionStats, FeatureSet, load_block
from hybrid_ray.on_ray.train import Entry, FoldFit, Place, RawRows
from hybrid_ray.search.refit import shard_batches
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Block, FloatArray, Prepared, State, Task

BATCH_BYTES = 32 * 2**20
"""Features of one batch, about: a worker holds them as blocks, as a matrix, and as what its library makes of it."""


@dataclass(frozen=True)
class TrainingRows:
    """Where features and labels of all training rows are. Small and picklable.

    Attributes
    ----------
    root : StoreRoot
    sets : mapping of str to FeatureSet
        Features of every row of the source, by extractor id.
    y : ObjectRef of ndarray (n,)
        Labels of every row of the source: class codes, or floats.
    training : ObjectRef of ndarray of bool (n,)
        Which rows train.
    task : Task
    n_outputs : int
    groups : ObjectRef of ndarray of int (n,) or of None
        Which rows of the source go together; None: every row is its own.
    """

    root: StoreRoot
    sets: Mapping[str, FeatureSet]
    y: Any
    training: Any
    task: Task
    n_outputs: int
    groups: Any = None

    @classmethod
    def of(
        cls,
        root: StoreRoot,
        sets: Mapping[str, FeatureSet],
        y: Any,
        training: Any,
        task: Task,
        n_outputs: int,
        groups: Any = None,
    ) -> TrainingRows:
        """The rows of feature sets, without what of these no reader needs."""
        bare = {name: replace(feature_set, rejects=()) for name, feature_set in sets.items()}
        return cls(root, bare, y, training, task, n_outputs, groups)

    def width(self, names: Sequence[str]) -> int:
        """Features of some blocks together."""
        return sum(self.sets[name].n_features for name in names)

    def blocks(self, names: Sequence[str], rows: AnyArray) -> dict[str, Block]:
        """Blocks of some rows, by extractor id."""
        return {name: load_block(self.root, self.sets[name], rows) for name in names}


@dataclass(frozen=True)
class Course:
    """How a candidate's rows are divided.

    Attributes
    ----------
    batches : tuple of (int, int)
        First row and the row after the last; each holds a training row.
    codes : tuple of int
        Class codes of the training rows, sorted; empty for numbers.
    counts : tuple of int
        Training rows of each of these classes.
    """

    batches: tuple[tuple[int, int], ...]
    codes: tuple[int, ...]
    counts: tuple[int, ...]


@ray.remote
def plan_course(rows: TrainingRows, names: Sequence[str], workers: int) -> Course:
    """Divide the training rows into batches, at least one a worker where there are as many shards."""
    y, training = ray.get(rows.y), ray.get(rows.training)
    most = max(BATCH_BYTES // (4 * rows.width(names)), 1)
    some = max(min(most, -(-int(training.sum()) // workers)), 1)
    sizes = [n for _, n in rows.sets[names[0]].shards]
    batches = tuple(shard_batches(sizes, training, some))
    if rows.task == "regression":
        return Course(batches, (), ())
    counts = np.bincount(y[training])
    codes = np.flatnonzero(counts)
    return Course(batches, tuple(codes.tolist()), tuple(counts[codes].tolist()))


class ShardStream:
    """Some of the training rows as their matrix, batch by batch; what a worker fits on.

    Parameters
    ----------
    rows : TrainingRows
    chain : Chain
        Its feature-level fusion, fitted, makes the matrix, and its transform the label.
    batches : sequence of (int, int)
    codes : sequence of int
        Class codes in the order in which the model shall number them; empty for numbers.

    Attributes
    ----------
    labels : ndarray (n,)
    n_features : int
    """

    def __init__(
        self, rows: TrainingRows, chain: Chain, batches: Sequence[tuple[int, int]], codes: Sequence[int]
    ) -> None:
        self._rows, self._chain, self._batches = rows, chain, batches
        self._training: AnyArray = ray.get(rows.training)
        y = ray.get(rows.y)
        self.labels = np.concatenate([self._learned(y[self._of(batch)], codes) for batch in batches])
        self.n_features = self._matrix(self._of(batches[0])[:1]).shape[1]

    def __iter__(self) -> Iterator[FloatArray]:
        for batch in self._batches:
            yield self._matrix(self._of(batch))

    def _learned(self, y: AnyArray, codes: Sequence[int]) -> AnyArray:
        """Labels as the model is to learn them."""
        if codes:
            return np.searchsorted(np.asarray(codes), y).astype(np.int32)
        return np.log1p(y) if self._chain.transform == "log" else y

    def _of(self, batch: tuple[int, int]) -> AnyArray:
        start, stop = batch
        found: AnyArray = start + np.flatnonzero(self._training[start:stop])
        return found

    def _matrix(self, rows: AnyArray) -> FloatArray:
        return self._chain.fusion.combine(self._rows.blocks(list(self._chain.inputs), rows))


@ray.remote
def _write_piece(
    entry: Entry,
    state: State,
    prepared: Prepared,
    digests: AnyArray,
    cache: FeatureCache,
    shard_rows: int,
    place: Place,
) -> tuple[list[tuple[str, int]], int]:
    """Features of one piece's rows, a shard at a time."""
    use_threads(place.threads)
    extractor = entry.restore(state, usable_device(place.device))
    known = cache.known_shards()
    shards: list[tuple[str, int]] = []
    for start in range(0, len(digests), shard_rows):
        some = np.arange(start, min(start + shard_rows, len(digests)))
        key = cache.shard_key(digests[some])
        if key not in known:
            cache.write_shard(key, digests[some], extractor.block(prepared.take(some)))
        shards.append((key, len(some)))
    return shards, extractor.n_features


def write_features(raw: RawRows, fit: FoldFit, root: StoreRoot, shard_rows: int, place: Place) -> FeatureSet:
    """Features of every row of a source by one fitted copy of a trained extractor, as shards in the store.

    A task a piece; shards that are there already are not made again.

    Parameters
    ----------
    raw : RawRows
    fit : FoldFit
        The copy; its digest names the shards.
    root : StoreRoot
    shard_rows : int
    place : Place
        Where a task runs.
    """
    cache = FeatureCache(root, fit.digest)
    task = _write_piece.options(num_cpus=place.cpus, num_gpus=place.gpus)
    bounds = np.cumsum([0, *raw.sizes])
    written = ray.get(
        [
            task.remote(raw.entry, fit.state, part, raw.digests[bounds[i] : bounds[i + 1]], cache, shard_rows, place)
            for i, part in enumerate(raw.parts)
        ]
    )
    shards = tuple(shard for some, _ in written for shard in some)
    stats = ExtractionStats(int(bounds[-1]), 0, int(bounds[-1]), 0, 0, 0.0)
    return FeatureSet(raw.entry.id, fit.digest, shards, written[0][1], stats, ())
