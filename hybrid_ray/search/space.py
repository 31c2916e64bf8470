"""The space of candidates: which extractors, prepared and put together how, learned by what, with which parameters.

One define-by-run function serves sampling and replaying alike: a trial that already has values gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.registry import ESTIMATORS, FUSIONS, PREPARATIONS
from hybrid_ray.search.families import FAMILY, FamilyChooser
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.types import learned_as, modalities_in

QUICK = ("logistic", "ridge", "hist_gradient_boosting", "lightgbm", "xgboost")
"""Families that are strong and quick whatever the features, in this order: what single modalities are tried with."""

TRIAL_S = 0.02
"""Seconds that a fold of a trial costs beside its fit, roughly: it is proposed, handed out, written and told."""

Point = dict[str, Any]
"""Values of a trial's parameters, by name."""


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
    blocks = _suggest_blocks(trial, plan.slots)
    fusion = _suggest_choice(trial, "fusion", plan.fusions)
    estimator = _suggest_choice(trial, FAMILY, plan.estimators)
    chosen = {name: dims[name] for name in blocks}
    fused, learned = _tried(trial, "fusion", fusion), _tried(trial, FAMILY, estimator)
    fusion_params = FUSIONS.get(fusion.name).space(fused, chosen) if fusion.search else {}
    params = ESTIMATORS.get(estimator.name).space(learned, plan.task) if estimator.search else {}
    steps = tuple(_step(trial, plan, choice) for choice in plan.preparations if _takes(trial, choice))
    return Candidate(
        blocks=blocks,
        fusion=fusion.name,
        estimator=estimator.name,
        fusion_params={**fusion_params, **fusion.fixed},
        params={**params, **estimator.fixed},
        steps=steps,
    )


def portfolio(plan: SearchPlan, dims: Mapping[str, int]) -> list[Point]:
    """Good starts, best first, as points of ``propose``.

    First the task's quickest strong family on all blocks. Then come, in the order that ``plan.begin_with`` says, the
    best start of every other family, which an ensemble is made of, and the other subsets of ``cover`` with the quickest
    family, so that a report has each modality alone. Then the other starts of the fusions, each preparation by its best
    start, and the other starts of the preparations; between these two, the second best start of every family, where no
    ``family_chooser`` gives such starts when a family is worth it. No other point takes a preparation that need not be
    taken. It is the same for any number of trials: a longer search begins with the shorter one.

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

    families = [point for family in (quick, *plan.estimators) for point in start(plan.whole, family)]
    subsets = [point for blocks in cover(plan) for point in start(blocks, quick)]
    points = [*families, *subsets] if plan.begin_with == "families" else [*subsets, *families]
    others = list(_starts_of_fusions(plan, plan.whole, dims))[1:]
    learner = (quick, _starts_of_family(plan, quick)[0])
    points += [_point(plan, plan.whole, fusion, learner) for fusion in others]
    fusion = next(_starts_of_fusions(plan, plan.whole, dims))
    prepared = [_point(plan, plan.whole, fusion, learner, prepared=start) for start in _starts_of_preparations(plan)]
    points += prepared[: len(plan.preparations)]
    if not chosen_by_price(plan):
        points += [point for family in plan.estimators for point in start(plan.whole, family, rank=1)]
    points += prepared[len(plan.preparations) :]
    return _distinct(points)


def chosen_by_price(plan: SearchPlan) -> bool:
    """Whether families are chosen by what they may still gain for what they cost, once the portfolio is done."""
    return len(plan.estimators) > 1 and plan.sampler not in ("random", "grid")


def family_chooser(plan: SearchPlan, n_rows: int, folds: int) -> FamilyChooser | None:
    """Who chooses families of learners in a search, and gives their starts but for the best.

    Parameters
    ----------
    plan : SearchPlan
    n_rows : int
        Training rows.
    folds : int

    Returns
    -------
    FamilyChooser or None
        None where there is one family, or a sampler that learns nothing.
    """
    if not chosen_by_price(plan):
        return None
    families = {choice.key: ESTIMATORS.get(choice.name) for choice in plan.estimators}
    costs = {key: TRIAL_S + family.tags.fit_s(n_rows) for key, family in families.items()}
    starts = {
        choice.key: [_chosen(FAMILY, plan.estimators, choice, start) for start in _starts_of_family(plan, choice)[1:]]
        for choice in plan.estimators
    }
    return FamilyChooser(costs, folds, starts, plan.seed)


def n_comparisons(plan: SearchPlan) -> int:
    """How many of the portfolio's first points stand for a subset or a family: each is given all its folds.

    A report compares the subsets; an ensemble wants members that differ, so that no family may be stopped as a whole
    for what its first start does on one fold.
    """
    return len(cover(plan)) + len(plan.estimators) - 1


def cover(plan: SearchPlan) -> list[tuple[str, ...]]:
    """The subsets of blocks that a report wants to compare, whatever the sampler likes; distinct.

    Everything together, each block alone, each modality alone, and with three modalities or more each left out; with
    blocks of several modalities put together before their extractor, everything but those too; with a pretrained
    extractor and its tuned twin, everything but the one and everything but the other; with variants, everything with
    each of them.
    """
    read = {block: modalities_in(plan.modalities[block]) for block in plan.blocks}
    modalities = sorted(frozenset[str]().union(*read.values()))
    whole = plan.whole
    wanted = [whole, *((name,) for name in plan.blocks)]
    wanted += [tuple(b for b in whole if read[b] == {m}) for m in modalities]
    if len(modalities) > 2:
        wanted += [tuple(b for b in whole if m not in read[b]) for m in modalities]
    wanted += [tuple(b for b in whole if len(read[b]) == 1)]
    wanted += [tuple(b for b in whole if b != twin) for pair in plan.twins for twin in pair]
    wanted += [tuple(sorted({*whole} - {base} | {other})) for base, *others in plan.variants for other in others]
    return [blocks for blocks in dict.fromkeys(wanted) if blocks]


def _suggest_blocks(trial: Trial, slots: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Of each slot one or none, and never nothing: the last is not asked for when none before it was taken."""
    chosen: list[str] = []
    for i, slot in enumerate(slots):
        forced = i == len(slots) - 1 and not chosen
        if forced or trial.suggest_categorical(f"use.{slot[0]}", [True, False]):
            chosen.append(trial.suggest_categorical(f"variant.{slot[0]}", list(slot)) if len(slot) > 1 else slot[0])
    return tuple(sorted(chosen))


