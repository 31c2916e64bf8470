"""The final fit on all training rows where the search saw a sample: XGBoost and LightGBM on Ray Train.

The driver holds references only. What every worker reads are shards of the store, a batch at a time; what it writes is
the fitted chain, so that a run that is stopped goes on with the chains that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig

from hybrid_ray.candidate import Candidate
from hybrid_ray.digests import digest_json
from hybrid_ray.estimators.streaming import Library, Team
from hybrid_ray.graph import Member, fit_chain
from hybrid_ray.on_ray.compose import Fitting, Material, kept_members, predict_parts, refit_members
from hybrid_ray.on_ray.resources import RefitResources
from hybrid_ray.on_ray.scratch import scratch
from hybrid_ray.on_ray.stream import Course, ShardStream, TrainingRows, plan_course
from hybrid_ray.on_ray.teams import STARTS, LostWorkersError, quietly, worker_fault
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import Stage
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.search.refit import Refit, passes_by, plan_refit_of
from hybrid_ray.store.chain import CHAIN_FILE, read_chain, write_chain
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray

ATTEMPTS = 3
"""Times that a fit is tried whose workers are lost, or do not reach each other, before the run is given up."""


def plan_refits(candidates: Mapping[str, Candidate], rows: TrainingRows, n_rows: int, memory: int) -> dict[str, Refit]:
    """How each candidate is fitted, by name.

    Parameters
    ----------
    candidates : mapping of str to Candidate
    rows : TrainingRows
    n_rows : int
        Training rows, all of them.
    memory : int
        Bytes that one task may take.
    """
    load_plugins()
    return {
        name: plan_refit_of(
            candidate.label,
            ESTIMATORS.get(candidate.estimator).tags,
            n_rows,
            rows.width(candidate.blocks),
            memory,
            passes=passes_by(candidate),
        )
        for name, candidate in candidates.items()
    }


def refit_on_all(
    candidates: Mapping[str, Candidate],
    refits: Mapping[str, Refit],
    rows: TrainingRows,
    material: Material,
    fitting: Fitting,
    resources: RefitResources,
    prefix: str,
    stage: Stage,
) -> dict[str, tuple[Any, Any]]:
    """Fit each candidate as it was planned: refs of (Member, test outputs), by name.

    Parameters
    ----------
    candidates : mapping of str to Candidate
    refits : mapping of str to Refit
        From ``plan_refits``.
    rows : TrainingRows
    material : Material
        The sample, and the test rows.
    fitting : Fitting
    resources : RefitResources
    prefix : str
        Where in the store fitted chains are put, distinct for distinct rows.
    stage : Stage
        Told of each candidate that was fitted on a stream.

    Raises
    ------
    RunFailedError
        Workers failed; the chains that were finished are kept.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name, refit in refits.items():
        if refit.way == "memory":
            found[name] = _refit_in_memory(name, candidates[name], refit, rows, material, fitting)
    ends = {name: f"{prefix}/{candidates[name].key}" for name, refit in refits.items() if refit.way == "stream"}
    left = {name: end for name, end in ends.items() if not rows.root.exists(f"{end}/{CHAIN_FILE}")}
    sampled = {name: candidates[name] for name, refit in refits.items() if refit.way == "sample" or name in left}
    on_sample = refit_members(sampled, material, fitting)
    found |= {name: refs for name, refs in on_sample.items() if refits[name].way == "sample"}
    # The workers take all CPUs: what still holds some is waited for.
    pending = [ref for ref, _ in (*found.values(), *on_sample.values())]
    if pending:
        ray.wait(pending, num_returns=len(pending), fetch_local=False)
    for name, end in left.items():
        stage.note(candidates[name].label)
        ray.get(_keep_chain.options(num_cpus=fitting.cpus).remote(rows.root, f"{end}-sample", on_sample[name][0]))
        fit_on_stream(rows, candidates[name], f"{end}-sample", end, resources)
        stage.advance(1, candidates[name].label)
    streamed = {name: candidates[name] for name in ends}
    return found | kept_members(streamed, ends, rows.root, rows.task, material, fitting)


@ray.remote
def _keep_chain(root: StoreRoot, prefix: str, member: Member) -> None:
    write_chain(root, prefix, member.chains[0])


def _refit_in_memory(
    name: str, candidate: Candidate, refit: Refit, rows: TrainingRows, material: Material, fitting: Fitting
) -> tuple[Any, Any]:
    task = _fit_whole.options(num_cpus=fitting.cpus, memory=refit.n_bytes)
    member, outputs = task.remote(name, candidate, rows, fitting, material.test_of(candidate.blocks))
    return member, outputs


