"""The record of a run: report.json and report.html."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.card import data_card
from hybrid_ray.data.rejects import HIDDEN
from hybrid_ray.evaluation.alarms import alarm_card
from hybrid_ray.evaluation.assembly import ENSEMBLE, NAIVE, evaluate_test
from hybrid_ray.evaluation.baselines import baselines
from hybrid_ray.evaluation.clusters import WIDTH
from hybrid_ray.evaluation.folds import compare_folds
from hybrid_ray.evaluation.label_cards import annotation_card, label_error_lines, label_error_rows
from hybrid_ray.evaluation.report import render
from hybrid_ray.evaluation.schema import (
    AlarmCard,
    CandidateRow,
    CompressionCard,
    DataCard,
    EnsembleCard,
    Evaluation,
    ExtractionRow,
    FoldTests,
    GraphCard,
    LabelErrorsCard,
    LabelsCard,
    MemberRow,
    NetworkCost,
    OfferRow,
    Report,
    SearchCard,
    SmallerRow,
    TradeoffCard,
    UncertaintyCard,
)
from hybrid_ray.evaluation.sensitivity import sensitivity
from hybrid_ray.evaluation.ties import Ties, tie_note
from hybrid_ray.evaluation.uncertainty import measure_uncertainty
from hybrid_ray.forecasts import rows_for
from hybrid_ray.infer import Resolved
from hybrid_ray.on_ray.assemble import Composed
from hybrid_ray.on_ray.matrices import FoldOrder
from hybrid_ray.on_ray.parts import MEMBER, Parts
from hybrid_ray.on_ray.stages import Features, Found, Job
from hybrid_ray.on_ray.train_stage import Trained
from hybrid_ray.search.choices import candidate_scores, ensemble_scores
from hybrid_ray.search.costs import Cost
from hybrid_ray.search.ensembler import TIME_UP
from hybrid_ray.search.frozen_or_tuned import twin_notes
from hybrid_ray.search.levels import ablation_note
from hybrid_ray.search.oof import member_names
from hybrid_ray.search.outcomes import combiner_rows
from hybrid_ray.search.repeats import Repeats
from hybrid_ray.spec import dump_yaml
from hybrid_ray.store.runs import run_prefix
from hybrid_ray.types import CLUSTERING, AnyArray
from hybrid_ray.versions import versions_of

SHOWN_ERRORS = 20
"""Likely label errors that the report shows; a file has all."""
PACKAGES = (
    "hybrid-ray",
    "numpy",
    "ray",
    "torch",
    "torchvision",
    "transformers",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "optuna",
)


def write_report(
    job: Job,
    features: Features,
    trained: Trained,
    order: FoldOrder,
    found: Found,
    parts: Parts,
    composed: Composed,
    repeats: Repeats,
    resolved: Resolved,
) -> tuple[Report, dict[str, AnyArray], AnyArray, str]:
    """Measure the test rows, and put report.json and report.html.

    Returns
    -------
    tuple
        The report, test outputs by level name, test labels, and where report.html lies.
    """
    y_test = job.rows.target.y[job.rows.test_rows]
    training = job.rows.target.y[job.rows.split.fold >= 0]
    levels = {name: parts.outputs[name] for name in parts.levels}
    if job.rows.target.task in CLUSTERING:
        plain = {NAIVE: composed.outputs[:, WIDTH:]}  # a random assignment, measured where the clusters were
    else:
        plain = baselines(training, y_test, job.rows.target.task, job.rows.n_outputs)
    outputs = {**plain, **levels, ENSEMBLE: composed.outputs}
    oof = found.oof
    evaluation = evaluate_test(
        y_test,
        outputs,
        task=job.rows.target.task,
        metric=found.plan.scorer,
        classes=job.rows.target.classes,
        members={name: parts.outputs[MEMBER + name] for name in found.ensemble.members},
        oof={name: oof[c.key] for name, c in parts.levels.items()} | {ENSEMBLE: found.ensemble.score},
        candidates={name: c.label for name, c in parts.levels.items()},
        groups=job.rows.groups,
        numbers=job.rows.test_rows,
        outlook=found.outlook(job),
        seed=job.spec.seed,
        ties=Ties.of(job.rows.tied),
    )
    report = Report(
        name=job.spec.name,
        task=job.rows.target.task,
        run_id=job.run_id,
        version=composed.version.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=[note for note in _notes(job, found, parts, composed, resolved) if note],
        evaluation=evaluation,
        data=_data(job, features, resolved.reasons),
        ensemble=_ensemble(found, oof, evaluation),
        uncertainty=_uncertainty(job, found, parts, composed, y_test),
        candidates=_candidates(found),
        fold_tests=_fold_tests(job, found, repeats),
        tradeoff=_tradeoff(found),
        compression=_compression(job, found),
        search=_search(job, found),
        sensitivity=[
            sensitivity(*candidate_scores(found.candidates.trials), "candidates", job.spec.seed),
            sensitivity(*ensemble_scores(found.ensemble.tried), "ensembles", job.spec.seed),
        ],
        labels=_labels(job, order, found),
        alarms=_alarms(job, found, composed, y_test),
        stages=dict(job.progress.seconds),
        extraction=[ExtractionRow(**row) for row in extraction_rows(job, features, trained)],
        graph=GraphCard(
            members="bag" if job.spec.graph.members == "bag" else "refit",
            bytes=composed.n_bytes,
            latency_ms=composed.latency_ms,
            chains=composed.chains,
            extractors=sorted(job.modality_of()),
        ),
        spec=dump_yaml(job.spec, resolved.reasons),
        versions=_versions(),
    )
    prefix = run_prefix(job.run_id)
    job.root.write(f"{prefix}/report.json", json.dumps(report.to_json(), indent=1).encode())
    job.root.write(f"{prefix}/report.html", render(report).encode())
    local = job.root.local_path(f"{prefix}/report.html")
    return report, outputs, y_test, str(local) if local else f"{job.root.uri}/{prefix}/report.html"


def _notes(job: Job, found: Found, parts: Parts, composed: Composed, resolved: Resolved) -> list[str]:
    """What a reader must know first; some are empty."""
    told = [job.rows.split.note, tie_note(job.rows.tied), *resolved.warnings, found.ensemble.note]
    told += [_size_note(found, composed), *_twins(found), *_reserve_notes(found), found.note]
    return [*told, ablation_note(parts.levels, job.modality_of()), *_level_notes(job, found)]


def _level_notes(job: Job, found: Found) -> list[str]:
    """Intervals of forecasts that were asked for and could not be learned."""
    outlook, unseen = found.outlook(job), found.ensemble.unseen
    if outlook is None or unseen is None or job.spec.data.series is None:
        return []
    return [
        f"No interval of {level:g} is given: it takes {rows_for(level)} rows or more that the ensemble had not learned "
        f"from, and {len(unseen[0])} are there. Raise data.series.origins, or give longer or more series."
        for level in job.spec.data.series.levels
        if level not in outlook.levels
    ]


def _size_note(found: Found, composed: Composed) -> str:
    """Where the saved graph is larger than it may be; empty where it is not."""
    most, size = found.plan.wish.max_size_mb, composed.n_bytes / 1e6
    if most is None or size <= most:
        return ""
    return (
        f"The saved graph has {size:.3g} MB, search.max_size_mb is {most:g}: the search takes every chain to be as "
        "large as the last fold's, and counts neither the manifest nor golden rows."
    )


def _reserve_notes(found: Found) -> list[str]:
    """What answers rows that lack a modality, a line each."""
    return [
        f"{reserve.gap.rows} are answered by an ensemble of {len(reserve.ensemble.members)} that was made without: "
        f"{found.plan.metric} {reserve.ensemble.score:.4g} out of fold."
        for reserve in found.reserves
    ]


def extraction_rows(job: Job, features: Features, trained: Trained | None) -> list[dict[str, Any]]:
    """Counts of each extractor that keeps its features: frozen ones by row, trained ones by row and fold.

    What is made anew in every run because that is quicker than reading it (a table's encoding) is not extraction.
    """
    rows: list[dict[str, Any]] = []
    made = [(name, features.searched.get(name, frozen), "") for name, frozen in features.frozen.items()]
    made += [(name, features.frozen[name], " (smaller)") for name in features.searched]
    for name, frozen, suffix in made:
        stats = frozen.stats
        rows.append(
            {
                "extractor": f"{name}{suffix}",
                "rows": stats.rows,
                "cached": stats.cached,
                "computed": stats.computed,
                "seconds": stats.seconds,
                "features": frozen.n_features,
            }
        )
    costly = [name for name in trained.folds if trained.trainers[name].root is not None] if trained is not None else []
    for name in costly:
        assert trained is not None
        n, hits, fits = len(trained.trainers[name].order), trained.cached(name), len(trained.folds[name])
        rows.append(
            {
                "extractor": name,
                "rows": n * fits,
                "cached": n * hits,
                "computed": n * (fits - hits),
                # All folds of all extractors train side by side: what each took of the stage is not told apart.
                "seconds": trained.seconds / len(costly),
                "note": f"trained on each of {fits} folds; {hits} fits from the store",
            }
        )
    return rows


def _data(job: Job, features: Features, reasons: Mapping[str, str]) -> DataCard:
    counts = Counter((column, reason) for _, column, reason in features.rejects)
    return DataCard.model_validate(
        data_card(
            job.spec.data,
            job.source,
            job.rows,
            reasons=reasons,
            rejected_rows=features.bad_rows,
            reject_counts={key: n for key, n in counts.items() if key[0] != HIDDEN},
            rejects_path=f"{run_prefix(job.run_id)}/rejects.jsonl" if features.rejects or job.source.malformed else "",
            folds=job.spec.search.folds,
        )
    )


def _twins(found: Found) -> list[str]:
    ensemble = found.ensemble
    return twin_notes(found.plan, found.candidates.ranked_trials(), ensemble.members, ensemble.weights)


def _ensemble(found: Found, oof: Mapping[str, float], evaluation: Evaluation) -> EnsembleCard:
    ensemble = found.ensemble
    weights = ensemble.weights
    members = [
        MemberRow(
            name=name,
            weight=weights.get(name, 0.0),
            low=ensemble.intervals.get(name, (None, None))[0],
            high=ensemble.intervals.get(name, (None, None))[1],
            oof=oof[ensemble.members[name].key],
            test=evaluation.members.get(name),
        )
        for name in sorted(ensemble.members, key=lambda n: -weights.get(n, 0.0))
    ]
    params = dict(ensemble.fusion.params.model_dump(mode="json"))
    return EnsembleCard(
        combiner=ensemble.fusion.name,
        solver=str(params.pop("solver", "")),
        params=params,
        members=members,
        oof=ensemble.score,
        test=evaluation.headline.score.value,
        tried=combiner_rows(ensemble.tried, found.plan.scorer),
    )


def _uncertainty(job: Job, found: Found, parts: Parts, composed: Composed, y: AnyArray) -> UncertaintyCard | None:
    if job.rows.target.task in CLUSTERING:
        return None
    ensemble = found.ensemble
    if job.rows.target.task == "forecasting":
        return None  # how sure forecasts are stands with them, step by step
    members = {name: parts.outputs[MEMBER + name] for name in ensemble.members}
    return measure_uncertainty(
        y,
        composed.outputs,
        members,
        ensemble.weights,
        predictive=ensemble.fusion.predictive(members),
        margins=ensemble.margins,
        seed=job.spec.seed,
        ties=Ties.of(job.rows.tied),
    )


def _alarms(job: Job, found: Found, composed: Composed, y: AnyArray) -> AlarmCard | None:
    if job.rows.target.task != "anomaly":
        return None
    return alarm_card(y, composed.outputs, job.spec.target.false_alarms, found.ensemble.fusion.threshold)


def _candidates(found: Found) -> list[CandidateRow]:
    members = {candidate.key for candidate in found.ensemble.members.values()}
    ranked = list(found.candidates.ranked_trials())
    stopped = [trial for trial in found.candidates.trials if trial not in ranked]
    return [
        CandidateRow(
            label=trial.candidate.label,
            blocks=list(trial.candidate.blocks),
            estimator=trial.candidate.estimator,
            params=_params(trial.candidate),
            oof=trial.score if trial.folds_done and not trial.failed else None,
            folds=trial.folds_done,
            pruned=trial.pruned,
            seconds=trial.seconds,
            member=trial.candidate.key in members,
        )
        for trial in [*ranked, *stopped]
    ]


def _params(candidate: Candidate) -> dict[str, Any]:
    """All parameters of a candidate under names that tell whose they are; a step without any is there as ``true``."""
    steps: dict[str, Any] = {}
    for step in candidate.steps:
        steps |= {f"prepare.{step['name']}": True}
        steps |= {f"prepare.{step['name']}.{k}": v for k, v in step["params"].items()}
    return {**candidate.params, **{f"fusion.{k}": v for k, v in candidate.fusion_params.items()}, **steps}


def _fold_tests(job: Job, found: Found, repeats: Repeats) -> FoldTests | None:
    trials = found.candidates.ranked_trials()
    names = member_names([trial.candidate for trial in trials])
    sizes = np.bincount(job.rows.split.fold[job.rows.split.fold >= 0])
    # Over time a fold learns from those before it; else from all others.
    held = sizes[1:] if job.rows.split.forward else sizes
    training = np.cumsum(sizes)[:-1] if job.rows.split.forward else sizes.sum() - sizes
    scores = {
        name: (*trial.scores, *repeats.scores.get(trial.candidate.key, ()))
        for name, trial in zip(names, trials, strict=True)
    }
    return compare_folds(scores, found.plan.scorer, float(training.mean()), float(held.mean()), len(held), repeats.note)


def _tradeoff(found: Found) -> TradeoffCard | None:
    offers, wish = found.ensemble.tradeoff, found.plan.wish
    if not offers:
        return None
    limits = {"ms a row": wish.max_latency_ms, "MB": wish.max_size_mb}
    return TradeoffCard(
        objectives=["metric", *wish.costs],
        prefer=wish.prefer,
        limits=" and ".join(f"{limit:g} {unit}" for unit, limit in limits.items() if limit is not None),
        rows=[
            OfferRow(
                label=offer.label,
                members=offer.members,
                oof=offer.score,
                latency_ms=offer.cost.latency_ms,
                batch_ms=offer.cost.batch_ms,
                size_mb=offer.cost.size_mb,
                front=offer.front,
                chosen=offer.chosen,
            )
            for offer in offers
        ],
    )


def _compression(job: Job, found: Found) -> CompressionCard | None:
    trial, asked = found.compression, job.spec.graph.compression
    if trial is None:
        return None
    networks = [
        SmallerRow(
            extractor=network.id,
            cosine=network.cosine,
            before=_cost(network.before),
            after=_cost(network.after),
            taken=network.id in trial.taken,
            note=network.fault,
        )
        for network in trial.networks
    ]
    return CompressionCard(
        **asked.model_dump(), networks=networks, before=trial.before, after=trial.after, note=trial.fault
    )


def _cost(cost: Cost | None) -> NetworkCost | None:
    return None if cost is None else NetworkCost(**cost.to_json())


def _search(job: Job, found: Found) -> SearchCard:
    trials = found.candidates.trials
    n_cut, n_left = sum(trial.cut for trial in trials), sum(t.error == TIME_UP for t in found.ensemble.tried)
    told = [f"{n_left} of these"] if n_left else []
    told += [f"{n_cut} candidates"] if n_cut else []
    if found.ensemble.samples is not None:
        asked = type(found.ensemble.fusion).resamples
        told.append(f"the bootstrap of the weights to {found.ensemble.samples} of {asked} samples")
    cut = f"; the time limit cut {', '.join(told)}" if told else ""
    return SearchCard(
        trials=len(trials),
        fits=sum(trial.folds_done for trial in trials),
        resumed=found.candidates.resumed,
        pruned=sum(trial.pruned for trial in trials),
        folds=job.spec.search.folds,
        seconds=found.candidates.seconds + found.ensemble.seconds,
        seed=job.spec.seed,
        note=f"{found.ensemble.trials} ensembles tried{cut}",
    )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | versions_of(PACKAGES)


def _labels(job: Job, order: FoldOrder, found: Found) -> LabelsCard | None:
    """What the labels are worth; likely errors are listed in a file of their own, but the first."""
    annotated, suspects, classes = job.rows.annotated, found.ensemble.suspects, job.rows.target.classes
    annotation = annotation_card(annotated) if annotated is not None else None
    errors = None
    if suspects is not None and classes is not None:
        # Over time the first fold is held out by none.
        looked_at = order.rows[int(order.bounds[1]) if order.forward else 0 :]
        rows = label_error_rows(suspects, job.rows.target.y[looked_at], looked_at, classes)
        path = f"{run_prefix(job.run_id)}/label_errors.jsonl" if rows else ""
        if rows:
            job.root.write(path, label_error_lines(rows))
        errors = LabelErrorsCard(rows=len(looked_at), found=len(rows), path=path, first=rows[:SHOWN_ERRORS])
    return LabelsCard(annotation=annotation, errors=errors) if annotation or errors else None
