"""Reserves on Ray: stand-ins are fitted on the folds, side by side, and put together with what the search has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from hybrid_ray.on_ray.library import cross_fit
from hybrid_ray.on_ray.matrices import Folded
from hybrid_ray.on_ray.search import prices_of
from hybrid_ray.plugins import load_plugins
from hybrid_ray.progress import Progress
from hybrid_ray.search.costs import Cost
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensemble import EnsembleSearch
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.reserves import SELDOM, Gap, affordable, find_gaps, make_reserve, stand_ins
from hybrid_ray.search.trials import CandidateSearch, TrialRecord, trial_beside
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot


@dataclass(frozen=True)
class Reserved:
    """A reserve as the search has it: its parts are not fitted yet.

    Attributes
    ----------
    gap : Gap
    ensemble : EnsembleSearch
    chains : mapping of str to tuple of str
        Prefixes of the fold chains of stand-ins in the store, by candidate key, where they are kept.
    """

    gap: Gap
    ensemble: EnsembleSearch
    chains: Mapping[str, tuple[str, ...]]


def search_reserves(
    plan: SearchPlan,
    folded: Folded,
    candidates: CandidateSearch,
    ensemble: EnsembleSearch,
    root: StoreRoot,
    run_id: str,
    progress: Progress,
    cpus: float,
    extractors: Mapping[str, Cost] | None = None,
) -> tuple[list[Reserved], str]:
    """An ensemble for each modality that rows may lack.

    Stand-ins are fitted on the folds like candidates, each fit once: it is in the run's ledger when the run goes on.

    Parameters
    ----------
    plan : SearchPlan
    folded : Folded
    candidates : CandidateSearch
    ensemble : EnsembleSearch
        What the graph will be made of.
    root : StoreRoot
    run_id : str
        Whose ledger has the predictions, and keeps those of stand-ins.
    progress : Progress
    cpus : float
        Of one task.
    extractors : mapping of str to Cost, optional
        Of each extractor in the graph, by id; for a plan that limits the graph's size.

    Returns
    -------
    reserves : list of Reserved
        Empty where the ensemble reads one modality, or where training rows lacked what rows may lack.
    note : str
        Which were left out because the graph has no room for them; empty when none was.
    """
    load_plugins()
    ledger = Ledger(root, run_id)
    used = {block for candidate in ensemble.members.values() for block in candidate.blocks}
    gaps = find_gaps(used, plan.modalities, ray.get(_lacked.remote(folded.ref)))
    wanted = [(gap, candidate) for gap in gaps for candidate in stand_ins(list(ensemble.members.values()), gap)]
    distinct = {candidate.key: candidate for _, candidate in wanted}
    with progress.stage("reserves", len(distinct)) as stage:
        fits = {
            key: cross_fit.options(num_cpus=cpus).remote(plan, folded.ref, ledger, candidate)
            for key, candidate in distinct.items()
        }
        trials: dict[str, TrialRecord] = {}
        for number, (key, ref) in enumerate(fits.items()):
            trial = trial_beside(number, distinct[key], ray.get(ref))
            stage.advance(1, distinct[key].label)
            if trial is not None:
                trials[key] = trial
        known = [*candidates.ranked_trials(), *trials.values()]
        found = ray.get(_make_reserves.remote(gaps, known, plan, folded.ref, ledger))
        stage.note("; ".join(f"{gap.name} {plan.metric} {each.score:.4g}" for gap, each in found))
    chains = {key: trial.chains for key, trial in trials.items()}
    reserves = [Reserved(gap, each, chains) for gap, each in found]
    most_mb = plan.wish.max_size_mb
    if most_mb is None:
        return reserves, ""
    prices = prices_of(plan, folded, known, extractors or {})
    candidates_of = [list(reserve.ensemble.members.values()) for reserve in reserves]
    room = affordable(candidates_of, list(ensemble.members.values()), prices, most_mb)
    kept = [reserve for reserve, fits in zip(reserves, room, strict=True) if fits]
    left_out = [reserve.gap.rows for reserve, fits in zip(reserves, room, strict=True) if not fits]
    return kept, f"{'; '.join(left_out)}: no reserve, it would not fit search.max_size_mb." if left_out else ""


@ray.remote(num_cpus=0)
def _lacked(folded: FoldedData) -> set[str]:
    """Blocks that training rows lacked too often for what they do not know."""
    blocks = dict(folded.frozen) | {name: copies[folded.folds.start] for name, copies in folded.trained.items()}
    return {name for name, block in blocks.items() if block.present.mean() < 1 - SELDOM}


@ray.remote(num_cpus=0)
def _make_reserves(
    gaps: Sequence[Gap], trials: Sequence[TrialRecord], plan: SearchPlan, folded: FoldedData, ledger: Ledger
) -> list[tuple[Gap, EnsembleSearch]]:
    load_plugins()
    found: list[tuple[Gap, Any]] = [(gap, make_reserve(gap, trials, plan, folded, ledger)) for gap in gaps]
    return [(gap, ensemble) for gap, ensemble in found if ensemble is not None]
