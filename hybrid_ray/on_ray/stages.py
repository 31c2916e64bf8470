"""The stages of a run, one function each; what they share is a ``Job``."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.rejects import shown_reject, too_many_bad
from hybrid_ray.data.rows import Rows
from hybrid_ray.data.source import Source, read_piece
from hybrid_ray.data.split import strata_of
from hybrid_ray.errors import ResourceError
from hybrid_ray.evaluation.clusters import WIDTH
from hybrid_ray.extractors.compression import CompressibleParams
from hybrid_ray.forecasts import Outlook
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.costs import extractor_costs
from hybrid_ray.on_ray.decide import decide
from hybrid_ray.on_ray.extract import FeatureSet, extract_features
from hybrid_ray.on_ray.matrices import Folded, FoldOrder, fold_data
from hybrid_ray.on_ray.reserves import Reserved, search_reserves
from hybrid_ray.on_ray.resources import ExtractionPlan, plan_extraction
from hybrid_ray.on_ray.search import CandidateSearch, EnsembleSearch, search_candidates, search_ensembles
from hybrid_ray.on_ray.train import Entry, RawRows, prepare_rows
from hybrid_ray.progress import Progress
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.search.budget import Aftermath, Budget
from hybrid_ray.search.compression import CompressionTrial
from hybrid_ray.search.costs import BATCH_ROWS, Cost
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.spec import ExtractorSpec, Spec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore
from hybrid_ray.types import CLUSTERING, Kind, modalities_in, modality_of

if TYPE_CHECKING:
    from hybrid_ray.on_ray.train_stage import Trained


@dataclass(frozen=True)
class Job:
    """What every stage of a run may use.

    Attributes
    ----------
    spec : Spec
        Resolved: nothing is ``auto`` any more.
    root : StoreRoot
    run_id : str
    source : Source
    rows : Rows
    cluster : Cluster
    progress : Progress
    until : float or None
        When the run is to be over, as ``time.time()``.
    given_up : frozenset of str
        Ids of optional extractors that the run goes without: what their training would take is too long.
    """

    spec: Spec
    root: StoreRoot
    run_id: str
    source: Source
    rows: Rows
    cluster: Cluster
    progress: Progress
    until: float | None = None
    given_up: frozenset[str] = frozenset()

    @property
    def extractors(self) -> list[ExtractorSpec]:
        """The extractors that the run has."""
        return [entry for entry in self.spec.extractors if entry.id not in self.given_up]

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each input column."""
        assert self.spec.data.columns is not None
        return self.spec.data.columns

    @property
    def task_cpus(self) -> float:
        """CPUs of a plain task: one, or less on a machine that has less to give."""
        return self.cluster.task_cpus

    @property
    def n_outputs(self) -> int:
        """Columns of what metrics look at: classes, 1 for numbers, or what rows say of clusters."""
        return WIDTH if self.rows.target.task in CLUSTERING else self.rows.n_outputs

    def on_sample(self) -> Job:
        """The same where the search sees a sample of the training rows: ``graph.sampled`` says what the graph is."""
        graph = self.spec.graph.model_copy(update={"members": self.spec.graph.sampled})
        return replace(self, spec=self.spec.model_copy(update={"graph": graph}))

    def modality_of(self) -> dict[str, str]:
        """Modality of each extractor id; of one behind a data-level fusion those of its columns, named together."""
        return {str(entry.id): self._modality(entry) for entry in self.extractors}

    def _modality(self, entry: ExtractorSpec) -> str:
        if entry.fusion is None:
            return str(EXTRACTORS.get(entry.name).tags.modality)
        return modality_of(self.kinds[column] for column in entry.columns or ())


