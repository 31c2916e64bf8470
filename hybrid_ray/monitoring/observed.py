"""What a version was asked and answered, read from its log, with the labels that came later."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid_ray.serving.log import EMBEDDING, FEEDBACK, PREDICTIONS, feedback_of, predictions_of
from hybrid_ray.store.golden import to_batch
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Batch, Block, Kind


@dataclass(frozen=True)
class Observed:
    """Logged rows of one version, in order of time.

    Attributes
    ----------
    batch : Batch
        n rows.
    outputs : ndarray of float64 (n, n_outputs)
    embeddings : dict of str to Block
        By extractor, on few directions.
    labels : list of (str or None)
        What each row's label turned out to be, as text; None where nobody said.
    times : ndarray of datetime64[ms] (n,)
    latency_ms : ndarray of float (n,)
    """

    batch: Batch
    outputs: AnyArray
    embeddings: dict[str, Block]
    labels: list[str | None]
    times: AnyArray
    latency_ms: AnyArray

    def __len__(self) -> int:
        return len(self.outputs)

    def take(self, rows: slice) -> Observed:
        """Some of its rows."""
        return Observed(
            {name: values[rows] for name, values in self.batch.items()},
            self.outputs[rows],
            {name: block.take(rows) for name, block in self.embeddings.items()},
            self.labels[rows],
            self.times[rows],
            self.latency_ms[rows],
        )


def read_observed(
    root: StoreRoot,
    model: str,
    version: int,
    columns: Mapping[str, Kind],
    *,
    since: datetime,
    until: datetime | None = None,
    shadow: bool = False,
) -> Observed:
    """Rows that a version was asked from ``since`` on, before ``until``.

    Memory is O(rows); only files of those days are read.

    Parameters
    ----------
    root : StoreRoot
    model : str
    version : int
    columns : mapping of str to Kind
        Of the version.
    since, until : datetime
        With a zone; ``until`` defaults to now.
    shadow : bool, default False
        True for answers that nobody got.
    """
    end = until or datetime.now(UTC)
    table = _read(root, _files(root, predictions_of(model, version), since, end), PREDICTIONS)
    table = table.filter(pc.and_(pc.greater_equal(table["time"], since), pc.less(table["time"], end)))
    labels = _read(root, _files(root, feedback_of(model), since, datetime.now(UTC)), FEEDBACK)
    return _observed(table, columns, _labels(labels), shadow)


def prediction_files(root: StoreRoot, model: str, version: int, since: datetime) -> list[str]:
    """Files of logged predictions that were written from a day on, oldest first."""
    return _files(root, predictions_of(model, version), since, datetime.now(UTC))


def read_files(root: StoreRoot, paths: Sequence[str], columns: Mapping[str, Kind]) -> Observed:
    """Rows of some files of logged predictions that people got, without labels."""
    return _observed(_read(root, paths, PREDICTIONS), columns, {}, shadow=False)


def _observed(
    table: pa.Table, columns: Mapping[str, Kind], said: Mapping[tuple[str, int], str], shadow: bool
) -> Observed:
    table = table.filter(pc.equal(table["shadow"], shadow))
    order = [("time", "ascending"), ("request", "ascending"), ("number", "ascending")]
    table = table.take(pc.sort_indices(table, order))
    asked = zip(table["request"].to_pylist(), table["number"].to_pylist(), strict=True)
    names = [name for name in table.column_names if name.startswith(EMBEDDING)]
    outputs = table["outputs"].to_pylist()
    return Observed(
        batch=to_batch([json.loads(row) for row in table["row"].to_pylist()], columns),
        outputs=np.array(outputs, np.float64).reshape(len(outputs), len(outputs[0]) if outputs else 0),
        embeddings={name.removeprefix(EMBEDDING): _block(table[name]) for name in names},
        labels=[said.get(key) for key in asked],
        times=table["time"].to_numpy().astype("datetime64[ms]"),
        latency_ms=table["latency_ms"].to_numpy(),
    )


def _files(root: StoreRoot, prefix: str, since: datetime, until: datetime) -> list[str]:
    """Files of those days, and of the day after: a file is written after what it holds."""
    days = [f"{since + timedelta(days=n):%Y-%m-%d}" for n in range((until.date() - since.date()).days + 2)]
    return [path for day in days for path in sorted(root.list(f"{prefix}/{day}")) if path.endswith(".parquet")]


def _read(root: StoreRoot, paths: Sequence[str], schema: pa.Schema) -> pa.Table:
    found = root.read_many(list(paths))
    tables = [pq.read_table(io.BytesIO(found[path])) for path in sorted(found)]
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")


def _labels(table: pa.Table) -> dict[tuple[str, int], str]:
    """The last label that was told of each row."""
    order = pc.sort_indices(table, [("time", "ascending")])
    told: Sequence[dict[str, object]] = table.take(order).to_pylist()
    return {(str(row["request"]), int(str(row["number"]))): str(row["label"]) for row in told}


def _block(column: pa.ChunkedArray) -> Block:
    lists = column.combine_chunks()
    present = np.asarray(lists.is_valid())
    width = lists.type.list_size
    values = np.zeros((len(lists), width), np.float32)
    values[present] = lists.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return Block(values, present)
