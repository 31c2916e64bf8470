"""The report as data: what report.json holds, and what report.html is rendered from.

Scores that are not defined are null, never NaN. Rows of the data never appear here, only counts, names and reasons;
the test labels and predictions of a regression's sample of points are the one exception, and they are numbers.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hybrid_ray.types import Direction, Task


def _defined(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


Score = Annotated[float | None, BeforeValidator(_defined)]
"""A number, or null where it is not defined."""


class Part(BaseModel):
    """Base of every part of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class Estimate(Part):
    """A test score with the ends of its 95 % interval."""

    value: Score
    low: Score = None
    high: Score = None


class Headline(Part):
    """The one number of the run, and what it is worth."""

    metric: str
    direction: Direction
    score: Estimate
    """Score of the graph on the test rows."""
    naive: Score
    """Score of the naive baseline on the same rows."""
    gain: Score
    """How much better than the naive baseline; positive is better."""
    rows: int
    """Test rows."""
    interval: str
    """How the intervals were made."""


class MetricRow(Part):
    """One metric of the task on the test rows."""

    metric: str
    direction: Direction
    score: Estimate
    naive: Score


LevelKind = Literal["naive", "modality", "extractor", "without", "candidate", "data", "feature", "decision", "other"]


class LevelRow(Part):
    """One way to predict, on the test rows, compared with the best single modality."""

    name: str
    kind: LevelKind
    candidate: str = ""
    """Label of the candidate that stands for it."""
    oof: Score = None
    """Out-of-fold score on the training rows."""
    score: Estimate
    reference: bool = False
    """True for the row that the others are compared with: the best single modality."""
    gain: Estimate | None = None
    """Gain over the reference with its paired interval; positive is better."""
    p_value: Score = None
    """Two-sided, paired bootstrap."""


class AblationRow(Part):
    """One set of inputs, on the test rows, compared with all of them."""

    name: str
    kind: Literal["alone", "without", "all"]
    score: Estimate
    change: Estimate | None = None
    """Against all inputs; negative is worse."""
    p_value: Score = None
    """Two-sided, paired bootstrap, with Holm's correction over the rows."""


class RightRow(Part):
    """The ensemble against another level, by the test rows that only one of them gets right (McNemar)."""

    name: str
    ensemble_only: int
    other_only: int
    p_value: Score


class FoldRow(Part):
    """One candidate against the best one, over the folds that both were held out by."""

    label: str
    rank: Score
    """Mean rank over the folds; 1 is best."""
    gain: Score
    """Mean over the folds of its gain over the best candidate; negative is worse, 0 for that candidate itself."""
    p_value: Score = None
    """Two-sided corrected resampled t test, with Holm's correction; null for the best candidate itself."""
    same: bool
    """True where its mean rank cannot be told from the best one (Nemenyi, 5 %)."""


class FoldTests(Part):
    """Whether the best candidates of the search differ by more than chance."""

    folds: int
    rows: list[FoldRow]
    """By mean rank."""
    friedman_p: Score
    """Of the hypothesis that all of them are the same, by their ranks."""
    critical_difference: Score
    """Mean ranks that differ by more differ significantly (Nemenyi, 5 %)."""
    anova_p: Score
    """Of the same hypothesis, by analysis of variance with repeated measures."""


class ClassRow(Part):
    """One class against the rest, on the test rows."""

    label: str
    support: int
    predicted: int
    precision: Score
    recall: Score
    f1: Score
    roc_auc: Score
    average_precision: Score = None


class Confusion(Part):
    """Test rows of each true class (first axis) by predicted class."""

    labels: list[str]
    counts: list[list[int]]


class BinRow(Part):
    """Test rows whose confidence fell between two bounds."""

    low: float
    high: float
    rows: int
    confidence: float
    observed: Estimate


class Calibration(Part):
    """Confidence against what came true."""

    of: str
    """What the confidence is of: a class (two classes) or the predicted class."""
    error: Score
    """Expected calibration error."""
    bins: list[BinRow]


class RocCurve(Part):
    """ROC curve of one class against the rest."""

    label: str
    area: Score
    points: list[tuple[float, float]]
    """False and true positive rate."""


class PrecisionRecallCurve(Part):
    """Precision-recall curve of one class against the rest."""

    label: str
    area: Score
    """Average precision."""
    share: Score
    """Share of the class in the test rows: the precision of a guess."""
    points: list[tuple[float, float]]
    """Recall and precision."""


class ResidualCard(Part):
    """Predicted minus true values."""

    points: list[tuple[float, float]]
    """True and predicted value of a sample of test rows."""
    quantiles: dict[str, float]
    counts: list[int]
    edges: list[float]


class GroupRow(Part):
    """The test rows of one group."""

    label: str
    rows: int
    scores: dict[str, Estimate]
    """By measure; one that would rest on too few rows is left out."""


class GapRow(Part):
    """How far apart the groups of a column are by one measure."""

    measure: str
    gap: Estimate
    """Largest difference between two groups, with an interval that allows for its being the largest."""
    p_value: Score
    """Of the hypothesis that all groups are the same, over all pairs of groups."""
    highest: str
    lowest: str
    """The groups that are farthest apart."""
    compared: int
    """Groups with enough rows to be compared."""


class GroupCard(Part):
    """The graph's scores by the groups of one column."""

    column: str
    note: str = ""
    """How the groups were made."""
    positive: str = ""
    """The class that selection and the positive rates are of; empty unless there are two classes."""
    least: int
    """Rows that a score must rest on."""
    rows: list[GroupRow]
    gaps: list[GapRow]


class Evaluation(Part):
    """Everything that was measured on the test rows."""

    headline: Headline
    metrics: list[MetricRow]
    levels: list[LevelRow]
    ablation: list[AblationRow]
    members: dict[str, Score]
    """Test score of each member of the ensemble, by the headline's metric."""
    right: list[RightRow] = []
    classes: list[ClassRow] = []
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    roc: list[RocCurve] = []
    precision_recall: list[PrecisionRecallCurve] = []
    """Of the same classes."""
    residuals: ResidualCard | None = None
    groups: list[GroupCard] = []
    """By each column of ``data.groups``."""


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