@dataclass(frozen=True)
class Features:
    """What extraction gave.

    Attributes
    ----------
    decided : dict of str to ExtractorSpec
        The extractors as they ran: what was left to the machine is chosen.
    frozen : dict of str to FeatureSet
        Cached features, by extractor id.
    raw : dict of str to RawRows
        Prepared rows of the extractors that each fold trains.
    rejects : tuple of (row, column, reason)
        As records may show them.
    bad_rows : int
        Rows with something unreadable; at least those among the rejects, which are a bounded list.
    searched : mapping of str to FeatureSet
        What the search saw of extractors whose network is smaller in the graph.
    """

    decided: dict[str, ExtractorSpec]
    frozen: dict[str, FeatureSet]
    raw: dict[str, RawRows]
    rejects: tuple[tuple[int, str, str], ...]
    bad_rows: int
    searched: Mapping[str, FeatureSet] = field(default_factory=dict)

    def compressible(self, name: str) -> bool:
        """Whether the network of a frozen extractor can be made smaller: it has one, and is not smaller already."""
        params = self.decided[name].params
        return isinstance(params, CompressibleParams) and not params.compress.asked

    def with_smaller(self, decided: Mapping[str, ExtractorSpec], frozen: Mapping[str, FeatureSet]) -> Features:
        """The same with features of smaller networks in place of those that the search saw."""
        searched = {name: self.frozen[name] for name in frozen}
        return replace(self, decided={**self.decided, **decided}, frozen={**self.frozen, **frozen}, searched=searched)

    def without(self, names: Collection[str]) -> Features:
        """The same without some trained extractors."""
        decided = {name: spec for name, spec in self.decided.items() if name not in names}
        return replace(self, decided=decided, raw={name: raw for name, raw in self.raw.items() if name not in names})


def check_extractors(spec: Spec) -> None:
    """Refuse what no worker could do (weights of another architecture, a hub that does not answer), before any starts.

    Raises
    ------
    BadInputError
        One clear line.
    """
    assert spec.data.columns is not None
    for entry in spec.extractors:
        Entry.of(entry, spec.data.columns).build().check()


def check_resources(job: Job) -> None:
    """Refuse extractors that ask for more than the cluster has.

    Raises
    ------
    ResourceError
        It says what is missing.
    """
    for spec in job.extractors:
        extraction_plan(job, spec)


def extraction_plan(job: Job, spec: ExtractorSpec) -> ExtractionPlan:
    """What one worker of an extractor asks of Ray."""
    uses_gpu = EXTRACTORS.get(spec.name).tags.gpu
    where = f"extractors[{spec.id}]"
    return plan_extraction(job.cluster.view(), gpu=uses_gpu, asked=spec.resources, units=1, where=where)


def extract_stage(job: Job) -> Features:
    """Fill the feature cache with every frozen extractor; prepare the rows of the trained ones.

    Raises
    ------
    BadRowsError
        More rows than ``data.max_bad_fraction`` allows hold something unreadable.
    """
    data = job.spec.data
    frozen: dict[str, FeatureSet] = {}
    raw: dict[str, RawRows] = {}
    rejects = [(int(row), data.label, "no number") for row in job.rows.target.unreadable]
    decided = {str(spec.id): _decided(job, spec) for spec in job.extractors}
    for spec in decided.values():
        entry = Entry.of(spec, job.kinds)
        if EXTRACTORS.get(spec.name).tags.trained:
            with job.progress.stage("prepare", job.source.n_rows) as stage:
                raw[entry.id] = prepare_rows(job.source, entry, data.shard_rows, data.verify)
                stage.advance(job.source.n_rows, entry.id)
            rejects += raw[entry.id].rejects
        else:
            frozen[entry.id] = extracted(job, spec)
            rejects += [(r.row, r.column, r.reason) for r in frozen[entry.id].rejects]
    shown = tuple(sorted({shown_reject(reject, data.redact) for reject in rejects}))
    bad = max([len({row for row, _, _ in shown}), *(feature_set.stats.bad for feature_set in frozen.values())])
    if bad > data.max_bad_fraction * job.rows.n_rows:
        raise too_many_bad(bad, job.rows.n_rows, data.max_bad_fraction, shown)
    return Features(decided, frozen, raw, shown, bad)


def extracted(job: Job, spec: ExtractorSpec) -> FeatureSet:
    """Features of every row by a frozen extractor whose choices are made."""
    data = job.spec.data
    return extract_features(
        job.cluster,
        job.source,
        spec,
        job.kinds,
        job.root,
        shard_rows=data.shard_rows,
        verify=data.verify,
        max_bad_fraction=data.max_bad_fraction,
        progress=job.progress,
    )


def _decided(job: Job, spec: ExtractorSpec) -> ExtractorSpec:
    """The extractor with every choice made that is left to the machine."""
    entry = Entry.of(spec, job.kinds)
    if not entry.build().undecided:
        return spec
    with job.progress.stage("decide"):
        params = decide(entry, job.source, job.root, extraction_plan(job, spec))
    return spec.model_copy(update={"params": params})


