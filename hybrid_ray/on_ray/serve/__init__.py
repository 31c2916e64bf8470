"""A graph behind HTTP, on Ray Serve. Names are resolved when first used: the parts that need no Ray load none."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Serving", "serve_graph", "serve_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("hybrid_ray.on_ray.serve.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
