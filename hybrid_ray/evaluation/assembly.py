"""From test labels and outputs by name to the measured part of the report.

Outputs are named for what made them, and the names decide where they stand:

====================================  ==========================================================
``naive``                             the naive baseline
``alone:<modality>``                  the best candidate that reads one modality only
``alone:<extractor>``                 the best candidate of one extractor only
``without:<modality>``                the best candidate that leaves a modality out
``best candidate``                    the best single candidate of the search
``data-level fusion``                 the best candidate of one extractor that reads several modalities
``feature-level fusion``              the best candidate that puts several extractors together
``ensemble``                          the graph: decision-level fusion of its members
====================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation import curves
from hybrid_ray.evaluation.cluster_card import cluster_card
from hybrid_ray.evaluation.forecast_card import forecast_card
from hybrid_ray.evaluation.groups import group_cards
from hybrid_ray.evaluation.intervals import Comparison, Difference
from hybrid_ray.evaluation.metrics import METRICS, Metric, metrics_of
from hybrid_ray.evaluation.schema import (
    AblationRow,
    BinRow,
    Calibration,
    ClassRow,
    Confusion,
    Estimate,
    Evaluation,
    Headline,
    LevelKind,
    LevelRow,
    MetricRow,
    PrecisionRecallCurve,
    ResidualCard,
    RightRow,
    RocCurve,
)
from hybrid_ray.evaluation.significance import holm, mcnemar
from hybrid_ray.evaluation.ties import Ties, rows_for_share
from hybrid_ray.forecasts import Outlook
from hybrid_ray.types import CLUSTERING, AnyArray, Modality, Task

NAIVE = "naive"
BEST = "best candidate"
DATA_LEVEL = "data-level fusion"
FEATURE_LEVEL = "feature-level fusion"
ENSEMBLE = "ensemble"
ALONE, WITHOUT = "alone:", "without:"

RESAMPLES = 1000
MAX_CURVES = 20
"""Classes that get a ROC curve at most: the largest of the test rows."""

_KINDS: Mapping[str, LevelKind] = {
    NAIVE: "naive",
    BEST: "candidate",
    DATA_LEVEL: "data",
    FEATURE_LEVEL: "feature",
    ENSEMBLE: "decision",
}
_ORDER: Sequence[LevelKind] = (
    "naive", "modality", "extractor", "without", "candidate", "other", "data", "feature", "decision",
)  # fmt: skip


def level_kind(name: str) -> LevelKind:
    """Where the outputs of a name stand."""
    if name.startswith(ALONE):
        return "modality" if name.removeprefix(ALONE) in get_args(Modality) else "extractor"
    return "without" if name.startswith(WITHOUT) else _KINDS.get(name, "other")


def reference_level(scores: Mapping[str, float], metric: Metric) -> str | None:
    """The single modality that fusion must beat.

    Parameters
    ----------
    scores : mapping of str to float
        Scores by level name: out-of-fold ones if they are known, so that the choice does not look at the test rows.
    metric : Metric

    Returns
    -------
    str or None
        The best modality where there are several, else the best extractor alone, else the best candidate.
    """
    kinds = {name: level_kind(name) for name, score in scores.items() if np.isfinite(score)}
    modalities = [name for name, kind in kinds.items() if kind == "modality"]
    extractors = [name for name, kind in kinds.items() if kind == "extractor"]
    pool = modalities if len(modalities) > 1 else extractors or modalities
    if not pool:
        return BEST if BEST in kinds else None
    sign = 1 if metric.direction == "maximize" else -1
    return max(sorted(pool), key=lambda name: sign * scores[name])


def _estimate(found: Comparison, name: str) -> Estimate:
    low, high = found.interval(name)
    return Estimate(value=found.scores[name], low=low, high=high)


def _gain(difference: Difference) -> Estimate:
    return Estimate(value=difference.mean, low=difference.low, high=difference.high)


def _level_rows(
    found: Comparison, names: Sequence[str], oof: Mapping[str, float], candidates: Mapping[str, str]
) -> list[LevelRow]:
    known = {name: oof[name] for name in names if name in oof}
    reference = reference_level(known, found.metric) or reference_level(found.scores, found.metric)
    rows = []
    for name in names:
        gain = found.difference(name, reference) if reference is not None and name != reference else None
        rows.append(
            LevelRow(
                name=name,
                kind=level_kind(name),
                candidate=candidates.get(name, ""),
                oof=oof.get(name),
                score=_estimate(found, name),
                reference=name == reference,
                gain=_gain(gain) if gain else None,
                p_value=gain.p_value if gain else None,
            )
        )
    return sorted(rows, key=lambda row: _ORDER.index(row.kind))


def compare(
    y: AnyArray,
    outputs: Mapping[str, AnyArray],
    metric: Metric,
    seed: int = 0,
    *,
    oof: Mapping[str, float] | None = None,
    candidates: Mapping[str, str] | None = None,
    n: int = RESAMPLES,
    ties: Ties | None = None,
) -> list[LevelRow]:
    """Every level on the same rows, and whether its gain over the best single modality is more than chance.

    Parameters
    ----------
    y : ndarray (n_rows,)
    outputs : mapping of str to ndarray (n_rows, n_outputs)
        By level name; see the module.
    metric : Metric
    seed : int, default 0
    oof : mapping of str to float, optional
        Out-of-fold scores by level name; they choose the best single modality, so that the choice does not look at
        the test rows.
    candidates : mapping of str to str, optional
        Label of the candidate behind each level, to be shown.
    n : int, default 1000
        Bootstrap resamples.
    ties : Ties, optional
        Which rows go together; default: row by row.

    Returns
    -------
    list of LevelRow
        From the naive baseline to the ensemble.
    """
    return _level_rows(Comparison(y, outputs, metric, n, seed, ties), list(outputs), oof or {}, candidates or {})


def _ablation_rows(found: Comparison) -> list[AblationRow]:
    """Each modality alone and each left out, against the best candidate that may read everything.

    One candidate stands against one candidate: the ensemble would win by being many. The p values of all rows are
    corrected together (Holm).
    """
    everything = BEST if BEST in found.scores else ENSEMBLE
    kinds = {name: level_kind(name) for name in found.scores}
    alone = [n for n, kind in kinds.items() if kind == "modality"]
    alone = alone if len(alone) > 1 else [n for n, kind in kinds.items() if kind == "extractor"]
    without = [n for n, kind in kinds.items() if kind == "without"]
    if not alone and not without:
        return []
    rows = [AblationRow(name="all inputs", kind="all", score=_estimate(found, everything))]
    changes = {name: found.difference(name, everything) for name in [*alone, *without]}
    p_values = holm([change.p_value for change in changes.values()])
    for (name, change), p_value in zip(changes.items(), p_values, strict=True):
        rows.append(
            AblationRow(
                name=name.partition(":")[2],
                kind="alone" if name in alone else "without",
                score=_estimate(found, name),
                change=_gain(change),
                p_value=p_value,
            )
        )
    return rows


def evaluate_test(
    y: AnyArray,
    outputs: Mapping[str, AnyArray],
    *,
    task: Task,
    metric: Metric,
    classes: Sequence[Any] | None,
    members: Mapping[str, AnyArray] | None = None,
    oof: Mapping[str, float] | None = None,
    candidates: Mapping[str, str] | None = None,
    groups: Sequence[Grouping] = (),
    numbers: AnyArray | None = None,
    outlook: Outlook | None = None,
    seed: int = 0,
    n: int = RESAMPLES,
    ties: Ties | None = None,
) -> Evaluation:
    """Everything that is measured on the test rows.

    Parameters
    ----------
    y : ndarray (n_rows,)
        Class codes, or floats; for clustering codes of what clusters are compared with, -1 where there is nothing.
    outputs : mapping of str to ndarray (n_rows, n_outputs)
        By level name (see the module); ``ensemble`` and ``naive`` must be there.
    task : Task
    metric : Metric
        Of the headline and of every comparison.
    classes : sequence or None
        Class labels in code order; None for regression, and for clustering without a label.
    members : mapping of str to ndarray (n_rows, n_outputs), optional
        Outputs of each member of the ensemble, by name.
    oof, candidates : mapping, optional
        See :func:`compare`.
    groups : sequence of Grouping, optional
        The same rows, divided by columns.
    numbers : ndarray of int (n_rows,), optional
        What the rows are called, for clustering; default: by position.
    outlook : Outlook, optional
        Intervals of forecasts.
    seed : int, default 0
    n : int, default 1000
        Bootstrap resamples.
    ties : Ties, optional
        Which rows go together: every interval and p value is by whole groups of them. Default: row by row.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        ``ensemble`` or ``naive`` is not among the outputs.
    """
    missing = sorted({ENSEMBLE, NAIVE} - set(outputs))
    if missing:
        raise ValueError(f"outputs: must hold '{ENSEMBLE}' and '{NAIVE}'; missing {missing}")
    found = Comparison(y, outputs, metric, n, seed, ties)
    shown = [name for name in outputs if level_kind(name) != "without"]
    graph = np.asarray(outputs[ENSEMBLE], np.float64)
    learned = None if task in CLUSTERING else classes
    headline = Headline(
        metric=metric.name,
        direction=metric.direction,
        score=_estimate(found, ENSEMBLE),
        naive=found.scores[NAIVE],
        gain=metric.gain(found.scores[ENSEMBLE], found.scores[NAIVE]),
        rows=len(y),
        interval=_way(metric, ties),
        tied=None if ties is None else ties.n,
    )
    measured = Evaluation(
        headline=headline,
        metrics=_metric_rows(y, graph, outputs[NAIVE], task, seed, n, ties),
        levels=_level_rows(found, shown, oof or {}, candidates or {}),
        ablation=_ablation_rows(found),
        members={name: metric.score(y, values) for name, values in (members or {}).items()},
        groups=group_cards(y, graph, groups, task=task, classes=learned, seed=seed, n=n, ties=ties) if groups else [],
    )
    if task in CLUSTERING:
        named = np.arange(len(y)) if numbers is None else numbers
        return measured.model_copy(update={"clusters": cluster_card(y, graph, named, classes, seed)})
    if task == "forecasting":
        return measured.model_copy(update={"forecast": forecast_card(y, graph, outlook, ties)})
    if classes is None:
        return measured.model_copy(update={"residuals": _residual_card(y, graph, seed)})
    scores = curves.class_scores(y, graph)
    return measured.model_copy(
        update={
            "right": _right_rows(y, outputs, shown, ties),
            "classes": _class_rows(scores, classes),
            "confusion": _confusion(y, graph, classes),
            "calibration": _calibration(y, graph, classes, ties),
            "roc": _roc_curves(y, graph, classes, scores),
            "precision_recall": _precision_recall_curves(y, graph, classes, scores),
        }
    )


def _way(metric: Metric, ties: Ties | None) -> str:
    """How the headline's interval is made."""
    way = "Wilson" if metric.name == "accuracy" else "percentile bootstrap"
    return way if ties is None else f"{way}, {ties.n:,} groups of rows that go together"


