"""A trial as one plugin inside another sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ray.estimators.base import Trial


class PrefixedTrial:
    """A trial as one plugin sees it: its names get a prefix, and what the user fixed is not asked for.

    Parameters
    ----------
    trial : Trial
    prefix : str
    fixed : mapping of str to value
        By the plugin's own field names.
    """

    def __init__(self, trial: Trial, prefix: str, fixed: Mapping[str, Any]) -> None:
        self._trial = trial
        self._prefix = prefix
        self._fixed = fixed

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A float between bounds, both included."""
        if name in self._fixed:
            return float(self._fixed[name])
        return self._trial.suggest_float(self._prefix + name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """An integer between bounds, both included."""
        if name in self._fixed:
            return int(self._fixed[name])
        return self._trial.suggest_int(self._prefix + name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of some choices."""
        if name in self._fixed:
            return self._fixed[name]
        return self._trial.suggest_categorical(self._prefix + name, choices)
