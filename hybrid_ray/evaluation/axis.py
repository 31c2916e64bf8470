"""Estimates on a common axis of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hybrid_ray.evaluation.formatting import compact, number, signed
from hybrid_ray.evaluation.schema import Estimate

REACH = 6
"""Widths of the rows that matter within which the axis still grows for another row."""


UNIT = Estimate(value=0.5, low=-0.04, high=1.04)
"""What an axis from 0 to 1 is made of, with room for the ticks at both ends."""


@dataclass(frozen=True)
class Strip:
    """An interval on a common axis, in per cent of its width; ``off`` says that the score lies beyond an end."""

    left: float
    width: float
    dot: float
    off: str = ""


def interval_text(estimate: Estimate | None, decimals: int, sign: bool = False) -> str:
    """Ends of an interval: ``0.950 to 0.981``; empty where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    text = signed if sign else number
    return f"{text(estimate.low, decimals)} to {text(estimate.high, decimals)}"


class Axis:
    """A common axis for estimates; one that is far away from those that matter is shown at its end."""

    def __init__(self, near: Iterable[Estimate], far: Iterable[Estimate] = ()) -> None:
        def ends(of: Iterable[Estimate]) -> list[float]:
            return [v for e in of for v in (e.value, e.low, e.high) if v is not None]

        inner = ends(near)
        self.low, self.high = (min(inner), max(inner)) if inner else (0.0, 0.0)
        span = self.high - self.low
        lowest, highest = self.low - REACH * span, self.high + REACH * span
        for value in ends(far):
            if span and lowest <= value <= highest:
                self.low, self.high = min(self.low, value), max(self.high, value)
        pad = 0.04 * (self.high - self.low) or abs(self.high) * 0.05 or 1.0
        self.low, self.high = self.low - pad, self.high + pad

    def at(self, value: float) -> float:
        """Where a value stands, in per cent of the width."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def strip(self, estimate: Estimate) -> Strip | None:
        """An estimate on this axis; None where it is not defined."""
        if estimate.value is None:
            return None
        value = estimate.value
        low = value if estimate.low is None else estimate.low
        high = value if estimate.high is None else estimate.high
        off = "left" if value < self.low else "right" if value > self.high else ""
        return Strip(self.at(low), round(self.at(high) - self.at(low), 2), self.at(value), off)

    def ticks(self, wanted: int = 5) -> list[tuple[float, str]]:
        """Round values with the places where they stand."""
        raw = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        first = math.ceil(self.low / step)
        marks = [(first + i) * step for i in range(wanted + 2)]
        shown = [(self.at(m), compact(round(m, 10))) for m in marks if m <= self.high]
        return [(at, text) for at, text in shown if 4 <= at <= 96]
