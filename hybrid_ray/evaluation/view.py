"""What the page shows, ready to be laid out: numbers become text, intervals become positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_ray.evaluation import assembly
from hybrid_ray.evaluation.axis import Axis, Strip, interval_text
from hybrid_ray.evaluation.formatting import DASH, number, p_value, share, signed
from hybrid_ray.evaluation.formatting import score_decimals as decimals_of
from hybrid_ray.evaluation.schema import (
    AblationRow,
    Confusion,
    Estimate,
    Evaluation,
    LevelRow,
    MemberRow,
    Report,
)

SIGNIFICANT = 0.05
MAX_CELLS = 40
"""Classes above which a confusion matrix is no longer drawn as cells."""
MAX_NUMBERS = 16
"""Classes above which its cells no longer hold numbers."""

_TITLES = {
    assembly.NAIVE: "Naive baseline",
    assembly.BEST: "Best single candidate",
    assembly.DATA_LEVEL: "Data-level fusion",
    assembly.FEATURE_LEVEL: "Feature-level fusion",
    assembly.ENSEMBLE: "Decision-level ensemble",
}


@dataclass(frozen=True)
class Line:
    """One row of a comparison."""

    title: str
    note: str
    kind: str
    score: str
    interval: str
    strip: Strip | None
    gain: str
    gain_interval: str
    p: str
    verdict: str
    """``better``, ``worse`` or ``even`` by the paired test; empty where there is none."""
    reference: bool


@dataclass(frozen=True)
class Table:
    """Rows on a common axis."""

    lines: list[Line]
    ticks: list[tuple[float, str]]
    reference: str


@dataclass(frozen=True)
class Tile:
    """One figure of the summary."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix."""

    count: int
    weight: float
    """How strongly it is coloured, 0 to 1: the share of the row, and for a mistake never too faint to see."""
    right: bool


@dataclass(frozen=True)
class Pair:
    """A class that was taken for another."""

    true: str
    predicted: str
    rows: int
    share: str


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix: cells where there is room, and the pairs that are confused most."""

    labels: list[str]
    cells: list[list[Cell]]
    numbers: bool
    pairs: list[Pair]


@dataclass(frozen=True)
class Bar:
    """One bar of a list."""

    label: str
    value: float
    width: float


def title_of(name: str) -> str:
    """A level's name for people."""
    if name.startswith(assembly.ALONE):
        return f"{name.removeprefix(assembly.ALONE)} alone"
    if name.startswith(assembly.WITHOUT):
        return f"without {name.removeprefix(assembly.WITHOUT)}"
    return _TITLES.get(name, name)


def _verdict(gain: Estimate | None, p: float | None) -> str:
    if p is None or gain is None or gain.value is None:
        return ""
    if p >= SIGNIFICANT:
        return "even"
    return "better" if gain.value > 0 else "worse"


def _line(
    title: str,
    row: LevelRow | AblationRow,
    gain: Estimate | None,
    reference: bool,
    axis: Axis,
    decimals: int,
    note: str = "",
) -> Line:
    return Line(
        title=title,
        note=note,
        kind=row.kind,
        score=number(row.score.value, decimals),
        interval=interval_text(row.score, decimals),
        strip=axis.strip(row.score),
        gain=signed(gain.value, decimals) if gain else "",
        gain_interval=interval_text(gain, decimals, sign=True),
        p=p_value(row.p_value) if gain else "",
        verdict=_verdict(gain, row.p_value),
        reference=reference,
    )


def score_decimals(evaluation: Evaluation) -> int:
    """Decimals that suit the headline's metric in this report."""
    score = evaluation.headline.score
    return decimals_of(score.value, score.low, score.high)


def levels(evaluation: Evaluation) -> Table:
    """The levels of fusion on a common axis."""
    central = ("candidate", "data", "feature", "decision")
    near = [row.score for row in evaluation.levels if row.kind in central or row.reference]
    axis = Axis(near, [row.score for row in evaluation.levels])
    decimals = score_decimals(evaluation)
    reference = next((title_of(row.name) for row in evaluation.levels if row.reference), "")
    lines = [
        _line(title_of(row.name), row, row.gain, row.reference, axis, decimals, row.candidate)
        for row in evaluation.levels
    ]
    return Table(lines, axis.ticks(), reference)


def ablation(evaluation: Evaluation) -> Table:
    """The ablation on a common axis."""
    near = [row.score for row in evaluation.ablation if row.kind != "alone"]
    axis = Axis(near, [row.score for row in evaluation.ablation])
    decimals = score_decimals(evaluation)
    lines = [_line(row.name, row, row.change, row.kind == "all", axis, decimals) for row in evaluation.ablation]
    return Table(lines, axis.ticks(), "all inputs")


