"""What a run read, searched and made; and the report as a whole."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hybrid_ray.evaluation.schema.alarms import AlarmCard
from hybrid_ray.evaluation.schema.base import Estimate, Part, Score
from hybrid_ray.evaluation.schema.labels import LabelsCard
from hybrid_ray.evaluation.schema.scores import (
    Evaluation,
    FoldTests,
)
from hybrid_ray.types import Task


class ColumnCard(Part):
    """One column of the data."""

    name: str
    kind: str
    missing: int = 0
    """Rows where it is missing."""
    note: str = ""


class PreparationStep(Part):
    """One thing that was done to the rows, in order."""

    step: str
    count: int | None = None
    """Rows, or values, that it touched."""
    detail: str = ""


class SplitCard(Part):
    """How rows were divided."""

    kind: str
    note: str = ""
    train: int
    test: int
    folds: int


class RejectReason(Part):
    """Why rows were set aside, never what they hold."""

    reason: str
    rows: int
    column: str = ""


class RejectsCard(Part):
    """Rows with something unreadable."""

    rows: int = 0
    reasons: list[RejectReason] = []
    path: str = ""
    """File of the store that lists them."""


class DataCard(Part):
    """Where the rows come from and what was done to them."""

    path: str
    label: str
    rows: int
    source: str | None = None
    licence: str | None = None
    columns: list[ColumnCard] = []
    preparation: list[PreparationStep] = []
    split: SplitCard
    rejects: RejectsCard = RejectsCard()


class CandidateRow(Part):
    """One candidate of the search."""

    label: str
    blocks: list[str]
    estimator: str
    params: dict[str, Any] = {}
    oof: Score = None
    """Mean out-of-fold score over the folds done."""
    folds: int = 0
    pruned: bool = False
    seconds: float = 0.0
    member: bool = False
    """True when the graph holds it."""


class SearchCard(Part):
    """What the search did."""

    trials: int
    fits: int = 0
    resumed: int = 0
    """Fits that were found in the ledger."""
    pruned: int = 0
    folds: int
    seconds: float
    seed: int
    note: str = ""


class MemberRow(Part):
    """One member of the ensemble."""

    name: str
    weight: Score
    low: Score = None
    """Ends of the weight's 95 % interval over bootstrap samples of the out-of-fold rows."""
    high: Score = None
    oof: Score = None
    test: Score = None


class CombinerRow(Part):
    """What one way to combine members reached in the ensemble search."""

    combiner: str
    solver: str = ""
    trials: int
    oof: Score
    """Best nested out-of-fold score; null where every trial failed."""
    seconds: float
    """Mean time of a trial."""


class EnsembleCard(Part):
    """How the members are put together."""

    combiner: str
    solver: str = ""
    params: dict[str, Any] = {}
    members: list[MemberRow]
    oof: Score = None
    """Nested out-of-fold score, which chose it."""
    test: Score = None
    tried: list[CombinerRow] = []
    """Best first."""


class UncertaintyRow(Part):
    """How unsure the ensemble is of the test rows by one measure, and whether it is where it is wrong."""

    name: str
    """total, aleatoric or epistemic entropy; spread of the members; deviation of the predictive distribution."""
    mean: Score
    right: Score
    """Mean over the rows that it predicts right (numbers: the half with the smaller errors)."""
    wrong: Score
    finds: Estimate
    """ROC area: the chance that a row it gets wrong is the less sure one of a pair; 0.5 says nothing."""


class CoverageRow(Part):
    """How many test rows an interval of some probability holds."""

    of: str
    """predictive distribution: of the combiner; held-out errors: the answer, and as much around it as errors on
    training rows that were held out take up."""
    level: float
    covered: Estimate
    width: Score
    """Mean width of the interval."""


class UncertaintyCard(Part):
    """How sure the ensemble is of each row, and whether it is right to be."""

    unit: str
    split: tuple[str, str]
    """What ``right`` and ``wrong`` mean."""
    members: int
    """Members that have weight: with one, nothing is open between them."""
    measures: list[UncertaintyRow]
    coverage: list[CoverageRow] = []


class OfferRow(Part):
    """One candidate or ensemble with its score and its cost."""

    label: str
    members: int
    oof: Score
    """Nested out-of-fold score."""
    latency_ms: float
    """Of a row that comes alone, on one CPU, extractors included."""
    batch_ms: float
    """Of a row among 64."""
    size_mb: float
    front: bool
    """Nothing beats it in the metric and in every cost that was asked for."""
    chosen: bool