def _metric_rows(
    y: AnyArray, outputs: AnyArray, naive: AnyArray, task: Task, seed: int, n: int, ties: Ties | None
) -> list[MetricRow]:
    rows = []
    for metric in metrics_of(task).values():
        found = Comparison(y, {ENSEMBLE: outputs}, metric, n, seed, ties)
        rows.append(
            MetricRow(
                metric=metric.name,
                direction=metric.direction,
                score=_estimate(found, ENSEMBLE),
                naive=metric.score(y, naive),
            )
        )
    return rows


def _right_rows(
    y: AnyArray, outputs: Mapping[str, AnyArray], names: Sequence[str], ties: Ties | None
) -> list[RightRow]:
    rows = []
    for name in sorted(set(names) - {ENSEMBLE}, key=lambda name: _ORDER.index(level_kind(name))):
        found = mcnemar(np.asarray(y), outputs[ENSEMBLE], outputs[name], ties)
        rows.append(
            RightRow(
                name=name,
                ensemble_only=found.first_only,
                other_only=found.second_only,
                p_value=found.p_value,
                counted=None if ties is None else _counted(y, outputs[ENSEMBLE], outputs[name], ties),
            )
        )
    return rows


def _counted(y: AnyArray, first: AnyArray, second: AnyArray, ties: Ties) -> float:
    """As how many rows those count for that only one of two gets right."""
    right = first.argmax(axis=1) == y
    own = np.flatnonzero(right != (second.argmax(axis=1) == y))
    return rows_for_share(right[own], ties.take(own)) if len(own) else 0.0