def fusion_row(evaluation: Evaluation) -> LevelRow | None:
    """The ensemble's row, when it is compared with something else."""
    row = next((row for row in evaluation.levels if row.name == assembly.ENSEMBLE), None)
    return row if row and row.gain and row.gain.value is not None else None


def verdict(evaluation: Evaluation) -> str:
    """One sentence: is the ensemble's gain over the best single modality more than chance?"""
    row = fusion_row(evaluation)
    reference = next((title_of(r.name) for r in evaluation.levels if r.reference), None)
    if row is None or row.gain is None or row.gain.value is None or reference is None:
        return ""
    decimals = score_decimals(evaluation)
    size = number(abs(row.gain.value), decimals)
    ends = interval_text(row.gain, decimals, sign=True)
    known = f"95\N{NO-BREAK SPACE}% interval of the gain {ends}, {_p_text(row.p_value)}"
    head = evaluation.headline
    rows = f"{head.rows:,} test rows" + (f" of {head.tied:,} groups" if head.tied else "")
    if row.p_value is None or row.p_value >= SIGNIFICANT:
        return f"The ensemble and the best single input ({reference}) cannot be told apart on {rows}: {known}."
    better = "better" if row.gain.value > 0 else "worse"
    return f"The ensemble is {better} than the best single input ({reference}) by {size} on {rows}: {known}."


def _p_text(value: float | None) -> str:
    text = p_value(value)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def tiles(report: Report) -> list[Tile]:
    """The figures beside the headline."""
    evaluation = report.evaluation
    head, decimals = evaluation.headline, score_decimals(evaluation)
    found = [
        Tile("Naive baseline", number(head.naive, decimals), "looks at no input"),
        Tile("Gain over naive", signed(head.gain, decimals), "positive is better", _tone(head.gain)),
    ]
    row = fusion_row(evaluation)
    if row and row.gain:
        tone = _tone(row.gain.value) if row.p_value is not None and row.p_value < SIGNIFICANT else ""
        found.append(Tile("Gain over best single input", signed(row.gain.value, decimals), _p_text(row.p_value), tone))
    second = {"regression": "r2", "clustering": "silhouette", "forecasting": "owa"}.get(report.task, "accuracy")
    other = next((m for m in evaluation.metrics if m.metric == second and m.metric != head.metric), None)
    if other:
        places = decimals_of(other.score.value, other.score.low, other.score.high)
        found.append(Tile(other.metric, number(other.score.value, places), interval_text(other.score, places)))
    return found


def _tone(gain: float | None) -> str:
    return "" if not gain else "good" if gain > 0 else "bad"


def _shade(rows: int, of: int, right: bool) -> float:
    if not rows:
        return 0.0
    return round(rows / of if right else 0.18 + 0.82 * rows / of, 3)


def matrix(confusion: Confusion) -> Matrix:
    """The confusion matrix of a page."""
    labels, counts = confusion.labels, confusion.counts
    pairs = [
        (counts[i][j], i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and counts[i][j] > 0
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    cells = [[Cell(n, _shade(n, sum(row), i == j), i == j) for j, n in enumerate(row)] for i, row in enumerate(counts)]
    return Matrix(
        labels=labels,
        cells=cells if len(labels) <= MAX_CELLS else [],
        numbers=len(labels) <= MAX_NUMBERS,
        pairs=[Pair(labels[i], labels[j], n, share(n, sum(counts[i]))) for n, i, j in pairs[:8]],
    )


def bars(values: Sequence[tuple[str, float]], full: float | None = None) -> list[Bar]:
    """Bars in the order given; the longest is full, or ``full`` is."""
    top = full or max((abs(v) for _, v in values), default=0.0) or 1.0
    return [Bar(label, value, round(min(100.0, 100 * abs(value) / top), 1)) for label, value in values]


def weight_bars(members: Sequence[MemberRow]) -> list[Bar]:
    """Weights of members: as shares of one where they are shares, else beside the largest."""
    values = [(m.name, m.weight or 0.0) for m in members]
    shares = all(v >= 0 for _, v in values) and abs(sum(v for _, v in values) - 1) < 1e-3
    return bars(values, full=1.0 if shares else None)


def missing_share(missing: int, rows: int) -> str:
    """Missing rows of a column: ``12 (0.3 %)``, or a dash for none."""
    return f"{missing:,} ({share(missing, rows)})" if missing else DASH
