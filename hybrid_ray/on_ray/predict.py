"""Batch prediction on Ray Data: workers load the graph once, rows stream through, one file comes out in row order."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError

from hybrid_ray.data.columns import coerce, infer_kinds
from hybrid_ray.data.sink import check_sink, is_answer, open_sink
from hybrid_ray.data.source import Source
from hybrid_ray.errors import BadInputError, DataError, RunFailedError
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.cluster import Cluster, usable_device, use_threads
from hybrid_ray.on_ray.dataset import (
    ROW,
    PieceRead,
    data_context,
    first_shards,
    gather,
    number_rows,
    read_dataset,
)
from hybrid_ray.on_ray.failures import letting_go, worker_error
from hybrid_ray.on_ray.model import StoredModel, open_rows
from hybrid_ray.on_ray.resources import ExtractionPlan, plan_extraction
from hybrid_ray.on_ray.serve.contract import Loader
from hybrid_ray.registry import nearest
from hybrid_ray.spec import Resources
from hybrid_ray.types import AnyArray

SHARD_ROWS = 1024
MAX_DEATHS = 3
"""Times a worker may die, and its rows be tried again, before the prediction is given up."""
LISTED = 20
"""Bad rows that the summary lists; the file marks them all."""
_OUTPUTS, _ERROR = "_outputs", "error"


def predict_file(
    cluster: Cluster, model: str, store: str, data: str, out: str, keep: Sequence[str] | None = None
) -> dict[str, Any]:
    """Predict the rows of a table with a stored model.

    Parameters
    ----------
    cluster : Cluster
    model : str
        ``name``, ``name@champion``, ``name:version`` or a folder.
    store : str
        URI of the store.
    data : str
        Rows: a file, folder, glob or URL; the label may be missing.
    out : str
        File to write: .parquet, .csv or .jsonl, a path or a URL.
    keep : sequence of str, optional
        Columns to copy to the output; default: those that seem to number or name the rows.

    Returns
    -------
    dict
        As :func:`predict_dataset`.
    """
    check_sink(out)
    stored = StoredModel.find(store, model)
    graph = stored.checked()
    source = open_rows(graph, data, training=False)
    answer = predict_dataset(cluster, source, graph, stored, out, keep)
    return {"model": stored.name, "version": stored.version} | answer


def predict_dataset(
    cluster: Cluster,
    source: Source,
    graph: Graph,
    loader: Loader,
    out: str,
    keep: Sequence[str] | None = None,
    max_bad_fraction: float = 1.0,
) -> dict[str, Any]:
    """Predict every row of a source and write the answers, in row order.

    The file has ``row``, the kept columns, ``prediction``, ``proba_<class>`` for each class, and ``error``: what of a
    row could not be read. Such a row is predicted all the same, that modality missing. Of forecasts the prediction is a
    list of steps, beside lists of the ends of intervals.

    Parameters
    ----------
    cluster : Cluster
    source : Source
    graph : Graph
        Only described here; the workers predict.
    loader : Loader
        Gives the same graph to the workers.
    out : str
        File to write: .parquet, .csv or .jsonl, a path or a URL.
    keep : sequence of str, optional
        Columns to copy to the output; default: those that seem to number or name the rows.
    max_bad_fraction : float, default 1
        Share of rows with something unreadable above which nothing is written.

    Returns
    -------
    dict
        ``rows``, ``bad`` (rows with an error), ``rejects`` (the first of them), ``malformed`` (lines of the files that
        are no row), ``missing_columns`` (inputs of the graph that the data lacks), ``notes`` (of how series were read),
        ``kept``, ``out``, ``seconds``.

    Raises
    ------
    BadInputError
        The output cannot be written, or a column to keep is not there.
    DataError
        The source has none of the graph's columns, or more bad rows than allowed.
    ResourceError
        The cluster cannot run it.
    """
    start = time.monotonic()
    check_sink(out)
    kept = _kept(source, graph, keep)
    schema = _schema(source, graph, kept)
    rejects: list[dict[str, Any]] = []
    rows = bad = 0
    with open_sink(out, schema) as write, closing(_stream(cluster, source, graph, loader, kept)) as stream:
        for table in stream:
            numbers = table[ROW].to_pylist()
            reasons = [(row, why) for row, why in zip(numbers, table[_ERROR].to_pylist(), strict=True) if why]
            rejects += [{"row": row, "error": why} for row, why in reasons[: LISTED - len(rejects)]]
            rows, bad = rows + len(numbers), bad + len(reasons)
            write(_answers(table, graph, schema))
        if bad > max_bad_fraction * rows:
            first = f"; the first is row {rejects[0]['row']}: {rejects[0]['error']}" if rejects else ""
            raise DataError(f"data: at most {max_bad_fraction:.1%} of the rows may be bad; got {bad} of {rows}{first}")
    return {
        "rows": rows,
        "bad": bad,
        "rejects": rejects,
        "malformed": source.malformed,
        "missing_columns": [name for name in graph.columns if name not in source.schema.names],
        "notes": list(source.about.get("notes", [])),
        "kept": kept,
        "out": out,
        "seconds": time.monotonic() - start,
    }


def predict_outputs(cluster: Cluster, graph: Graph, ref: str, store: str, source: Source) -> AnyArray:
    """Outputs float64 (n_rows, n_outputs) of a stored model for every row of a source, in row order."""
    return outputs_of(cluster, source, graph, StoredModel.find(store, ref))


def outputs_of(cluster: Cluster, source: Source, graph: Graph, loader: Loader) -> AnyArray:
    """The same for any model; arguments as in :func:`predict_dataset`."""
    outputs = np.full((source.n_rows, graph.n_outputs), np.nan)
    with closing(_stream(cluster, source, graph, loader, [])) as stream:
        for table in stream:
            outputs[table[ROW].to_numpy()] = _matrix(table)
    return outputs


def _stream(
    cluster: Cluster, source: Source, graph: Graph, loader: Loader, kept: list[str]
) -> Generator[pa.Table, None, None]:
    """Raw answers of all rows, in row order."""
    inputs = [name for name in graph.columns if name in source.schema.names]
    if not inputs:
        raise DataError(f"data: rows must have some of the columns {list(graph.columns)}; got {source.schema.names}")
    reads = [
        PieceRead(piece, first, number_rows)
        for piece, first in zip(source.pieces, first_shards(source, SHARD_ROWS), strict=True)
    ]
    groups = gather(reads, 4 * SHARD_ROWS)
    gpu = any(extractor.tags.gpu for extractor in graph.extractors.values())
    plan = plan_extraction(cluster.view(), gpu=gpu, asked=Resources(), units=len(groups), where="predict")
    columns = [*inputs, *(name for name in kept if name not in inputs)]
    options = ray.data.ExecutionOptions(preserve_order=True)
    options.resource_limits = ray.data.ExecutionResources(
        cpu=plan.actors * plan.cpus + plan.readers * plan.read_cpus, gpu=plan.actors * plan.gpus or None
    )
    expected = 0
    with data_context({"execution_options": options}), _explained(), letting_go():
        dataset = read_dataset(
            source, columns, SHARD_ROWS, groups, num_cpus=plan.read_cpus, readers=plan.readers
        ).map_batches(
            PredictWorker,
            fn_constructor_args=(_orders(source, loader, kept, plan),),
            batch_format="pyarrow",
            batch_size=SHARD_ROWS,
            compute=ActorPoolStrategy(size=plan.actors),
            num_cpus=plan.cpus,
            num_gpus=plan.gpus or None,
            max_restarts=MAX_DEATHS,
            max_task_retries=MAX_DEATHS,
        )
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            rows = table[ROW].to_numpy()
            if len(rows) and (rows != np.arange(expected, expected + len(rows))).any():
                raise RunFailedError(f"predict: rows must come back in order; got {rows[0]} after {expected - 1}")
            expected += len(rows)
            yield table
    if expected != source.n_rows:
        raise RunFailedError(f"predict: every row must come back; got {expected} of {source.n_rows}")


@contextmanager
def _explained() -> Iterator[None]:
    """Ray's complaints as errors of ours; its notes on arguments that have no successor yet are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
            yield
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        raise worker_error(error, "predict") from error


