"""What every part of the report is made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from hybrid_ray.documented import Documented


def _defined(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


Score = Annotated[float | None, BeforeValidator(_defined)]
"""A number, or null where it is not defined."""


class Part(Documented):
    """Base of every part of the report."""


class Estimate(Part):
    """A test score with the ends of its 95 % interval."""

    value: Score
    low: Score = None
    high: Score = None
