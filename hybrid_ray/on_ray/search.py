"""Both layers of the search on Ray Tune and Optuna: candidates, then ensembles of their out-of-fold predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import RunFailedError
from hybrid_ray.on_ray.batches import BatchSearch, make_optuna
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.library import facts, finish, make_library
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.resources import MODEL_BYTES, SearchResources, plan_search
from hybrid_ray.on_ray.tuning import Work, run_trials
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import Progress
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.search.budget import BOOTSTRAP_SHARE, Budget, ensembles_s
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensemble import EnsembleBook, EnsembleSearch
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.fits import Evaluator, Outcome
from hybrid_ray.search.grid import starts
from hybrid_ray.search.oof import MAX_CANDIDATES, admitted
from hybrid_ray.search.plan import MOST_TRIALS, SearchPlan, copies_of
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.recipes import Recipe, ensemble_portfolio, propose_ensemble, quick_start
from hybrid_ray.search.space import family_chooser, n_comparisons, portfolio, propose
from hybrid_ray.search.study import Following
from hybrid_ray.search.trials import CandidateBook, CandidateSearch, TrialRecord
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore
from hybrid_ray.types import NUMBERS

__all__ = ["CandidateSearch", "EnsembleSearch", "TrialRecord", "search_candidates", "search_ensembles"]

LIBRARY_SHARE = 0.25
"""Part of the smallest node's object store that the library of out-of-fold predictions may take."""

FUSION_COPIES = 2.0
"""Copies of the library that fitting an ensemble makes: the rows it learns from, and what the combiner makes of it."""

LANE_VALUES = 2_000_000
"""Values that all fits of a search read together which are worth another actor, as below."""

LANE_BYTES = 4 * 2**20
"""Bytes of a library that are worth another actor: below, starting it takes longer than the trials that it takes."""


Until = Callable[[], float | None]
"""Gives the end of a search as ``time.time()``, by what is known now."""


@dataclass(frozen=True)
class CandidateSpace:
    """The space of candidates as OptunaSearch calls it."""

    plan: SearchPlan
    dims: Mapping[str, int]

    def __call__(self, trial: Any) -> dict[str, Any]:
        """The candidate of a trial, JSON-able."""
        candidate = propose(trial, self.plan, self.dims)
        return {"candidate": candidate.to_json(), "proposal": Proposal.of(trial).to_json()}


@dataclass(frozen=True)
class EnsembleSpace:
    """The space of ensembles as OptunaSearch calls it."""

    plan: SearchPlan
    n_candidates: int

    def __call__(self, trial: Any) -> dict[str, Any]:
        """The recipe of a trial, JSON-able."""
        recipe = propose_ensemble(trial, self.plan, self.n_candidates)
        return {"recipe": recipe.to_json(), "proposal": Proposal.of(trial).to_json()}


@dataclass(frozen=True)
class CandidateWork:
    """What a worker needs to evaluate candidates; ``folded`` is a reference, read in place by all workers of a node."""

    plan: SearchPlan
    folded: Any
    root: StoreRoot
    run_id: str
    threads: int

    def open(self) -> Work:
        """A function from candidates and their bars to outcomes."""
        load_plugins()
        for choice in self.plan.estimators:
            # Imports what the family needs now, so that no fit is charged for it.
            family = ESTIMATORS.get(choice.name)
            family.build(family.Params(), self.plan.task, 0)
        folded: FoldedData = ray.get(self.folded)
        evaluate = Evaluator(self.plan, folded, Ledger(self.root, self.run_id), self.threads)

        def begin(item: dict[str, Any]) -> Callable[[], Outcome]:
            candidate, thresholds = Candidate(**item["candidate"]), tuple(item["thresholds"])
            return evaluate.begin(candidate, thresholds, item.get("until"), item.get("fold_s", 0.0))

        # The records of a candidate are written while the next one is fitted.
        return lambda items: [asdict(settle()) for settle in [begin(item) for item in items]]


@dataclass(frozen=True)
class EnsembleWork:
    """What a worker needs to try ensembles; ``library`` is a reference."""

    library: Any
    seed: int
    prices: Prices | None

    def open(self) -> Work:
        """A function from recipes to their scores."""
        load_plugins()
        ensembler = Ensembler(ray.get(self.library), self.seed, self.prices)

        def attempt(item: dict[str, Any]) -> dict[str, Any]:
            trial = ensembler.try_until(item["number"], Recipe(**item["recipe"]), item.get("until"))
            answer = ("score", "seconds", "error", "scores", "cost", "fit_s")
            return {name: getattr(trial, name) for name in answer}

        return lambda items: [attempt(item) for item in items]


