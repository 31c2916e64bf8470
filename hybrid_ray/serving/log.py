"""What was asked and answered, kept as Parquet in the store: a share of the requests, within limits.

    served/<model>/<version>/predictions/<day>/<time>-<id>.parquet
    served/<model>/feedback/<day>/<time>-<id>.parquet

Files are written whole, under names of their own, a few hundred rows each. A log never stops an answer: what the store
cannot take in time is dropped, and counted.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ray.errors import HybridRayError
from hybrid_ray.spec import LogSpec
from hybrid_ray.store.golden import to_cells
from hybrid_ray.store.root import StoreRoot, check_name
from hybrid_ray.types import AnyArray, Batch, Block, Kind

AREA = "served"
REDACT = "redact"
"""Where a graph's facts hold the columns that are never written."""

_LOG = logging.getLogger(__name__)
EMBEDDING = "embedding:"
"""What names of columns with embeddings begin with."""

PREDICTIONS = pa.schema(
    [
        ("request", pa.string()),
        ("number", pa.int32()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("version", pa.int32()),
        ("shadow", pa.bool_()),
        ("latency_ms", pa.float32()),
        ("row", pa.large_string()),
        ("outputs", pa.list_(pa.float64())),
    ]
)
"""Columns of logged predictions, one row each; ``embedding:<extractor>`` come after them."""
FEEDBACK = pa.schema(
    [
        ("request", pa.string()),
        ("number", pa.int32()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("label", pa.string()),
    ]
)
"""Columns of labels that came later."""


@dataclass(frozen=True)
class Seen:
    """One request and its answer.

    Attributes
    ----------
    request : str
        Its id; the client is told.
    time : float
        Seconds since 1970.
    version : int
    shadow : bool
        Whether nobody got this answer.
    latency_ms : float
    batch : Batch
        The n rows.
    outputs : ndarray (n, n_outputs)
    embeddings : dict of str to Block
        By extractor, on few directions.
    """

    request: str
    time: float
    version: int
    shadow: bool
    latency_ms: float
    batch: Batch
    outputs: AnyArray
    embeddings: Mapping[str, Block] = field(default_factory=dict)


def is_kept(request: str, share: float) -> bool:
    """Whether a request is of the share that is logged: the same for all versions that see it."""
    digest = blake2b(request.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class Written:
    """Rows on their way to the store, in a thread of their own.

    Parameters
    ----------
    root : StoreRoot
    prefix : str
        Folder of the files.
    kept : LogSpec
        Rows of a file, seconds until it is written, and rows that may wait.
    clock : callable, default time.time
    """

    def __init__(
        self,
        root: StoreRoot,
        prefix: str,
        kept: LogSpec,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._prefix = prefix
        self._kept = kept
        self._clock = clock
        self._waiting: list[pa.Table] = []
        self._held = 0
        self._changed = threading.Condition()
        self._ended = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def add(self, table: pa.Table) -> bool:
        """Take rows; False where too many wait: they are dropped."""
        with self._changed:
            if self._ended or self._held + len(table) > self._kept.held:
                self.dropped += len(table)
                return False
            self._waiting.append(table)
            self._held += len(table)
            if self._held >= self._kept.rows:
                self._changed.notify()
            return True

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._held >= self._kept.rows, self._kept.seconds)
                taken, ended = self._waiting, self._ended
                self._waiting = []
            self._write(taken)
            with self._changed:
                self._held -= sum(len(table) for table in taken)
                if ended and not self._waiting:
                    return

    def _write(self, tables: Sequence[pa.Table]) -> None:
        if not tables:
            return
        table = pa.concat_tables(tables, promote_options="default")
        out = io.BytesIO()
        pq.write_table(table, out, compression="zstd")
        stamp = datetime.fromtimestamp(self._clock(), UTC)
        name = f"{self._prefix}/{stamp:%Y-%m-%d}/{stamp:%H%M%S%f}-{uuid.uuid4().hex[:12]}.parquet"
        try:
            self._root.write(name, out.getvalue())
        except (HybridRayError, OSError) as error:  # an answer must not wait for the log, nor fail with it
            self.dropped += len(table)
            _LOG.warning("%d rows of the log could not be written: %s", len(table), error)


class PredictionLog:
    """Logged predictions of one version.

    Parameters
    ----------
    root : StoreRoot
    model : str
    version : int
    columns : mapping of str to Kind
    kept : LogSpec
    redact : collection of str
        Columns that are never written.
    """

    def __init__(
        self,
        root: StoreRoot,
        model: str,
        version: int,
        columns: Mapping[str, Kind],
        kept: LogSpec,
        redact: Collection[str] = (),
    ) -> None:
        self._columns = columns
        self._share = kept.share
        self._redact = frozenset(redact)
        self._written = Written(root, predictions_of(model, version), kept)

    @property
    def dropped(self) -> int:
        """Rows that could not be kept."""
        return self._written.dropped

    def keeps(self, request: str) -> bool:
        """Whether a request is of those that are logged."""
        return is_kept(request, self._share)

    def add(self, seen: Seen) -> None:
        """Take one request. Large images and sounds are made smaller, long texts and series cut."""
        self._written.add(prediction_rows(seen, self._columns, self._redact))

    def close(self) -> None:
        """Write what waits."""
        self._written.close()


def predictions_of(model: str, version: int) -> str:
    """Folder of the logged predictions of a version."""
    return f"{AREA}/{check_name(model, 'model name')}/{version}/predictions"


def feedback_of(model: str) -> str:
    """Folder of the labels that came later."""
    return f"{AREA}/{check_name(model, 'model name')}/feedback"


def prediction_rows(seen: Seen, columns: Mapping[str, Kind], redact: Collection[str]) -> pa.Table:
    """Rows of the log, of one request."""
    shown = {name: values for name, values in seen.batch.items() if name not in redact}
    cells = to_cells(shown, columns)
    n = len(seen.outputs)
    table: dict[str, Any] = {
        "request": [seen.request] * n,
        "number": list(range(n)),
        "time": [int(seen.time * 1000)] * n,
        "version": [seen.version] * n,
        "shadow": [seen.shadow] * n,
        "latency_ms": [seen.latency_ms] * n,
        "row": [json.dumps(cell, separators=(",", ":")) for cell in cells],
        "outputs": seen.outputs.tolist(),
    }
    found = pa.table(table, schema=PREDICTIONS)
    for name, block in seen.embeddings.items():
        flat = pa.array(np.ascontiguousarray(block.values, np.float32).ravel())
        column = pa.FixedSizeListArray.from_arrays(flat, block.values.shape[1], mask=pa.array(~block.present))
        found = found.append_column(f"{EMBEDDING}{name}", column)
    return found


def feedback_rows(request: str, labels: Sequence[tuple[int, Any]], when: float) -> pa.Table:
    """Rows of feedback: labels of some rows of a request, by their number in it."""
    return pa.table(
        {
            "request": [request] * len(labels),
            "number": [number for number, _ in labels],
            "time": [int(when * 1000)] * len(labels),
            "label": [label if isinstance(label, str) else json.dumps(label) for _, label in labels],
        },
        schema=FEEDBACK,
    )
