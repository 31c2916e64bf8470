"""Score a registered model on labelled rows, or clusters on any rows.

Rows that go together, by the column that the model's split named or as windows and origins of one series do, are drawn
in whole groups for the intervals. A model of an earlier version does not tell that column: its rows are drawn one by
one.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.rows import read_chosen, read_labels, read_tied
from hybrid_ray.data.sliding import WINDOWS
from hybrid_ray.data.source import Source
from hybrid_ray.data.split import TOGETHER
from hybrid_ray.data.target import Target, encode_target, known_rows, no_target
from hybrid_ray.errors import DataError
from hybrid_ray.evaluation.intervals import bootstrap
from hybrid_ray.evaluation.metrics import metrics_of, score_all
from hybrid_ray.evaluation.ties import Ties, tie_note
from hybrid_ray.forecasts import SERIES
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.cluster import Cluster, use_threads
from hybrid_ray.on_ray.explain import choose_rows
from hybrid_ray.on_ray.model import StoredModel, open_rows
from hybrid_ray.on_ray.predict import predict_outputs
from hybrid_ray.results import defined
from hybrid_ray.search.judging import judged
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import CLUSTERING, AnyArray

CLUSTERED_ROWS = 10_000
"""Rows that clusters are scored on at most; of more a sample is drawn."""


def evaluate_file(cluster: Cluster, model: str, store: str, data: str) -> dict[str, Any]:
    """Predict labelled rows with a model on Ray Data, and score the answers.

    Every row with a label that the model knows is scored, whatever a column says that once divided rows: see
    :func:`hybrid_ray.on_ray.model.open_rows`.

    Clusters are scored on rows with or without labels, ``CLUSTERED_ROWS`` at most; what compares them with labels is
    null where there are none.

    Parameters
    ----------
    cluster : Cluster
    model : str
        ``name``, ``name@champion``, ``name:version`` or a folder.
    store : str
    data : str
        Rows with the model's label column, or those of the annotators of whose labels its own was made.

    Returns
    -------
    dict
        ``model``, ``version``, ``rows``, ``test_groups`` (of rows that go together, of which intervals are made; null:
        of rows one by one), ``unlabelled``, ``notes`` (of how series and labels were read, and of intervals),
        ``metric``, ``test`` and ``ci95`` by metric.

    Raises
    ------
    DataError
        The label column is missing, or no row has a label that the model knows; or there is one row to cluster.
    """
    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    graph = held.load(version.ref)
    clusters = graph.task in CLUSTERING
    source = open_rows(graph, data, training=not clusters)
    if clusters:
        y, outputs = _clustered(cluster, graph, StoredModel.find(store, version.ref), source)
        unlabelled = int((y < 0).sum())
        scored = choose_rows(source.n_rows, CLUSTERED_ROWS, _seed(graph))
    else:
        target = read_labels(source, graph.label, graph.task, graph.classes)
        scored = known_rows(target, data, graph.label)
        outputs = predict_outputs(cluster, graph, version.ref, store, source)[scored]
        y, unlabelled = target.y[scored], int(target.missing.sum())
    groups, note = known_groups(graph, source, scored)
    ties = Ties.of(groups)
    return {
        "model": version.name,
        "version": version.version,
        "rows": len(y),
        "test_groups": None if ties is None else ties.n,
        "unlabelled": unlabelled,
        "notes": [*source.about.get("notes", []), *([note] if note else [])],
        "metric": graph.info.get("metric"),
        "test": defined(score_all(y, outputs, graph.task)),
        "ci95": {
            name: list(defined(bootstrap(y, outputs, metric, ties=ties)._asdict()).values())
            for name, metric in metrics_of(graph.task).items()
        },
    }


def known_groups(graph: Graph, source: Source, scored: AnyArray) -> tuple[AnyArray | None, str]:
    """Which of some rows go together (n,), None where that is not known; and what a reader must know of it."""
    cut = graph.info.get(SERIES) or graph.info.get(WINDOWS)
    column = graph.info.get(TOGETHER) if cut is None else cut.get("id")
    if column is None and cut is None:
        return None, ""
    if column is not None and column not in source.schema.names:
        return None, f"There is no column {column!r} that tells which rows go together: intervals take them one by one."
    groups = read_tied(source, column, scored)
    return groups, tie_note(groups)


def _seed(graph: Graph) -> int:
    return int(graph.info.get("seed", 0))


def _clustered(cluster: Cluster, graph: Graph, stored: StoredModel, source: Source) -> tuple[AnyArray, AnyArray]:
    """Codes of labels, -1 where there is none, and what some rows say of the clusters: made in one task."""
    if source.n_rows < 2:
        raise DataError(f"data.path: clusters need two rows or more to be scored on; got {source.n_rows}")
    seed = _seed(graph)
    wanted = [name for name in (*graph.columns, graph.label) if name in source.schema.names]
    table = read_chosen(source, wanted, choose_rows(source.n_rows, CLUSTERED_ROWS, seed))
    task = _evidence.options(num_cpus=cluster.task_cpus)
    outputs: AnyArray = ray.get(task.remote(stored, table, source.base, seed))
    return _compared(graph, table).y, outputs


def _compared(graph: Graph, table: pa.Table) -> Target:
    """What clusters are compared with, where the rows have it."""
    if graph.label not in table.column_names or table[graph.label].null_count == len(table):
        return no_target(len(table))
    return encode_target(table[graph.label], graph.task)


@ray.remote
def _evidence(stored: StoredModel, table: pa.Table, base: str, seed: int) -> AnyArray:
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    (member,) = graph.members
    return judged(member, [graph.extract(coerce(table, graph.columns, base).batch)], graph.task, seed)