def _class_rows(scores: Sequence[curves.ClassScores], classes: Sequence[Any]) -> list[ClassRow]:
    return [
        ClassRow(
            label=str(label),
            support=row.support,
            predicted=row.predicted,
            precision=row.precision,
            recall=row.recall,
            f1=row.f1,
            roc_auc=row.roc_auc,
            average_precision=row.average_precision,
        )
        for label, row in zip(classes, scores, strict=True)
    ]


def _confusion(y: AnyArray, outputs: AnyArray, classes: Sequence[Any]) -> Confusion:
    return Confusion(labels=[str(c) for c in classes], counts=curves.confusion_matrix(y, outputs).tolist())


def _calibration(y: AnyArray, outputs: AnyArray, classes: Sequence[Any], ties: Ties | None) -> Calibration:
    bins = curves.calibration_bins(y, outputs, ties=ties)
    return Calibration(
        of=f"class {classes[1]}" if len(classes) == 2 else "the predicted class",
        error=METRICS["expected_calibration_error"].score(y, outputs),
        bins=[
            BinRow(
                low=b.low,
                high=b.high,
                rows=b.rows,
                confidence=b.confidence,
                observed=Estimate(value=b.observed, low=b.observed_low, high=b.observed_high),
            )
            for b in bins
        ],
    )


