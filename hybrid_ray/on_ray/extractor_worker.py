"""What one worker of the extraction does with a unit of rows: decode, extract, write the shard."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray import errors
from hybrid_ray.data.columns import coerce
from hybrid_ray.data.source import Piece, Source
from hybrid_ray.digests import KEY_BYTES
from hybrid_ray.errors import HybridRayError, RunFailedError, SpecError
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.on_ray.cluster import usable_device, use_threads
from hybrid_ray.on_ray.dataset import Shard
from hybrid_ray.on_ray.identities import Part, shard_digests
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.store.bad_rows import BadRows
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.types import AnyArray, Block, Prepared


@dataclass(frozen=True)
class Unit:
    """Rows that one worker computes in one go: a shard, or rows gathered from several.

    Attributes
    ----------
    digests : ndarray of uint8 (n, 16)
    table : pa.Table
        Their raw columns.
    """

    digests: AnyArray
    table: pa.Table

    def pack(self) -> pa.Table:
        """One row: Ray Data then hands out whole units, whatever their size."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return pa.table({"digests": _one(pa.py_buffer(self.digests.tobytes())), "rows": _one(sink.getvalue())})

    @classmethod
    def unpack(cls, packed: pa.Table) -> Iterator[Unit]:
        """The units of a block, without a copy."""
        for digests, rows in zip(packed["digests"], packed["rows"], strict=True):
            with pa.ipc.open_stream(rows.as_buffer()) as reader:
                table = reader.read_all()
            yield cls(np.frombuffer(digests.as_buffer(), np.uint8).reshape(-1, KEY_BYTES), table)


def _one(data: pa.Buffer) -> pa.Array:
    """A column of one binary value around a buffer."""
    offsets = pa.py_buffer(np.array([0, data.size], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])


@dataclass(frozen=True)
class Units:
    """Makes units of the rows that are to be computed, in a read task.

    Attributes
    ----------
    todo : dict of int to (ndarray of bool or None)
        Shard number to its rows, None for all of them.
    parts : dict of int to Part
        Where the digests of each of these shards are.
    size : int
        Rows of a gathered unit.
    split : bool
        True: whole shards are divided too, so that every worker has something to do.
    """

    todo: dict[int, AnyArray | None]
    parts: dict[int, Part]
    size: int
    split: bool

    def __call__(self, source: Source, piece: Piece, shards: Iterator[Shard]) -> Iterator[pa.Table]:
        """Packed units: a shard that is computed whole is one, other rows are gathered."""
        for unit in self.units(shards):
            yield unit.pack()

    def units(self, shards: Iterator[Shard]) -> Iterator[Unit]:
        """The same, not packed."""
        held: list[Unit] = []
        for shard, digests in self._with_digests(shards):
            mask = self.todo[shard.number]
            if mask is None and not self.split:
                yield Unit(digests, shard.table)
                continue
            rows = np.arange(len(digests)) if mask is None else np.flatnonzero(mask)
            for start in range(0, len(rows), self.size):
                some = rows[start : start + self.size]
                held.append(Unit(digests[some], shard.table.take(pa.array(some))))
            while sum(len(unit.digests) for unit in held) >= self.size:
                full, held = _cut(_join(held), self.size)
                yield full
        if held:
            yield _join(held)

    def _with_digests(self, shards: Iterator[Shard]) -> Iterator[tuple[Shard, AnyArray]]:
        part, digests = None, dict[int, AnyArray]()
        for shard in shards:
            if shard.number not in self.todo:
                continue
            if self.parts[shard.number] is not part:
                part = self.parts[shard.number]
                digests = shard_digests(part.table(), self.todo)
            yield shard, digests[shard.number]


def _join(units: list[Unit]) -> Unit:
    return Unit(np.concatenate([u.digests for u in units]), pa.concat_tables([u.table for u in units]))


def _cut(unit: Unit, size: int) -> tuple[Unit, list[Unit]]:
    rest = Unit(unit.digests[size:], unit.table.slice(size))
    return Unit(unit.digests[:size], unit.table.slice(0, size)), [rest] if len(rest.digests) else []


@dataclass(frozen=True)
class Orders:
    """What a worker has to know; small and picklable.

    Attributes
    ----------
    entry : Entry
    cache : FeatureCache
    base : str
        Folder that relative paths of images and sounds start from.
    device : {"cpu", "cuda"}
    threads : int
    batch_size : int
    decoders : int
        CPU tasks that decode for this worker; 0: it decodes itself.
    """

    entry: Entry
    cache: FeatureCache
    base: str
    device: Literal["cpu", "cuda"]
    threads: int
    batch_size: int
    decoders: int


