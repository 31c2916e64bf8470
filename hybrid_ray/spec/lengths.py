"""Lengths of time as a spec writes them."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator

_WHOLE = re.compile(r"([1-9][0-9]{0,5})(s|min|h|d|w|mo|y)")
_EXACT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms)")


def parse_length(text: str) -> tuple[float, str]:
    """Number and unit of a length that a spec holds."""
    found = _WHOLE.fullmatch(text) or _EXACT.fullmatch(text)
    if found is None:
        raise ValueError(f"a length must be a number and a unit, 15min say; got {text!r}")
    return float(found[1]), found[2]


def _calendar(every: str | float) -> str | float:
    if _WHOLE.fullmatch(every) if isinstance(every, str) else 0 < every < math.inf:
        return every
    raise ValueError(
        "must be a number and one of s, min, h, d, w, mo and y, as 15min and 1d are, or a number above 0 where times "
        "are numbers"
    )


def _step(length: str | float) -> str | float:
    if isinstance(length, str) and _EXACT.fullmatch(length) and parse_length(length)[0] > 0:
        return length
    return _calendar(length)


CalendarLength = Annotated[str | float, AfterValidator(_calendar)]
"""Steps of the calendar: 15min, 1d, 3mo; or a number, in the unit of times that are numbers."""
StepLength = Annotated[str | float, AfterValidator(_step)]
"""The same, and exact distances of clocks: 0.5ms."""
