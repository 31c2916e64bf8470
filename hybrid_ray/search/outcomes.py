"""What each way to put members together reached in an ensemble search, and in what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hybrid_ray.evaluation.metrics import Metric
from hybrid_ray.evaluation.schema import CombinerRow
from hybrid_ray.registry import FUSIONS
from hybrid_ray.search.ensembler import EnsembleTrial
from hybrid_ray.search.halving import gain
from hybrid_ray.search.recipes import Recipe

ALONE = "best candidate alone"
_TELLING = ("solver", "votes", "combiner", "learner", "learners")
"""Parameters that say which kind of a combiner it is."""


def combiner_rows(tried: Sequence[EnsembleTrial], metric: Metric) -> list[CombinerRow]:
    """One row for each kind of combiner, best first; those that always failed last.

    Parameters
    ----------
    tried : sequence of EnsembleTrial
    metric : Metric
    """
    groups: dict[tuple[str, str], list[EnsembleTrial]] = {}
    for trial in tried:
        groups.setdefault(_kind(trial.recipe), []).append(trial)
    rows = []
    for (combiner, solver), trials in groups.items():
        scores = [trial.score for trial in trials if not trial.error]
        best = max(scores, key=lambda score: gain(score, metric.direction), default=None)
        seconds = [trial.seconds for trial in trials if trial.seconds > 0]  # a repeated recipe costs nothing
        mean = sum(seconds) / len(seconds) if seconds else 0.0
        rows.append(CombinerRow(combiner=combiner, solver=solver, trials=len(trials), oof=best, seconds=mean))
    return sorted(rows, key=lambda row: (row.oof is None, -gain(row.oof or 0.0, metric.direction)))


def solver_of(combiner: str, params: Mapping[str, Any]) -> str:
    """How a combiner goes about it, of its parameters: ``greedy on the metric``, ``lightgbm``; maybe empty."""
    try:
        known = FUSIONS.get(combiner).Params.model_validate(dict(params)).model_dump()
    except ValidationError:  # a trial that failed for it is shown all the same
        known = dict(params)
    told = [known[name] for name in _TELLING if known.get(name)]
    named = ", ".join("+".join(each) if isinstance(each, list | tuple) else str(each) for each in told)
    return f"{named} on the metric" if known.get("objective") == "metric" else named


def _kind(recipe: Recipe) -> tuple[str, str]:
    if recipe.n_members == 1 and recipe.strategy == "best":
        return ALONE, ""
    return recipe.combiner, solver_of(recipe.combiner, recipe.params)
