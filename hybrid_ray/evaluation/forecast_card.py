"""What the report says of forecasts: errors by step, intervals, and some test rows drawn."""

from __future__ import annotations

import numpy as np

from hybrid_ray.evaluation.schema import DrawnForecast, Estimate, ForecastCard, ReachRow, StepRow
from hybrid_ray.evaluation.ties import Ties
from hybrid_ray.forecasts import Came, Outlook
from hybrid_ray.types import AnyArray

DRAWN = 4
"""Test rows that are drawn: those at even places of the order of errors, so that good and bad ones are seen."""
_Z = 1.959963984540054


def forecast_card(y: AnyArray, outputs: AnyArray, outlook: Outlook | None, ties: Ties | None = None) -> ForecastCard:
    """Forecasts of the test rows, step by step.

    Parameters
    ----------
    y : ndarray (n, 3 h + 2)
    outputs : ndarray (n, h)
        Of the ensemble.
    outlook : Outlook or None
        Its intervals.
    ties : Ties, optional
        Which rows go together, as those of one series do; default: row by row.
    """
    came = Came.of(y)
    errors = [(np.abs(told - came.values) / came.scale).mean(axis=0) for told in (outputs, came.seasonal, came.naive2)]
    steps = [
        StepRow(step=step, error=own, seasonal=seasonal, naive2=naive2)
        for step, (own, seasonal, naive2) in enumerate(zip(*errors, strict=True), start=1)
    ]
    if outlook is None or not outlook.levels:
        return ForecastCard(steps=steps, drawn=_drawn(came, outputs, []))
    _, *ends = outlook.parts(outlook.around(outputs, came.scale)).values()
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    rows = [_reach(level, came, low, high, ties) for level, (low, high) in zip(outlook.levels, pairs, strict=True)]
    return ForecastCard(steps=steps, intervals=rows, drawn=_drawn(came, outputs, list(pairs[-1])))


def _reach(level: float, came: Came, low: AnyArray, high: AnyArray, ties: Ties | None) -> ReachRow:
    """Coverage of one interval, its width and the pinball loss of its ends."""
    inside = ((low <= came.values) & (came.values <= high)).mean(axis=1)
    share = float(inside.mean())
    half = ties.half_width(inside) if ties is not None else float(_Z * inside.std() / np.sqrt(len(inside)))
    loss = [
        np.maximum(q * (came.values - end), (q - 1) * (came.values - end)) / came.scale
        for q, end in (((1 - level) / 2, low), ((1 + level) / 2, high))
    ]
    return ReachRow(
        level=level,
        covered=Estimate(value=share, low=max(share - half, 0.0), high=min(share + half, 1.0)),
        width=float(((high - low) / came.scale).mean()),
        pinball=float(np.mean(loss)),
    )


def _drawn(came: Came, outputs: AnyArray, ends: list[AnyArray]) -> list[DrawnForecast]:
    """Rows from the best to the worst fitted, evenly."""
    order = np.argsort((np.abs(outputs - came.values) / came.scale).mean(axis=1), kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(DRAWN, len(order))).astype(np.int64)]
    return [
        DrawnForecast(
            seasonal=came.seasonal[row].tolist(),
            came=came.values[row].tolist(),
            forecast=outputs[row].tolist(),
            low=ends[0][row].tolist() if ends else [],
            high=ends[1][row].tolist() if ends else [],
        )
        for row in chosen
    ]
