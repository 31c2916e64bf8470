"""Finding plugins: the built-in rooms and every installed package that names an entry point."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points

_BUILTIN = ("hybrid_ray.extractors", "hybrid_ray.estimators", "hybrid_ray.fusion", "hybrid_ray.preparation")
_GROUPS = ("hybrid_ray.extractors", "hybrid_ray.estimators", "hybrid_ray.fusions", "hybrid_ray.preparations")


@cache
def load_plugins() -> None:
    """Import every plugin module once in this process; importing one registers its classes.

    Plugin modules import heavy packages (torch, transformers, xgboost) inside methods, so this is cheap.
    The same call runs in every Ray worker, which is why a plugin must be installed on every node.
    """
    for module in _BUILTIN:
        importlib.import_module(module)
    for group in _GROUPS:
        for entry in entry_points(group=group):
            if entry.value not in _BUILTIN:
                entry.load()
