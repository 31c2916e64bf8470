"""The last stages before a graph is composed: its parts are fitted, and predict the test rows, once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.on_ray.compose import Fitting, Material, bag_members, refit_members
from hybrid_ray.on_ray.matrices import Folded, FoldOrder, load_rows
from hybrid_ray.on_ray.refit import plan_refits, prefix_of, refit_on_all
from hybrid_ray.on_ray.resources import plan_refit
from hybrid_ray.on_ray.stages import Features, Found, Job
from hybrid_ray.on_ray.stream import TrainingRows, write_features
from hybrid_ray.on_ray.train import Entry, FoldFit, turns
from hybrid_ray.on_ray.train_stage import Trained, fitted_on
from hybrid_ray.search.levels import level_candidates
from hybrid_ray.search.refit import refit_note
from hybrid_ray.store.runs import RunStore, run_prefix
from hybrid_ray.types import AnyArray

MEMBER = "member:"
"""Prefix of the names of the ensemble's members among what is composed."""
RESERVE = "reserve:"
"""Prefix of those of the members of reserves: ``reserve:<gap>:<member>``."""
PART_BYTES = 256 * 2**20
"""Features of test rows that a task reads at once from one extractor; more rows are predicted part by part."""


@dataclass(frozen=True)
class Parts:
    """Fitted parts of the graph, and what each predicts for the test rows.

    Attributes
    ----------
    levels : dict of str to Candidate
        The candidate of each level of the report.
    outputs : dict of str to ndarray (n_test, n_outputs)
        Test outputs, by level name and by ``member:<name>``.
    members : dict of str to ObjectRef of Member
        By member name.
    reserves : dict of str to (dict of str to ObjectRef of Member)
        By name of the gap, and member name.
    copies : dict of str to (Entry, ObjectRef of State)
        Fitted copies of trained extractors, by extractor key.
    test : sequence of mapping of str to ObjectRef of Block
        Features of the test rows, by extractor key, one part of the rows after the other.
    note : str
        What each member was fitted on, where the search saw a sample; else empty.
    """

    levels: dict[str, Candidate]
    outputs: dict[str, AnyArray]
    members: dict[str, Any]
    reserves: dict[str, dict[str, Any]]
    copies: dict[str, tuple[Entry, Any]]
    test: Sequence[Mapping[str, Any]]
    note: str = ""


def parts_stage(
    job: Job, features: Features, trained: Trained, order: FoldOrder, folded: Folded, found: Found
) -> Parts:
    """Fit what the graph and the report need on the training rows, and predict the test rows with it, once."""
    test_rows = job.rows.test_rows
    copies = _copies(job, trained)
    test: list[dict[str, Any]] = []
    for rows in np.array_split(test_rows, n_parts(len(test_rows), folded.dims)):
        part = {name: load_rows.remote(job.root, frozen, rows) for name, frozen in features.frozen.items()}
        for name, keyed in copies.items():
            part |= trained.trainers[name].extract(keyed, rows)
        test.append(part)
    levels = level_candidates(found.candidates.ranked(), job.modality_of())
    wanted = levels | {MEMBER + name: candidate for name, candidate in found.ensemble.members.items()}
    material = Material(folded.ref, copies, test)
    fitting = Fitting(job.spec.seed, 1, job.rows.transform, job.task_cpus)
    for reserve in found.reserves:
        wanted |= {f"{RESERVE}{reserve.gap.name}:{name}": each for name, each in reserve.ensemble.members.items()}
    by_key = {candidate.key: candidate for candidate in wanted.values()}
    note = ""
    if len(order.rows) < job.rows.n_training:
        fitted, note = _from_sample(job, features, trained, material, order, folded, found, by_key, fitting)
    elif job.spec.graph.members == "bag":
        fitted = bag_members(by_key, found.chains, job.root, material, fitting)
    else:
        fitted = refit_members(by_key, material, fitting)
    refs = {name: fitted[candidate.key] for name, candidate in wanted.items()}
    outputs: dict[str, AnyArray] = {}
    with job.progress.stage("graph", len(wanted)) as stage:
        for name, (_, answered) in refs.items():
            outputs[name] = ray.get(answered)
            stage.advance(1, wanted[name].label)
    entries = {key: (features.raw[n].entry, fit.state) for n, keyed in copies.items() for key, fit in keyed.items()}
    members = {name: refs[MEMBER + name][0] for name in found.ensemble.members}
    reserves = {
        reserve.gap.name: {name: fitted[each.key][0] for name, each in reserve.ensemble.members.items()}
        for reserve in found.reserves
    }
    return Parts(levels, outputs, members, reserves, entries, test, note)


