"""Decision-level fusions inside others: by name and parameters, checked before they are built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_ray.dealing import groups_for
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.registry import FUSIONS, nearest
from hybrid_ray.types import AnyArray, Task


def check_combiner(name: str, params: Mapping[str, Any], without: str = "") -> None:
    """Refuse what names no decision-level fusion, or parameters that it does not have.

    Raises
    ------
    ValueError
        No such fusion, or its parameters are not valid; ``without`` is not among the known ones.
    """
    known = [known for known, each in FUSIONS.items() if each.level == "decision" and known != without]
    if name not in known:
        raise ValueError(f"unknown decision-level fusion {name!r}; expected one of {known}.{nearest(name, known)}")
    FUSIONS.get(name).Params.model_validate(dict(params))


def combiner_tasks(name: str, params: Mapping[str, Any]) -> frozenset[Task]:
    """Tasks that a decision-level fusion can be fitted for with these parameters."""
    fusion: type[DecisionFusion] = FUSIONS.get(name)
    return fusion.tasks_of(fusion.Params.model_validate(dict(params)))


def combiner_effort(name: str, params: Mapping[str, Any]) -> float:
    """What a fit of a decision-level fusion takes with these parameters, see ``DecisionFusion.effort``."""
    fusion: type[DecisionFusion] = FUSIONS.get(name)
    return fusion.effort(fusion.Params.model_validate(dict(params)))


def make_combiner(name: str, params: Mapping[str, Any]) -> DecisionFusion:
    """An unfitted decision-level fusion."""
    fusion: type[DecisionFusion] = FUSIONS.get(name)
    return fusion(fusion.Params.model_validate(dict(params)))


def fit_combiner(
    combiner: DecisionFusion,
    inputs: Mapping[str, AnyArray],
    y: AnyArray,
    task: Task,
    seed: int,
    metric: Scoring | None,
    groups: AnyArray | None,
) -> DecisionFusion:
    """Fit a decision-level fusion, and tell it which rows go together, where its ``fit`` asks for it."""
    return combiner.fit(inputs, y, task, seed, metric, **groups_for(combiner.fit, groups))
