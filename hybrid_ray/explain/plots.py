"""Pictures of explanations."""

from __future__ import annotations

import io
from collections.abc import Sequence

from hybrid_ray.explain.permutation import Importance

MAX_BARS = 40
"""Bars in one picture; the rest are in the numbers beside it."""
_NAME = 40


def importance_chart(found: Sequence[Importance], metric: str) -> bytes:
    """PNG of the largest importances as bars with their intervals.

    Parameters
    ----------
    found : sequence of Importance
        Largest first.
    metric : str
        What the loss is measured in, for the axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = list(reversed(found[:MAX_BARS]))
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    means = [each.mean for each in shown]
    reach = [[each.mean - each.low for each in shown], [each.high - each.mean for each in shown]]
    colours = ["#8a5a00" if each.name.startswith("modality:") else "#2b6cb0" for each in shown]
    axes.barh(range(len(shown)), means, xerr=reach, color=colours, ecolor="#555555", capsize=2)
    # A column's name is text, not a formula.
    axes.set_yticks(range(len(shown)), [_short(each.name) for each in shown], parse_math=False)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xlabel(f"loss of {metric} when shuffled; lines: 95 % of the repeats")
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
