"""The best candidates on other cuts of the folds: fitted side by side, each fit once, kept in the run's ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, WorkerCrashedError

from hybrid_ray.candidate import Candidate
from hybrid_ray.digests import digest_json
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.resources import SearchResources
from hybrid_ray.on_ray.train import FoldFit
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import Progress
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import Evaluator, Outcome
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.tradeoff import Wish
from hybrid_ray.search.trials import LOST, TrialRecord
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.types import AnyArray, Block

Trains = Callable[[AnyArray], Mapping[str, Mapping[int, FoldFit]]]
"""Fold of each row to the extractors that these folds train: by id, and by fold."""


@dataclass(frozen=True)
class _Cut:
    """One cut as its fits are told of it: what they train on is by reference."""

    number: int
    fold: Any
    trained: Mapping[str, Mapping[int, FoldFit]]


def fit_cuts(
    plan: SearchPlan,
    folded: Folded,
    cuts: Sequence[AnyArray],
    train: Trains,
    trials: Sequence[TrialRecord],
    ledger: Ledger,
    progress: Progress,
    resources: SearchResources,
    until: float | None = None,
) -> dict[tuple[int, str], Outcome]:
    """Fit candidates on other cuts of the search's rows, one cut after another.

    A cut travels as the fold of each row; workers read the matrices of the search in place.

    Parameters
    ----------
    plan : SearchPlan
    folded : Folded
    cuts : sequence of ndarray of int (n,)
        Fold of each row of the search, in its order.
    train : callable
        Trains the extractors that each fold trains; called when the first fit of a cut is begun.
    trials : sequence of TrialRecord
        Candidates, whose blocks are frozen or trained by ``train``.
    ledger : Ledger
        Has the fits of a run that goes on.
    progress : Progress
    resources : SearchResources
        Fits at the same time, and what one asks of Ray: as in the search.
    until : float, optional
        As ``time.time()``: what would not end by then is not begun.

    Returns
    -------
    dict of (int, str) to Outcome
        By position of the cut and candidate key, without those that were not begun.
    """
    # Nothing is composed of these fits: no chain is kept, no cost is measured.
    plain = replace(plan, keep_chains=None, wish=Wish())
    outcomes: dict[tuple[int, str], Outcome] = {}
    running: dict[Any, tuple[int, TrialRecord]] = {}
    work = _work(cuts, train, trials)
    with progress.stage("repeats", len(cuts) * len(trials)) as stage:
        while True:
            while len(running) < resources.concurrent and (until is None or time.time() < until):
                item = next(work, None)
                if item is None:
                    break
                cut, trial = item
                ref = _begin(plain, folded, cut, trial, ledger, resources, until)
                running[ref] = (cut.number, trial)
            if not running:
                return outcomes
            [ref], _ = ray.wait(list(running), num_returns=1)
            number, trial = running.pop(ref)
            try:
                outcomes[number, trial.candidate.key] = ray.get(ref)
            except (WorkerCrashedError, OutOfMemoryError):
                outcomes[number, trial.candidate.key] = Outcome(error=LOST)
            stage.advance(1, f"cut {number + 2}: {trial.candidate.label}")


def _work(cuts: Sequence[AnyArray], train: Trains, trials: Sequence[TrialRecord]) -> Iterator[tuple[_Cut, TrialRecord]]:
    """Cut by cut, so that no more than is needed of what folds trained lies in the object store."""
    for number, fold in enumerate(cuts):
        cut = _Cut(number, ray.put(fold), train(fold))
        for trial in trials:
            yield cut, trial


def _begin(
    plan: SearchPlan,
    folded: Folded,
    cut: _Cut,
    trial: TrialRecord,
    ledger: Ledger,
    resources: SearchResources,
    until: float | None,
) -> Any:
    """Begin the fits of a candidate on a cut; gives the reference of its outcome."""
    read = [name for name in cut.trained if name in trial.candidate.blocks]
    digests = {name: digest_json({str(k): fit.digest for k, fit in cut.trained[name].items()}) for name in read}
    blocks = [cut.trained[name][fold].block for name in read for fold in sorted(cut.trained[name])]
    task = _fit_cut.options(num_cpus=resources.cpus, memory=resources.memory)
    fold_s = trial.seconds / trial.folds_done
    return task.remote(plan, folded.ref, cut.fold, digests, ledger, trial.candidate, until, fold_s, *blocks)


@ray.remote
def _fit_cut(
    plan: SearchPlan,
    folded: FoldedData,
    fold: AnyArray,
    digests: dict[str, str],
    ledger: Ledger,
    candidate: Candidate,
    until: float | None,
    fold_s: float,
    *blocks: Block,
) -> Outcome:
    """``blocks`` are those of the first name in ``digests`` by fold, then of the second."""
    load_plugins()
    n_folds = len(blocks) // max(len(digests), 1)
    trained = {name: blocks[i * n_folds : (i + 1) * n_folds] for i, name in enumerate(digests)}
    other = folded.recut(fold, trained, digests)
    # One thread, as in a deterministic search: a score must not tell how it was made.
    return Evaluator(plan, other, ledger)(candidate, (None,) * len(other.folds), until, fold_s)
