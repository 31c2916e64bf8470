"""Who the rows are: shard keys and row digests of a source, streamed shard by shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray.data.coerce import is_text
from hybrid_ray.data.columns import coerce
from hybrid_ray.data.identity import FileDigests, row_digests
from hybrid_ray.data.source import Piece, Source
from hybrid_ray.digests import KEY_BYTES, digest_json
from hybrid_ray.on_ray.dataset import PieceRead, Shard, data_context, first_shards, gather, iter_shards, read_dataset
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.memos import Memos
from hybrid_ray.types import ENCODED, AnyArray, Kind

MAX_REJECTS = 100_000
"""Rejects that are listed; all are counted."""
SMALL_ROWS, SMALL_BYTES = 200_000, 256 << 20
"""A source within both is identified in this process: quicker than the start of workers."""
SMALL_FILES = 5_000
"""The same for rows whose images or sounds lie in files of their own."""
TASK_ROWS = 65_536
"""Rows that one task identifies, about."""
LITTLE = 0.1
"""CPUs of a task that lasts milliseconds: it must find its place on the smallest cluster, beside others."""

Verify = Literal["stat", "content"]


class Reject(NamedTuple):
    """A row that holds something unreadable. ``column``: several are joined by ``+``; ``reason`` holds no value."""

    row: int
    column: str
    reason: str


class Bad(NamedTuple):
    """Rows with something unreadable: how many, and the first of them."""

    rows: int
    rejects: list[Reject]


@dataclass(frozen=True)
class Identify:
    """Makes one row of each shard: its key, its rows' digests, and which cells were of the wrong type.

    Digests of files are remembered in the store, a file for each piece, so that a rerun opens no image or sound.

    Attributes
    ----------
    cache : FeatureCache
    columns : dict of str to Kind
    verify : {"stat", "content"}
    """

    cache: FeatureCache
    columns: dict[str, Kind]
    verify: Verify

    def __call__(self, source: Source, piece: Piece, shards: Iterator[Shard]) -> Iterator[pa.Table]:
        """One table of one row a shard."""
        memos = Memos(self.cache.root, "identities")
        key = digest_json([piece.uri, piece.start, piece.first, piece.stop, sorted(self.columns)])
        before = (memos.get(key) if ENCODED & set(self.columns.values()) else None) or b""
        files = FileDigests.from_bytes(before, self.verify)
        for shard in shards:
            coerced = coerce(shard.table, self.columns, source.base)
            digests = row_digests(coerced.batch, self.columns, files)
            wrong = np.zeros(len(digests), bool)
            wrong[[error.row for error in coerced.errors]] = True
            yield pa.table(
                {
                    "shard": pa.array([shard.number], pa.int64()),
                    "start": pa.array([shard.start], pa.int64()),
                    "rows": pa.array([len(digests)], pa.int64()),
                    "key": [self.cache.shard_key(digests)],
                    "digests": pa.array([digests.tobytes()], pa.large_binary()),
                    "wrong": pa.array([np.packbits(wrong).tobytes() if wrong.any() else b""], pa.large_binary()),
                    "errors": [json.dumps([list(error) for error in coerced.errors])],
                }
            )
        after = files.to_bytes()
        if after != before:
            memos.put(key, after)


@dataclass(frozen=True)
class Part:
    """Identities of consecutive shards, as a table in this process or a reference to one in the object store."""

    held: Any
    far: bool

    def table(self) -> pa.Table:
        """The table, fetched where it is far."""
        return ray.get(self.held) if self.far else self.held


@dataclass(frozen=True)
class Manifest:
    """All shards of a source, in row order. The digests of the rows stay in the parts.

    Attributes
    ----------
    keys : tuple of str
    rows, starts : ndarray of int64
        Rows of each shard, and the number of its first row.
    parts : tuple of Part
    part_of : ndarray of int64
        Which part holds each shard.
    """

    keys: tuple[str, ...]
    rows: AnyArray
    starts: AnyArray
    parts: tuple[Part, ...]
    part_of: AnyArray

    @property
    def n_rows(self) -> int:
        """Rows of all shards."""
        return int(self.rows.sum())

    def missed(self, known: Collection[str]) -> list[int]:
        """Numbers of the shards that are not among the known ones."""
        return [number for number, key in enumerate(self.keys) if key not in known]

    def bad(self, reasons: Mapping[bytes, str], column: str) -> Bad:
        """Rows with a cell of the wrong type, and rows that an extractor is known not to decode.

        Parameters
        ----------
        reasons : mapping of bytes to str
            Row digests that cannot be decoded, as ``BadRows.read`` gives them.
        column : str
            What is named as their column.
        """
        if any(part.far for part in self.parts):
            shared = ray.put(dict(reasons))
            answers = [_far_bad.remote(part.held, shared, column) for part in self.parts]
            found: Iterator[Bad] = (ray.get(answer) for answer in answers)
        else:
            found = (part_bad(part.held, reasons, column) for part in self.parts)
        count, rejects = 0, list[Reject]()
        for some in found:
            count += some.rows
            rejects += some.rejects[: MAX_REJECTS - len(rejects)]
        return Bad(count, rejects)


def read_manifest(
    source: Source,
    cache: FeatureCache,
    columns: Mapping[str, Kind],
    shard_rows: int,
    verify: Verify,
    *,
    num_cpus: Callable[[], float],
) -> Manifest:
    """Identify every shard: in this process for a small source, else by Ray Data's read tasks of ``num_cpus``."""
    transform = Identify(cache, dict(columns), verify)
    firsts = first_shards(source, shard_rows)
    reads = [PieceRead(piece, first, transform) for piece, first in zip(source.pieces, firsts, strict=True)]
    names = list(columns)
    if _is_small(source, columns):
        bare = source.bare()
        tables = [
            table
            for read in reads
            for table in transform(bare, read.piece, iter_shards(bare, read.piece, read.first_shard, names, shard_rows))
        ]
        return _manifest([Part(pa.concat_tables(tables), far=False)])
    with data_context({}):
        dataset = read_dataset(source, names, shard_rows, gather(reads, TASK_ROWS), num_cpus=num_cpus()).materialize()
        return _manifest([Part(ref, far=True) for ref in dataset.to_arrow_refs()])


