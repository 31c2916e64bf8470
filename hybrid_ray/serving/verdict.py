"""Whether a canary is as good as the champion: looked at as often as one likes, and wrong no more often than stated.

A test that is made anew with each request finds a difference some day where none is. What is computed here holds at all
times at once: rates by the mixture of Robbins, means by an asymptotic confidence sequence.

References
----------
Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 1970.
Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of
Statistics 2021.
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 2024: :func:`mean_bounds` is their equation 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from scipy.optimize import brentq
from scipy.special import betaln

from hybrid_ray.spec import CanaryRule

_LEAST = 30
"""Values below which nothing is said of a mean: the sequence holds for many."""
_TIGHT_AT = 1000
"""Values at which the sequence of a mean is tightest."""
_EDGE = 1e-15
"""The least rate that is told from none."""

Action = Literal["promote", "rollback", "wait"]


class Tally(NamedTuple):
    """What is counted of one version.

    Attributes
    ----------
    requests, errors, slow : int
        Answered; of these failed, and slower than the rule says.
    labelled : int
        Rows whose label came.
    loss, squares : float
        Sum of their losses, and of the squares.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    labelled: int = 0
    loss: float = 0.0
    squares: float = 0.0


class Bounds(NamedTuple):
    """An interval that holds at all times at once."""

    low: float
    high: float


class Verdict(NamedTuple):
    """What is decided, and by which figures.

    Attributes
    ----------
    action : {"promote", "rollback", "wait"}
    reason : str
    figures : dict of str to Bounds
        ``errors``, ``slow``, ``worse``: those that the rule asks for.
    """

    action: Action
    reason: str
    figures: dict[str, Bounds]


def verdict(rule: CanaryRule, champion: Tally, canary: Tally) -> Verdict:
    """What to do with a canary now.

    It is taken back when a limit is surely broken, and promoted when it has answered enough and every limit is surely
    kept. The level is shared among the limits.

    Parameters
    ----------
    rule : CanaryRule
    champion, canary : Tally
        Since the canary began.
    """
    limits = _limits(rule, champion, canary)
    share = rule.level / len(limits)
    figures = {name: bounds(share) for name, (bounds, _, _) in limits.items()}
    for name, (_, most, what) in limits.items():
        if figures[name].low > most:
            return Verdict("rollback", f"{what} must be at most {most:g}; it is above {figures[name].low:.3g}", figures)
    if canary.requests < rule.min_requests:
        return Verdict("wait", f"{canary.requests} of {rule.min_requests} requests are answered", figures)
    for name, (_, most, what) in limits.items():
        if figures[name].high > most:
            told = f"{figures[name].low:.3g} to {figures[name].high:.3g}"
            return Verdict("wait", f"{what} must be at most {most:g}; it may be {told}", figures)
    return Verdict("promote", f"every limit is kept after {canary.requests} requests", figures)


_Limit = tuple[Callable[[float], Bounds], float, str]


def _limits(rule: CanaryRule, champion: Tally, canary: Tally) -> dict[str, _Limit]:
    """By name: bounds at a level, what must not be passed, and what it is."""
    limits: dict[str, _Limit] = {
        "errors": (
            lambda level: rate_bounds(canary.errors, canary.requests, level),
            rule.max_error_rate,
            "the share of failed requests",
        )
    }
    if rule.max_latency_ms is not None:
        what = f"the share of requests above {rule.max_latency_ms:g} ms"
        limits["slow"] = (lambda level: rate_bounds(canary.slow, canary.requests, level), rule.slow_share, what)
    if rule.margin is not None:
        limits["worse"] = (
            lambda level: _difference(canary, champion, level),
            rule.margin,
            "its mean loss above the champion's",
        )
    return limits


def _difference(canary: Tally, champion: Tally, level: float) -> Bounds:
    """Mean loss of one above that of the other: half of the level each."""
    ours, theirs = (mean_bounds(each.labelled, each.loss, each.squares, level / 2) for each in (canary, champion))
    return Bounds(ours.low - theirs.high, ours.high - theirs.low)


def rate_bounds(events: int, n: int, level: float) -> Bounds:
    """Where a rate lies, of which so many events came in n tries: at all n at once with a chance of 1 - ``level``.

    The rates whose likelihood is above ``level`` times that of the mixture of all rates, each as likely (Robbins).
    """
    if n == 0:
        return Bounds(0.0, 1.0)
    mixture = float(betaln(events + 1, n - events + 1))
    threshold = mixture + math.log(level)

    def above(rate: float) -> float:
        return _log_likelihood(events, n, rate) - threshold

    middle, edge = events / n, _EDGE
    low = 0.0 if events == 0 else brentq(above, edge, middle, xtol=_EDGE) if above(edge) < 0 else 0.0
    high = 1.0 if events == n else brentq(above, middle, 1 - edge, xtol=_EDGE) if above(1 - edge) < 0 else 1.0
    return Bounds(float(low), float(high))


def _log_likelihood(events: int, n: int, rate: float) -> float:
    hits = events * math.log(rate) if events else 0.0
    misses = (n - events) * math.log1p(-rate) if n > events else 0.0
    return hits + misses


def mean_bounds(n: int, total: float, squares: float, level: float) -> Bounds:
    """Where a mean lies, at all n at once with a chance of 1 - ``level``, nearly, for many values.

    Parameters
    ----------
    n : int
        Values; of fewer than 30 nothing is said.
    total, squares : float
        Their sum, and the sum of their squares.
    level : float
    """
    if n < _LEAST:
        return Bounds(-math.inf, math.inf)
    mean = total / n
    variance = max(squares / n - mean**2, 0.0)
    rho = math.sqrt((-2 * math.log(level) + math.log(-2 * math.log(level) + 1)) / _TIGHT_AT)
    wide = n * rho**2 + 1
    reach = math.sqrt(variance * 2 * wide / (n * rho) ** 2 * math.log(math.sqrt(wide) / level))
    return Bounds(mean - reach, mean + reach)
