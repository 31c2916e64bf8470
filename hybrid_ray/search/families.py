"""Which family of learners the next trial takes: by what it may still gain, for what that costs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAMILY = "estimator"
"""Name of the parameter that chooses a family of learners."""

MOST = 30.0
"""How many times its own price a family that is far behind is priced at most: its last step may say little."""
SLOWER = 2.0
"""How many times slower than its last step a family is expected to catch up: steps become smaller."""
UNKNOWN = 5.0
"""How many times its own price a family is priced that is behind and has made no step yet."""


@dataclass
class Pursuit:
    """What was spent on a family, and what it brought.

    Attributes
    ----------
    spent : float
        Cost of all its trials.
    best : float or None
        Its best gain.
    last, before : float
        What had been spent when the best was found, and when the best before that was found.
    gained : float or None
        What the last improvement brought; None while there was none.
    """

    spent: float = 0.0
    best: float | None = None
    last: float = 0.0
    before: float = 0.0
    gained: float | None = None

    def add(self, value: float | None, cost: float) -> None:
        """Count a trial of so much gain; None for one that is only to be paid."""
        self.spent += cost
        if value is None or (self.best is not None and value <= self.best):
            return
        self.gained = None if self.best is None else value - self.best
        self.best, self.before, self.last = value, self.last, self.spent

    def price(self, top: float, cost: float) -> float:
        """Estimated cost of the next improvement of ``top``, the best of all families; a trial costs ``cost``."""
        own = max(self.spent - self.last, self.last - self.before, cost)
        if self.best is None or self.best >= top:
            return own
        if self.gained is None:
            return UNKNOWN * own
        behind = SLOWER * (top - self.best) * (self.spent - self.before) / self.gained
        return min(max(own, behind), MOST * own)


class FamilyChooser:
    """Draws families by the estimated cost of the next improvement.

    The estimate is that of FLAML (Wang et al., "FLAML: A Fast and Lightweight AutoML Library", MLSys 2021, equation 1):
    a family whose best is the best of all is expected to need as much again as it spent since its last improvement, or
    for that; another family has to catch up first, at the rate of its last improvement. Time is shared out
    in proportion to one over that price, so a family whose trials cost more is drawn less often, the price being the
    same. Costs are what a fit is known to take relative to others, not what a clock said, so that the same seed gives
    the same draws.

    Parameters
    ----------
    costs : mapping of str to float
        Of a fit, by family.
    folds : int
        Fits of a whole trial.
    starts : mapping of str to sequence of dict
        Good points of a family by parameter name, which its first draws take.
    seed : int
    """

    def __init__(
        self, costs: Mapping[str, float], folds: int, starts: Mapping[str, Sequence[Mapping[str, Any]]], seed: int
    ) -> None:
        self._costs = dict(costs)
        self._folds = folds
        self._starts = {family: list(points) for family, points in starts.items()}
        self._rng = random.Random(seed)
        self._pursuits = {family: Pursuit() for family in costs}

    def tell(self, family: str, value: float | None, folds: int | None = None) -> None:
        """Count a trial that did so many folds, by default all; its gain, if it has all and did not fail."""
        self._pursuits[family].add(value, (self._folds if folds is None else folds) * self._costs[family])

    def draw(self) -> tuple[str, Mapping[str, Any]]:
        """The family of the next trial, and what is given of its point."""
        known = [pursuit.best for pursuit in self._pursuits.values() if pursuit.best is not None]
        top = max(known, default=0.0)
        odds = {family: self._odds(family, top) for family in self._pursuits}
        family = self._rng.choices(list(odds), list(odds.values()))[0]
        starts = self._starts.get(family)
        return family, starts.pop(0) if starts else {}

    def _odds(self, family: str, top: float) -> float:
        """Of a draw: what is its share of time, in trials."""
        cost = self._folds * self._costs[family]
        return 1 / (cost * self._pursuits[family].price(top, cost))
