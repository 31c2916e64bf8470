"""Charts of the report as inline SVG.

Charts hold numbers only, never a string from the data, and name their colours as CSS variables of the page, so that
they follow its light and dark form. The text beside them (legends, captions) is the page's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ray.evaluation.formatting import compact
from hybrid_ray.evaluation.schema import (
    AlarmCard,
    Calibration,
    ClusterCard,
    FoldTests,
    ForecastCard,
    OfferRow,
    PrecisionRecallCurve,
    ResidualCard,
    RocCurve,
    TradeoffCard,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

SERIES = 8
"""Colours that curves take, in order: ``--series-0`` to ``--series-7``."""

_STAND_INS: dict[str, str] = {
    "ink": "#010101",
    "faint": "#020202",
    "accent": "#030303",
    "accent-2": "#040404",
} | {f"series-{i}": f"#0505{i:02x}" for i in range(SERIES)}
"""Colours that matplotlib is given, and that become ``var(--<name>)`` in the SVG."""

_COST_LABELS = {"latency": "milliseconds a row", "size": "megabytes"}
"""Costs that a front is drawn against, with what their axes say."""

_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.usetex": False,
    "svg.hashsalt": "hybrid_ray",
    "font.size": 10,
    "axes.edgecolor": _STAND_INS["faint"],
    "axes.labelcolor": _STAND_INS["ink"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _STAND_INS["faint"],
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "xtick.color": _STAND_INS["faint"],
    "ytick.color": _STAND_INS["faint"],
    "xtick.labelcolor": _STAND_INS["ink"],
    "ytick.labelcolor": _STAND_INS["ink"],
    "text.color": _STAND_INS["ink"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def _svg(draw: Callable[[Any], None], width: float, height: float) -> str:
    """Draw on a new figure (inches) and give it back as an SVG element without a fixed size."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(out.getvalue())


def _inline(document: str) -> str:
    """An SVG document as an element of an HTML page: no prolog, ids, fonts or styles of its own."""
    _, _, body = document[document.index("<svg") :].partition(">")
    box = re.search(r'viewBox="[\d. ]+"', document)
    svg = f'<svg {box[0] if box else ""} aria-hidden="true" focusable="false">{body}'
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg).replace("xlink:href", "href")
    svg = re.sub(
        r"font(-size)?: ([\d.]+)px[^\"]*?; (font-family: [^\"]*?; )?(?=text-anchor|fill)", r"font-size: \2px; ", svg
    )
    for name, colour in _STAND_INS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def calibration_chart(calibration: Calibration) -> str:
    """Reliability diagram with the number of rows below."""

    def draw(figure: Any) -> None:
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        top.plot([0, 1], [0, 1], color=_STAND_INS["faint"], linewidth=1, linestyle=(0, (4, 3)))
        x = [b.confidence for b in calibration.bins]
        y = np.array([b.observed.value for b in calibration.bins], float)
        low = np.array([b.observed.low for b in calibration.bins], float)
        high = np.array([b.observed.high for b in calibration.bins], float)
        top.vlines(x, low, high, color=_STAND_INS["accent"], linewidth=1.4, alpha=0.55)
        top.plot(x, y, color=_STAND_INS["accent"], marker="o", markersize=4.5, linewidth=1.6, clip_on=False)
        top.set(ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))
        edges = [b.low for b in calibration.bins]
        below.bar(edges, [b.rows for b in calibration.bins], width=0.094, align="edge", color=_STAND_INS["accent"])
        below.set(xlabel="confidence", ylabel="rows")
        below.locator_params(axis="y", nbins=3)

    return _svg(draw, 4.6, 4.3)


def roc_chart(curves: Sequence[RocCurve]) -> str:
    """ROC curves: the first in the page's series colours, the others faint."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_STAND_INS["faint"], linewidth=1, linestyle=(0, (4, 3)))
        for i, curve in reversed(list(enumerate(curves))):
            points = np.array(curve.points)
            axes.plot(points[:, 0], points[:, 1], **_series(i))
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))

    return _svg(draw, 4.6, 4.3)


def precision_recall_chart(curves: Sequence[PrecisionRecallCurve]) -> str:
    """Precision-recall curves as steps, coloured like the ROC curves; of a single one what a guess reaches, dashed."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        if len(curves) == 1 and curves[0].share is not None:
            axes.axhline(curves[0].share, color=_STAND_INS["faint"], linewidth=1, linestyle=(0, (4, 3)))
        for i, curve in reversed(list(enumerate(curves))):
            points = np.array(curve.points)
            recall, precision = np.r_[0.0, points[:, 0]], np.r_[points[0, 1], points[:, 1]]
            axes.plot(recall, precision, drawstyle="steps-pre", **_series(i))
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1), ylim=(0, 1.01))

    return _svg(draw, 4.6, 4.3)


def _series(i: int) -> dict[str, Any]:
    """How the i-th curve is drawn."""
    named = i < SERIES
    return {
        "color": _STAND_INS[f"series-{i}" if named else "faint"],
        "linewidth": 1.8 if named else 0.8,
        "alpha": 1.0 if named else 0.6,
    }


