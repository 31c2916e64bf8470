"""Explanations of a stored model on rows of a file, its columns divided over the cluster."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.rows import read_chosen, read_labels
from hybrid_ray.data.source import Source
from hybrid_ray.data.target import encode_known, known_rows
from hybrid_ray.errors import BadInputError
from hybrid_ray.evaluation.clusters import assigned
from hybrid_ray.evaluation.metrics import METRICS, Metric, get_metric
from hybrid_ray.explain.attribution import Attribution, Explainer
from hybrid_ray.explain.permutation import Importance, column_groups, permutation_importance, ranked
from hybrid_ray.explain.plots import attribution_chart, importance_chart
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.cluster import Cluster, use_threads
from hybrid_ray.on_ray.model import StoredModel, open_rows
from hybrid_ray.types import CLUSTERING, AnyArray, Batch

BACKGROUND = 16
"""Rows that stand for what is usual when answers are attributed."""


def explain_file(
    cluster: Cluster,
    model: str,
    store: str,
    data: str,
    out: str,
    *,
    rows: int = 500,
    repeats: int = 10,
    attributed: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Permutation importance of every column and every modality to a model: what its score loses without them.

    Of a few rows also why they are answered as they are: what each column, modality, extractor and member adds.

    For clusters, the adjusted Rand index of what it answers then and what it answers to the rows as they are.

    Memory is O(``rows``) on every worker; the cost is (columns + modalities) x ``repeats`` passes over the rows.

    Parameters
    ----------
    cluster : Cluster
    model : str
        ``name``, ``name@champion``, ``name:version`` or a folder.
    store : str
    data : str
        Rows with the model's label column, or those of its annotators; best rows that it was not trained on.
    out : str
        Folder that gets ``importance.json`` and ``importance.png``, and ``attributions.json`` and ``attributions.png``;
        made when it is not there.
    rows : int, default 500
        Rows at most; a random sample of more.
    repeats : int, default 10
    attributed : int, default 5
        Rows whose answers are attributed; 0: none.
    seed : int, default 0

    Returns
    -------
    dict
        ``model``, ``version``, ``metric``, ``rows``, ``repeats``, ``score``, ``importance`` (a list of name, mean,
        low, high and read, largest first), ``attributed`` (how many rows) and ``out``.

    Raises
    ------
    BadInputError
        ``out`` cannot be written, or the model forecasts.
    DataError
        The label column is missing, or no row has a label that the model knows.
    """
    folder = _made(out)
    stored = StoredModel.find(store, model)
    graph = stored.checked()
    if graph.outlook is not None:
        raise BadInputError("explain: a model must read several columns; got one that forecasts, which reads histories")
    source = open_rows(graph, data, training=graph.task not in CLUSTERING)
    wanted = [name for name in (*graph.columns, graph.label) if name in source.schema.names]
    chosen = choose_rows(source.n_rows, rows, seed)
    table = read_chosen(source, wanted, chosen)
    batch, y, metric, known = _measured(graph, table, source, chosen, data)
    groups = column_groups(graph)
    workers = min(max(int(cluster.view().cpus), 1), len(groups))
    shared = ray.put((batch, y))
    parts = [dict(list(groups.items())[i::workers]) for i in range(workers)]
    tasks = [
        _importance.options(num_cpus=cluster.task_cpus).remote(stored, shared, metric.name, part, repeats, seed)
        for part in parts
    ]
    told = _attributed.options(num_cpus=cluster.task_cpus).remote(stored, shared, attributed, seed)
    found = ranked(importance for part in ray.get(tasks) for importance in part)
    attributions: list[Attribution] = ray.get(told)
    answer = {
        "model": stored.name,
        "version": stored.version,
        "metric": metric.name,
        "rows": len(y),
        "repeats": repeats,
        "score": metric.score(y, _seen(graph, graph.outputs(batch))),
        "importance": [asdict(each) for each in found],
        "attributed": len(attributions),
        "out": str(folder),
    }
    (folder / "importance.json").write_text(json.dumps(answer, indent=1))
    (folder / "importance.png").write_bytes(importance_chart(found, metric.name))
    if attributions:
        rows_told = [{"row": int(row), **asdict(each)} for row, each in zip(chosen[known], attributions, strict=False)]
        (folder / "attributions.json").write_text(json.dumps(rows_told, indent=1))
        (folder / "attributions.png").write_bytes(attribution_chart(attributions))
    return answer


def _measured(
    graph: Graph, table: pa.Table, source: Source, chosen: AnyArray, data: str
) -> tuple[Batch, AnyArray, Metric, AnyArray]:
    """Rows, what is right for each, the metric, and which of the chosen ones they are.

    Of clusters what is right is what the model itself answers to all columns.

    Parameters
    ----------
    graph : Graph
    table : pa.Table
        The rows.
    source : Source
        What they were chosen from.
    chosen : ndarray of int (n,)
        Their numbers there.
    data : str

    Raises
    ------
    DataError
        The label column is missing, or no row has a label that the model knows.
    """
    if graph.task in CLUSTERING:
        batch = coerce(table, graph.columns, source.base).batch
        return batch, graph.outputs(batch).argmax(axis=1), METRICS["ari"], np.arange(len(table))
    if source.data.annotators:  # all rows tell how far each is to be trusted
        every = read_labels(source, graph.label, graph.task, graph.classes)
        target = replace(every, y=every.y[chosen], missing=every.missing[chosen])
    else:
        target = encode_known(table[graph.label], graph.task, graph.classes)
    known = known_rows(target, data, graph.label)
    batch = coerce(table.take(pa.array(known)), graph.columns, source.base).batch
    return batch, target.y[known], get_metric(graph.info.get("metric", "auto"), graph.task), known


def _seen(graph: Graph, outputs: AnyArray) -> AnyArray:
    """What the metric looks at."""
    return assigned(outputs) if graph.task in CLUSTERING else outputs


@ray.remote
def _attributed(stored: StoredModel, shared: tuple[Batch, AnyArray], rows: int, seed: int) -> list[Attribution]:
    """Why the first rows are answered as they are, beside the rest of them."""
    batch = shared[0]
    n = len(next(iter(batch.values())))
    asked = min(rows, n - 1)
    if asked < 1:
        return []
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    usual = {name: values[asked : asked + BACKGROUND] for name, values in batch.items()}
    return list(Explainer(graph, usual, seed=seed).explain({name: values[:asked] for name, values in batch.items()}))


@ray.remote
def _importance(
    stored: StoredModel,
    shared: tuple[Batch, AnyArray],
    metric: str,
    groups: dict[str, tuple[str, ...]],
    repeats: int,
    seed: int,
) -> list[Importance]:
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    batch, y = shared
    scored = METRICS[metric]

    def gain(labels: AnyArray, outputs: AnyArray) -> float:
        score = scored.score(labels, _seen(graph, outputs))
        return score if scored.direction == "maximize" else -score

    return permutation_importance(graph, batch, y, gain, groups=groups, repeats=repeats, seed=seed)


def choose_rows(n_rows: int, rows: int, seed: int) -> AnyArray:
    """Numbers of at most ``rows`` rows, chosen at random, in row order."""
    return np.sort(np.random.default_rng(seed).choice(n_rows, min(rows, n_rows), replace=False))


def _made(out: str) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"--out: must be a folder that can be written; got {out!r} ({error.strerror})") from error
    return folder
