"""The run: one spec goes from rows to a registered, composed graph, one stage after another.

Every stage keeps what it finished in the store, so the same call goes on where a run stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal

from ray.exceptions import RayTaskError

from hybrid_ray import __version__
from hybrid_ray.data.rejects import rejects_lines
from hybrid_ray.data.rows import Rows, read_rows
from hybrid_ray.data.source import Source, open_source
from hybrid_ray.errors import BadRowsError, DataError, HybridRayError, RunFailedError
from hybrid_ray.infer import Resolved, resolve_spec
from hybrid_ray.on_ray.assemble import assemble
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.compression import compression_stage
from hybrid_ray.on_ray.parts import parts_stage
from hybrid_ray.on_ray.record import extraction_rows, write_report
from hybrid_ray.on_ray.repeats_stage import repeats_stage
from hybrid_ray.on_ray.scaling import gpu_node, wanted_gpus
from hybrid_ray.on_ray.stages import (
    Found,
    Job,
    check_extractors,
    check_resources,
    extract_stage,
    fold_stage,
    reserves_stage,
    search_order,
    search_stage,
)
from hybrid_ray.on_ray.train_stage import train_stage
from hybrid_ray.progress import Progress
from hybrid_ray.results import extraction_answer, run_answer
from hybrid_ray.search.fits import clear_chains
from hybrid_ray.search.study import write_trials
from hybrid_ray.spec import Spec, load_spec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore, run_prefix

StopAfter = Literal["extract", "search", "report"]


def run_spec(
    spec: Spec,
    store: str,
    *,
    cluster: Callable[[], AbstractContextManager[Cluster]],
    progress: Progress,
    fresh: bool = False,
    resume: str | None = None,
    inferred: Resolved | None = None,
    stop_after: StopAfter = "report",
) -> dict[str, Any]:
    """Run a spec, or go on with it, or give the result that it already has.

    Parameters
    ----------
    spec : Spec
    store : str
        Root of the store.
    cluster : callable
        Gives the cluster as a context manager; called once the input has been found good, and not at all for a run that
        is finished.
    progress : Progress
    fresh : bool, default False
        Start another run of the same request.
    resume : str, optional
        Id of the run of this request that shall go on; default: the first of it.
    inferred : Resolved, optional
        What was said when the spec was inferred: its reasons and warnings belong to the run's.
    stop_after : {"extract", "search", "report"}, default "report"

    Returns
    -------
    dict
        JSON-able; see the command line contract.

    Raises
    ------
    BadInputError
        The spec, the data, the store or the cluster cannot do it.
    RunFailedError
        It stopped for another reason; the message says how to go on.
    """
    started = time.time()
    with progress.stage("read") as stage:
        root = StoreRoot(store)
        root.check_writable()
        source = open_source(spec.data)
        resolved = resolve_spec(spec, source)
        if inferred is not None:
            resolved = resolved.knowing(inferred)
        check_extractors(resolved.spec)
        rows = _read(resolved.spec, source)
        stage.note("; ".join([f"{rows.n_rows} rows, {rows.split.kind} split", *resolved.warnings]))
    runs = RunStore(root)
    asked = resolved.spec.model_dump(mode="json")
    run_id = runs.run_id(asked, source.digest, resolved.spec.seed, __version__)
    run_id = _own_id(runs, run_id, fresh, resume)
    done = runs.result(run_id)
    if done is not None and stop_after == "report":
        with progress.stage("result") as stage:
            # Files that rows only name are no part of a run's id: they are looked at when features are.
            stage.note(f"run {run_id} has finished before and this is its result; --fresh looks at every file again")
        return done
    record = {"name": spec.name, "spec": asked, "data": source.digest, "code": __version__}
    record["split"] = rows.split.record()
    try:
        with cluster() as live, gpu_node(wanted_gpus(resolved.spec.extractors), progress):
            live.check_store(root)
            limit_s = resolved.spec.time_limit_s
            until = None if limit_s is None else started + limit_s
            given_up = runs.given_up(run_id)
            job = Job(resolved.spec, root, run_id, source, rows, live, progress, until, frozenset(given_up))
            check_resources(job)
            runs.begin(run_id, record)
            return _carry_out(job, runs, _warned(resolved, *given_up.values()), stop_after)
    except RayTaskError as error:
        if isinstance(error.cause, HybridRayError):
            raise error.cause from None
        raise _failed(runs, run_id, store, error.cause) from error
    except HybridRayError:
        raise
    except Exception as error:
        raise _failed(runs, run_id, store, error) from error


def _own_id(runs: RunStore, run_id: str, fresh: bool, resume: str | None) -> str:
    """Id of the run that is to be carried out, by the id that the request gives."""
    if resume is None:
        return runs.fresh_id(run_id) if fresh and runs.begun(run_id) else run_id
    if resume.partition("-")[0] != run_id:
        raise DataError(
            f"run {resume}: can only go on with the rows and the code it began with; got others, which are run "
            f"{run_id}. Start it with `hybrid-ray run`"
        )
    return resume


def _failed(runs: RunStore, run_id: str, store: str, error: Exception) -> RunFailedError:
    said = (str(error).strip().splitlines() or [""])[-1]
    stopped = f"run {run_id}: stopped by {type(error).__name__}: {said}"
    if not runs.begun(run_id):
        return RunFailedError(f"{stopped}. Nothing was done yet: give the command again")
    return RunFailedError(
        f"{stopped}. What it finished is kept; `hybrid-ray runs resume {run_id} --store {store}` goes on"
    )


def _read(spec: Spec, source: Source) -> Rows:
    assert spec.task != "auto"
    search = spec.search
    return read_rows(spec.data, spec.target, source, spec.task, search.folds, spec.seed, search.repeats)


def _carry_out(job: Job, runs: RunStore, resolved: Resolved, stop_after: StopAfter) -> dict[str, Any]:
    try:
        features = extract_stage(job)
    except BadRowsError as error:
        raise BadRowsError(f"{error}. Listed in {_keep_rejects(job, error.rejects)}", error.rejects) from None
    runs.use(job.run_id, features=[f.fingerprint for f in features.frozen.values()])
    _keep_rejects(job, features.rejects)
    if stop_after == "extract":
        counts = extraction_answer(extraction_rows(job, features, None))
        return {"run_id": job.run_id, "extraction": counts, "rows": job.rows.n_rows, "seconds": _seconds(job)}
    order, sampled = search_order(job, features)
    if sampled:
        job, resolved = job.on_sample(), _on_sample(_warned(resolved, sampled))
    trained = train_stage(job, features, order)
    if trained.given_up:
        runs.give_up(job.run_id, runs.given_up(job.run_id) | trained.given_up)
        job = replace(job, given_up=job.given_up | set(trained.given_up))
        features = features.without(trained.given_up)
        resolved = _warned(resolved, *trained.given_up.values())
    folded = fold_stage(job, features, trained, order)
    found = search_stage(job, features, trained, order, folded, aftermath=stop_after == "report")
    write_trials(job.root, job.run_id, found.plan.metric, found.candidates, found.ensemble)
    if stop_after == "search":
        return _search_answer(job, found)
    # A second set of matrices stays only where other cuts of the rows are to be fitted on what the search saw.
    searched = folded if job.spec.search.repeats > 1 else None
    features, folded, found = compression_stage(job, features, trained, order, folded, found)
    found = reserves_stage(job, folded, found)
    parts = parts_stage(job, features, trained, order, folded, found)
    if parts.note:
        resolved = _warned(resolved, parts.note)
    composed = assemble(job, features, found, parts)
    repeats = repeats_stage(job, trained, order, searched or folded, found)
    with job.progress.stage("report"):
        report, outputs, y_test, path = write_report(
            job, features, trained, order, found, parts, composed, repeats, resolved
        )
    answer = run_answer(report, y_test, outputs, report_path=path, artifact=composed.artifact)
    runs.finish(job.run_id, answer)
    clear_chains(job.root, job.run_id)
    return answer


def _warned(resolved: Resolved, *warnings: str) -> Resolved:
    """The same with more that the user should know."""
    return resolved._replace(warnings=(*resolved.warnings, *warnings))


def _on_sample(resolved: Resolved) -> Resolved:
    """The same with the reason for what the graph is made of where the search sees a sample."""
    reasons = dict(resolved.reasons)
    if reasons.pop("graph.members", None):
        reasons["graph.members"] = "the search sees a sample of the training rows: one chain is fitted on all of them"
    return resolved._replace(reasons=reasons)


def _seconds(job: Job) -> float:
    return sum(job.progress.seconds.values())


def _search_answer(job: Job, found: Found) -> dict[str, Any]:
    trials = found.candidates.trials
    return {
        "run_id": job.run_id,
        "metric": found.plan.metric,
        "search": {"trials": len(trials), "resumed": found.candidates.resumed, "seconds": found.candidates.seconds},
        "candidates": [{"label": t.candidate.label, "oof": t.score} for t in found.candidates.ranked_trials()],
        "ensemble": {"oof": found.ensemble.score, "weights": found.ensemble.weights},
        "seconds": _seconds(job),
    }


def _keep_rejects(job: Job, rejects: Sequence[tuple[int, str, str]]) -> str:
    """Write the rejects of a run, if there are any; gives their path in the store."""
    path = f"{run_prefix(job.run_id)}/rejects.jsonl"
    if rejects or job.source.malformed:
        job.root.write(path, rejects_lines(rejects, job.spec.data.redact, left_out=job.source.malformed))
    return path


def spec_of_run(store: str, run_id: str) -> Spec:
    """The spec of a run in the store, to go on with it."""
    return load_spec(RunStore(StoreRoot(store)).get(run_id)["record"]["spec"])


def spec_of_model(store: str, ref: str, data: str, overrides: Mapping[str, Any]) -> Spec:
    """The spec that made a model, on other rows."""
    root = StoreRoot(store)
    run_id = ModelStore(root).resolve(ref).info["run_id"]
    asked = RunStore(root).get(run_id)["record"]["spec"]
    return load_spec(asked, {"data.path": data, "data.limit": None, **overrides})