def _suggest_choice(trial: Trial, role: str, choices: Sequence[Choice]) -> Choice:
    if len(choices) == 1:
        return choices[0]
    key = trial.suggest_categorical(role, [choice.key for choice in choices])
    return next(choice for choice in choices if choice.key == key)


def _tried(trial: Trial, role: str, choice: Choice) -> PrefixedTrial:
    return PrefixedTrial(trial, f"{role}.{choice.key}.", choice.fixed)


def _takes(trial: Trial, choice: Choice) -> bool:
    return choice.always or bool(trial.suggest_categorical(f"prepare.{choice.key}", [True, False]))


def _step(trial: Trial, plan: SearchPlan, choice: Choice) -> dict[str, Any]:
    tried = _tried(trial, "prepare", choice)
    params = PREPARATIONS.get(choice.name).space(tried, learned_as(plan.task)) if choice.search else {}
    return {"name": choice.name, "params": {**params, **choice.fixed}}


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
    plan: SearchPlan,
    blocks: tuple[str, ...],
    fusion: tuple[Choice, Point],
    estimator: tuple[Choice, Point],
    prepared: tuple[Choice, Point] | None = None,
) -> Point:
    """The values that make ``propose`` give a candidate, under the names it will ask for."""
    point: Point = {}
    for i, slot in enumerate(plan.slots):
        taken = next((name for name in slot if name in blocks), None)
        if i < len(plan.slots) - 1 or any(point.values()):
            point[f"use.{slot[0]}"] = taken is not None
        if taken is not None and len(slot) > 1:
            point[f"variant.{slot[0]}"] = taken
    point |= _chosen("fusion", plan.fusions, *fusion) | _chosen(FAMILY, plan.estimators, *estimator)
    for choice in plan.preparations:
        starts = _starts_of_preparation(plan, choice) if choice.always else []
        start = prepared[1] if prepared is not None and prepared[0] == choice else next(iter(starts), None)
        if not choice.always:
            point[f"prepare.{choice.key}"] = start is not None
        fields = {name: v for name, v in (start or {}).items() if name not in choice.fixed}
        point |= {f"prepare.{choice.key}.{name}": v for name, v in fields.items()}
    return point


def _starts_of_preparation(plan: SearchPlan, choice: Choice) -> list[Point]:
    plugin, task = PREPARATIONS.get(choice.name), learned_as(plan.task)
    starts: Sequence[Mapping[str, Any]] = plugin.portfolio(task) if choice.search else ()
    return [dict(start) for start in starts] or [{}]


def _starts_of_preparations(plan: SearchPlan) -> list[tuple[Choice, Point]]:
    """The best start of each preparation, in their order, then the other starts."""
    starts = [(choice, _starts_of_preparation(plan, choice)) for choice in plan.preparations]
    first = [(choice, own[0]) for choice, own in starts]
    return first + [(choice, start) for choice, own in starts for start in own[1:]]


def _chosen(role: str, choices: Sequence[Choice], choice: Choice, start: Point) -> Point:
    point: Point = {role: choice.key} if len(choices) > 1 else {}
    return point | {f"{role}.{choice.key}.{name}": v for name, v in start.items() if name not in choice.fixed}


def _distinct(points: Sequence[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in points:
        if point not in kept:
            kept.append(point)
    return kept