def critical_difference_chart(tests: FoldTests) -> str:
    """Mean ranks of numbered candidates, with a bar over those that cannot be told apart (Demšar 2006, figure 1).

    Candidates have the numbers of their rows, best first.
    """
    ranks = [float(row.rank or 0.0) for row in tests.rows]
    reach, m = float(tests.critical_difference or 0.0), len(tests.rows)
    left = (m + 1) // 2

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        for i, rank in enumerate(ranks):
            level = -1.6 - 0.8 * (i if i < left else m - 1 - i) - 0.28 * len(joined(ranks, reach))
            end = 0.75 if i < left else m + 0.25
            axes.plot([rank, rank, end], [0, level, level], color=_STAND_INS["ink"], linewidth=0.9)
            axes.plot([rank], [0], color=_STAND_INS["accent"], marker="o", markersize=6)
            axes.text(
                end + (-0.08 if i < left else 0.08), level, str(i + 1), va="center", ha="right" if i < left else "left"
            )
        for i, (first, last) in enumerate(joined(ranks, reach)):
            height = -0.7 - 0.42 * i
            axes.plot([first - 0.05, last + 0.05], [height, height], color=_STAND_INS["accent"], linewidth=4, alpha=0.8)
        axes.plot([1, 1 + min(reach, m - 1)], [1.1, 1.1], color=_STAND_INS["accent-2"], linewidth=2.4)
        axes.set(xlim=(0.4, m + 0.6), xticks=range(1, m + 1), yticks=[])
        axes.grid(visible=False)
        axes.xaxis.tick_top()
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.spines["top"].set(visible=True, position=("data", 0))
        axes.tick_params(axis="x", pad=1)

    return _svg(draw, 7.2, 1.2 + 0.22 * left + 0.12 * len(joined(ranks, reach)))


def joined(ranks: Sequence[float], reach: float) -> list[tuple[float, float]]:
    """Longest runs of ascending ranks that lie within the critical difference, of two or more."""
    found: list[tuple[int, int]] = []
    for i, rank in enumerate(ranks):
        last = max(j for j in range(i, len(ranks)) if ranks[j] - rank <= reach)
        if last > i and (not found or last > found[-1][1]):
            found.append((i, last))
    return [(ranks[i], ranks[j]) for i, j in found]


def fit_chart(card: ResidualCard) -> str:
    """Predicted against true values of a sample of test rows."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        points = np.array(card.points)
        ends = [points.min(), points.max()]
        axes.plot(ends, ends, color=_STAND_INS["faint"], linewidth=1, linestyle=(0, (4, 3)))
        axes.scatter(points[:, 0], points[:, 1], s=9, color=_STAND_INS["accent"], alpha=0.6, linewidths=0)
        axes.set(xlabel="true value", ylabel="predicted value")
        _short_ticks(axes.xaxis, axes.yaxis)

    return _svg(draw, 4.6, 4.3)


def residual_chart(card: ResidualCard) -> str:
    """Histogram of the residuals of all test rows."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        edges = np.array(card.edges)
        axes.bar(edges[:-1], card.counts, width=np.diff(edges) * 0.94, align="edge", color=_STAND_INS["accent"])
        axes.axvline(0, color=_STAND_INS["ink"], linewidth=0.8)
        axes.set(xlabel="predicted minus true", ylabel="rows")
        _short_ticks(axes.xaxis)

    return _svg(draw, 4.6, 4.3)


def score_chart(card: AlarmCard) -> str:
    """How many normal and how many anomalous test rows have which score, each as a share of its kind."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        edges = [card.bins[0].low, *(each.high for each in card.bins)]
        kinds = [([each.normal for each in card.bins], card.normal, "accent")]
        kinds += [([each.anomalous for each in card.bins], card.anomalous, "accent-2")]
        for counts, total, colour in kinds:
            shares = np.array(counts) / max(total, 1)
            axes.stairs(shares, edges, color=_STAND_INS[colour], fill=True, alpha=0.35)
            axes.stairs(shares, edges, color=_STAND_INS[colour], linewidth=1.4)
        axes.axvline(0.5, color=_STAND_INS["ink"], linewidth=1, linestyle=(0, (4, 3)))
        axes.set(xlabel="score", ylabel="share of rows")

    return _svg(draw, 4.6, 3.4)


def course_chart(card: AlarmCard) -> str:
    """Mean score of stretches of test rows, in the order of the data, over the share of them that is anomalous."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        ends = np.cumsum([each.rows for each in card.stretches])
        anomalous = [each.anomalous for each in card.stretches]
        scores = [each.score for each in card.stretches]
        axes.fill_between(ends, anomalous, step="pre", color=_STAND_INS["accent-2"], alpha=0.25, linewidth=0)
        axes.plot(ends, scores, color=_STAND_INS["accent"], linewidth=1.2)
        axes.axhline(0.5, color=_STAND_INS["ink"], linewidth=1, linestyle=(0, (4, 3)))
        axes.set(xlabel="test row", ylabel="score", ylim=(0, 1))
        _short_ticks(axes.xaxis)

    return _svg(draw, 7.2, 3.2)


