"""Which decision-level fusions an ensemble search tries when the spec names none."""

from __future__ import annotations

from hybrid_ray.types import Task


def default_combiners(task: Task) -> list[str]:
    """Names of a good default set for a task, the most promising first."""
    return ["linear_pool", "stacking"]
