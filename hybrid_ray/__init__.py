"""hybrid_ray: deep extractors and classical learners, fused, searched and served on Ray.

Importing the package loads neither torch nor ray: names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Graph": "hybrid_ray.graph",
    "Spec": "hybrid_ray.spec",
    "load_spec": "hybrid_ray.spec",
    "HybridClassifier": "hybrid_ray.on_ray.sklearn",
    "HybridRegressor": "hybrid_ray.on_ray.sklearn",
}

__all__ = ["Graph", "HybridClassifier", "HybridRegressor", "Spec", "__version__", "load_spec"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hybrid_ray' has no attribute {name!r}")