class Count(NamedTuple):
    """What became of a unit.

    Attributes
    ----------
    rows, bad : int
        Rows that were computed, and those of them that could not be decoded.
    fault, said : str
        Name and message of the error that stopped it; empty when nothing did.
    """

    rows: int
    bad: int
    fault: str = ""
    said: str = ""

    def check(self) -> None:
        """Raise what stopped the unit.

        Raises
        ------
        HybridRayError
            The same error, if it is one of ours.
        RunFailedError
            Any other.
        """
        if not self.fault:
            return
        ours = getattr(errors, self.fault, None)
        if ours is SpecError:
            raise SpecError([self.said])
        if isinstance(ours, type) and issubclass(ours, HybridRayError):
            raise ours(self.said)
        raise RunFailedError(f"{self.fault}: {self.said}")


class ExtractWorker:
    """Computes units and writes them to the feature cache: one in each actor of the pool.

    Features never leave the worker but to the store. A unit that is computed again after a crash writes the same file.

    Parameters
    ----------
    orders : Orders
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._extractor: Extractor | None = None
        self._lock = threading.Lock()
        self._bad = BadRows(orders.cache.root, orders.cache.fingerprint)

    def __call__(self, packed: pa.Table) -> pa.Table:
        """Counts of the units of a block: what Ray Data calls."""
        counts = [self.compute(unit) for unit in Unit.unpack(packed)]
        return pa.table({name: [getattr(count, name) for count in counts] for name in Count._fields})

    def compute(self, unit: Unit) -> Count:
        """Extract a unit and write it.

        Nothing is raised: Ray Data would lose the error on its way, and an exit would leave the pool waiting for this
        actor for ever.
        """
        orders = self._orders
        try:
            block, bad = self._extract(unit.table)
            self._bad.add({unit.digests[row].tobytes(): reason for row, reason in bad.items()})
            orders.cache.write_shard(orders.cache.shard_key(unit.digests), unit.digests, block)
        except (Exception, SystemExit) as error:
            line = (str(error).strip().splitlines() or [""])[0]
            said = f"it called exit({line})" if isinstance(error, SystemExit) else line
            return Count(0, 0, type(error).__name__, str(error) if isinstance(error, HybridRayError) else said)
        return Count(len(unit.digests), len(bad))

    def _extract(self, table: pa.Table) -> tuple[Block, dict[int, str]]:
        """Features, and the rows that could not be decoded with their reasons."""
        values: list[AnyArray] = []
        present: list[AnyArray] = []
        bad: dict[int, str] = {}
        start = 0
        for prepared in self._prepared(table):
            with self._lock:
                block = self._ready().block(prepared)
            values.append(block.values)
            present.append(block.present)
            bad.update({start + row: reason for row, reason in prepared.errors.items()})
            start += len(block.present)
        return Block(np.concatenate(values), np.concatenate(present)), bad

    def _prepared(self, table: pa.Table) -> Iterator[Prepared]:
        """Decoded batches in order."""
        orders = self._orders
        starts = range(0, table.num_rows, orders.batch_size)
        batches = (table.slice(start, orders.batch_size) for start in starts)
        if not orders.decoders:
            extractor = self._ready_to_decode()
            return (prepare(extractor, batch, orders.base) for batch in batches)
        return _ahead(
            (partial(_decode.remote, orders.entry, batch, orders.base) for batch in batches),
            orders.decoders + 1,
        )

    def _ready_to_decode(self) -> Extractor:
        if self._extractor is None:
            with self._lock:
                self._ready()
        assert self._extractor is not None
        return self._extractor

    def _ready(self) -> Extractor:
        """The extractor with its model loaded. Done at the first unit, so that its errors are counted with it."""
        if self._extractor is None:
            use_threads(self._orders.threads)
            extractor = self._orders.entry.build()
            extractor.setup(usable_device(self._orders.device))
            use_threads(self._orders.threads)
            self._extractor = extractor
        return self._extractor


def prepare(extractor: Extractor, table: pa.Table, base: str) -> Prepared:
    """Decode raw rows."""
    return extractor.prepare(coerce(table, extractor.columns, base).batch)


def _ahead(calls: Iterator[Callable[[], Any]], window: int) -> Iterator[Prepared]:
    """Results of remote calls in order, some of them under way."""
    waiting: deque[Any] = deque()
    for call in calls:
        waiting.append(call())
        if len(waiting) >= window:
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())


@ray.remote(num_cpus=1)
def _decode(entry: Entry, table: pa.Table, base: str) -> Prepared:
    return prepare(_decoder(_Same(entry)), table, base)


@dataclass(frozen=True)
class _Same:
    """An entry as a key: equal entries are one decoder."""

    entry: Entry

    def __hash__(self) -> int:
        return hash((self.entry.id, self.entry.name))


@lru_cache(maxsize=4)
def _decoder(same: _Same) -> Extractor:
    """An extractor that only decodes, built once in this process: a tokenizer takes longer to load than to run."""
    return same.entry.build()
