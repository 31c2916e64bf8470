"""Tuned twins of pretrained extractors, where the time for them is there. Proposed, never a default.

A twin stands beside the frozen extractor: the search's subsets of blocks decide which of the two a candidate reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ray.extractors.defaults import DefaultChoice
from hybrid_ray.types import Task

TWINS: Mapping[str, str] = {"torchvision": "tuned_torchvision", "transformers": "tuned_transformers"}
"""Registered name of a frozen extractor to that of its twin."""
MIN_ROWS = 1000
"""Rows below which a tuned network learns its rows by heart rather than what they tell."""
SECONDS_A_ROW: Mapping[str, float] = {"torchvision": 0.15, "transformers": 0.1}
"""What tuning with default parameters takes for each training row and fold on one core, about: MobileNetV2 at its 224
pixels, MiniLM on sentences of 28 tokens. Larger networks and longer texts take more."""
SHARE = 0.4
"""Part of a run's time that twins may take: the rest is the search's."""
_KEPT = ("precision",)
"""Parameters of a frozen extractor that its twin decides itself."""


def tuned_twins(
    choices: Sequence[DefaultChoice], task: Task, n_rows: int, *, folds: int, seconds: float, cores: float
) -> list[DefaultChoice]:
    """Tuned twins of some extractors, those that fit a budget.

    Parameters
    ----------
    choices : sequence of DefaultChoice
        What a spec without extractors gets.
    task : Task
    n_rows : int
        Training rows.
    folds : int
        Copies that are trained.
    seconds : float
        Time that the whole run may take.
    cores : float
        CPUs of the cluster.

    Returns
    -------
    list of DefaultChoice
        One a pretrained extractor at most, in their order; none where labels or rows are too few, or the time is.
    """
    if task not in ("binary", "multiclass", "regression") or n_rows < MIN_ROWS:
        return []
    left = SHARE * seconds * min(cores, folds)
    found: list[DefaultChoice] = []
    for choice in choices:
        if choice.name not in TWINS:
            continue
        price = SECONDS_A_ROW[choice.name] * len(choice.columns) * n_rows * folds
        if price > left:
            continue
        left -= price
        params: dict[str, Any] = {name: value for name, value in choice.params.items() if name not in _KEPT}
        reason = f"its last blocks tuned in each fold: about {price / min(cores, folds):.0f} s of {seconds:.0f}"
        found.append(DefaultChoice(TWINS[choice.name], params, choice.columns, reason))
    return found
