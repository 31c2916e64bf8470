"""One candidate on its folds: each fit done once, kept in the ledger, stopped early or failed without harm."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from threadpoolctl import ThreadpoolController, threadpool_limits

from hybrid_ray import __version__
from hybrid_ray.candidate import Candidate
from hybrid_ray.digests import digest_arrays, digest_json
from hybrid_ray.errors import HybridRayError
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.graph import Chain, Member, TargetTransform, fit_chain
from hybrid_ray.search.clock import TimeUpError, call_until
from hybrid_ray.search.costs import chain_cost
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.halving import Thresholds, gain, running_means, stops
from hybrid_ray.search.judging import judged
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.store.ledger import FitRecord, Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import run_prefix
from hybrid_ray.types import AnyArray, Task

WRITERS = 4
"""Records of one worker that are written at the same time: a write waits for the disk, or for the network."""


class FitFailedError(HybridRayError, RuntimeError):
    """A candidate could not be fitted, or does not predict: the candidate's fault, not the search's."""


def reason(error: Exception) -> str:
    """What an exception says, in one line of bounded length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


@dataclass(frozen=True)
class Setting:
    """All that decides a fit beside its candidate and fold; small, so that the driver may have it too.

    Attributes
    ----------
    task : Task
    n_outputs : int
        Columns of what metrics look at.
    metric : str
    seed : int
    transform : {"none", "log"}
    folds : tuple of int
        Folds that are held out, in order.
    digests : mapping of str to str
        Content of each block.
    rows : str
        Digest of labels and of which rows are in which fold.
    """

    task: Task
    n_outputs: int
    metric: str
    seed: int
    transform: TargetTransform
    folds: tuple[int, ...]
    digests: Mapping[str, str]
    rows: str

    @classmethod
    def of(cls, plan: SearchPlan, folded: FoldedData) -> Self:
        """The setting of a search over some rows."""
        cut = [each for each in (folded.order, folded.groups) if each is not None]
        return cls(
            task=folded.task,
            n_outputs=folded.n_outputs,
            metric=plan.metric,
            seed=plan.seed,
            transform=plan.transform,
            folds=tuple(folded.folds),
            digests=dict(folded.digests),
            rows=digest_arrays([folded.y, np.asarray(folded.bounds), np.asarray(folded.forward), *cut]),
        )

    def key(self, candidate: Candidate, fold: int) -> str:
        """Content key of one fit: equal keys mean equal predictions."""
        shared = {k: v for k, v in asdict(self).items() if k not in ("folds", "digests")}
        features = {name: self.digests[name] for name in candidate.blocks}
        return digest_json(
            {**shared, "features": features, "candidate": candidate.to_json(), "fold": fold, "code": __version__}
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    Attributes
    ----------
    scores : tuple of float
        The metric's own value on each fold that was done, in order.
    keys, chains : tuple of str
        Ledger key of each of those fits; prefix of each fitted chain, empty where it was not kept.
    pruned : bool
        Stopped between folds.
    cut : bool
        Not done to its end because the search's time was up.
    error : str
        Why it failed; empty when it did not.
    seconds : float
        Time of its fits, those found in the ledger included.
    found : int
        Fits that were in the ledger already.
    cost : mapping of str to float
        Of a prediction by the chain of the last fold, where the plan asks for costs.
    """

    scores: tuple[float, ...] = ()
    keys: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    pruned: bool = False
    cut: bool = False
    error: str = ""
    seconds: float = 0.0
    found: int = 0
    cost: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> Self:
        """The outcome that ``dataclasses.asdict`` made JSON-able."""
        lists = {name: tuple(form[name]) for name in ("scores", "keys", "chains")}
        return cls(**{**form, **lists})


Fitted = tuple[FitRecord, bool]
"""A record, and whether it was in the ledger already."""


def run_folds(setting: Setting, thresholds: Thresholds, fit: Callable[[int], Fitted]) -> Outcome:
    """Take a candidate through its folds until the last, until it is stopped, or until it fails.

    Parameters
    ----------
    setting : Setting
    thresholds : tuple of (float or None)
        Bars on the running mean of gains, by folds done.
    fit : callable
        Fold number to ``(FitRecord, found)``; raises FitFailedError for a candidate that cannot be fitted, TimeUpError
        where there is no time for it.
    """
    direction = get_metric(setting.metric, setting.task).direction
    done: list[Fitted] = []
    pruned, cut, error = False, False, ""
    for fold in setting.folds:
        try:
            done.append(fit(fold))
        except FitFailedError as failure:
            error = str(failure)
            break
        except TimeUpError:
            cut = True
            break
        means = running_means([gain(record.score, direction) for record, _ in done])
        pruned = len(done) < len(setting.folds) and stops(means, thresholds)
        if pruned:
            break
    records = [record for record, _ in done]
    return Outcome(
        scores=tuple(record.score for record in records),
        keys=tuple(record.key for record in records),
        chains=tuple(record.chain for record in records),
        pruned=pruned,
        cut=cut,
        error=error,
        seconds=sum(record.seconds for record in records),
        found=sum(found for _, found in done),
        cost=records[-1].cost if records else {},
    )


def recall(
    candidate: Candidate, setting: Setting, thresholds: Thresholds, known: Mapping[str, FitRecord]
) -> Outcome | None:
    """The outcome of a candidate whose fits are all known, or None when some fit must still be done."""
    try:
        return run_folds(setting, thresholds, lambda fold: (known[setting.key(candidate, fold)], True))
    except KeyError:
        return None


@dataclass(frozen=True)
class Predicted:
    """A fold's fit: held-out outputs, their score, the time it took, the fitted chain, and its cost if measured."""

    outputs: AnyArray
    score: float
    seconds: float
    chain: Chain
    cost: Mapping[str, float] = field(default_factory=dict)


def fit_fold(candidate: Candidate, folded: FoldedData, fold: int, setting: Setting, threads: int = 1) -> Predicted:
    """Fit a candidate on a fold's training rows and score its held-out rows.

    Raises
    ------
    FitFailedError
        Anything went wrong in the plugins' code, or the outputs are not finite, or have no score.
    """
    started = time.perf_counter()
    train, y_train, held, y_held = folded.fold(candidate.blocks, fold)
    keys = {name: name if name in folded.frozen else f"{name}@{fold}" for name in candidate.blocks}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chain = fit_chain(
                candidate,
                train,
                y_train,
                task=setting.task,
                n_outputs=setting.n_outputs,
                seed=setting.seed,
                threads=threads,
                transform=setting.transform,
                keys=keys,
                groups=folded.groups_of(fold),
            )
            blocks = {keys[name]: block for name, block in held.items()}
            outputs = judged(Member("", candidate, [chain]), [blocks], setting.task, setting.seed, threads)
            score = get_metric(setting.metric, setting.task).score(y_held, outputs)
    except Exception as error:  # a plugin may raise anything at all: one bad candidate must not end a search
        raise FitFailedError(f"fold {fold}: {reason(error)}") from error
    if not math.isfinite(score):
        raise FitFailedError(f"fold {fold}: {setting.metric} must be a finite number; got {score}")
    return Predicted(outputs, score, time.perf_counter() - started, chain)


class Evaluator:
    """Evaluates candidates in one worker; writing the record of a fold overlaps with what is fitted next.

    Parameters
    ----------
    plan : SearchPlan
    folded : FoldedData
    ledger : Ledger
    threads : int, default 1
        CPU threads of a fit.
    """

    def __init__(self, plan: SearchPlan, folded: FoldedData, ledger: Ledger, threads: int = 1) -> None:
        self.setting = Setting.of(plan, folded)
        self._folded = folded
        self._ledger = ledger
        self._threads = threads
        self._keep_chains = plan.keep_chains
        self._measures = bool(plan.wish.costs)
        self._pools: dict[str, ThreadpoolController] = {}
        self._writer = ThreadPoolExecutor(WRITERS, thread_name_prefix="ledger")

    def __call__(
        self, candidate: Candidate, thresholds: Thresholds, until: float | None = None, fold_s: float = 0.0
    ) -> Outcome:
        """The outcome of a candidate; every fit of it is in the store when this returns. See ``begin``."""
        return self.begin(candidate, thresholds, until, fold_s)()

    def begin(
        self, candidate: Candidate, thresholds: Thresholds, until: float | None = None, fold_s: float = 0.0
    ) -> Callable[[], Outcome]:
        """Fit a candidate; what is returned waits until every fit of it is in the store, and gives the outcome.

        Parameters
        ----------
        candidate : Candidate
        thresholds : tuple of (float or None)
        until : float, optional
            As ``time.time()``: what would not end by then is not begun, what has not ended by then is left.
        fold_s : float, default 0
            What a fold takes, as far as earlier candidates told.
        """
        written: list[Future[FitRecord]] = []
        spent: list[float] = []

        def fit(fold: int) -> Fitted:
            key = self.setting.key(candidate, fold)
            held = self._ledger.get(key)
            if held is not None:
                return held, True
            expected = sum(spent) / len(spent) if spent else fold_s
            done = call_until(lambda: self._fit(candidate, fold), until, expected)
            spent.append(done.seconds)
            record = FitRecord(
                key, candidate.to_json(), fold, done.score, done.seconds, len(done.outputs), cost=dict(done.cost)
            )
            kept = self._keep_chains is not None and done.seconds >= self._keep_chains
            chain = done.chain if kept else None
            written.append(self._writer.submit(self._ledger.put, record, done.outputs, chain))
            return record, False

        outcome = run_folds(self.setting, thresholds, fit)

        def settle() -> Outcome:
            fresh = {record.key: record.chain for record in (future.result() for future in written)}
            chains = tuple(fresh.get(key, chain) for key, chain in zip(outcome.keys, outcome.chains, strict=True))
            return replace(outcome, chains=chains)

        return settle

    def _fit(self, candidate: Candidate, fold: int) -> Predicted:
        """Fit a fold with the threads that it may use, limited in the thread that it runs in."""
        # To look for the libraries of a process takes longer than some fits; once a family was fitted, all are loaded.
        pool = self._pools.get(candidate.estimator)
        limited = pool.limit(limits=self._threads) if pool else threadpool_limits(self._threads)
        with limited:
            done = fit_fold(candidate, self._folded, fold, self.setting, self._threads)
            if self._measures and fold == self.setting.folds[-1]:
                # Only a candidate that came so far may be a member.
                held = self._folded.held_out(fold)
                blocks = {key: self._folded.block(name, fold).take(held) for name, key in done.chain.inputs.items()}
                done = replace(done, cost=chain_cost(done.chain, blocks).to_json())
        if pool is None:
            self._pools[candidate.estimator] = ThreadpoolController()
        return done


def clear_chains(root: StoreRoot, run_id: str, keep: Collection[str] = ()) -> None:
    """Delete the fitted chains of a run that is over; the records of their fits stay, an artifact has its own copies.

    Parameters
    ----------
    root : StoreRoot
    run_id : str
    keep : collection of str, optional
        Prefixes of chains that stay.
    """
    kept = tuple(f"{prefix}/" for prefix in keep)
    paths = root.list(f"{run_prefix(run_id)}/chains")
    root.delete_many([path for path in paths if not path.startswith(kept)])
