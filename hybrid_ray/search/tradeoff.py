"""More than one objective: what no other choice beats in everything, and which of these is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hybrid_ray.errors import BadInputError
from hybrid_ray.search.costs import Cost
from hybrid_ray.types import Objective, Prefer

Choice = TypeVar("Choice")

SLACK: Mapping[Prefer, float] = {"accuracy": 0.0, "balanced": 1.0, "speed": 2.0}
"""Standard errors of the best score that a cheaper choice may lie below it."""

_COSTS: Mapping[Objective, Callable[[Cost], float]] = {
    "latency": lambda cost: cost.latency_ms,
    "size": lambda cost: cost.size_mb,
}


@dataclass(frozen=True)
class Wish:
    """What a user wants beside a good score.

    Attributes
    ----------
    objectives : tuple of {"metric", "latency", "size"}
    prefer : {"accuracy", "balanced", "speed"}
        accuracy: the best score, see ``first_of_equals``; balanced: the cheapest within one standard error of it (the
        rule of Breiman and others, Classification and Regression Trees, 1984, section 3.4.3); speed: within two.
    max_latency_ms, max_size_mb : float or None
        What an answer to one row, and the graph, may cost at most.
    """

    objectives: tuple[Objective, ...] = ("metric",)
    prefer: Prefer = "accuracy"
    max_latency_ms: float | None = None
    max_size_mb: float | None = None

    @property
    def costs(self) -> tuple[Objective, ...]:
        """Objectives that are costs; with a limit on one, that one too."""
        limited = {"latency": self.max_latency_ms, "size": self.max_size_mb}
        return tuple(name for name in _COSTS if name in self.objectives or limited[name] is not None)

    @property
    def frugal(self) -> bool:
        """Whether a cost has a say in what is taken."""
        return self.prefer != "accuracy" or self.max_latency_ms is not None or self.max_size_mb is not None

    def allows(self, cost: Cost) -> bool:
        """Whether a cost is within the limits."""
        return cost.latency_ms <= (self.max_latency_ms or math.inf) and cost.size_mb <= (self.max_size_mb or math.inf)


@dataclass(frozen=True)
class Option(Generic[Choice]):
    """One thing that may be chosen.

    Attributes
    ----------
    choice : object
    gains : tuple of float
        On each part that it was scored on; higher is better.
    cost : Cost
    """

    choice: Choice
    gains: tuple[float, ...]
    cost: Cost

    @property
    def gain(self) -> float:
        """Mean over the parts."""
        return math.fsum(self.gains) / len(self.gains)


def front(options: Sequence[Option[Choice]], costs: Sequence[Objective]) -> list[Option[Choice]]:
    """The Pareto front: options that no other beats in one objective without losing in another, cheapest first."""
    points = [(option.gain, *(-_COSTS[name](option.cost) for name in costs)) for option in options]
    kept: dict[tuple[float, ...], Option[Choice]] = {}
    for option, point in zip(options, points, strict=True):
        beaten = any(other != point and all(a >= b for a, b in zip(other, point, strict=True)) for other in points)
        if not beaten:
            kept.setdefault(point, option)
    return sorted(kept.values(), key=lambda option: (_price(option.cost, costs), -option.gain))


def preferred(options: Sequence[Option[Choice]], wish: Wish) -> list[Option[Choice]]:
    """Options from the one that the wish takes to the last; those that it does not allow are left out.

    Raises
    ------
    BadInputError
        It allows none.
    """
    allowed = [option for option in options if wish.allows(option.cost)]
    if not allowed:
        raise BadInputError(_refusal(options, wish))
    by_gain = sorted(allowed, key=lambda option: -option.gain)
    best = by_gain[0]
    bar = best.gain - SLACK[wish.prefer] * _standard_error(best.gains)
    near = [option for option in by_gain if option.gain >= bar] if SLACK[wish.prefer] else []
    near.sort(key=lambda option: (_price(option.cost, wish.costs), -option.gain))
    return near + [option for option in by_gain if option not in near]


def first_of_equals(options: Sequence[Option[Choice]]) -> list[Option[Choice]]:
    """Options by gain, but for the first place: that has the earliest which is not told apart from the best.

    The mean of a few parts is noisy, and the best of many is partly the luckiest. Options come in an order of trust;
    one that comes later must be better by more than one standard error of the difference, part by part.

    Parameters
    ----------
    options : sequence of Option
        The most trusted first, scored on the same parts.
    """
    by_gain = sorted(options, key=lambda option: -option.gain)
    best = by_gain[0]

    def behind(option: Option[Choice]) -> bool:
        gaps = [b - a for a, b in zip(option.gains, best.gains, strict=True)]
        return math.fsum(gaps) / len(gaps) > _standard_error(gaps)

    first = next(option for option in options if not behind(option))
    return [first, *(option for option in by_gain if option is not first)]


def _price(cost: Cost, costs: Sequence[Objective]) -> float:
    """Product of the costs asked for: a tenth of one is worth as much as a tenth of the other."""
    return math.prod(_COSTS[name](cost) for name in costs)


def _standard_error(gains: Sequence[float]) -> float:
    n = len(gains)
    if n < 2:
        return 0.0
    mean = math.fsum(gains) / n
    return math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (n - 1) / n)


def _refusal(options: Sequence[Option[Choice]], wish: Wish) -> str:
    quick = min(option.cost.latency_ms for option in options)
    small = min(option.cost.size_mb for option in options)
    return (
        f"search.max_latency_ms, search.max_size_mb: some ensemble must keep to both; got {wish.max_latency_ms} ms and "
        f"{wish.max_size_mb} MB; the quickest found takes {quick:.3g} ms, the smallest has {small:.3g} MB. Raise them, "
        "or leave out the extractors that cost most"
    )
