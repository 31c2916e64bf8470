"""The space of ensembles: how members are chosen and what puts them together; weights are solved, not sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.inner import combiner_effort
from hybrid_ray.registry import FUSIONS
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.search.space import Point
from hybrid_ray.types import learned_as

Strategy = Literal["best", "families", "blocks", "pool"]
STRATEGIES: tuple[Strategy, ...] = ("families", "pool", "best", "blocks")
"""How members are ranked before the first k are taken.

pool: by weight in a linear pool of the whole library; best: by score; families, blocks: the best of each estimator
family, or of each set of extractors, before the second best of any.
"""

POOL = "linear_pool"


@dataclass(frozen=True)
class Recipe:
    """One ensemble, before it has seen rows.

    Attributes
    ----------
    strategy : Strategy
    n_members : int
        Members at most.
    combiner : str
        Registered name of a decision-level fusion.
    params : mapping
        Fields of its ``Params``.
    """

    strategy: Strategy
    n_members: int
    combiner: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``Recipe(**form)`` gives it back."""
        return asdict(self)

    @property
    def effort(self) -> float:
        """What a fit takes, see ``DecisionFusion.effort``; infinite where parameters are not valid: it will fail."""
        fusion: type[DecisionFusion] = FUSIONS.get(self.combiner)
        try:
            return fusion.effort(fusion.Params.model_validate(dict(self.params)))
        except ValidationError:
            return math.inf


def propose_ensemble(trial: Trial, plan: SearchPlan, n_candidates: int) -> Recipe:
    """The ensemble that a trial stands for, from a library of ``n_candidates``."""
    most = min(plan.max_members, n_candidates)
    n_members = trial.suggest_int("members", 1, most) if most > 1 else 1
    strategy: Strategy = trial.suggest_categorical("strategy", list(STRATEGIES)) if n_members > 1 else "best"
    keys = [choice.key for choice in plan.combiners]
    key = trial.suggest_categorical("combiner", keys) if len(keys) > 1 else keys[0]
    combiner = next(choice for choice in plan.combiners if choice.key == key)
    tried = PrefixedTrial(trial, f"combiner.{key}.", combiner.fixed)
    params = FUSIONS.get(combiner.name).space(tried, n_members, learned_as(plan.task)) if combiner.search else {}
    return Recipe(strategy, n_members, combiner.name, {**params, **combiner.fixed})


def ensemble_portfolio(plan: SearchPlan, n_candidates: int) -> list[Point]:
    """Good starts as points of ``propose_ensemble``, the most trusted first: each combiner on the first two rankings.

    The best of each family of learners come first: they err differently. Then comes the best candidate alone, so that
    no search answers with an ensemble that is told to be worse; then the first combiner on the other rankings, and the
    other starts of each combiner.
    """
    most = min(plan.max_members, n_candidates)
    alone = next((choice for choice in plan.combiners if choice.name == POOL), plan.combiners[0])
    points = [_point(plan, alone, 1, most, "best", 0)]
    if most > 1:
        first = [_point(plan, each, most, most, way, 0) for way in STRATEGIES[:2] for each in plan.combiners]
        others = [_point(plan, plan.combiners[0], most, most, way, 0) for way in STRATEGIES[2:]]
        points = first + points + others
        points += [
            _point(plan, combiner, most, most, STRATEGIES[0], rank)
            for combiner in plan.combiners
            for rank in range(1, len(_starts(plan, combiner, most)))
        ]
    return points


def quick_start(plan: SearchPlan, points: list[Point]) -> list[Point]:
    """The portfolio for a search that may end soon: as it is, unless what is handed out first all trains learners.

    Then points whose combiners take less come first, each among its like in the order of trust.
    """
    efforts = {choice.key: combiner_effort(choice.name, choice.fixed) for choice in plan.combiners}
    taken = [efforts[point.get("combiner", plan.combiners[0].key)] for point in points]
    if not all(math.isinf(effort) for effort in taken[: plan.batch if plan.deterministic else 1]):
        return points
    return [points[i] for i in sorted(range(len(points)), key=lambda i: taken[i])]


def _starts(plan: SearchPlan, combiner: Choice, n_members: int) -> list[Point]:
    fusion: type[DecisionFusion] = FUSIONS.get(combiner.name)
    starts = fusion.portfolio(n_members, learned_as(plan.task)) if combiner.search else ()
    return [dict(start) for start in starts] or [{}]


def _point(plan: SearchPlan, combiner: Choice, n_members: int, most: int, strategy: Strategy, rank: int) -> Point:
    point: Point = {"members": n_members} if most > 1 else {}
    if n_members > 1:
        point["strategy"] = strategy
    if len(plan.combiners) > 1:
        point["combiner"] = combiner.key
    start = _starts(plan, combiner, n_members)[rank]
    return point | {f"combiner.{combiner.key}.{name}": v for name, v in start.items() if name not in combiner.fixed}