class TradeoffCard(Part):
    """What may be had for what, where the search looked at costs."""

    objectives: list[str]
    prefer: str
    limits: str = ""
    rows: list[OfferRow]
    """Quickest first."""


class NetworkCost(Part):
    """What a pretrained network costs on one CPU, decoding included."""

    latency_ms: float
    """Of a row that comes alone."""
    batch_ms: float
    """Of a row among 64."""
    size_mb: float
    """Of what is saved of it."""


class SmallerRow(Part):
    """A pretrained network before and after it was made smaller."""

    extractor: str
    cosine: Score
    """Smallest, over a sample of rows, between features before and after."""
    before: NetworkCost | None
    after: NetworkCost | None
    taken: bool
    note: str = ""
    """Why its features may not stand in for the others."""


class CompressionCard(Part):
    """What became of smaller networks, where the spec asks for them."""

    int8: Literal["none", "weights", "dynamic"]
    prune: float
    min_cosine: float
    max_loss: float
    networks: list[SmallerRow]
    before: Score
    """Out-of-fold score of the members, put together by the recipe of the search, on the features that it saw."""
    after: Score
    """The same on features of the smaller networks, every chain fitted again."""
    note: str = ""
    """Why the graph keeps the networks that the search saw; empty where it has smaller ones."""


class ExtractionRow(Part):
    """What one extractor did."""

    extractor: str
    rows: int
    cached: int = 0
    computed: int = 0
    seconds: float = 0.0
    features: int | None = None
    """Width of a row."""
    note: str = ""


class GraphCard(Part):
    """The composed graph that was scored."""

    members: Literal["bag", "refit"]
    """bag: the chains of all folds, averaged; refit: one chain on all training rows."""
    bytes: int
    """Size in the store."""
    latency_ms: Score = None
    """In-process time a row, one row at a time."""
    chains: int | None = None
    """Fitted estimators that it holds."""
    extractors: list[str] = []


class ChoiceRow(Part):
    """How much one choice of the search mattered."""

    name: str
    """Dotted; a choice counts with all that hangs on it: ``estimator`` with ``estimator.svm.C``."""
    trials: int
    """Trials in which it was open."""
    importance: Estimate | None
    """Share of the variance of the trials' ranks that it accounts for, alone and together with other choices; null
    where it was open in too few trials."""
    where_open: Estimate | None = None
    """The same share among the trials in which it was open: what its learner's parameters are ranked by."""


class SensitivityCard(Part):
    """How much each choice of one layer of the search mattered."""

    of: Literal["candidates", "ensembles"]
    trials: int
    """Different trials that it is computed from; failed ones are left out."""
    explained: Estimate | None = None
    """Share of the variance of the ranks of unseen trials that their choices explain; null where trials are too few."""
    rows: list[ChoiceRow] = []
    """Most important first; empty where trials are too few or choices explain nothing."""


class Report(Part):
    """One run: what report.json holds."""

    format: Literal[1] = 1
    """Version of this schema."""
    name: str
    task: Task
    run_id: str
    version: int | None = None
    """Version in the registry; null when nothing was registered."""
    created: str
    """ISO 8601, UTC."""
    notes: list[str] = []
    """What a reader must know first: warnings, fallbacks."""
    evaluation: Evaluation
    data: DataCard
    ensemble: EnsembleCard
    uncertainty: UncertaintyCard | None = None
    candidates: list[CandidateRow] = []
    """Best first; those that were stopped early last."""
    fold_tests: FoldTests | None = None
    tradeoff: TradeoffCard | None = None
    compression: CompressionCard | None = None
    labels: LabelsCard | None = None
    alarms: AlarmCard | None = None
    """Anomalies only."""
    search: SearchCard | None = None
    sensitivity: list[SensitivityCard] = []
    """Of the search for candidates, and of that for ensembles."""
    stages: dict[str, float] = {}
    """Seconds of each stage, in order."""
    extraction: list[ExtractionRow] = []
    graph: GraphCard | None = None
    spec: str = ""
    """The resolved spec, as YAML."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of packages."""

    def to_json(self) -> dict[str, Any]:
        """The JSON-able form; ``Report.model_validate(form)`` gives the report back."""
        return self.model_dump(mode="json")