UNTOLD_FEATURES = 32
"""Features of a column, about, where a trained extractor does not tell how many it will make."""


def search_order(job: Job, features: Features) -> tuple[FoldOrder, str]:
    """The training rows sorted by fold: all of them, or a stratified sample where they do not fit.

    What all matrices of the search take together may be ``search.max_matrix`` of the smallest node's object store, by
    what it was when the run began.

    Returns
    -------
    order : FoldOrder
    note : str
        What a reader of the report must know; empty when all rows are there.

    Raises
    ------
    ResourceError
        Not even twenty rows a fold would fit.
    """
    order = FoldOrder.of(job.rows.split)
    n_folds = len(order.bounds) - 1
    width = sum(feature_set.n_features for feature_set in features.frozen.values())
    for raw in features.raw.values():
        told = raw.entry.build().most_features
        # Each fold has features of its own.
        width += n_folds * (UNTOLD_FEATURES * len(raw.entry.columns) if told is None else told)
    # To find anomalies, a fold has a counterexample for each of its rows.
    width *= 2 if job.rows.target.task == "anomaly" else 1
    room = int(job.spec.search.max_matrix * job.cluster.view().smallest_store)
    # A run that goes on sees the rows that it began with, whatever the stores that it finds.
    most = RunStore(job.root).settle(job.run_id, "rows", room // (4 * width))
    if most >= len(order.rows):
        return order, ""
    if most < 20 * n_folds:
        raise ResourceError(
            f"search.max_matrix: the share of the smallest object store must hold 20 rows a fold; got room for {most} "
            f"of {width} features. Raise it, or start nodes with a larger object store"
        )
    strata = strata_of(job.rows.learned[order.rows], job.rows.target.task)
    sampled = order.sample(strata, most / len(order.rows), job.spec.seed)
    return sampled, (
        f"The search sees {len(sampled.rows)} of {len(order.rows)} training rows, drawn by class and fold: no more fit "
        f"search.max_matrix, {job.spec.search.max_matrix:g} of the smallest object store."
    )


@dataclass(frozen=True)
class Found:
    """What the search gave.

    Attributes
    ----------
    plan : SearchPlan
    candidates : CandidateSearch
    ensemble : EnsembleSearch
    costs : mapping of str to Cost
        Of each extractor in the graph, for a plan that asks for costs.
    aftermath : Aftermath or None
        What comes after the search, under a time limit: what it takes.
    on_smaller : CandidateSearch or None
        The trials that hold on the features of smaller networks, where the graph has these; None: it has not.
    compression : CompressionTrial or None
        What became of smaller networks; None: the spec does not ask for them.
    reserves : tuple of Reserved
        What answers rows that lack a modality, where the spec asks for it.
    note : str
        What a reader of the report must know of reserves that are not there.
    """

    plan: SearchPlan
    candidates: CandidateSearch
    ensemble: EnsembleSearch
    costs: Mapping[str, Cost] = field(default_factory=dict)
    aftermath: Aftermath | None = None
    on_smaller: CandidateSearch | None = None
    compression: CompressionTrial | None = None
    reserves: tuple[Reserved, ...] = ()
    note: str = ""

    @property
    def fitted(self) -> CandidateSearch:
        """The trials whose chains the graph and the levels of the report are made of."""
        return self.candidates if self.on_smaller is None else self.on_smaller

    @property
    def oof(self) -> dict[str, float]:
        """Out-of-fold score of each candidate, by its key, as the graph has it."""
        return {trial.candidate.key: trial.score for trial in (*self.candidates.trials, *self.fitted.trials)}

    def outlook(self, job: Job) -> Outlook | None:
        """How far the graph forecasts and how sure it is; None for any other task."""
        asked = job.spec.data.series
        return None if asked is None else self.ensemble.outlook(asked.levels)

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Prefixes of the fitted fold chains in the store, by candidate key, where they were kept."""
        kept = dict(self.fitted.chains)
        for reserve in self.reserves:
            kept |= reserve.chains
        return kept

    def composed(self) -> list[Candidate]:
        """The candidates that the graph is made of, those of reserves included."""
        return [c for each in (self.ensemble, *(r.ensemble for r in self.reserves)) for c in each.members.values()]


def fold_stage(job: Job, features: Features, trained: Trained, order: FoldOrder) -> Folded:
    """Build the matrices of the search."""
    with job.progress.stage("matrices"):
        return fold_data(
            job.rows.target.task,
            job.n_outputs,
            job.rows.learned[order.rows],
            order,
            job.root,
            features.frozen,
            trained.folds,
            job.spec.seed,
        )


def search_stage(
    job: Job, features: Features, trained: Trained, order: FoldOrder, folded: Folded, aftermath: bool = True
) -> Found:
    """Search the candidates, then the ensembles over their out-of-fold predictions.

    With ``aftermath`` the run goes on after the search: under a time limit, time is left for that.
    """
    plan = SearchPlan.of(job.spec, job.modality_of(), job.rows.target.task, job.n_outputs, job.rows.transform)
    budget = _budget(job, plan, features, trained, job.rows.n_training / len(order.rows), aftermath)
    costs = _extractor_costs(job, features, trained) if plan.wish.costs else {}
    candidates = search_candidates(job.cluster, plan, folded, job.root, job.run_id, job.progress, budget)
    ensemble = search_ensembles(
        job.cluster, plan, folded, candidates, job.root, job.run_id, job.progress, budget, costs
    )
    return Found(plan, candidates, ensemble, costs, budget.aftermath)


def reserves_stage(job: Job, folded: Folded, found: Found) -> Found:
    """Search reserves for rows that lack a modality, where the spec asks for them."""
    if not job.spec.graph.reserves:
        return found
    reserves, note = search_reserves(
        found.plan,
        folded,
        found.fitted,
        found.ensemble,
        job.root,
        job.run_id,
        job.progress,
        job.task_cpus,
        found.costs,
    )
    return replace(found, reserves=tuple(reserves), note=note)


def _extractor_costs(job: Job, features: Features, trained: Trained) -> dict[str, Cost]:
    """What each extractor costs in the graph: a bag holds the copies of all folds."""
    entries: dict[str, tuple[Entry, Any]] = {
        n: (Entry.of(features.decided[n], job.kinds), None) for n in features.frozen
    }
    for name, fits in trained.folds.items():
        entries[name] = (features.raw[name].entry, next(iter(fits.values())).state)
    copies = {name: len(fits) for name, fits in trained.folds.items()} if job.spec.graph.members == "bag" else {}
    with job.progress.stage("costs"):
        sample = next(read_piece(job.source, job.source.pieces[0], list(job.kinds), BATCH_ROWS))
        return extractor_costs(entries, copies, sample, job.source.base, job.task_cpus)


def _budget(job: Job, plan: SearchPlan, features: Features, trained: Trained, grown: float, aftermath: bool) -> Budget:
    """The search's own time, and what the run has left for it; ``grown``: training rows for each that it sees."""
    now, limit_s, folds = time.time(), job.spec.search.time_limit_s, job.spec.search.folds
    slots = max(int(job.cluster.view().cpus / job.task_cpus), 1)
    refit = job.spec.graph.members != "bag"
    # All folds were fitted side by side; a fit on all rows sees one fold more.
    again_s = trained.seconds * min(slots, folds) / (folds - 1) if refit else 0.0
    return Budget(
        began=now,
        search_until=None if limit_s is None else now + limit_s,
        run_until=job.until,
        aftermath=Aftermath(
            slots=slots,
            folds=folds,
            refit=refit,
            grown=grown,
            networks=sum(EXTRACTORS.get(entry.name).tags.gpu for entry in job.extractors),
            members=plan.max_members,
            gaps=len({m for name in plan.modalities.values() for m in modalities_in(name)})
            if job.spec.graph.reserves
            else 0,
            smaller_s=_smaller_s(features) if job.spec.graph.compression.asked else None,
            trained_s=again_s + trained.extract_s(len(job.rows.test_rows), slots, every_copy=not refit),
        )
        if aftermath
        else None,
    )


def _smaller_s(features: Features) -> float:
    """About what features of smaller networks take: as long as those of the whole ones took, where they were made."""
    made = [frozen.stats for name, frozen in features.frozen.items() if features.compressible(name)]
    return sum(stats.seconds * stats.rows / stats.computed for stats in made if stats.computed)