def candidate_trials(
    plan: SearchPlan,
    dims: Mapping[str, int],
    book: CandidateBook,
    *,
    n_rows: int,
    until: Until = lambda: None,
    lanes: int = 1,
    on_done: Callable[[int], None] = lambda n: None,
) -> BatchSearch:
    """The trials of a candidate search over ``n_rows`` of training, as Tune asks for them; see ``BatchSearch``."""
    points, most = starts(plan.sampler, lambda trial: propose(trial, plan, dims), portfolio(plan, dims), plan.seed)
    families = family_chooser(plan, n_rows, len(book.setting.folds))
    return BatchSearch(
        make_optuna(CandidateSpace(plan, dims), points, plan.sampler, plan.seed, families),
        book,
        trials=min(plan.trials, most or plan.trials),
        batch=plan.batch,
        first=n_comparisons(plan),
        deterministic=plan.deterministic,
        points=len(points),
        until=until,
        sure=lambda number: number == 0,
        lanes=lanes,
        on_done=on_done,
    )


def ensemble_trials(
    plan: SearchPlan,
    n_candidates: int,
    book: EnsembleBook,
    *,
    until: Until = lambda: None,
    lanes: int = 1,
    on_done: Callable[[int], None] = lambda n: None,
) -> BatchSearch:
    """The trials of an ensemble search over ``n_candidates``, as Tune asks for them; see ``BatchSearch``."""
    limited = until() is not None
    good = ensemble_portfolio(plan, n_candidates)
    good = quick_start(plan, good) if limited else good
    points, most = starts(plan.sampler, lambda trial: propose_ensemble(trial, plan, n_candidates), good, plan.seed)
    return BatchSearch(
        make_optuna(EnsembleSpace(plan, n_candidates), points, plan.sampler, plan.seed),
        book,
        trials=min(plan.ensemble_trials, most or plan.ensemble_trials),
        batch=plan.batch,
        first=plan.batch,
        deterministic=plan.deterministic,
        points=len(points),
        until=until,
        sure=book.sure,
        lanes=lanes,
        on_done=on_done,
        # Numbers, and with them the order of trust, stay as they are without a limit.
        effort=book.effort if limited else lambda number: 0.0,
    )


def lanes_worth(fits: int, values: int) -> int:
    """How many actors a search of so many fits, each of a matrix of so many values, is worth: one at least."""
    return 1 + fits * values // LANE_VALUES


def candidate_resources(cluster: Cluster, plan: SearchPlan, folded: Folded, n_rows: int, fits: int) -> SearchResources:
    """What a fit of any candidate asks of Ray, and how many of at most ``fits`` run at the same time.

    Raises
    ------
    ResourceError
        The cluster does not hold one.
    """
    tags = [ESTIMATORS.get(choice.name).tags for choice in plan.estimators]
    added = max(2 * min(n_rows, tag.pairs) ** 2 + n_rows * tag.columns for tag in tags)
    return plan_search(
        cluster.view(),
        matrix_bytes=n_rows * sum(folded.dims.values()) * 4,
        copies=copies_of(plan.preparations, max(tag.copies for tag in tags)),
        model_bytes=MODEL_BYTES + 8 * added,
        max_concurrent=plan.max_concurrent,
        batch=fits,
    )


def search_candidates(
    cluster: Cluster,
    plan: SearchPlan,
    folded: Folded,
    root: StoreRoot,
    run_id: str,
    progress: Progress,
    budget: Budget | None = None,
) -> CandidateSearch:
    """Search the space of candidates.

    The search is replayed from its seed: a trial whose fits are in the run's ledger costs nothing, so that a search
    that was stopped goes on where it stopped.

    Parameters
    ----------
    cluster : Cluster
    plan : SearchPlan
    folded : Folded
        Reference to the training rows, sorted by fold.
    root : StoreRoot
    run_id : str
        Whose ledger keeps the fits.
    progress : Progress
    budget : Budget, optional
        When the search must be over; default: when its trials are done.

    Returns
    -------
    CandidateSearch

    Raises
    ------
    ResourceError
        The cluster does not hold one trial.
    RunFailedError
        No candidate could be fitted on all folds.
    """
    started = time.monotonic()
    budget = budget or Budget()
    load_plugins()
    with progress.stage("search", None if plan.trials == MOST_TRIALS else plan.trials) as stage:
        setting, n_rows, n_scored = ray.get(facts.remote(plan, folded.ref))
        open_at_once = min(plan.batch, plan.trials) if plan.deterministic else plan.trials
        numbers, folds = n_scored * plan.n_outputs, len(setting.folds)
        worth = lanes_worth(plan.trials * folds, n_rows * sum(folded.dims.values()))
        resources = candidate_resources(cluster, plan, folded, n_rows, min(open_at_once, worth))
        after_s = ensembles_s(plan.ensemble_trials, resources.concurrent, plan.max_members, numbers, folds, plan.effort)
        book = CandidateBook(plan, setting, Ledger(root, run_id).records())
        follow = Following(root, run_id, plan.metric)
        began = time.time()

        def on_done(n: int) -> None:
            if not budget.start_s:
                # Fits that the ledger had take no time now, whatever they took then.
                quickest = min(trial.seconds for trial in book.trials.values())
                budget.start_s = max(time.time() - began - quickest, 0.0)
            stage.advance(n, book.note())
            follow(lambda: book.answer(time.time() - began))

        search = candidate_trials(
            plan,
            folded.dims,
            book,
            n_rows=n_rows,
            until=lambda: budget.candidates_until(book.ranked(), after_s) if budget.limited else None,
            lanes=resources.concurrent,
            on_done=on_done,
        )
        # More threads for fewer trials would change sums in their last digit, and with them what is proposed.
        threads = 1 if plan.deterministic else resources.threads
        run_trials(CandidateWork(plan, folded.ref, root, run_id, threads), search, resources)
    answer = book.answer(time.monotonic() - started)
    follow.last(answer)
    if not answer.ranked_trials():
        reasons = sorted({trial.error for trial in answer.trials if trial.error})
        raise RunFailedError(
            f"search: one candidate at least must be fitted on all folds; all {len(answer.trials)} failed: {reasons[0]}"
        )
    return answer


