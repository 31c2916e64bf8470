"""Time to the score that plain Optuna ends with, on real data, the same space and the same two cores; JSON out.

    python benchmarks/time_to_score.py [--sets german_credit,telco_churn] [--seeds 0,1,2] [--seconds 120] [--out FILE]

plain   ``study.optimize(objective, n_jobs=2)`` with TPE as Optuna has it, in one process: the space is ours and so are
        folds, extractors and fits; a trial is the mean of the metric over all folds. Nothing is written
ours    ``search_candidates``, then ``search_ensembles``, on a local cluster of two cores, as a run does it: good starts
        first, bad candidates stopped between folds, every fit written. Both searches together have plain's time

Both see the training rows of the set's development part, with the extractors fitted in each fold before any clock
starts. Plain's clock starts when its process has imported all it needs; ours before its workers are started. To start
Ray, which a run needs for its features anyway, is ``cluster_s`` and counts in no ratio. A candidate of ours counts when
the last of its folds is in the store, and only if it has all folds. The ratios, null where ours never had that score:

``to_score_over_plain``        when ours had the score that plain ends with / all of plain's time
``to_score_over_plain_first``  the same / when plain first had it: the stricter one, as plain may have been lucky early

``ensemble`` is the score of the best ensemble, on rows that it had not seen, which is there when the search ends.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, median
from typing import Any

import optuna
import ray
from quality_sets import SETS, QualitySet

from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.infer import resolve_spec
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.search import CandidateSearch, search_candidates, search_ensembles
from hybrid_ray.on_ray.stages import Job, extract_stage, fold_stage, search_order
from hybrid_ray.on_ray.train_stage import train_stage
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import SilentProgress
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.search.budget import Budget
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import FitFailedError, Setting, fit_fold
from hybrid_ray.search.halving import gain
from hybrid_ray.search.plan import MOST_TRIALS, SearchPlan
from hybrid_ray.search.space import propose
from hybrid_ray.spec import load_spec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import run_prefix
from hybrid_ray.types import Direction

CORES = 2
RUN = "bench"
ROOT = Path(__file__).resolve().parent.parent

Scored = list[tuple[float, float]]
"""Seconds from the start to the end of a trial, and its score; in the order of time."""


def prepare(entry: QualitySet, data: Path) -> tuple[FoldedData, SearchPlan]:
    """What both search over: rows sorted by fold with their features, and the space that a run would search."""
    with tempfile.TemporaryDirectory() as held, connect("local", num_cpus=CORES) as cluster:
        path = Path(held) / "rows.parquet"
        entry.rows(data, "dev").to_parquet(path)
        asked = load_spec(entry.spec(path) | {"search": {"metric": entry.metric}})
        source = open_source(asked.data)
        spec = resolve_spec(asked, source).spec
        assert spec.task != "auto"
        rows = read_rows(spec.data, spec.target, source, spec.task, spec.search.folds, spec.seed)
        job = Job(spec, StoreRoot(f"{held}/store"), RUN, source, rows, cluster, SilentProgress())
        features = extract_stage(job)
        order, _ = search_order(job, features)
        folded = fold_stage(job, features, train_stage(job, features, order), order)
        plan = SearchPlan.of(spec, job.modality_of(), spec.task, rows.n_outputs, rows.transform)
        # What a cluster gives lies in its object store, which ends with it.
        copy: FoldedData = deepcopy(ray.get(folded.ref))
    return copy, replace(plan, trials=MOST_TRIALS)


def optimize(rows: FoldedData, plan: SearchPlan, answers: Connection) -> None:
    """Plain Optuna, until the process is ended: each trial's time and score."""
    load_plugins()
    for choice in plan.estimators:  # imports are no part of a fit
        family = ESTIMATORS.get(choice.name)
        family.build(family.Params(), plan.task, 0)
    setting, dims, lock = Setting.of(plan, rows), rows.dims(), threading.Lock()

    def objective(trial: optuna.Trial) -> float:
        candidate = propose(trial, plan, dims)
        return fmean(fit_fold(candidate, rows, fold, setting).score for fold in rows.folds)

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        with lock:
            answers.send((time.perf_counter() - started, trial.value))

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=plan.seed)
    study = optuna.create_study(direction=plan.scorer.direction, sampler=sampler)
    answers.send(None)
    started = time.perf_counter()
    study.optimize(objective, n_jobs=CORES, catch=(FitFailedError,), callbacks=[tell])


