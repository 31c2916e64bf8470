"""Whether a model serves all groups of rows alike: scores by group, and how far groups are apart.

The largest of many differences is large even where all groups are the same. Its interval and its p value are those of
all pairs of groups together: the spread that it is held against is that of the largest difference between the errors of
the groups' scores, as Tukey's range is for means. Shares of rows (accuracy, selection, true and false positive rates)
are redrawn from a binomial that is pulled a little to one half, so that a group without an error is not taken for
certain; other metrics from bootstrap samples of each group's rows. Where rows go together (see
:mod:`hybrid_ray.evaluation.ties`), shares are of as many rows as theirs count for, and samples of whole such groups; a
group whose rows all go together is compared as it is, row by row.

References
----------
Hardt, Price and Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016: equal true (and false) positive
rates.
Dwork, Hardt, Pitassi, Reingold and Zemel, "Fairness through awareness", ITCS 2012: equal selection.
Romano and Wolf, "Exact and approximate stepdown methods for multiple hypothesis testing", JASA 2005: one spread for the
largest of several differences.
Agresti and Coull, "Approximate is better than 'exact' for interval estimation of binomial proportions", The American
Statistician 1998.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation.intervals import LEVEL, interval_of, resampled_scores, wilson
from hybrid_ray.evaluation.metrics import Metric, metrics_of
from hybrid_ray.evaluation.schema import Estimate, GapRow, GroupCard, GroupRow
from hybrid_ray.evaluation.statistics import Scorer, mean_scorer
from hybrid_ray.evaluation.ties import Ties, rows_for_share
from hybrid_ray.types import CLASSIFICATION, REGRESSION, AnyArray, BoolArray, Task

LEAST_ROWS = 10
"""Rows that a group's score must rest on: of the class that it is about, where it is about one."""
RESAMPLES = 500
"""Bootstrap samples at most: there are many scores, and none of them chooses anything."""

SELECTION, TRUE_POSITIVES, FALSE_POSITIVES = "selection_rate", "true_positive_rate", "false_positive_rate"
MEAN_ERROR = "mean_error"

_ROW_BY_ROW = frozenset({"log_loss", "brier_score_loss"})
"""Metrics of two classes that need no rows of both."""


@dataclass(frozen=True)
class _Share:
    """A measure that is a share of rows: those of ``hits`` among ``among``, bool (n,) each."""

    hits: BoolArray
    among: BoolArray
    ties: Ties | None

    def of(self, rows: AnyArray, n: int, rng: np.random.Generator) -> _Measured | None:
        own = rows[self.among[rows]]
        found = self.hits[own]
        total, hits = len(own), float(found.sum())
        if total < LEAST_ROWS:
            return None
        value = hits / total
        if self.ties is not None:
            counted = rows_for_share(found, self.ties.take(own))
            total, hits = max(round(counted), 1), value * max(counted, 1.0)
            low, high = wilson(hits, max(counted, 1.0))
        else:
            low, high = wilson(hits, total)
        pulled = (hits + 2) / (total + 4)
        errors = rng.binomial(total, pulled, n) / total - pulled
        return _Measured(Estimate(value=value, low=float(low), high=float(high)), errors)


@dataclass(frozen=True)
class _Scored:
    """A measure that is a metric."""

    metric: Metric
    y: AnyArray
    outputs: AnyArray
    ties: Ties | None

    def of(self, rows: AnyArray, n: int, rng: np.random.Generator) -> _Measured | None:
        y, outputs = self.y[rows], self.outputs[rows]
        if self._rests_on(y) < LEAST_ROWS:
            return None
        ties = None if self.ties is None else self.ties.take(rows)
        drawn = resampled_scores(y, {"": outputs}, self.metric, n, int(rng.integers(2**31)), ties)[""]
        value = self.metric.score(y, outputs)
        low, high = interval_of(value, drawn, self.metric, ties)
        return _Measured(Estimate(value=value, low=low, high=high), drawn - value) if np.isfinite(value) else None

    def _rests_on(self, y: AnyArray) -> int:
        both = self.metric.tasks & CLASSIFICATION and self.outputs.shape[1] == 2
        if not both or self.metric.name in _ROW_BY_ROW:
            return len(y)
        return int(np.bincount(y, minlength=2).min())


@dataclass(frozen=True)
class _Measured:
    """A group's score, and the errors of its resamples."""

    score: Estimate
    errors: AnyArray = field(repr=False)


def _mean_error(y: AnyArray, outputs: AnyArray) -> Scorer:
    return mean_scorer((outputs[:, 0] - y)[:, None], lambda means: means[:, 0])


