"""Cells of any kind as words, and several of them as one text of bounded length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hybrid_ray.types import AnyArray, Kind

_WHOLE = 1e15
"""Size below which a whole number is written with all its digits."""
_SMALL = 1e-5
"""Size below which a number is written with an exponent."""
_BOOLEANS = {"true": "yes", "false": "no"}


def words(values: AnyArray, kind: Kind, digits: int) -> list[str | None]:
    """Cells of one column as words, None where missing.

    Parameters
    ----------
    values : ndarray (n,)
        As ``Batch`` holds them.
    kind : Kind
        Any but images, sounds and series.
    digits : int
        Significant digits of numbers that are not whole.

    Examples
    --------
    >>> words(np.array([3.0, 1234.5678, 0.000123456, np.nan]), "numeric", 4)
    ['3', '1235', '0.0001235', None]
    >>> words(np.array(["2024-05-01", "2024-05-01T13:30"], "datetime64[ms]"), "date", 4)
    ['2024-05-01', '2024-05-01 13:30']
    """
    if kind == "numeric":
        return [number(float(v), digits) for v in values]
    if kind == "date":
        return [_date(text) for text in np.datetime_as_string(values.astype("datetime64[m]"))]
    if kind == "categorical":
        return [None if v is None else _BOOLEANS.get(v, plain(v)) for v in values]
    return [None if v is None else plain(v) for v in values]


def number(value: float, digits: int) -> str | None:
    """A number: whole ones as they are, others rounded to some significant digits; None for one that is not finite."""
    if not np.isfinite(value):
        return None
    size = abs(value)
    if value == int(value) and size < _WHOLE:
        return str(int(value))
    if size >= _WHOLE or size < _SMALL:
        return f"{value:.{digits - 1}e}"
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")


def plain(text: str) -> str | None:
    """A text on one line, single blanks between its words; None for one without words."""
    return " ".join(text.split()) or None


def readable(column: str) -> str:
    """The name of a column as words: ``base_colour`` is ``base colour``."""
    return " ".join(column.replace("_", " ").split()) or column


def _date(text: str) -> str | None:
    """An ISO date with minutes: without them at midnight, None for NaT."""
    if text == "NaT":
        return None
    day, _, time = str(text).partition("T")
    return day if time == "00:00" else f"{day} {time}"


def within(parts: Sequence[str], limit: int, build: Callable[[Sequence[str]], str]) -> str:
    """What ``build`` makes of parts, these cut where that is longer than a limit.

    The longest parts are cut, all to one length, so that every part is still there; only where not even their markers
    fit, the end of the whole is cut.

    Parameters
    ----------
    parts : sequence of str
    limit : int
        Characters.
    build : callable
        Makes one text of the parts, each of them once.

    Examples
    --------
    >>> within(["short", "a much longer text"], 18, " / ".join)
    'short / a much lon'
    """
    text = build(parts)
    over = len(text) - limit
    if over <= 0:
        return text
    kept = _level([len(part) for part in parts], sum(map(len, parts)) - over)
    return build([part[:kept] for part in parts])[:limit]


def _level(lengths: Sequence[int], room: int) -> int:
    """The largest length to which all may be cut so that together they take at most ``room``."""
    left = max(room, 0)
    ordered = sorted(lengths)
    for done, length in enumerate(ordered):
        share = left // (len(ordered) - done)
        if length > share:
            return share
        left -= length
    return ordered[-1] if ordered else 0
