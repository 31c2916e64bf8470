"""The out-of-fold library, as tasks of Ray; beside the search, so that their workers need not import Tune."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.costs import Prices
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensemble import EnsembleSearch, finish_ensemble
from hybrid_ray.search.ensembler import Ensembler, EnsembleTrial
from hybrid_ray.search.fits import Evaluator, Outcome, Setting
from hybrid_ray.search.oof import OofLibrary, build_library
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.trials import TrialRecord
from hybrid_ray.store.ledger import Ledger


@ray.remote(num_cpus=0)
def facts(plan: SearchPlan, folded: FoldedData) -> tuple[Setting, int, int]:
    """What the driver needs to know of matrices that it does not hold: the setting, all rows, scored rows."""
    return Setting.of(plan, folded), len(folded.y), folded.scored.stop - folded.scored.start


@ray.remote(num_cpus=0)
def make_library(
    plan: SearchPlan, folded: FoldedData, trials: Sequence[TrialRecord], ledger: Ledger, limit: int
) -> OofLibrary:
    """Read the out-of-fold predictions of the best trials."""
    load_plugins()
    return build_library(trials, folded, plan.scorer, ledger, limit)


@ray.remote
def cross_fit(plan: SearchPlan, folded: FoldedData, ledger: Ledger, candidate: Candidate) -> Outcome:
    """Fit a candidate on every fold, beside the search; fits that are in the ledger are taken from there."""
    load_plugins()
    return Evaluator(plan, folded, ledger)(candidate, (None,) * len(folded.folds))


@ray.remote(num_cpus=0)
def finish(
    plan: SearchPlan, tried: Sequence[EnsembleTrial], library: OofLibrary, prices: Prices | None, until: float | None
) -> EnsembleSearch:
    """Fit the best ensemble of those that were tried, or the one that is wished for, by ``until`` if it can be."""
    load_plugins()
    return finish_ensemble(tried, Ensembler(library, plan.seed, prices), wish=plan.wish, until=until)
