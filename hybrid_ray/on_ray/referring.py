"""The reference of a version, made of the test rows that it was scored on, and kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.rows import read_chosen
from hybrid_ray.data.source import Source
from hybrid_ray.monitoring.reference import ROWS, Reference, projection, traits_of
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.store.models import AREA, ModelVersion
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import read_state, write_state
from hybrid_ray.types import CLUSTERING, AnyArray, Block


def reference_of(model: str, version: int) -> str:
    """Folder of the reference of a version."""
    return f"{AREA}/{model}/references/{version}"


@ray.remote
def save_reference(
    root: StoreRoot,
    version: ModelVersion,
    source: Source,
    test_rows: AnyArray,
    test: Sequence[Mapping[str, Any]],
    outputs: AnyArray,
    metric: str,
    score: float | None,
    seed: int,
) -> int:
    """Keep what is watched of test rows, ``ROWS`` at most: how many there were.

    Parameters
    ----------
    root : StoreRoot
    version : ModelVersion
    source : Source
        What the rows are read from.
    test_rows : ndarray of int (n_test,)
        Their numbers there, rising.
    test : sequence of mapping of str to ObjectRef of Block
        Their features, by extractor key, one part of the rows after the other.
    outputs : ndarray (n_test, n_outputs)
        What the graph answers.
    metric : str
    score : float or None
        What it reached on them.
    seed : int
    """
    use_threads(1)
    n = len(test_rows)
    graph = StoredModel(root, version)((), members=False)
    prefix = reference_of(version.name, version.version)
    if not n or root.list(prefix):  # a run that goes on has made it
        return n
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(n, ROWS), replace=False))
    table = read_chosen(source, [name for name in graph.columns if name in source.schema.names], test_rows[chosen])
    batch = coerce(table, graph.columns, source.base).batch
    embeddings = {} if graph.outlook is not None else _embeddings(test, chosen)
    answers = outputs[chosen]
    if graph.task in CLUSTERING:  # what is measured of clusters: the first column is their number
        answers = np.eye(graph.n_outputs)[answers[:, 0].astype(np.int64)]
    traits = traits_of(graph, batch, embeddings, answers)
    write_state(root, prefix, Reference.of(traits, n, metric, score, seed=seed).state())
    return n


def read_reference(root: StoreRoot, model: str, version: int) -> Reference | None:
    """The reference of a version; None where it has none."""
    prefix = reference_of(model, version)
    try:
        return Reference.from_state(read_state(root, prefix), prefix)
    except FileNotFoundError:
        return None


def _embeddings(test: Sequence[Mapping[str, Any]], chosen: AnyArray) -> dict[str, Block]:
    """Features of some rows on few directions, by extractor id: of copies of one, the first's."""
    firsts: dict[str, str] = {}
    for key in test[0]:
        firsts.setdefault(key.partition("@")[0], key)
    found: dict[str, Block] = {}
    for group, key in firsts.items():
        parts, start = [], 0
        for part in test:
            block: Block = ray.get(part[key])
            here = chosen[(chosen >= start) & (chosen < start + len(block.present))] - start
            parts.append(Block(projection(block.values[here], group), block.present[here]))
            start += len(block.present)
        found[group] = Block(
            np.concatenate([part.values for part in parts]), np.concatenate([part.present for part in parts])
        )
    return found