def search_ensembles(
    cluster: Cluster,
    plan: SearchPlan,
    folded: Folded,
    candidates: CandidateSearch,
    root: StoreRoot,
    run_id: str,
    progress: Progress,
    budget: Budget | None = None,
    extractors: Mapping[str, Cost] | None = None,
) -> EnsembleSearch:
    """Search ensembles over the out-of-fold predictions of the candidates that have all folds.

    Parameters
    ----------
    cluster : Cluster
    plan : SearchPlan
    folded : Folded
    candidates : CandidateSearch
    root : StoreRoot
    run_id : str
        Whose ledger has the predictions.
    progress : Progress
    budget : Budget, optional
        When the search must be over; default: when its trials are done.
    extractors : mapping of str to Cost, optional
        Of each extractor in the graph, by id; for a plan that asks for costs.

    Returns
    -------
    EnsembleSearch

    Raises
    ------
    StoreError
        Predictions are lost or damaged; the same run does those fits again.
    RunFailedError
        No ensemble could be fitted.
    BadInputError
        No ensemble keeps to the limits on its cost.
    """
    started = time.monotonic()
    load_plugins()
    trials = candidates.ranked_trials()
    end = (budget or Budget()).until(trials)
    bootstrap_s = 0.0 if end is None else BOOTSTRAP_SHARE * max(end - time.time(), 0.0)
    prices = prices_of(plan, folded, trials, extractors or {}) if plan.wish.costs else None
    with progress.stage("ensemble", plan.ensemble_trials) as stage:
        _, _, n_scored = ray.get(facts.remote(plan, folded.ref))
        n_bytes = n_scored * plan.n_outputs * 8
        room = int(cluster.view().smallest_store * LIBRARY_SHARE) // max(n_bytes, 1)
        # A run that goes on has the library that it began with, whatever the stores that it finds.
        limit = RunStore(root).settle(run_id, "library", max(1, min(MAX_CANDIDATES, room)))
        n_found, trials = len(trials), admitted(trials, limit)
        library = make_library.remote(plan, folded.ref, trials, Ledger(root, run_id), limit)
        lanes = min(plan.ensemble_trials, 1 + n_bytes * len(trials) // LANE_BYTES)
        resources = plan_search(
            cluster.view(),
            matrix_bytes=n_bytes * len(trials),
            copies=FUSION_COPIES,
            max_concurrent=plan.max_concurrent,
            batch=min(plan.batch, lanes) if plan.deterministic else lanes,
        )
        book = EnsembleBook(plan.scorer.direction, margins=plan.task in NUMBERS)
        search = ensemble_trials(
            plan,
            len(trials),
            book,
            until=lambda: None if end is None else end - book.closing_s(bootstrap_s),
            lanes=resources.concurrent,
            on_done=lambda n: stage.advance(n, book.note()),
        )
        run_trials(EnsembleWork(library, plan.seed, prices), search, resources)
        tried = [book.trials[number] for number in sorted(book.trials)]
        answer: EnsembleSearch = ray.get(finish.remote(plan, tried, library, prices, end))
    note = _library_note(len(trials), n_found) if limit < MAX_CANDIDATES else ""
    return replace(answer, seconds=time.monotonic() - started, note=note)


def _library_note(n_held: int, n_found: int) -> str:
    """What a reader must know of candidates that an ensemble could not be made of; empty when all are there."""
    if n_held == n_found:
        return ""
    return (
        f"Ensembles are made of {n_held} of {n_found} candidates, the best of each kind first: out-of-fold predictions "
        f"of no more fit {LIBRARY_SHARE:g} of the smallest object store."
    )


def prices_of(
    plan: SearchPlan, folded: Folded, trials: Sequence[TrialRecord], extractors: Mapping[str, Cost]
) -> Prices:
    """Costs of the candidates, by what was measured of their last fold; a graph that bags holds the chains of all."""
    setting, _, _ = ray.get(facts.remote(plan, folded.ref))
    chains = {trial.candidate.key: Cost(**trial.cost) for trial in trials}
    return Prices(chains, extractors, len(setting.folds) if plan.keep_chains is not None else 1)
