"""Explanations of a stored model on rows of a file, its columns divided over the cluster."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
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
from hybrid_ray.explain.attribution import Attribution, Explainer, Method
from hybrid_ray.explain.permutation import Importance, column_groups, permutation_importance, ranked
from hybrid_ray.explain.piece_plots import pixels_chart, tokens_page
from hybrid_ray.explain.pieces import PieceExplainer, PieceMap, seeing
from hybrid_ray.explain.plots import attribution_chart, importance_chart
from hybrid_ray.extractors.sight import Pieces
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
    method: Method = "shapley",
    pieces: Sequence[Pieces] = (),
) -> dict[str, Any]:
    """Permutation importance of every column and every modality to a model: what its score loses without them.

    Of a few rows also why they are answered as they are: what each column, modality, extractor and member adds, and,
    where asked, each pixel of an image and each token of a text that a network reads.

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
        of pixels ``pixels.json``, ``pixels.npz`` and ``pixels.png``, of tokens ``tokens.json`` and ``tokens.html``;
        made when it is not there.
    rows : int, default 500
        Rows at most; a random sample of more.
    repeats : int, default 10
    attributed : int, default 5
        Rows whose answers are attributed; 0: none.
    seed : int, default 0
    method : {"shapley", "lime"}, default "shapley"
        How columns and modalities of these rows are told.
    pieces : sequence of {"pixels", "tokens"}, default none
        What is told of beside columns, in the same rows.

    Returns
    -------
    dict
        ``model``, ``version``, ``metric``, ``rows``, ``repeats``, ``score``, ``importance`` (a list of name, mean,
        low, high and read, largest first), ``attributed`` (how many rows), ``out``, and ``notes`` for people on pixels
        and tokens.

    Raises
    ------
    BadInputError
        ``out`` cannot be written, the model forecasts, it has no extractor that is a network over what ``pieces`` asks
        for, or that is asked of no row.
    DataError
        The label column is missing, or no row has a label that the model knows.
    """
    folder = _made(out)
    stored = StoredModel.find(store, model)
    graph = stored.checked()
    _check(graph, pieces, attributed)
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
    told = _attributed.options(num_cpus=cluster.task_cpus).remote(stored, shared, attributed, seed, method)
    shown = {
        kind: _shown.options(num_cpus=cluster.task_cpus).remote(stored, shared, attributed, seed, kind)
        for kind in pieces
    }
    found = ranked(importance for part in ray.get(tasks) for importance in part)
    attributions: list[Attribution] = ray.get(told)
    numbers = chosen[known].tolist()
    answer: dict[str, Any] = {
        "model": stored.name,
        "version": stored.version,
        "metric": metric.name,
        "rows": len(y),
        "repeats": repeats,
        "score": metric.score(y, _seen(graph, graph.outputs(batch))),
        "importance": [asdict(each) for each in found],
        "attributed": len(attributions),
        "out": str(folder),
        "notes": [_written(folder, kind, numbers, ray.get(asked)) for kind, asked in shown.items()],
    }
    (folder / "importance.json").write_text(json.dumps(answer, indent=1))
    (folder / "importance.png").write_bytes(importance_chart(found, metric.name))
    if attributions:
        rows_told = [{"row": row, **asdict(each)} for row, each in zip(numbers, attributions, strict=False)]
        (folder / "attributions.json").write_text(json.dumps(rows_told, indent=1))
        (folder / "attributions.png").write_bytes(attribution_chart(attributions))
    return answer


def _check(graph: Graph, pieces: Sequence[Pieces], attributed: int) -> None:
    """Refuse a model that cannot be explained as it is asked for."""
    if graph.outlook is not None:
        raise BadInputError("explain: a model must read several columns; got one that forecasts, which reads histories")
    for kind in pieces:
        seeing(graph, kind)
        if not attributed:
            raise BadInputError(f"--{kind}: must be told of at least one row; got --attribute 0. Ask for more rows")


def _written(folder: Path, pieces: Pieces, numbers: Sequence[int], found: Sequence[Sequence[PieceMap]]) -> str:
    """Write maps of the first rows, by the rows' numbers, and their picture: a line that says where it is."""
    maps = [(row, each) for row, of_row in zip(numbers, found, strict=False) for each in of_row]
    told: list[dict[str, Any]] = []
    for position, (row, each) in enumerate(maps):
        about = {"row": row, "extractor": each.extractor, "column": each.column, "output": each.output}
        about |= {"answer": each.answer, "nothing": each.nothing, "gap": each.gap}
        if pieces == "pixels":
            about["map"] = f"arr_{position}"
        else:
            about |= {"tokens": list(each.tokens), "values": each.values.tolist()}
        told.append(about)
    (folder / f"{pieces}.json").write_text(json.dumps(told, indent=1))
    if not maps:
        return f"  {pieces}: none of the rows that are told of holds any"
    if pieces == "tokens":
        (folder / "tokens.html").write_text(tokens_page(maps), "utf-8")
        return f"  which tokens {len(maps)} answers come from: {folder}/tokens.html"
    packed = io.BytesIO()
    np.savez_compressed(packed, *(each.values for _, each in maps))
    (folder / "pixels.npz").write_bytes(packed.getvalue())
    (folder / "pixels.png").write_bytes(pixels_chart(maps))
    return f"  which pixels {len(maps)} answers come from: {folder}/pixels.png"


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
def _attributed(
    stored: StoredModel, shared: tuple[Batch, AnyArray], rows: int, seed: int, method: Method
) -> list[Attribution]:
    """Why the first rows are answered as they are, beside the rest of them."""
    told, usual = _parted(shared[0], rows)
    if told is None:
        return []
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    return list(Explainer(graph, usual, seed=seed, method=method).explain(told))


@ray.remote
def _shown(
    stored: StoredModel, shared: tuple[Batch, AnyArray], rows: int, seed: int, pieces: Pieces
) -> list[list[PieceMap]]:
    """Of each of the first rows, which pieces its answer comes from."""
    told, usual = _parted(shared[0], rows)
    if told is None:
        return []
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    return list(PieceExplainer(graph, usual, pieces, seed=seed).explain(told))


def _parted(batch: Batch, rows: int) -> tuple[Batch | None, Batch]:
    """The first rows, None where there are none, and those that stand for what is usual: the next ones."""
    asked = min(rows, len(next(iter(batch.values()))) - 1)
    usual = {name: values[max(asked, 0) : max(asked, 0) + BACKGROUND] for name, values in batch.items()}
    return ({name: values[:asked] for name, values in batch.items()} if asked > 0 else None), usual


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