def silhouette_chart(card: ClusterCard) -> str:
    """Silhouettes of the test rows, cluster below cluster, as long as they have rows."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        top, ticks = 0.0, []
        for row, values in zip(card.rows, card.silhouettes, strict=True):
            if not values:
                continue
            heights = top + (np.arange(len(values)) + 0.5) * row.rows / len(values)
            axes.barh(heights, values, height=row.rows / len(values), color=_series(row.cluster)["color"])
            ticks.append((top + row.rows / 2, str(row.cluster)))
            top += row.rows + 0.02 * sum(other.rows for other in card.rows)
        axes.axvline(0, color=_STAND_INS["ink"], linewidth=0.8)
        axes.set(xlabel="silhouette", ylabel="cluster", yticks=[at for at, _ in ticks])
        axes.set_yticklabels([name for _, name in ticks])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")

    return _svg(draw, 4.6, 4.3)


def cluster_map(card: ClusterCard) -> str:
    """Test rows on their two principal axes, in the colours of their clusters."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        points = np.array(card.points, float)
        for number in np.unique(points[:, 2]).astype(int)[::-1]:
            own = points[points[:, 2] == number]
            axes.scatter(own[:, 0], own[:, 1], s=11, color=_series(number)["color"], alpha=0.7, linewidths=0)
        axes.set(xlabel="first principal axis", ylabel="second principal axis")
        _short_ticks(axes.xaxis, axes.yaxis)

    return _svg(draw, 4.6, 4.3)


def steps_chart(card: ForecastCard) -> str:
    """Errors by step: of the ensemble, and fainter of the seasonal naive forecast and of Naive2."""

    def draw(figure: Any) -> None:
        axes: Axes = figure.subplots()
        at = [row.step for row in card.steps]
        for name, style in (
            ("naive2", {"color": _STAND_INS["faint"], "linestyle": (0, (4, 3))}),
            ("seasonal", {"color": _STAND_INS["accent-2"]}),
            ("error", {"color": _STAND_INS["accent"], "linewidth": 2.0}),
        ):
            axes.plot(at, [getattr(row, name) or 0.0 for row in card.steps], **style)
        axes.set(xlabel="steps ahead", ylabel="error in units of the scale", ylim=(0, None))
        _short_ticks(axes.xaxis, axes.yaxis)

    return _svg(draw, 4.6, 4.3)


def forecasts_chart(card: ForecastCard) -> str:
    """Some test rows: what came, what was forecast, and the widest interval around it."""

    def draw(figure: Any) -> None:
        panels = figure.subplots(2, 2, squeeze=False).ravel()
        for axes in panels[len(card.drawn) :]:
            axes.set_visible(False)
        for axes, row in zip(panels, card.drawn, strict=False):
            at = np.arange(1, len(row.came) + 1)
            if row.low:
                axes.fill_between(at, row.low, row.high, color=_STAND_INS["accent"], alpha=0.15, linewidth=0)
            axes.plot(at, row.seasonal, color=_STAND_INS["faint"], linewidth=1, linestyle=(0, (4, 3)))
            axes.plot(at, row.came, color=_STAND_INS["ink"], linewidth=1.2)
            axes.plot(at, row.forecast, color=_STAND_INS["accent"], linewidth=1.8)
            _short_ticks(axes.xaxis, axes.yaxis)

    return _svg(draw, 7.2, 5.0)


def tradeoff_chart(card: TradeoffCard) -> str:
    """Score against each cost that was asked for, a panel each; what was taken is large.

    A line joins the front where there is one cost: with two, what lies on the front need not in either panel.
    """
    costs = [name for name in card.objectives if name in _COST_LABELS]

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        front = np.array([row.front for row in card.rows])
        taken = np.array([row.chosen for row in card.rows])
        for axes, cost in zip(panels, costs, strict=True):
            points = np.array([(_cost_of(row, cost), row.oof) for row in card.rows], float)
            ahead = points[front][np.argsort(points[front, 0], kind="stable")]
            line = {"linewidth": 1.4} if len(costs) == 1 else {"linestyle": "none"}
            axes.scatter(*points[~front].T, s=14, color=_STAND_INS["faint"], linewidths=0)
            axes.plot(*ahead.T, color=_STAND_INS["accent"], marker="o", markersize=4, **line)
            axes.scatter(*points[taken].T, s=80, color=_STAND_INS["accent-2"], zorder=3, linewidths=0)
            axes.set(xlabel=_COST_LABELS[cost], xscale="log")
            _short_ticks(axes.yaxis)
        panels[0].set(ylabel="out-of-fold score")

    return _svg(draw, 4.6 if len(costs) == 1 else 7.2, 3.6)


def _cost_of(row: OfferRow, cost: str) -> float:
    return row.size_mb if cost == "size" else row.latency_ms


def _short_ticks(*axes: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis in axes:
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
