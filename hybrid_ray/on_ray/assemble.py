"""Put the fitted parts together: one graph, measured, saved, registered."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.source import read_piece
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.graph import Graph, Member
from hybrid_ray.on_ray.serve.placement import measure_nodes
from hybrid_ray.on_ray.stages import MEMBER, Features, Found, Job, Parts, used_extractors
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec import Spec
from hybrid_ray.store.golden import PRECISION_ROWS, Golden, make_golden
from hybrid_ray.store.models import ModelStore, ModelVersion
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, State

LATENCY_ROWS = 20


@dataclass(frozen=True)
class Composed:
    """A registered graph and what was measured of it.

    Attributes
    ----------
    version : ModelVersion
    artifact : str
        Where it lies.
    n_bytes : int
    latency_ms : float
        Median in-process time of one row, one row at a time, on one CPU.
    chains : int
    outputs : ndarray (n_test, n_outputs)
        The graph's answer for the test rows.
    """

    version: ModelVersion
    artifact: str
    n_bytes: int
    latency_ms: float
    chains: int
    outputs: AnyArray


def assemble(job: Job, features: Features, found: Found, parts: Parts) -> Composed:
    """Compose the winner, measure it, save it and register it."""
    decision = found.ensemble.fusion
    members = {name: parts.outputs[MEMBER + name] for name in found.ensemble.members}
    outputs = decision.combine(members)
    saved = _saved(job)
    if saved is not None:
        _promote(ModelStore(job.root), job.spec, saved)
        return Composed(saved, saved.uri, saved.n_bytes, float(saved.info["latency_ms"]), _chains(parts), outputs)
    used = used_extractors(found.ensemble.members)
    frozen = {name: Entry.of(features.decided[name], job.kinds).build() for name in used if name in features.frozen}
    copies = {key: copy for key, copy in parts.copies.items() if key.partition("@")[0] in used}
    with job.progress.stage("save") as stage:
        version, n_bytes, latency = ray.get(
            _save.options(num_cpus=job.task_cpus).remote(
                job.root,
                job.spec,
                job.rows.target.classes,
                frozen,
                {key: entry for key, (entry, _) in copies.items()},
                {key: state for key, (_, state) in copies.items()},
                dict(parts.members),
                decision,
                _sample(job),
                job.source.base,
                _facts(job, found),
            )
        )
        stage.note(f"{version.name}:{version.version}")
    return Composed(version, version.uri, n_bytes, latency, _chains(parts), outputs)


def _chains(parts: Parts) -> int:
    return sum(len(member.chains) for member in ray.get(list(parts.members.values())))


def _saved(job: Job) -> ModelVersion | None:
    """The version that this run registered before it was stopped, if it got so far: it is not registered twice."""
    return next((v for v in ModelStore(job.root).list(job.spec.name) if v.info.get("run_id") == job.run_id), None)


def _facts(job: Job, found: Found) -> dict[str, Any]:
    return {
        "run_id": job.run_id,
        "metric": found.plan.metric,
        "oof": found.ensemble.score,
        "seed": job.spec.seed,
        "members": job.spec.graph.members,
        "serve": job.spec.serve.model_dump(mode="json"),
        "promote": job.spec.graph.promote,
    }


def _sample(job: Job) -> pa.Table:
    """The first raw rows that the graph may be measured on and that golden rows are made of."""
    wanted = max(LATENCY_ROWS, job.spec.graph.golden_rows, PRECISION_ROWS)
    first = next(read_piece(job.source, job.source.pieces[0], list(job.kinds), wanted))
    return first.slice(0, wanted)


@ray.remote
def _save(
    root: StoreRoot,
    spec: Spec,
    classes: list[Any] | None,
    frozen: dict[str, Extractor],
    entries: dict[str, Entry],
    states: dict[str, Any],
    members: dict[str, Any],
    decision: DecisionFusion,
    sample: pa.Table,
    base: str,
    info: dict[str, Any],
) -> tuple[ModelVersion, int, float]:
    load_plugins()
    graph = _graph(spec, classes, frozen, entries, states, members, decision, info)
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
    _promote(store, spec, version)
    return version, n_bytes, latency


def _promote(store: ModelStore, spec: Spec, version: ModelVersion) -> None:
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
    info: dict[str, Any],
) -> Graph:
    assert spec.task != "auto"
    assert spec.data.columns is not None
    # As they will be loaded: a format that is not native here is not emulated.
    extractors = {key: x.from_state(x.params, x.columns, x.get_state()) for key, x in frozen.items()}
    for key, entry in entries.items():
        state: State = ray.get(states[key])
        extractors[key] = entry.restore(state)
    fitted: list[Member] = [replace(ray.get(ref), name=name) for name, ref in sorted(members.items())]
    read = {column for extractor in extractors.values() for column in extractor.columns}
    return Graph(
        name=spec.name,
        task=spec.task,
        label=spec.data.label,
        columns={column: kind for column, kind in spec.data.columns.items() if column in read},
        classes=classes,
        extractors=extractors,
        members=fitted,
        decision=decision,
        info=info,
    )


def _latency_ms(graph: Graph, sample: pa.Table, base: str) -> float:
    """Median time of one row, after one that warms up."""
    times = []
    for row in range(min(LATENCY_ROWS, len(sample))):
        batch = coerce(sample.slice(row, 1), graph.columns, base).batch
        start = time.perf_counter()
        graph.outputs(batch)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:] or times) * 1000)
