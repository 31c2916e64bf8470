"""The stage that repeats the folds for the candidates which the report compares, where the spec asks for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hybrid_ray.on_ray.matrices import Folded, FoldOrder
from hybrid_ray.on_ray.repeats import fit_cuts
from hybrid_ray.on_ray.search import candidate_resources
from hybrid_ray.on_ray.stages import Found, Job
from hybrid_ray.on_ray.train import FoldFit
from hybrid_ray.on_ray.train_stage import Trained
from hybrid_ray.search.budget import END_S
from hybrid_ray.search.repeats import Repeats, finalists, gather
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.types import AnyArray


def repeats_stage(job: Job, trained: Trained, order: FoldOrder, folded: Folded, found: Found) -> Repeats:
    """Fit the best candidates on other cuts of the folds; under a time limit, while the run has time left.

    Of extractors that each fold trains, those that are quicker to fit than to read (a table's encoding, word counts)
    are fitted on the new folds too; candidates that read others stay with the one cut.
    """
    asked = job.spec.search.repeats
    if asked == 1:
        return Repeats()
    ranked = found.candidates.ranked_trials()
    quick = {name: trainer for name, trainer in trained.trainers.items() if trainer.root is None}
    able = finalists(ranked, set(trained.folds) - set(quick))
    n_folds = len(order.bounds) - 1
    cuts = [fold[order.rows] for fold in job.rows.split.others] if able else []
    cuts = [cut for cut in cuts if len(np.unique(cut)) == n_folds]  # a sample may leave a small fold empty
    if not cuts:
        return gather(ranked, able, {}, 0, asked)
    read = {name for trial in able for name in trial.candidate.blocks}

    def train(cut: AnyArray) -> Mapping[str, Mapping[int, FoldFit]]:
        rows = [np.flatnonzero(cut != fold) for fold in range(n_folds)]
        return {
            name: {fold: trainer.fit(fold, [rows[fold]]) for fold in range(n_folds)}
            for name, trainer in quick.items()
            if name in read
        }

    resources = candidate_resources(job.cluster, found.plan, folded, len(order.rows), len(cuts) * len(able))
    until = None if job.until is None else job.until - END_S
    ledger = Ledger(job.root, job.run_id)
    outcomes = fit_cuts(found.plan, folded, cuts, train, able, ledger, job.progress, resources, until)
    return gather(ranked, able, outcomes, len(cuts), asked)
