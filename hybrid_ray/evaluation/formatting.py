"""Numbers for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

DASH = "\N{EN DASH}"
"""What is shown where a number is not defined."""
MINUS = "\N{MINUS SIGN}"


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimals that suit plain numbers: three digits that matter in the largest of them."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    if not sizes:
        return 3
    return min(4, max(0, 2 - math.floor(math.log10(max(sizes)))))


def score_decimals(value: float | None, low: float | None = None, high: float | None = None) -> int:
    """Decimals that suit a score: two digits of its interval's width, and three decimals at least below ten."""
    least = 3 if value is None or abs(value) < 10 else decimals_for([value])
    if low is None or high is None or high <= low:
        return least
    return min(4, max(least, 1 - math.floor(math.log10(high - low))))


def number(value: float | None, decimals: int = 3) -> str:
    """A number with grouped thousands: ``0.981``, ``152,034``, ``1.2e+15``; a dash for None."""
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) < 1e-12:  # the dust of rounding
        value = 0.0
    if abs(value) >= 1e12 or 0 < abs(value) < 10**-decimals / 2:
        return f"{value:.2g}".replace("-", MINUS)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def signed(value: float | None, decimals: int = 3) -> str:
    """A number with its sign: ``+0.013``."""
    if value is None or not math.isfinite(value) or abs(value) >= 1e12:
        return number(value, decimals)
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def compact(value: float) -> str:
    """A number for an axis: ``0.25``, ``1,500``, ``25k``, ``1.5M``."""
    for limit, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / factor:,.4g}{unit}".replace("-", MINUS)
    return f"{value:,.4g}".replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number with grouped thousands."""
    return DASH if value is None else f"{value:,}"


def share(part: float, whole: float) -> str:
    """Part of a whole in per cent: ``12 %``, ``0.3 %``."""
    if not whole:
        return DASH
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def p_value(value: float | None) -> str:
    """A p-value: ``0.34``, ``0.012``, and ``<0.01`` where a thousand resamples cannot tell more."""
    if value is None:
        return DASH
    if value < 0.01:
        return "<0.01"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"


def size(value: int | None) -> str:
    """Bytes: ``512 B``, ``3.4 MB``."""
    if value is None:
        return DASH
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def milliseconds(value: float | None) -> str:
    """Milliseconds: ``0.42 ms``, ``12 ms``."""
    if value is None:
        return DASH
    return f"{value:.2g} ms" if value < 10 else f"{value:,.0f} ms"


def parameters(values: Mapping[str, Any]) -> str:
    """Parameters in one line: ``C=0.31, penalty=l2``."""
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + parameters(value) + "}"
    return str(value)