@dataclass(frozen=True)
class Orders:
    """What a worker has to know; small and picklable.

    Attributes
    ----------
    loader : Loader
    base : str
        Folder that relative paths of images and sounds start from.
    kept : tuple of str
        Columns to hand through.
    device : {"cpu", "cuda"}
    threads : int
    batch_size : int
        Rows of one pass of the graph.
    """

    loader: Loader
    base: str
    kept: tuple[str, ...]
    device: Literal["cpu", "cuda"]
    threads: int
    batch_size: int


def _orders(source: Source, loader: Loader, kept: list[str], plan: ExtractionPlan) -> Orders:
    return Orders(loader, source.base, tuple(kept), plan.device, plan.threads, plan.batch_size)


class PredictWorker:
    """Predicts rows: one in each actor of the pool.

    Parameters
    ----------
    orders : Orders
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._graph: Graph | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Row numbers, kept columns, outputs and errors: what Ray Data calls."""
        try:
            graph = self._ready()
            size = self._orders.batch_size
            starts = range(0, max(table.num_rows, 1), size)
            return pa.concat_tables([self._predict(graph, table.slice(start, size)) for start in starts])
        except SystemExit as error:
            # An exit would leave the pool waiting for this actor for ever.
            raise RuntimeError(f"predict: a plugin must not exit; it called exit({error.code})") from error

    def _predict(self, graph: Graph, table: pa.Table) -> pa.Table:
        coerced = coerce(table, graph.columns, self._orders.base)
        reasons: dict[int, list[str]] = {}
        for row, column, reason in coerced.errors:
            reasons.setdefault(row, []).append(f"{column}: {reason}")
        outputs: AnyArray = np.zeros((0, graph.n_outputs))
        if table.num_rows:
            blocks, errors = graph.examine(coerced.batch)
            outputs = graph.combine(blocks)
            for row, reason in errors.items():
                reasons.setdefault(row, []).append(reason)
        said = ["; ".join(reasons[row]) if row in reasons else None for row in range(table.num_rows)]
        flat = pa.array(np.ascontiguousarray(outputs, np.float64).reshape(-1))
        return (
            table.select([ROW, *self._orders.kept])
            .append_column(_OUTPUTS, pa.FixedSizeListArray.from_arrays(flat, graph.n_outputs))
            .append_column(_ERROR, pa.array(said, pa.string()))
        )

    def _ready(self) -> Graph:
        """The graph, loaded at the first batch, so that its errors reach the driver whole."""
        if self._graph is None:
            use_threads(self._orders.threads)
            graph = self._orders.loader()
            graph.setup(usable_device(self._orders.device))
            use_threads(self._orders.threads)
            self._graph = graph
        return self._graph