@ray.remote(num_returns=2)
def _fit_whole(
    name: str, candidate: Candidate, rows: TrainingRows, fitting: Fitting, test: Sequence[Mapping[str, Any]]
) -> tuple[Member, AnyArray]:
    """Fit a chain on all training rows in this process."""
    load_plugins()
    numbers = np.flatnonzero(ray.get(rows.training))
    chain = fit_chain(
        candidate,
        rows.blocks(candidate.blocks, numbers),
        ray.get(rows.y)[numbers],
        task=rows.task,
        n_outputs=rows.n_outputs,
        seed=fitting.seed,
        threads=fitting.threads,
        transform=fitting.transform,
        groups=None if rows.groups is None else ray.get(rows.groups)[numbers],
    )
    member = Member(name, candidate, [chain])
    return member, predict_parts(member, test, rows.task, fitting)


@dataclass(frozen=True)
class _Order:
    """What every worker of one fit is told."""

    rows: TrainingRows
    course: Course
    sample: str
    end: str
    threads: int


def fit_on_stream(rows: TrainingRows, candidate: Candidate, sample: str, end: str, resources: RefitResources) -> Course:
    """Fit the model of a chain again, on all training rows, by workers that each read their part as a stream.

    Parameters
    ----------
    rows : TrainingRows
    candidate : Candidate
        Of a family whose tags say ``streams``.
    sample : str
        Prefix of the chain that was fitted on a sample: its fusion, its rounds and its scale of the target stay.
    end : str
        Prefix that the new chain is put under.
    resources : RefitResources
        With fewer shards than workers, some workers are left out.

    Returns
    -------
    Course
        How the rows were divided.

    Raises
    ------
    RunFailedError
        Workers failed.
    """
    library = ESTIMATORS.get(candidate.estimator).tags.streams
    assert library is not None
    course: Course = ray.get(plan_course.remote(rows, candidate.blocks, resources.workers))
    workers = min(resources.workers, len(course.batches))
    order = _Order(rows, course, sample, end, resources.threads)
    for attempt in range(ATTEMPTS):
        try:
            _fit_together(library, order, workers, resources.cpus)
            break
        except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
            fault = worker_fault(error, f"refit of {candidate.label}")
            # What we raised on purpose would be raised again.
            if attempt == ATTEMPTS - 1 or not isinstance(fault, LostWorkersError):
                raise fault from error
    return course


def _fit_together(library: Library, order: _Order, workers: int, cpus: float) -> None:
    """One run of Ray Train; what its workers make goes into our own store, and they report nothing."""
    with quietly(), scratch("hybrid_ray_train") as folder:
        trainer = _trainer_of(library)(
            _work,
            train_loop_config={"order": order},
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": cpus}),
            run_config=RunConfig(
                name="refit",
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=STARTS),
            ),
        )
        trainer.fit()


def _trainer_of(library: Library) -> Any:
    """Ray Train's trainer for a library; each imports it."""
    if library == "xgboost":
        from ray.train.xgboost import XGBoostTrainer

        return XGBoostTrainer
    from ray.train.lightgbm import LightGBMTrainer

    return LightGBMTrainer


def _work(config: dict[str, Any]) -> None:
    """What each worker does."""
    order: _Order = config["order"]
    root = order.rows.root
    if root.exists(f"{order.end}/{CHAIN_FILE}"):
        return  # the team was started again after its work was done
    load_plugins()
    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    chain = read_chain(root, order.sample)
    family = ESTIMATORS.get(chain.family)
    course = order.course
    stream = ShardStream(order.rows, chain, course.batches[rank::size], course.codes)
    with scratch("hybrid_ray_refit") as folder:
        team = Team(
            counts=np.asarray(course.counts) if course.codes else None,
            folder=folder,
            threads=order.threads,
            size=size,
            network=_network(family.tags.streams, size),
        )
        model = family.fit_stream(chain.model, stream, team)
    if rank == 0:
        write_chain(root, order.end, replace(chain, model=model, codes=course.codes))


def _network(library: Library | None, size: int) -> Mapping[str, Any]:
    """How LightGBM's workers find each other; XGBoost's are in their communicator already."""
    if library != "lightgbm" or size == 1:
        return {}
    from ray.train.lightgbm import get_network_params

    return dict(get_network_params())


def prefix_of(run: str, digest: str, n_rows: int) -> str:
    """Where the chains of a run lie that are fitted on all rows; another sample has another place."""
    return f"{run}/chains/all-{digest_json([digest, n_rows])}"