def _is_small(source: Source, columns: Mapping[str, Kind]) -> bool:
    files = any(kind in ENCODED and is_text(source.schema.field(name).type) for name, kind in columns.items())
    most = SMALL_FILES if files else SMALL_ROWS
    return bool(source.n_rows <= min(most, SMALL_ROWS) and source.about.get("bytes_in_memory", 0) <= SMALL_BYTES)


def _manifest(parts: Sequence[Part]) -> Manifest:
    """Look at each part once, without keeping its digests here."""
    seen: list[tuple[int, Part, pa.Table]] = []
    for part in parts:
        table = part.table().select(["shard", "start", "rows", "key"])
        if table.num_rows:
            # A copy: the columns would hold on to the whole block, digests included.
            seen.append((table["shard"][0].as_py(), part, pa.table(table.to_pydict())))
    seen.sort(key=lambda entry: entry[0])
    joined = pa.concat_tables([table for _, _, table in seen])
    numbers = joined["shard"].to_numpy()
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise AssertionError("identities: every shard must come exactly once, in order within its part")
    return Manifest(
        keys=tuple(joined["key"].to_pylist()),
        rows=joined["rows"].to_numpy().astype(np.int64),
        starts=joined["start"].to_numpy().astype(np.int64),
        parts=tuple(part for _, part, _ in seen),
        part_of=np.repeat(np.arange(len(seen)), [table.num_rows for _, _, table in seen]),
    )


def shard_digests(table: pa.Table, wanted: Collection[int] | None = None) -> dict[int, AnyArray]:
    """Row digests uint8 (n, 16) of the shards of a part, or of some of them, by number."""
    return {
        number: np.frombuffer(digests.as_buffer(), np.uint8).reshape(-1, KEY_BYTES)
        for number, digests in zip(table["shard"].to_pylist(), table["digests"], strict=True)
        if wanted is None or number in wanted
    }


def part_bad(table: pa.Table, reasons: Mapping[bytes, str], column: str) -> Bad:
    """Unreadable rows of the shards of one part, in row order."""
    known = np.frombuffer(b"".join(reasons), f"V{KEY_BYTES}") if reasons else None
    count = 0
    rejects: list[Reject] = []
    for digests, start, wrong, errors in zip(
        shard_digests(table).values(),
        table["start"].to_pylist(),
        table["wrong"].to_pylist(),
        table["errors"].to_pylist(),
        strict=True,
    ):
        rows = np.ascontiguousarray(digests).view(f"V{KEY_BYTES}").reshape(-1)
        broken = np.isin(rows, known) if known is not None else np.zeros(len(rows), bool)
        if not wrong and not broken.any():
            continue
        bits = np.unpackbits(np.frombuffer(wrong, np.uint8), count=len(rows)).astype(bool) if wrong else False
        count += int((broken | bits).sum())
        found = [Reject(start + row, name, reason) for row, name, reason in json.loads(errors)]
        found += [Reject(start + int(r), column, reasons[rows[r].tobytes()]) for r in np.flatnonzero(broken)]
        rejects += sorted(found)[: MAX_REJECTS - len(rejects)]
    return Bad(count, rejects)


_far_bad = ray.remote(num_cpus=LITTLE)(part_bad)
