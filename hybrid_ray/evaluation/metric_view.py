"""What the page shows of all metrics: each on a common axis from the naive baseline to a perfect score."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hybrid_ray.evaluation.axis import UNIT, Axis, Strip, interval_text
from hybrid_ray.evaluation.formatting import DASH, number, score_decimals
from hybrid_ray.evaluation.schema import Estimate, Evaluation, MetricRow
from hybrid_ray.metric_names import METRIC_NAMES


@dataclass(frozen=True)
class MetricLine:
    """One metric."""

    metric: str
    higher: bool
    score: str
    interval: str
    naive: str
    strip: Strip | None
    headline: bool


@dataclass(frozen=True)
class Metrics:
    """Every metric of the task."""

    lines: list[MetricLine]
    ticks: list[tuple[float, str]]


def metrics(evaluation: Evaluation) -> Metrics:
    """The metrics of the ensemble, those that the baseline has something to lose by on an axis of skill."""
    skills = [_skill(row) for row in evaluation.metrics]
    axis = Axis([UNIT], [skill for skill in skills if skill])
    lines = [_line(row, skill, axis, evaluation) for row, skill in zip(evaluation.metrics, skills, strict=True)]
    return Metrics(lines, axis.ticks())


def _skill(row: MetricRow) -> Estimate | None:
    """The part of the way from the naive score to a perfect one; None where that is no way, or not known.

    The skill score of Murphy, "Skill scores based on the mean square error", Monthly Weather Review 116, 1988.
    """
    perfect = 1.0 if row.direction == "maximize" else 0.0
    if (
        not METRIC_NAMES[row.metric].bounded
        or row.naive is None
        or row.score.value is None
        or math.isclose(row.naive, perfect, abs_tol=1e-9)
    ):
        return None
    ends = [None if v is None else (v - row.naive) / (perfect - row.naive) for v in (row.score.low, row.score.high)]
    low, high = ends if row.direction == "maximize" else ends[::-1]
    return Estimate(value=(row.score.value - row.naive) / (perfect - row.naive), low=low, high=high)


def _line(row: MetricRow, skill: Estimate | None, axis: Axis, evaluation: Evaluation) -> MetricLine:
    places = score_decimals(row.score.value, row.score.low, row.score.high)
    return MetricLine(
        metric=row.metric,
        higher=row.direction == "maximize",
        score=number(row.score.value, places),
        interval=interval_text(row.score, places) or DASH,
        naive=number(row.naive, places),
        strip=axis.strip(skill) if skill else None,
        headline=row.metric == evaluation.headline.metric,
    )