def plain(rows: FoldedData, plan: SearchPlan, seconds: float) -> Scored:
    """Plain Optuna in a process of its own, ended when its time is up."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=optimize, args=(rows, plan, theirs), daemon=True)
    child.start()
    theirs.close()
    mine.recv()
    end, told = time.perf_counter() + seconds, []
    while (left := end - time.perf_counter()) > 0 and mine.poll(left):
        told.append(mine.recv())
    child.kill()
    child.join()
    return [(at, score) for at, score in told if at <= seconds and score is not None]


def ours(rows: FoldedData, plan: SearchPlan, seconds: float) -> dict[str, Any]:
    """Both searches of a run, with a budget of their own."""
    opened = time.perf_counter()
    with tempfile.TemporaryDirectory() as held, connect("local", num_cpus=CORES) as cluster:
        root, progress = StoreRoot(held), SilentProgress()
        blocks = [*rows.frozen.values(), *(block for folds in rows.trained.values() for block in folds)]
        folded = Folded(ray.put(rows), rows.dims(), sum(block.values.nbytes for block in blocks), RUN)
        began, cluster_s = time.time(), time.perf_counter() - opened
        budget = Budget(search_until=began + seconds, began=began)
        found = search_candidates(cluster, plan, folded, root, RUN, progress, budget)
        candidates_s = time.time() - began
        ensemble = search_ensembles(cluster, plan, folded, found, root, RUN, progress, budget)
        ended = time.time() - began
        return {
            "cluster_s": cluster_s,
            "candidates_s": candidates_s,
            "scored": written(found, root, began),
            "ensemble": {"score": ensemble.score, "at_s": ended},
        }


def written(found: CandidateSearch, root: StoreRoot, began: float) -> Scored:
    """When the last fold of each whole candidate was in the store."""
    files = root.entries(f"{run_prefix(RUN)}/fits")
    at = {file.path.rpartition("/")[2].removesuffix(".json"): file.modified for file in files}
    return sorted((max(at[key] for key in trial.keys) - began, trial.score) for trial in found.ranked_trials())


def improvements(scored: Scored, direction: Direction) -> Scored:
    """The trials that were better than all before them."""
    kept: Scored = []
    for at, score in scored:
        if not kept or gain(score, direction) > gain(kept[-1][1], direction):
            kept.append((at, score))
    return kept


def compare(rows: FoldedData, plan: SearchPlan, seconds: float) -> dict[str, Any]:
    """One seed: plain first, alone on the machine; then ours."""
    direction = plan.scorer.direction
    theirs = plain(rows, plan, seconds)
    mine = ours(rows, plan, seconds)
    scored = mine.pop("scored")
    curves = {"plain": improvements(theirs, direction), "ours": improvements(scored, direction)}
    first, target = curves["plain"][-1]
    reached = next((at for at, score in scored if gain(score, direction) >= gain(target, direction)), None)
    return {
        "seed": plan.seed,
        "load": os.getloadavg()[0],
        "plain": {"trials": len(theirs), "score": target, "first_s": first},
        "ours": {"whole_trials": len(scored), "score": curves["ours"][-1][1], "to_score_s": reached, **mine},
        "to_score_over_plain": None if reached is None else reached / seconds,
        "to_score_over_plain_first": None if reached is None else reached / first,
        "ensemble_gain_over_plain": gain(mine["ensemble"]["score"], direction) - gain(target, direction),
        "curves": curves,
    }


def middle(cells: Sequence[dict[str, Any]], ratio: str) -> float | None:
    """The median over seeds; a score that was never reached is the largest."""
    found = median(float("inf") if cell[ratio] is None else cell[ratio] for cell in cells)
    return None if found == float("inf") else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="german_credit,telco_churn")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--seconds", type=float, default=120.0, help="what each of both has")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, help="written after every seed")
    asked = parser.parse_args()
    # One thread a fit, two fits at a time: read by the processes that are started here, whoever starts them.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    told = {name: str(getattr(asked, name)) for name in ("sets", "seeds", "seconds")}
    report: dict[str, Any] = {"asked": told, "python": platform.python_version()}
    report |= {"cores": os.cpu_count(), "optuna": optuna.__version__, "sets": {}}
    for name in asked.sets.split(","):
        rows, plan = prepare(SETS[name], asked.data)
        cells: list[dict[str, Any]] = []
        for seed in asked.seeds.split(","):
            cells.append(compare(rows, replace(plan, seed=int(seed)), asked.seconds))
            ratios = ("to_score_over_plain", "to_score_over_plain_first")
            report["sets"][name] = {
                "metric": plan.metric,
                "rows": len(rows.y),
                **{f"median_{ratio}": middle(cells, ratio) for ratio in ratios},
                "reached": sum(cell["ours"]["to_score_s"] is not None for cell in cells),
                "seeds": cells,
            }
            if asked.out:
                asked.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
