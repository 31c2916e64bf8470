"""The report: report.json is :class:`hybrid_ray.evaluation.schema.Report`, report.html is rendered from it.

The page is one file that asks the network for nothing and runs no script. Every string that comes from data (class
and column names, paths, parameters, reasons) is escaped by the template engine; charts hold numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hybrid_ray.evaluation import axis, choice_view, formatting, group_view, metric_view, pair_view, plots, view
from hybrid_ray.evaluation.schema import Report
from hybrid_ray.progress import duration

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

MAX_CANDIDATES = 12
"""Candidates shown at once; the others stand behind a fold."""
MAX_CHOICES = 10
"""Choices whose importance is shown at once."""
MAX_CLASSES = 40
MAX_COLUMNS = 30


def render(report: Mapping[str, Any] | Report) -> str:
    """The page of a report.

    Parameters
    ----------
    report : mapping or Report
        What report.json holds.

    Returns
    -------
    str
        Self-contained HTML.

    Raises
    ------
    pydantic.ValidationError
        The mapping is not a report.
    """
    parsed = report if isinstance(report, Report) else Report.model_validate(report)
    found = parsed.evaluation
    page = _template().render(
        report=parsed,
        test=found,
        head=found.headline,
        decimals=view.score_decimals(found),
        tiles=view.tiles(parsed),
        verdict=view.verdict(found),
        levels=view.levels(found),
        ablation=view.ablation(found) if found.ablation else None,
        metrics=metric_view.metrics(found),
        right=pair_view.right(found.right) if found.right else None,
        folds=pair_view.folds(parsed.fold_tests, view.score_decimals(found)) if parsed.fold_tests else None,
        matrix=view.matrix(found.confusion) if found.confusion else None,
        groups=[group_view.groups(card, found) for card in found.groups],
        sensitivity=[choice_view.sensitivity(card) for card in parsed.sensitivity],
        weights=view.weight_bars(parsed.ensemble.members),
        stages=view.bars(list(parsed.stages.items())),
        charts=_charts(parsed),
        shown={
            "candidates": MAX_CANDIDATES,
            "choices": MAX_CHOICES,
            "classes": MAX_CLASSES,
            "columns": MAX_COLUMNS,
            "curves": plots.SERIES,
        },
    )
    # A path may hold bytes that are no text (a lone surrogate), which no file in UTF-8 can hold.
    return page.encode("utf-8", "replace").decode()


def _charts(report: Report) -> dict[str, Any]:
    from markupsafe import Markup

    found = report.evaluation
    drawn = {}
    if found.calibration and found.calibration.bins:
        drawn["calibration"] = plots.calibration_chart(found.calibration)
    if found.roc:
        drawn["roc"] = plots.roc_chart(found.roc)
    if found.precision_recall:
        drawn["precision_recall"] = plots.precision_recall_chart(found.precision_recall)
    if report.fold_tests:
        drawn["ranks"] = plots.critical_difference_chart(report.fold_tests)
    if found.residuals and found.residuals.points:
        drawn["fit"] = plots.fit_chart(found.residuals)
        drawn["residuals"] = plots.residual_chart(found.residuals)
    if found.clusters:
        drawn["silhouettes"] = plots.silhouette_chart(found.clusters)
        drawn["map"] = plots.cluster_map(found.clusters)
    if found.forecast:
        drawn["steps"] = plots.steps_chart(found.forecast)
        drawn["forecasts"] = plots.forecasts_chart(found.forecast)
    if report.tradeoff and any(row.front and row.oof is not None for row in report.tradeoff.rows):
        drawn["tradeoff"] = plots.tradeoff_chart(report.tradeoff)
    if report.alarms:
        drawn["scores"] = plots.score_chart(report.alarms)
        drawn["course"] = plots.course_chart(report.alarms)
    return {name: Markup(svg) for name, svg in drawn.items()}


def _breakable(text: str) -> Markup:
    """Escaped text that may break after an underscore, a plus or a bracket, so that long names fit on a phone."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_+(/])", r"\1<wbr>", str(escape(text))))


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("hybrid_ray.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": formatting.number,
        "signed": formatting.signed,
        "count": formatting.count,
        "p_value": formatting.p_value,
        "title_of": view.title_of,
        "size": formatting.size,
        "milliseconds": formatting.milliseconds,
        "parameters": formatting.parameters,
        "duration": duration,
        "breakable": _breakable,
    }
    environment.globals |= {
        "interval": axis.interval_text,
        "decimals_for": formatting.decimals_for,
        "score_decimals": formatting.score_decimals,
        "missing_share": view.missing_share,
        "style": Markup((files("hybrid_ray.evaluation") / "templates" / "report.css").read_text("utf-8")),
    }
    return environment.get_template("report.html.j2")