def group_cards(
    y: AnyArray,
    outputs: AnyArray,
    groupings: Sequence[Grouping],
    *,
    task: Task,
    classes: Sequence[Any] | None,
    seed: int = 0,
    n: int = RESAMPLES,
    ties: Ties | None = None,
) -> list[GroupCard]:
    """Scores of one model by groups of the same rows.

    Parameters
    ----------
    y : ndarray (n,)
        Class codes, or floats.
    outputs : ndarray (n, n_outputs)
    groupings : sequence of Grouping
        One for each column.
    task : Task
    classes : sequence or None
        Class labels in code order; None for regression.
    seed : int, default 0
    n : int, default 500
        Bootstrap samples; never more than the default.
    ties : Ties, optional
        Which rows go together, whatever column they are divided by; default: row by row.

    Returns
    -------
    list of GroupCard
        Measures are every metric of the task but the calibration error, which grows as rows get fewer; for two classes
        ``selection_rate`` (rows predicted as the second class), ``true_positive_rate`` and ``false_positive_rate``; for
        numbers ``mean_error`` (predicted less true).
    """
    measures = _measures(np.asarray(y), np.asarray(outputs, np.float64), task, ties)
    positive = str(classes[1]) if classes is not None and len(classes) == 2 else ""
    return [_card(grouping, measures, positive, seed, min(n, RESAMPLES)) for grouping in groupings]


def _measures(y: AnyArray, outputs: AnyArray, task: Task, ties: Ties | None) -> dict[str, _Share | _Scored]:
    found: dict[str, _Share | _Scored] = {
        name: _Scored(metric, y, outputs, ties) for name, metric in metrics_of(task).items() if not metric.biased
    }
    every = np.ones(len(y), bool)
    if task in REGRESSION:
        mean_error = Metric(MEAN_ERROR, "minimize", REGRESSION, "values", _mean_error)
        found[MEAN_ERROR] = _Scored(mean_error, y, outputs, ties)
        return found
    guess = outputs.argmax(axis=1)
    found["accuracy"] = _Share(guess == y, every, ties)
    if outputs.shape[1] == 2:
        found[SELECTION] = _Share(guess == 1, every, ties)
        found[TRUE_POSITIVES] = _Share(guess == 1, y == 1, ties)
        found[FALSE_POSITIVES] = _Share(guess == 1, y == 0, ties)
    return found


def _card(grouping: Grouping, measures: Mapping[str, _Share | _Scored], positive: str, seed: int, n: int) -> GroupCard:
    rng = np.random.default_rng(seed)
    rows = {
        label: np.flatnonzero(grouping.codes == code)
        for code, label in enumerate(grouping.labels)
        if (grouping.codes == code).any()
    }
    measured: dict[str, dict[str, _Measured]] = {}
    for name, measure in measures.items():
        found = {label: measure.of(held, n, rng) for label, held in rows.items()}
        measured[name] = {label: each for label, each in found.items() if each is not None}
    gaps = [_gap(name, found) for name, found in measured.items()]
    return GroupCard(
        column=grouping.column,
        note=grouping.note,
        positive=positive,
        least=LEAST_ROWS,
        rows=[
            GroupRow(
                label=label,
                rows=len(held),
                scores={name: found[label].score for name, found in measured.items() if label in found},
            )
            for label, held in rows.items()
        ],
        gaps=[gap for gap in gaps if gap is not None],
    )


def _gap(name: str, found: Mapping[str, _Measured]) -> GapRow | None:
    """The largest difference between groups; None where there are not two to compare."""
    if len(found) < 2:
        return None
    values = {label: float(each.score.value or 0.0) for label, each in found.items()}
    highest, lowest = max(values, key=lambda label: values[label]), min(values, key=lambda label: values[label])
    gap = values[highest] - values[lowest]
    drawn = min(len(each.errors) for each in found.values())
    errors = np.stack([each.errors[:drawn] for each in found.values()])
    ranges = np.ptp(errors[:, np.isfinite(errors).all(axis=0)], axis=0)
    if not len(ranges):
        return None
    # The order statistic that keeps the interval in step with the p value: it holds 0 just where p is above 0.05.
    reach = float(np.sort(ranges)[-max(1, int((1 - LEVEL) * (len(ranges) + 1)))])
    return GapRow(
        measure=name,
        gap=Estimate(value=gap, low=max(0.0, gap - reach), high=gap + reach),
        p_value=(int((ranges >= gap).sum()) + 1) / (len(ranges) + 1),
        highest=highest,
        lowest=lowest,
        compared=len(found),
    )