def _drawn_classes(y: AnyArray, classes: Sequence[Any]) -> list[int]:
    """Codes of the classes that get a curve: the second of two, else the largest ones that are there."""
    if len(classes) == 2:
        return [1]
    support = np.bincount(np.asarray(y, np.int64), minlength=len(classes))
    largest = np.argsort(-support, kind="stable")[:MAX_CURVES]
    return sorted(int(code) for code in largest if 0 < support[code] < len(y))


def _roc_curves(
    y: AnyArray, outputs: AnyArray, classes: Sequence[Any], scores: Sequence[curves.ClassScores]
) -> list[RocCurve]:
    found = []
    for code in _drawn_classes(y, classes):
        points = curves.roc_points(outputs[:, code], np.asarray(y) == code)
        if len(points):
            found.append(RocCurve(label=str(classes[code]), area=scores[code].roc_auc, points=_pairs(points)))
    return found


def _precision_recall_curves(
    y: AnyArray, outputs: AnyArray, classes: Sequence[Any], scores: Sequence[curves.ClassScores]
) -> list[PrecisionRecallCurve]:
    found = []
    for code in _drawn_classes(y, classes):
        points = curves.precision_recall_points(outputs[:, code], np.asarray(y) == code)
        if len(points):
            found.append(
                PrecisionRecallCurve(
                    label=str(classes[code]),
                    area=scores[code].average_precision,
                    share=scores[code].support / len(y),
                    points=_pairs(points),
                )
            )
    return found


def _pairs(points: AnyArray) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _residual_card(y: AnyArray, outputs: AnyArray, seed: int) -> ResidualCard:
    found = curves.residuals(y, outputs, seed=seed)
    return ResidualCard(points=found.points, quantiles=found.quantiles, counts=found.counts, edges=found.edges)
