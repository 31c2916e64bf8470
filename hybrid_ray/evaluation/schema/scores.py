"""What the test rows say of the graph and of what stands beside it."""

from __future__ import annotations

from typing import Literal

from hybrid_ray.evaluation.schema.base import Estimate, Part, Score
from hybrid_ray.evaluation.schema.clusters import ClusterCard
from hybrid_ray.types import Direction


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
    tied: int | None = None
    """Groups of test rows that go together, of which whole ones were drawn for intervals and p values; null: rows were
    taken one by one."""


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
    counted: Score = None
    """As how many rows those count for that go together; null: as many as there are."""


class FoldRow(Part):
    """One candidate against the best one, over the folds that both were held out by."""

    label: str
    rank: Score
    """Mean rank over the folds; 1 is best."""
    gain: Score
    """Mean over the folds of its gain over the best candidate; negative is worse, 0 for that candidate itself."""
    low: Score = None
    """Ends of the gain's 95 % interval, of this comparison alone, by the t test's variance."""
    high: Score = None
    p_value: Score = None
    """Two-sided corrected resampled t test, with Holm's correction; null for the best candidate itself."""
    cuts: int = 1
    """Cuts of the rows into folds that the gain is a mean over: those that both candidates were fitted on."""
    same: bool
    """True where its mean rank cannot be told from the best one (Nemenyi, 5 %)."""


class FoldTests(Part):
    """Whether the best candidates of the search differ by more than chance."""

    folds: int
    """Folds of a cut that candidates have scores on."""
    cuts: int = 1
    """Cuts of the rows into folds that all candidates were fitted on: what ranks and the ANOVA are of."""
    note: str = ""
    """Why there are fewer cuts than were asked for."""
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


class StepRow(Part):
    """Errors one step ahead, two, and so on, in units of the rows' scales."""

    step: int
    error: Score
    """Mean absolute error of the ensemble."""
    seasonal: Score
    """Of the seasonal naive forecast."""
    naive2: Score


class DrawnForecast(Part):
    """One test row, drawn."""

    seasonal: list[float]
    """The seasonal naive forecast: what the last season was."""
    came: list[float]
    forecast: list[float]
    low: list[float] = []
    high: list[float] = []
    """Ends of the widest interval; empty where there is none."""


class ReachRow(Part):
    """Intervals of one probability on the test rows."""

    level: float
    covered: Estimate
    """Share of all steps of all rows that lie inside; its interval treats rows, or groups of them that go together, as
    independent, not steps."""
    width: Score
    """Mean width, in units of the rows' scales."""
    pinball: Score
    """Mean pinball loss of both ends, in units of the rows' scales."""


class ForecastCard(Part):
    """Forecasts of the test rows, step by step."""

    steps: list[StepRow]
    intervals: list[ReachRow] = []
    drawn: list[DrawnForecast] = []


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
    forecast: ForecastCard | None = None
    residuals: ResidualCard | None = None
    clusters: ClusterCard | None = None
    groups: list[GroupCard] = []
    """By each column of ``data.groups``."""