def _copies(job: Job, trained: Trained) -> dict[str, dict[str, FoldFit]]:
    """Copies of each trained extractor, by extractor key: those of the folds for a bag, else one of all training rows.

    The latter are fitted beside what comes next, unless there is a team, whose places that would take.
    """
    if job.spec.graph.members == "bag":
        return {name: {f"{name}@{fold}": fit for fold, fit in fits.items()} for name, fits in trained.folds.items()}
    places = {name: trainer.place for name, trainer in trained.trainers.items()}
    if all(place.workers == 1 for place in places.values()):
        return {name: {name: _fit_on_all(job, trained, name)} for name in places}
    copies: dict[str, dict[str, FoldFit]] = {}
    with job.progress.stage("train", len(places)) as stage:
        for group in turns(places):
            copies |= {name: {name: _fit_on_all(job, trained, name)} for name in group}
            for name in group:
                ray.get(copies[name][name].cached)
                stage.advance(1, name)
    return copies


def _fit_on_all(job: Job, trained: Trained, name: str) -> FoldFit:
    trainer, target = trained.trainers[name], job.rows.target
    everything = fitted_on(target.task, target.y[trainer.order], [slice(0, len(trainer.order))])
    return trainer.fit(len(trained.folds[name]) + 1, everything)


def _from_sample(
    job: Job,
    features: Features,
    trained: Trained,
    material: Material,
    order: FoldOrder,
    folded: Folded,
    found: Found,
    candidates: Mapping[str, Candidate],
    fitting: Fitting,
) -> tuple[dict[str, tuple[Any, Any]], str]:
    """Fit candidates, by their keys, where the search saw a sample; also what the report says of it."""
    if job.spec.graph.members == "bag":
        fitted = bag_members(candidates, found.chains, job.root, material, fitting)
        return fitted, f"The model is fitted on these {len(order.rows)} rows: graph.sampled: refit fits it on all rows."
    n_rows, used = job.rows.n_training, used_extractors(candidates.values())
    shard_rows = job.spec.data.shard_rows
    sets = {name: feature_set for name, feature_set in features.frozen.items() if name in used}
    with job.progress.stage("refit") as stage:
        for name, copies in material.copies.items():
            if name in used:
                stage.note(name)
                fit, raw = copies[name], features.raw[name]
                RunStore(job.root).use(job.run_id, features=[fit.digest])
                sets[name] = write_features(raw, fit, job.root, shard_rows, trained.trainers[name].place)
        # What still reads the test rows holds CPUs that the plan is to count.
        pending = [ref for part in material.test for ref in part.values()]
        ray.wait(pending, num_returns=len(pending), fetch_local=False)
        resources = plan_refit(job.cluster.view(), job.spec.graph.refit_workers)
        rows = TrainingRows.of(
            job.root,
            sets,
            ray.put(job.rows.learned),
            ray.put(job.rows.split.fold >= 0),
            job.rows.target.task,
            job.n_outputs,
            None if job.rows.split.groups is None else ray.put(job.rows.split.groups),
        )
        refits = plan_refits(candidates, rows, n_rows, resources.memory)
        prefix = prefix_of(run_prefix(job.run_id), folded.digest, n_rows)
        fitted = refit_on_all(candidates, refits, rows, material, fitting, resources, prefix, stage)
    return fitted, refit_note(list(refits.values()), n_rows, len(order.rows), resources.workers)


def n_parts(n_rows: int, widths: Mapping[str, int]) -> int:
    """Parts of rows of which each takes ``PART_BYTES`` at most, one extractor's features (n, width) at a time."""
    most = max(PART_BYTES // (4 * max(widths.values(), default=1)), 1)
    return max(math.ceil(n_rows / most), 1)


def used_extractors(candidates: Iterable[Candidate]) -> set[str]:
    """Ids of the extractors that some candidate reads."""
    return {block for candidate in candidates for block in candidate.blocks}
