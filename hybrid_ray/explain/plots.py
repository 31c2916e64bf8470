"""Pictures of explanations."""

from __future__ import annotations

import io
from collections.abc import Sequence

from hybrid_ray.explain.attribution import Attribution
from hybrid_ray.explain.permutation import Importance

MAX_BARS = 40
"""Bars in one picture; the rest are in the numbers beside it."""
_NAME = 40
_PARTS = 10
"""Columns of one picture of attributions, those that add most."""


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


def attribution_chart(found: Sequence[Attribution]) -> bytes:
    """PNG of what columns add to the answers of some rows: a bar for each row, one part for each column.

    Parameters
    ----------
    found : sequence of Attribution
        With columns.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    told = [each for each in found if each.columns is not None][:MAX_BARS]
    sizes: dict[str, float] = {}
    for each in told:
        for name, share in each.columns.shares.items() if each.columns is not None else ():
            sizes[name] = sizes.get(name, 0.0) + abs(share)
    names = sorted(sizes, key=lambda name: -sizes[name])[:_PARTS]
    figure = Figure(figsize=(8, 1.6 + 0.45 * len(told)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    up, down = [0.0] * len(told), [0.0] * len(told)
    for part, name in enumerate(names):
        shares = [each.columns.shares.get(name, 0.0) if each.columns is not None else 0.0 for each in told]
        starts = [up[i] if share > 0 else down[i] for i, share in enumerate(shares)]
        axes.barh(range(len(told)), shares, left=starts, color=colormaps["tab10"](part), label=_short(name))
        for i, share in enumerate(shares):
            if share > 0:
                up[i] += share
            else:
                down[i] += share
    axes.set_yticks(range(len(told)), [f"{_short(each.output)}: {each.answer:.3g}" for each in told], parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_xlabel("added to the mean answer of usual rows")
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
