"""Reserves: ensembles of candidates that do without a modality, for the rows that will lack it.

A search spends little on candidates that leave out a modality which helps, and stops most of them early. What the
ensemble has learned of families and parameters is therefore tried without the modality too: its stand-ins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.costs import Prices
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.ensemble import EnsembleSearch, finish_ensemble
from hybrid_ray.search.ensembler import Ensembler
from hybrid_ray.search.halving import gain
from hybrid_ray.search.oof import build_library
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.recipes import POOL, Recipe
from hybrid_ray.search.trials import TrialRecord
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.types import modalities_in

SELDOM = 0.02
"""Share of training rows that may lack a block for which there is a reserve: where more did, candidates learned what it
means."""
STAND_INS = 4
"""Members of the ensemble, at most, that are fitted without a modality."""
MEMBERS = 4
"""Members that a reserve may have: each is kept beside the ensemble's own."""
LIBRARY = 16
"""Candidates that a reserve is chosen from."""


@dataclass(frozen=True)
class Gap:
    """What rows may lack, and what is left of them.

    Attributes
    ----------
    name : str
        The report's level of what is left: ``without:text``, or ``alone:image`` where all else is lacking.
    kept : tuple of str
        Extractor ids of what is left, sorted.
    lacks, needs : tuple of str
        Extractor ids: a row lacks some of the first and has all of the second. Blocks that training rows lacked too are
        in neither.
    """

    name: str
    kept: tuple[str, ...]
    lacks: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def one(self) -> bool:
        """Whether a single modality is lacking: the gap that rows have most, and that stand-ins are fitted for."""
        return self.name.startswith("without:")

    @property
    def rows(self) -> str:
        """The rows that have it, for people."""
        modality = self.name.partition(":")[2]
        return f"Rows that lack {modality}" if self.one else f"Rows that have nothing but {modality}"


def find_gaps(used: Collection[str], modality_of: Mapping[str, str], learned: Collection[str] = ()) -> list[Gap]:
    """The gaps that rows may have: each modality lacking, then all but each.

    Parameters
    ----------
    used : collection of str
        Extractor ids that the ensemble reads: a reserve reads no other, so that complete rows cost what they cost
        without reserves.
    modality_of : mapping of str to str
        Modality of each extractor id; several where inputs were put together before it, see ``types.modality_of``.
    learned : collection of str, optional
        Ids that more than ``SELDOM`` of the training rows lacked.

    Returns
    -------
    list of Gap
        In the order in which a row looks for the first that fits it.
    """
    read = {block: modalities_in(modality_of[block]) for block in sorted(used)}
    modalities = sorted(frozenset[str]().union(*read.values()))
    left = {f"without:{m}": [b for b in read if m not in read[b]] for m in modalities}
    if len(modalities) > 2:
        left |= {f"alone:{m}": [b for b in read if read[b] == {m}] for m in modalities}
    gaps = [
        Gap(
            name,
            tuple(kept),
            tuple(b for b in read if b not in kept and b not in learned),
            tuple(b for b in kept if b not in learned),
        )
        for name, kept in left.items()
    ]
    return [gap for gap in gaps if gap.kept and gap.lacks]


def stand_ins(members: Sequence[Candidate], gap: Gap) -> list[Candidate]:
    """What the ensemble would be made of without a modality: its families on all that is left, heaviest first.

    Parameters
    ----------
    members : sequence of Candidate
        Of the ensemble, heaviest first; the first of each family stands for it.
    gap : Gap
    """
    firsts = {candidate.estimator: candidate for candidate in reversed(members)}
    ordered = sorted(firsts.values(), key=members.index)
    return [replace(candidate, blocks=gap.kept) for candidate in ordered[:STAND_INS]] if gap.one else []


def affordable(
    reserves: Sequence[Collection[Candidate]], members: Collection[Candidate], prices: Prices, most_mb: float
) -> list[bool]:
    """Which reserves a graph has room for, in their order; chains that it holds already take none.

    Parameters
    ----------
    reserves : sequence of collection of Candidate
        Members of each; they read no extractor that the ensemble does not.
    members : collection of Candidate
        Of the ensemble.
    prices : Prices
    most_mb : float
        Megabytes that the graph may have.
    """
    held = {candidate.key: candidate for candidate in members}
    kept = []
    for reserve in reserves:
        more = held | {candidate.key: candidate for candidate in reserve}
        kept.append(prices.of(list(more.values())).size_mb <= most_mb)
        held = more if kept[-1] else held
    return kept


def make_reserve(
    gap: Gap, trials: Sequence[TrialRecord], plan: SearchPlan, folded: FoldedData, ledger: Ledger
) -> EnsembleSearch | None:
    """The best small ensemble of what does without a modality, its weights solved on out-of-fold predictions.

    Parameters
    ----------
    gap : Gap
    trials : sequence of TrialRecord
        With all folds: of the search, and of stand-ins; those that read what is lacking are passed over.
    plan : SearchPlan
    folded : FoldedData
    ledger : Ledger
        Has the predictions of all trials.

    Returns
    -------
    EnsembleSearch or None
        None where nothing was fitted without the modality.

    Raises
    ------
    StoreError
        Predictions are lost or damaged; the same run does those fits again.
    RunFailedError
        No ensemble could be fitted.
    """
    direction = plan.scorer.direction
    able = [trial for trial in trials if set(trial.candidate.blocks) <= set(gap.kept)]
    if not able:
        return None
    ranked = sorted(able, key=lambda t: (-gain(t.score, direction), t.number))
    distinct = list({trial.candidate.key: trial for trial in reversed(ranked)}.values())[::-1]
    ensembler = Ensembler(build_library(distinct, folded, plan.scorer, ledger, LIBRARY), plan.seed)
    tried = [ensembler.try_recipe(n, recipe) for n, recipe in enumerate(_recipes(len(distinct)))]
    # Four recipes have no order of trust, in which a later one would have to be told apart from the best alone.
    best = max(tried, key=lambda trial: (gain(trial.score, direction), -trial.number))
    return finish_ensemble([best], ensembler)


def _recipes(n_candidates: int) -> list[Recipe]:
    """The best candidate alone first: no ensemble is taken that scores below it on rows it has not seen."""
    most = min(MEMBERS, n_candidates)
    recipes = [Recipe("best", 1, POOL)]
    if most > 1:
        recipes += [
            Recipe("pool", most, POOL, {"solver": "greedy"}),
            Recipe("pool", most, POOL, {"solver": "greedy", "objective": "metric"}),
            Recipe("pool", most, POOL, {"solver": "convex", "regularisation": 0.1}),
        ]
    return recipes
