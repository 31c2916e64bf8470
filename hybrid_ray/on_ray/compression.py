"""The stage that makes the graph's pretrained networks smaller, where the spec asks for it and answers stay the same.

Nothing is taken on trust: smaller networks make the features of all rows anew, every chain that the graph or the report
is made of is fitted again on these, fold by fold, and the out-of-fold scores of the two ensembles are compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.source import read_piece
from hybrid_ray.errors import RunFailedError
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.decide import SAMPLE_ROWS
from hybrid_ray.on_ray.library import cross_fit, make_library
from hybrid_ray.on_ray.matrices import Folded, FoldOrder
from hybrid_ray.on_ray.parts import used_extractors
from hybrid_ray.on_ray.search import candidate_resources
from hybrid_ray.on_ray.stages import Features, Found, Job, extracted, fold_stage
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.on_ray.train_stage import Trained
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.compression import CompressionTrial, Smaller, compare, loss_fault, measure
from hybrid_ray.search.ensemble import EnsembleSearch, finish_ensemble
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.fits import reason
from hybrid_ray.search.levels import level_candidates
from hybrid_ray.search.oof import OofLibrary
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import CandidateSearch, TrialRecord, trial_beside
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.runs import RunStore

TIME = "time_limit_s leaves no time for the comparison"


def compression_stage(
    job: Job, features: Features, trained: Trained, order: FoldOrder, folded: Folded, found: Found
) -> tuple[Features, Folded, Found]:
    """Make networks smaller; what is returned takes the place of what was given, and is that where nothing is taken."""
    asked = job.spec.graph.compression
    if not asked.asked:
        return features, folded, found

    def as_it_was(trial: CompressionTrial) -> tuple[Features, Folded, Found]:
        return features, folded, replace(found, compression=trial)

    smaller = _smaller_networks(job, features, found)
    if not smaller:
        return as_it_was(CompressionTrial(fault="it reads no pretrained network that can be made smaller"))
    if not _has_time(job, found):
        return as_it_was(CompressionTrial(fault=TIME))
    networks = _measured(job, features, smaller)
    chosen = {network.id: smaller[network.id] for network in networks if not network.fault}
    if not chosen:
        return as_it_was(CompressionTrial(networks, fault="the features of each would change too much"))
    changed = features.with_smaller(chosen, {name: extracted(job, spec) for name, spec in chosen.items()})
    RunStore(job.root).use(job.run_id, features=[changed.frozen[name].fingerprint for name in chosen])
    refolded = fold_stage(job, changed, trained, order)
    trials = _fitted(job, found, refolded, len(order.rows))
    before = _ensemble_of(job, found, folded, found.candidates.ranked_trials())
    after = _ensemble_of(job, found, refolded, trials)
    if before is None or after is None:
        fault = "a candidate, or the ensemble, could not be fitted on the new features"
        return as_it_was(CompressionTrial(networks, fault=fault))
    fault = loss_fault(before.score, after.score, found.plan.scorer.direction, asked.max_loss)
    trial = CompressionTrial(networks, before.score, after.score, fault)
    if fault:
        return as_it_was(trial)
    searched = found.ensemble
    ensemble = replace(
        after,
        # Members were chosen on all parts: what the search told of parts that it had not seen, and what has changed.
        score=searched.score + after.score - before.score,
        tried=searched.tried,
        seconds=searched.seconds,
        tradeoff=searched.tradeoff,
        note=searched.note,
    )
    known = _known(found, trials, chosen)
    return changed, refolded, replace(found, ensemble=ensemble, on_smaller=known, compression=trial)


def _smaller_networks(job: Job, features: Features, found: Found) -> dict[str, ExtractorSpec]:
    """The frozen extractors that the graph reads whose network can be made smaller, with the parameters that do it."""
    smaller = {}
    for name in sorted(used_extractors(found.composed()) & set(features.frozen)):
        spec = features.decided[name]
        if features.compressible(name):
            params = spec.params.compressed(job.spec.graph.compression.plain)
            smaller[name] = spec.model_copy(update={"params": params})
    return smaller


def _has_time(job: Job, found: Found) -> bool:
    """Whether a time limit leaves the time, as it was decided when the run first came here."""
    if job.until is None:
        return True
    needed = 0.0 if found.aftermath is None else found.aftermath.seconds(found.candidates.ranked_trials())
    left = time.time() + needed <= job.until
    return bool(RunStore(job.root).settle(job.run_id, "compression", int(left)))


def _wanted(job: Job, found: Found) -> list[Candidate]:
    """All that is fitted for the graph and for the levels of the report, each once."""
    levels = level_candidates(found.candidates.ranked(), job.modality_of())
    return list({candidate.key: candidate for candidate in [*found.composed(), *levels.values()]}.values())


def _measured(job: Job, features: Features, smaller: Mapping[str, ExtractorSpec]) -> tuple[Smaller, ...]:
    """Each network before and after, on the first rows, one after the other: nothing runs beside what is timed."""
    sample = next(read_piece(job.source, job.source.pieces[0], list(job.kinds), SAMPLE_ROWS))
    sample = sample.slice(0, SAMPLE_ROWS)
    task = _compare.options(num_cpus=job.task_cpus)
    least, networks = job.spec.graph.compression.min_cosine, list[Smaller]()
    with job.progress.stage("compress", len(smaller)) as stage:
        for name, spec in smaller.items():
            before, after = (Entry.of(each, job.kinds) for each in (features.decided[name], spec))
            networks.append(ray.get(task.remote(before, after, sample, job.source.base, least)))
            stage.advance(1, name)
    return tuple(networks)


def _fitted(job: Job, found: Found, refolded: Folded, n_rows: int) -> list[TrialRecord]:
    """Every candidate fitted on the folds of the new features; empty where one could not be."""
    wanted, ledger = _wanted(job, found), Ledger(job.root, job.run_id)
    resources = candidate_resources(job.cluster, found.plan, refolded, n_rows, len(wanted))
    trials = []
    with job.progress.stage("compress", len(wanted)) as stage:
        task = cross_fit.options(num_cpus=resources.cpus, memory=resources.memory)
        refs = [task.remote(found.plan, refolded.ref, ledger, candidate) for candidate in wanted]
        for number, (candidate, ref) in enumerate(zip(wanted, refs, strict=True)):
            trial = trial_beside(number, candidate, ray.get(ref))
            stage.advance(1, candidate.label)
            if trial is not None:
                trials.append(trial)
    return trials if len(trials) == len(wanted) else []


def _ensemble_of(job: Job, found: Found, folded: Folded, trials: Sequence[TrialRecord]) -> EnsembleSearch | None:
    """The members put together by the recipe of the search, on the features of some matrices; None: they cannot be."""
    by_key = {trial.candidate.key: trial for trial in trials}
    members = [by_key.get(candidate.key) for candidate in found.ensemble.members.values()]
    if None in members:
        return None
    library = make_library.remote(found.plan, folded.ref, members, Ledger(job.root, job.run_id), len(members))
    task = _ensemble.remote(library, found.ensemble.recipe, found.plan.seed, job.until)
    answer: EnsembleSearch | None = ray.get(task)
    return answer if answer is not None and answer.members else None


def _known(found: Found, trials: Sequence[TrialRecord], changed: Mapping[str, ExtractorSpec]) -> CandidateSearch:
    """Trials that hold on the new features: those that were fitted on them, and those that read none of them."""
    fitted = {trial.candidate.key for trial in trials}
    same = [
        trial
        for trial in found.candidates.trials
        if trial.candidate.key not in fitted and not set(trial.candidate.blocks) & set(changed)
    ]
    return replace(found.candidates, trials=(*trials, *same))


@ray.remote
def _compare(before: Entry, after: Entry, sample: pa.Table, base: str, least: float) -> Smaller:
    use_threads(1)
    batch = coerce(sample, before.columns, base).batch
    try:
        own, other = before.build(), after.build()
        reference = measure(own, batch, len(sample))
        return compare(before.id, reference, measure(other.with_state(other.get_state()), batch, len(sample)), least)
    except Exception as error:  # a library's network may do anything with layers that are not its own
        return Smaller(before.id, fault=f"it cannot be made smaller: {reason(error)}")


@ray.remote(num_cpus=0)
def _ensemble(library: OofLibrary, recipe: Recipe, seed: int, until: float | None) -> EnsembleSearch | None:
    load_plugins()
    ensembler = Ensembler(library, seed)
    try:
        return finish_ensemble([ensembler.try_recipe(0, recipe)], ensembler, until=until)
    except RunFailedError:
        return None
