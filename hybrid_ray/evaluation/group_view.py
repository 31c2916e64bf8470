"""What the page shows of groups of rows, ready to be laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybrid_ray.evaluation.axis import Axis, Strip, interval_text
from hybrid_ray.evaluation.formatting import DASH, number, p_value, score_decimals
from hybrid_ray.evaluation.schema import Estimate, Evaluation, GapRow, GroupCard, GroupRow
from hybrid_ray.evaluation.view import SIGNIFICANT
from hybrid_ray.types import Task


@dataclass(frozen=True)
class GroupLine:
    """The test rows of one group: the headline's metric on a common axis, and other scores beside it."""

    label: str
    rows: int
    score: str
    interval: str
    strip: Strip | None
    others: list[tuple[str, str]]
    """Score and interval by each of the other measures that are shown."""


@dataclass(frozen=True)
class GapLine:
    """How far apart groups are by one measure."""

    measure: str
    gap: str
    interval: str
    strip: Strip | None
    p: str
    apart: bool
    """True where they differ by more than chance."""
    between: str
    scores: list[str]
    """Of each group, in their order."""


@dataclass(frozen=True)
class Groups:
    """One column's groups."""

    column: str
    note: str
    positive: str
    least: int
    measure: str
    others: list[str]
    ticks: list[tuple[float, str]]
    lines: list[GroupLine]
    gaps: list[GapLine]
    gap_ticks: list[tuple[float, str]]
    more: list[GapLine]
    """Gaps of the measures that are not shown at once."""


_BESIDE: Mapping[Task, Sequence[str]] = {
    "binary": ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate"),
    "multiclass": ("accuracy", "f1_macro"),
    "regression": ("mean_absolute_error", "mean_error"),
}
"""Measures that stand beside the headline's metric where groups are compared."""


def groups(card: GroupCard, evaluation: Evaluation) -> Groups:
    """The groups of one column: the headline's metric on a common axis, a few measures beside it, and the gaps."""
    measure = evaluation.headline.metric
    task: Task = "regression" if not evaluation.classes else "binary" if card.positive else "multiclass"
    others = [name for name in _BESIDE[task] if name != measure]
    axis = Axis(row.scores[measure] for row in card.rows if measure in row.scores)
    shown = [gap for name in (measure, *others) for gap in card.gaps if gap.measure == name]
    gap_axis = Axis([Estimate(value=0.0), *(gap.gap for gap in shown)])
    return Groups(
        column=card.column,
        note=card.note,
        positive=card.positive,
        least=card.least,
        measure=measure,
        others=others,
        ticks=axis.ticks(4),
        lines=[_group_line(row, measure, others, axis) for row in card.rows],
        gaps=[_gap_line(gap, card, gap_axis) for gap in shown],
        gap_ticks=gap_axis.ticks(4),
        more=[_gap_line(gap, card) for gap in card.gaps if gap not in shown],
    )


def _group_line(row: GroupRow, measure: str, others: Sequence[str], axis: Axis) -> GroupLine:
    score, interval = _told(row.scores.get(measure))
    return GroupLine(
        label=row.label,
        rows=row.rows,
        score=score,
        interval=interval,
        strip=axis.strip(row.scores[measure]) if measure in row.scores else None,
        others=[_told(row.scores.get(name)) for name in others],
    )


def _told(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return DASH, ""
    places = score_decimals(estimate.value, estimate.low, estimate.high)
    return number(estimate.value, places), interval_text(estimate, places)


def _gap_line(row: GapRow, card: GroupCard, axis: Axis | None = None) -> GapLine:
    gap, interval = _told(row.gap)
    return GapLine(
        measure=row.measure,
        gap=gap,
        interval=interval,
        strip=axis.strip(row.gap) if axis else None,
        p=p_value(row.p_value),
        apart=row.p_value is not None and row.p_value < SIGNIFICANT,
        between=f"highest: {row.highest}; lowest: {row.lowest}",
        scores=[_told(group.scores.get(row.measure))[0] for group in card.rows],
    )
