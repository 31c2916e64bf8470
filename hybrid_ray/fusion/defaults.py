"""Which decision-level fusions an ensemble search tries when the spec names none."""

from __future__ import annotations

from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import Task

TRIED = ("linear_pool", "stacking", "log_pool", "bayesian_fusion")
"""The most trusted first. All are solved in milliseconds: to try one more costs a search next to nothing."""


def default_combiners(task: Task) -> list[str]:
    """Names of a good default set for a task, the most promising first."""
    if task == "anomaly":
        return ["alarm"]  # it puts one of these together, and sets the threshold
    return [name for name in TRIED if task in FUSIONS.get(name).tasks]
