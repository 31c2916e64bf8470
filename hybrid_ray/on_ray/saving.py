"""Save a graph, as one task of Ray; beside the stages, so that its worker need not import them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.graph import Graph, Member, Reserve
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.serve.placement import measure_nodes
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.reserves import Gap
from hybrid_ray.spec import Spec
from hybrid_ray.store.golden import Golden, make_golden
from hybrid_ray.store.models import ModelStore, ModelVersion
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import CLUSTERING, State

LATENCY_ROWS = 20
LATENCY_S = 1.0
"""Seconds after which no more rows are timed, three at least."""


@dataclass(frozen=True)
class HeldBack:
    """Parts of a reserve.

    Attributes
    ----------
    gap : Gap
    members : mapping of str to ObjectRef of Member
        By member name.
    decision : DecisionFusion
        Fitted.
    """

    gap: Gap
    members: Mapping[str, Any]
    decision: DecisionFusion


@ray.remote
def save_graph(
    root: StoreRoot,
    spec: Spec,
    classes: list[Any] | None,
    frozen: dict[str, Extractor],
    entries: dict[str, Entry],
    states: dict[str, Any],
    members: dict[str, Any],
    decision: DecisionFusion,
    reserves: Sequence[HeldBack],
    sample: pa.Table,
    base: str,
    info: dict[str, Any],
) -> tuple[ModelVersion, int, float]:
    """Compose the graph, measure it, save it and register it: the version, its bytes, its latency in milliseconds."""
    load_plugins()
    use_threads(1)
    graph = _graph(spec, classes, frozen, entries, states, members, decision, reserves, info)
    graph.setup("cpu")
    latency = _latency_ms(graph, sample, base)
    graph.info["costs_ms"] = measure_nodes(graph, coerce(sample.slice(0, LATENCY_ROWS), graph.columns, base).batch)
    golden: Golden | None = make_golden(
        graph,
        sample,
        mode=spec.graph.golden,
        redact=spec.data.redact,
        rows=spec.graph.golden_rows,
        base=base,
        seed=spec.seed,
    )
    store = ModelStore(root)
    version = store.register(graph, golden, info | {"latency_ms": latency})
    n_bytes = sum(entry.size for entry in root.entries(version.prefix))
    promote(store, spec, version)
    return version, n_bytes, latency


@ray.remote(num_cpus=0)
def count_chains(*members: Member) -> int:
    """Chains of fitted members, which need not come to the driver for it."""
    return sum(len(member.chains) for member in members)


def promote(store: ModelStore, spec: Spec, version: ModelVersion) -> None:
    """Make a version the champion, where the spec says so."""
    if spec.graph.promote == "always" or (spec.graph.promote == "first" and not store.aliases(spec.name)):
        store.set_alias(spec.name, "champion", version.version)


def _graph(
    spec: Spec,
    classes: list[Any] | None,
    frozen: dict[str, Extractor],
    entries: dict[str, Entry],
    states: dict[str, Any],
    members: dict[str, Any],
    decision: DecisionFusion,
    reserves: Sequence[HeldBack],
    info: dict[str, Any],
) -> Graph:
    assert spec.task != "auto"
    assert spec.data.columns is not None
    # As they will be loaded: a format that is not native here is not emulated.
    extractors = {key: x.with_state(x.get_state()) for key, x in frozen.items()}
    for key, entry in entries.items():
        state: State = ray.get(states[key])
        extractors[key] = entry.restore(state)
    # A chain that the ensemble and reserves have in common is one object, and one folder of the artifact.
    got: dict[Any, Member] = {
        ref: ray.get(ref) for part in (members, *(r.members for r in reserves)) for ref in part.values()
    }
    read = {column for extractor in extractors.values() for column in extractor.columns}
    graph = Graph(
        name=spec.name,
        task=spec.task,
        label=spec.data.label,
        columns={column: kind for column, kind in spec.data.columns.items() if column in read},
        classes=classes,
        extractors=extractors,
        members=_named(members, got),
        decision=decision,
        info=info,
    )
    if spec.task in CLUSTERING:
        graph.classes = list(range(graph.members[0].chains[0].n_outputs))
    # Copies of an extractor are present in the same rows: the first tells.
    copy = {group: keys[0] for group, keys in graph.groups().items()}
    graph.reserves = [
        Reserve(
            reserve.gap.name,
            tuple(copy[block] for block in reserve.gap.lacks),
            tuple(copy[block] for block in reserve.gap.needs),
            _named(reserve.members, got),
            reserve.decision,
        )
        for reserve in reserves
    ]
    return graph


def _named(members: Mapping[str, Any], got: Mapping[Any, Member]) -> list[Member]:
    return [replace(got[ref], name=name) for name, ref in sorted(members.items())]


def _latency_ms(graph: Graph, sample: pa.Table, base: str) -> float:
    """Median time of one row, after one that warms up."""
    times: list[float] = []
    for row in range(min(LATENCY_ROWS, len(sample))):
        if len(times) > 3 and sum(times) > LATENCY_S:
            break
        batch = coerce(sample.slice(row, 1), graph.columns, base).batch
        start = time.perf_counter()
        graph.outputs(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:] or times) * 1000)
