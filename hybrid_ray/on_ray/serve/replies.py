"""Answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Response


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response that holds a value; NaN is refused, what JSON does not know becomes text."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=str)
    return Response(text, status, dict(headers or {}), "application/json")
