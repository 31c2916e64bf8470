"""The grid sampler's points: a few values of every number, every choice, in all combinations that a space allows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hybrid_ray.estimators.base import Trial
from hybrid_ray.types import SamplerName

VALUES = 3
"""Values of one number: the middles of as many equal parts of its range, on its own scale."""
MOST = 4096
"""Points that a grid is walked through for; from a larger one as many are drawn."""
DRAWS = 20
"""Draws for each point wanted before a grid is taken to have no more."""

Point = dict[str, Any]
Choose = Callable[[int], int]
"""Of how many values, which one."""


class _Walk:
    """A trial that takes one way through a space."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.point: Point = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """One of the values of a float."""
        return float(self._take(name, [_at(low, high, part, log) for part in _middles()]))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """One of the values of an integer."""
        rounded = [min(max(round(_at(low, high, part, log)), low), high) for part in _middles()]
        return int(self._take(name, list(dict.fromkeys(rounded))))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of some choices."""
        return self._take(name, choices)

    def _take(self, name: str, values: Sequence[Any]) -> Any:
        if name not in self.point:
            self.point[name] = values[self._choose(len(values))]
        return self.point[name]


def grid_points(space: Callable[[Trial], Any], seed: int, wanted: int = MOST) -> list[Point]:
    """Points of a grid over a conditional space, in an order that the seed decides.

    A point holds only what its own way through the space asks for. The order is shuffled, so that what a budget leaves
    out is a fair part; of a grid with more than ``MOST`` points distinct ones are drawn, each way at a branch alike.

    Parameters
    ----------
    space : callable
        Asks a trial for its parameters, as ``propose`` does.
    seed : int
    wanted : int, default 4096
        Points at most.

    Returns
    -------
    list of dict
        By parameter name; no two are the same. A larger ``wanted`` gives the same points first.
    """
    shuffled = random.Random(seed)
    points: list[Point] = []
    for point in _all(space):
        points.append(point)
        if len(points) > MOST:
            return _drawn(space, shuffled, min(wanted, MOST))
    shuffled.shuffle(points)
    return points[:wanted]


def starts(
    sampler: SamplerName, space: Callable[[Trial], Any], portfolio: Sequence[Point], seed: int
) -> tuple[list[Point], int | None]:
    """What is enqueued before a sampler is asked, and how many trials there can be.

    Parameters
    ----------
    sampler : {"tpe", "cmaes", "gp", "random", "grid"}
    space : callable
    portfolio : sequence of dict
        Good starts; they come first with every sampler.
    seed : int

    Returns
    -------
    points : list of dict
    most : int or None
        For a grid, the number of points; None: there is no end.
    """
    if sampler != "grid":
        return list(portfolio), None
    points = [*portfolio, *(point for point in grid_points(space, seed) if point not in portfolio)]
    return points, len(points)


def _all(space: Callable[[Trial], Any]) -> Iterator[Point]:
    """Every way through a space, depth first."""
    path: list[int] = []
    while True:
        sizes: list[int] = []

        def choose(n: int, sizes: list[int] = sizes, path: list[int] = path) -> int:
            sizes.append(n)
            return path[len(sizes) - 1] if len(sizes) <= len(path) else 0

        walk = _Walk(choose)
        space(walk)
        yield walk.point
        path = [*path, *[0] * (len(sizes) - len(path))]
        while path and path[-1] == sizes[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1


def _drawn(space: Callable[[Trial], Any], rng: random.Random, wanted: int) -> list[Point]:
    found: dict[tuple[tuple[str, Any], ...], Point] = {}
    for _ in range(DRAWS * wanted):
        walk = _Walk(rng.randrange)
        space(walk)
        found.setdefault(tuple(walk.point.items()), walk.point)
        if len(found) == wanted:
            break
    return list(found.values())


def _middles() -> list[float]:
    return [(i + 0.5) / VALUES for i in range(VALUES)]


def _at(low: float, high: float, part: float, log: bool) -> float:
    return low * (high / low) ** part if log else low + part * (high - low)
