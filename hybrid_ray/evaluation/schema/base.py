"""What every part of the report is made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _defined(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


Score = Annotated[float | None, BeforeValidator(_defined)]
"""A number, or null where it is not defined."""


class Part(BaseModel):
    """Base of every part of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class Estimate(Part):
    """A test score with the ends of its 95 % interval."""

    value: Score
    low: Score = None
    high: Score = None
