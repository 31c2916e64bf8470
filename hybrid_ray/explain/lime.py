"""A line through what a game is worth near the coalition of all players: LIME.

Cheaper than Shapley values where players are many, and less of an answer: weights of a line that is only near the game,
which do not add up to anything. Written here, on scikit-learn's ridge regression: the package ``lime`` has had no
release since 2020, and knows nothing of rows whose columns are images beside texts beside numbers.

References
----------
Ribeiro, Singh and Guestrin, "'Why should I trust you?': explaining the predictions of any classifier", KDD 2016.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from hybrid_ray.explain.shapley import Game, Shares
from hybrid_ray.types import AnyArray, BoolArray

COALITIONS = 128
"""Coalitions that are asked: all where there are no more."""
_WIDTH = 0.75
"""Width of the kernel over the root of the number of players, as the authors' own package has it for tables."""
_PENALTY = 1e-3
"""Penalty of the ridge over the sum of the weights: next to nothing, but where players are as many as coalitions."""


class Line(NamedTuple):
    """A line near a game.

    Attributes
    ----------
    shares : Shares
        ``none`` is what the line says of no player, ``all`` what it says of all: near what these are worth.
    r2 : float
        Share of the weighted variance of what the coalitions are worth that the line tells; 1 where they do not vary.
    """

    shares: Shares
    r2: float


def coalitions_asked(players: int) -> int:
    """Coalitions that :func:`lime_line` asks."""
    most = max(COALITIONS, 4 * players)
    return 2**players if 2**players <= most else most


def lime_line(game: Game, players: int, *, seed: int = 0) -> Line:
    """The weighted ridge regression of what coalitions are worth on who takes part, those near to all weighing most.

    Parameters
    ----------
    game : callable
    players : int
    seed : int, default 0
        Of the coalitions, where not all are asked.
    """
    from sklearn.linear_model import Ridge

    masks = _coalitions(players, np.random.default_rng(seed))
    worth = np.asarray(game(masks), np.float64)
    if players == 0:
        return Line(Shares(np.zeros(0), np.zeros(0), float(worth[0]), float(worth[0]), 1), 1.0)
    weights = np.exp(-(~masks).sum(axis=1) / (_WIDTH**2 * players))
    penalty = _PENALTY * weights.sum()
    line = Ridge(alpha=penalty).fit(masks.astype(np.float64), worth, weights)
    told = line.predict(masks.astype(np.float64))
    sampled = len(masks) < 2**players
    errors = _errors(masks, worth - told, weights, penalty) if sampled else np.zeros(players)
    none = float(line.intercept_)
    shares = Shares(line.coef_, errors, none, none + float(line.coef_.sum()), len(masks))
    spread = float(weights @ (worth - np.average(worth, weights=weights)) ** 2)
    left = float(weights @ (worth - told) ** 2)
    return Line(shares, 1 - left / spread if spread > 0 else 1.0)


def _coalitions(players: int, rng: np.random.Generator) -> BoolArray:
    """Coalitions bool (k, players), that of all among them."""
    asked = coalitions_asked(players)
    if asked == 2**players:
        return np.array(list(product((True, False), repeat=players)), bool).reshape(asked, players)
    masks = rng.random((asked, players)) < 0.5
    masks[0] = True
    return masks


def _errors(masks: BoolArray, left: AnyArray, weights: AnyArray, penalty: float) -> AnyArray:
    """Standard errors (players,) of a line's weights, whatever the spread of what it leaves (White 1980)."""
    X = masks - np.average(masks, axis=0, weights=weights)
    inverse = np.linalg.inv((X * weights[:, None]).T @ X + penalty * np.eye(X.shape[1]))
    pulls = X * (weights * left)[:, None] @ inverse
    errors: AnyArray = np.sqrt((pulls**2).sum(axis=0))
    return errors
