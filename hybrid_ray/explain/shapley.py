"""Shapley values of a game: what each player adds, in the mean over all orders in which they may come.

References
----------
Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953.
Owen, "Values of games with a priori unions", Mathematical Economics and Game Theory 1977: :func:`owen_values`.
Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers & Operations
Research 2009; an order is followed by its reverse as in Mitchell, Cooper, Frank and Holmes, "Sampling permutations for
Shapley value estimation", JMLR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial

import numpy as np

from hybrid_ray.types import AnyArray, BoolArray

EXACT = 8
"""Players up to which every coalition is asked: 256 of them."""

Game = Callable[[BoolArray], AnyArray]
"""What coalitions bool (k, players) are worth, float (k,): which players take part in each."""


@dataclass(frozen=True)
class Shares:
    """What each player adds. They add up to what all are worth above none.

    Attributes
    ----------
    values : ndarray of float64 (players,)
    errors : ndarray of float64 (players,)
        Standard errors; 0 where every order was counted.
    none, all : float
        What no player is worth, and all of them.
    asked : int
        Coalitions that were asked.
    """

    values: AnyArray
    errors: AnyArray
    none: float
    all: float
    asked: int


def shapley_values(game: Game, players: int, *, orders: int = 64, seed: int = 0) -> Shares:
    """What each player adds, exactly for ``EXACT`` players or fewer, else in the mean over random orders.

    Parameters
    ----------
    game : callable
    players : int
    orders : int, default 64
        Random orders, and as many reversed. Each asks ``players`` coalitions.
    seed : int, default 0
    """
    return owen_values(game, [[player] for player in range(players)], orders=orders, seed=seed)


def owen_values(game: Game, unions: Sequence[Sequence[int]], *, orders: int = 64, seed: int = 0) -> Shares:
    """What each player adds where those of a union come one after another, whole unions in any order.

    What the players of a union add together is what the union adds as one player: columns of a modality add up to it.
    Asked are the coalitions of whole unions, and within one those of its players: exactly where both are few.

    Parameters
    ----------
    game : callable
    unions : sequence of sequence of int
        Every player 0 … n - 1 once.
    orders : int, default 64
    seed : int, default 0
    """
    n = sum(len(union) for union in unions)
    if n == 0:
        worth = float(game(np.zeros((1, 0), bool))[0])
        return Shares(np.zeros(0), np.zeros(0), worth, worth, 1)
    asked = _Asked(game, n)
    if is_exact(unions):
        values, errors = _exact(asked, unions, n), np.zeros(n)
    else:
        values, errors = _sampled(asked, unions, n, orders, np.random.default_rng(seed))
    none, every = asked.worth([frozenset(), frozenset(range(n))])
    return Shares(values, errors, float(none), float(every), asked.count)


def is_exact(unions: Sequence[Sequence[int]]) -> bool:
    """Whether :func:`owen_values` asks every coalition: where unions, and the players of each, are few."""
    return len(unions) <= EXACT and all(len(union) <= EXACT for union in unions)


def coalitions_of(unions: Sequence[Sequence[int]]) -> int:
    """Coalitions that :func:`owen_values` asks at most where it is exact."""
    return sum(2 ** (len(unions) - 1 + len(union)) for union in unions)


class _Asked:
    """A game that is asked each coalition once, many at a time."""

    def __init__(self, game: Game, players: int) -> None:
        self._game = game
        self._players = players
        self._known: dict[frozenset[int], float] = {}

    @property
    def count(self) -> int:
        return len(self._known)

    def worth(self, coalitions: Sequence[frozenset[int]]) -> AnyArray:
        """What coalitions are worth (k,)."""
        new = [each for each in dict.fromkeys(coalitions) if each not in self._known]
        if new:
            masks = np.zeros((len(new), self._players), bool)
            for row, members in enumerate(new):
                masks[row, list(members)] = True
            self._known |= dict(zip(new, np.asarray(self._game(masks), np.float64).tolist(), strict=True))
        return np.array([self._known[each] for each in coalitions])


def _subsets(players: Sequence[int]) -> list[frozenset[int]]:
    kept = product((False, True), repeat=len(players))
    return [frozenset(p for p, inside in zip(players, keep, strict=True) if inside) for keep in kept]


def _weights(n: int) -> AnyArray:
    """Chance that exactly a given set of ``s`` of the n - 1 others comes first, by s."""
    return np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])


def _exact(asked: _Asked, unions: Sequence[Sequence[int]], n: int) -> AnyArray:
    values = np.zeros(n)
    outer = _weights(len(unions))
    for own, union in enumerate(unions):
        others = [i for i in range(len(unions)) if i != own]
        inner = _weights(len(union))
        for before in _subsets(others):
            there = frozenset(player for i in before for player in unions[i])
            for player in union:
                first = [each | there for each in _subsets([p for p in union if p != player])]
                gains = asked.worth([each | {player} for each in first]) - asked.worth(first)
                sizes = [len(each) - len(there) for each in first]
                values[player] += outer[len(before)] * float(inner[sizes] @ gains)
    return values


def _sampled(
    asked: _Asked, unions: Sequence[Sequence[int]], n: int, orders: int, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Means over pairs of an order and its reverse, and standard errors: pairs are independent, orders are not."""
    drawn = [_order(unions, rng) for _ in range(orders)]
    both = [order for each in drawn for order in (each, each[::-1])]
    steps = [frozenset(order[:i]) for order in both for i in range(n + 1)]
    gains = np.diff(asked.worth(steps).reshape(len(both), n + 1), axis=1)
    placed = np.empty_like(gains)
    np.put_along_axis(placed, np.array(both), gains, axis=1)
    pairs = placed.reshape(orders, 2, n).mean(axis=1)
    spread = pairs.std(axis=0, ddof=1) if orders > 1 else np.full(n, np.inf)
    return pairs.mean(axis=0), spread / np.sqrt(orders)


def _order(unions: Sequence[Sequence[int]], rng: np.random.Generator) -> list[int]:
    return [int(player) for i in rng.permutation(len(unions)) for player in rng.permutation(unions[i])]
