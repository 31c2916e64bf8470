"""The space of candidates: which extractors, put together how, learned by what, with which parameters.

One define-by-run function serves sampling and replaying alike: a trial that already has values gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.base import Trial
from hybrid_ray.registry import ESTIMATORS, FUSIONS
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.types import modalities_in

QUICK = ("logistic", "ridge", "hist_gradient_boosting", "lightgbm", "xgboost")
"""Families that are strong and quick whatever the features, in this order: what single modalities are tried with."""

Point = dict[str, Any]
"""Values of a trial's parameters, by name."""


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


def propose(trial: Trial, plan: SearchPlan, dims: Mapping[str, int]) -> Candidate:
    """The candidate that a trial stands for.

    Parameters
    ----------
    trial : Trial
        An Optuna trial, or anything that answers its ``suggest_*``.
    plan : SearchPlan
    dims : mapping of str to int
        Width of each block.

    Returns
    -------
    Candidate
    """
    blocks = _suggest_blocks(trial, plan.blocks)
    fusion = _suggest_choice(trial, "fusion", plan.fusions)
    estimator = _suggest_choice(trial, "estimator", plan.estimators)
    chosen = {name: dims[name] for name in blocks}
    fused, learned = _tried(trial, "fusion", fusion), _tried(trial, "estimator", estimator)
    fusion_params = FUSIONS.get(fusion.name).space(fused, chosen) if fusion.search else {}
    params = ESTIMATORS.get(estimator.name).space(learned, plan.task) if estimator.search else {}
    return Candidate(
        blocks=blocks,
        fusion=fusion.name,
        estimator=estimator.name,
        fusion_params={**fusion_params, **fusion.fixed},
        params={**params, **estimator.fixed},
    )


def portfolio(plan: SearchPlan, dims: Mapping[str, int]) -> list[Point]:
    """Good starts, best first, as points of ``propose``.

    First the subsets of ``cover``, all with the task's quickest strong family, so that a report has each modality
    alone; then the best start of every family on all blocks, the other starts of the fusions, and the second best start
    of every family. It is the same for any number of trials: a longer search begins with the shorter one.

    Parameters
    ----------
    plan : SearchPlan
    dims : mapping of str to int
        Width of each block.

    Returns
    -------
    list of dict
        Complete points by parameter name; no two are the same.
    """
    quick = _quickest(plan.estimators)

    def start(blocks: tuple[str, ...], family: Choice, rank: int = 0) -> list[Point]:
        starts = _starts_of_family(plan, family)
        fusion = next(_starts_of_fusions(plan, blocks, dims))
        return [_point(plan, blocks, fusion, (family, starts[rank]))] if rank < len(starts) else []

    points = [point for blocks in cover(plan) for point in start(blocks, quick)]
    points += [point for family in plan.estimators for point in start(plan.blocks, family)]
    others = list(_starts_of_fusions(plan, plan.blocks, dims))[1:]
    learner = (quick, _starts_of_family(plan, quick)[0])
    points += [_point(plan, plan.blocks, fusion, learner) for fusion in others]
    points += [point for family in plan.estimators for point in start(plan.blocks, family, rank=1)]
    return _distinct(points)


def n_comparisons(plan: SearchPlan) -> int:
    """How many of the portfolio's first points stand for a subset or a family: each is given all its folds.

    A report compares the subsets; an ensemble wants members that differ, so that no family may be stopped as a whole
    for what its first start does on one fold.
    """
    return len(cover(plan)) + len(plan.estimators) - 1


def cover(plan: SearchPlan) -> list[tuple[str, ...]]:
    """The subsets of blocks that a report wants to compare, whatever the sampler likes; distinct.

    Everything together, each block alone, each modality alone, and with three modalities or more each left out; with
    blocks of several modalities put together before their extractor, everything but those too.
    """
    read = {block: modalities_in(plan.modalities[block]) for block in plan.blocks}
    modalities = sorted(frozenset[str]().union(*read.values()))
    wanted = [plan.blocks, *((name,) for name in plan.blocks)]
    wanted += [tuple(b for b in plan.blocks if read[b] == {m}) for m in modalities]
    if len(modalities) > 2:
        wanted += [tuple(b for b in plan.blocks if m not in read[b]) for m in modalities]
    wanted += [tuple(b for b in plan.blocks if len(read[b]) == 1)]
    return [blocks for blocks in dict.fromkeys(wanted) if blocks]


def _suggest_blocks(trial: Trial, names: Sequence[str]) -> tuple[str, ...]:
    """A subset that is never empty: the last block is not asked for when none before it was taken."""
    chosen: list[str] = []
    for i, name in enumerate(names):
        forced = i == len(names) - 1 and not chosen
        if forced or trial.suggest_categorical(f"use.{name}", [True, False]):
            chosen.append(name)
    return tuple(chosen)


def _suggest_choice(trial: Trial, role: str, choices: Sequence[Choice]) -> Choice:
    if len(choices) == 1:
        return choices[0]
    key = trial.suggest_categorical(role, [choice.key for choice in choices])
    return next(choice for choice in choices if choice.key == key)


def _tried(trial: Trial, role: str, choice: Choice) -> PrefixedTrial:
    return PrefixedTrial(trial, f"{role}.{choice.key}.", choice.fixed)


def _quickest(choices: Sequence[Choice]) -> Choice:
    ranked = [choice for name in QUICK for choice in choices if choice.name == name]
    return ranked[0] if ranked else choices[0]


def _starts_of_family(plan: SearchPlan, choice: Choice) -> list[Point]:
    starts: Sequence[Mapping[str, Any]] = ESTIMATORS.get(choice.name).portfolio(plan.task) if choice.search else ()
    return [dict(start) for start in starts] or [{}]


def _starts_of_fusions(
    plan: SearchPlan, blocks: tuple[str, ...], dims: Mapping[str, int]
) -> Iterator[tuple[Choice, Point]]:
    chosen = {name: dims[name] for name in blocks}
    for choice in plan.fusions:
        starts: Sequence[Mapping[str, Any]] = FUSIONS.get(choice.name).portfolio(chosen) if choice.search else ()
        yield from ((choice, dict(start)) for start in starts or ({},))


def _point(
    plan: SearchPlan, blocks: tuple[str, ...], fusion: tuple[Choice, Point], estimator: tuple[Choice, Point]
) -> Point:
    """The values that make ``propose`` give a candidate, under the names it will ask for."""
    point: Point = {}
    for i, name in enumerate(plan.blocks):
        if i < len(plan.blocks) - 1 or any(point.values()):
            point[f"use.{name}"] = name in blocks
    return point | _chosen("fusion", plan.fusions, *fusion) | _chosen("estimator", plan.estimators, *estimator)


def _chosen(role: str, choices: Sequence[Choice], choice: Choice, start: Point) -> Point:
    point: Point = {role: choice.key} if len(choices) > 1 else {}
    return point | {f"{role}.{choice.key}.{name}": v for name, v in start.items() if name not in choice.fixed}


def _distinct(points: Sequence[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in points:
        if point not in kept:
            kept.append(point)
    return kept