def _kept(source: Source, graph: Graph, keep: Sequence[str] | None) -> list[str]:
    names = source.schema.names
    points = source.data.series or source.data.windows
    if keep is None and points is not None:
        return [name for name in (points.id, points.time) if name is not None]
    if keep is None:
        guesses = infer_kinds(source.sample(200), exclude=[*graph.columns, graph.label])
        return [name for name, guess in guesses.items() if guess.id_like and not is_answer(name, forecast=False)]
    for name in keep:
        if name not in names:
            raise BadInputError(f"keep: must be a column of the data; got {name!r}.{nearest(name, names)}")
        if is_answer(name, forecast=graph.outlook is not None):
            raise BadInputError(f"keep: must not be a column of the answer; got {name!r}. Rename it in the data")
        kind = source.schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise BadInputError(f"keep: must be text, numbers or dates; got {name!r}, which holds {kind}")
    return list(dict.fromkeys(keep))


def _schema(source: Source, graph: Graph, kept: Sequence[str]) -> pa.Schema:
    label = pa.array(graph.classes).type if graph.classes is not None else pa.float64()
    answers = [
        pa.field("prediction", label),
        *(pa.field(f"proba_{name}", pa.float64()) for name in graph.classes or ()),
    ]
    if graph.outlook is not None:
        answers = [pa.field(name, pa.list_(pa.float64())) for name in graph.answer(np.zeros((0, graph.n_outputs)))]
    held = [source.schema.field(name) for name in kept]
    return pa.schema([pa.field("row", pa.int64()), *held, *answers, pa.field(_ERROR, pa.string())])


def _matrix(table: pa.Table) -> AnyArray:
    """The outputs of raw answers, (n, n_outputs)."""
    column = table[_OUTPUTS].combine_chunks()
    flat = column.flatten() if isinstance(column, pa.Array) else pa.concat_arrays([c.flatten() for c in column.chunks])
    values: AnyArray = flat.to_numpy(zero_copy_only=False)
    return values.reshape(table.num_rows, -1)


def _answers(table: pa.Table, graph: Graph, schema: pa.Schema) -> pa.Table:
    """Answers for people from raw answers."""
    held: dict[str, Any] = {name: table[name] for name in table.column_names}
    held |= {"row": table[ROW], **graph.answer(_matrix(table))}
    return pa.table({field.name: _typed(held[field.name], field.type) for field in schema}, schema)


def _typed(column: Any, kind: pa.DataType) -> Any:
    return column if isinstance(column, pa.ChunkedArray) else pa.array(column, kind)
