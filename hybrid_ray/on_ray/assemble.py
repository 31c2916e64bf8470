"""Put the fitted parts together: one graph, measured, saved, registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from hybrid_ray.data.scored import scoring_facts
from hybrid_ray.data.sliding import WINDOWS
from hybrid_ray.data.source import read_piece
from hybrid_ray.data.split import TOGETHER, tied_column
from hybrid_ray.forecasts import OUTLOOK, SERIES
from hybrid_ray.on_ray.parts import MEMBER, Parts, used_extractors
from hybrid_ray.on_ray.referring import save_reference
from hybrid_ray.on_ray.saving import LATENCY_ROWS, HeldBack, count_chains, promote, save_graph
from hybrid_ray.on_ray.stages import Features, Found, Job
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.serving.log import REDACT
from hybrid_ray.store.golden import PRECISION_ROWS
from hybrid_ray.store.models import ModelStore, ModelVersion
from hybrid_ray.types import AnyArray


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
        promote(ModelStore(job.root), job.spec, saved)
        _refer(job, found, parts, saved, outputs)
        return Composed(saved, saved.uri, saved.n_bytes, float(saved.info["latency_ms"]), _chains(parts), outputs)
    used = used_extractors(found.composed())
    frozen = {name: Entry.of(features.decided[name], job.kinds).build() for name in used if name in features.frozen}
    copies = {key: copy for key, copy in parts.copies.items() if key.partition("@")[0] in used}
    with job.progress.stage("save") as stage:
        version, n_bytes, latency = ray.get(
            save_graph.options(num_cpus=job.task_cpus).remote(
                job.root,
                job.spec,
                job.rows.target.classes,
                frozen,
                {key: entry for key, (entry, _) in copies.items()},
                {key: state for key, (_, state) in copies.items()},
                dict(parts.members),
                decision,
                [HeldBack(r.gap, parts.reserves[r.gap.name], r.ensemble.fusion) for r in found.reserves],
                _sample(job),
                job.source.base,
                _facts(job, found),
            )
        )
        stage.note(f"{version.name}:{version.version}")
        _refer(job, found, parts, version, outputs)
    return Composed(version, version.uri, n_bytes, latency, _chains(parts), outputs)


def _refer(job: Job, found: Found, parts: Parts, version: ModelVersion, outputs: AnyArray) -> None:
    """Keep what is watched of the test rows beside a version."""
    task = save_reference.options(num_cpus=job.task_cpus)
    score, seed = float(found.ensemble.score), job.spec.seed
    told = (version, job.source, job.rows.test_rows, parts.test, outputs, found.plan.metric, score, seed)
    ray.get(task.remote(job.root, *told))


def _chains(parts: Parts) -> int:
    held = [member for members in parts.reserves.values() for member in members.values()]
    n: int = ray.get(count_chains.remote(*parts.members.values(), *held))
    return n


def _saved(job: Job) -> ModelVersion | None:
    """The version that this run registered before it was stopped, if it got so far: it is not registered twice."""
    return next((v for v in ModelStore(job.root).list(job.spec.name) if v.info.get("run_id") == job.run_id), None)


def _facts(job: Job, found: Found) -> dict[str, Any]:
    series, windows, outlook = job.spec.data.series, job.spec.data.windows, found.outlook(job)
    # Later points are brought to the steps that the graph has learned, however far apart they lie.
    step = {"step_length": job.source.about.get("step_length")}
    told: dict[str, Any] = (
        {}
        if series is None or outlook is None
        else {OUTLOOK: outlook.to_json(), SERIES: series.model_dump(mode="json") | step}
    )
    told |= {} if windows is None else {WINDOWS: windows.model_dump(mode="json") | step}
    together = tied_column(job.spec.data.split)
    told |= {TOGETHER: together} if together is not None and series is None and windows is None else {}
    return told | {
        "run_id": job.run_id,
        "metric": found.plan.metric,
        "oof": found.ensemble.score,
        "seed": job.spec.seed,
        "members": job.spec.graph.members,
        "serve": job.spec.serve.model_dump(mode="json"),
        "promote": job.spec.graph.promote,
        REDACT: list(job.spec.data.redact),
        **scoring_facts(job.spec.data),
    }


def _sample(job: Job) -> pa.Table:
    """The first raw rows that the graph may be measured on and that golden rows are made of."""
    wanted = max(LATENCY_ROWS, job.spec.graph.golden_rows, PRECISION_ROWS)
    first = next(read_piece(job.source, job.source.pieces[0], list(job.kinds), wanted))
    return first.slice(0, wanted)
