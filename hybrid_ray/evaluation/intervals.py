"""How sure a score is: bootstrap intervals, and whether one set of outputs beats another.

All resamples of a metric are scored at once (see :mod:`hybrid_ray.evaluation.statistics`), and all sets of outputs
that are compared see the same resamples, so their differences are paired. Where rows go together, whole groups of them
are drawn: see :mod:`hybrid_ray.evaluation.ties`.

References
----------
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16.
Bickel, Götze and van Zwet, Resampling fewer than n observations, Statistica Sinica 7, 1997.
Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.2: the basic interval.
Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hybrid_ray.evaluation.metrics import Metric
from hybrid_ray.evaluation.ties import Ties, rows_for_share
from hybrid_ray.metric_names import range_of
from hybrid_ray.types import AnyArray

LEVEL = 0.95
"""Confidence of every interval."""
_Z = 1.959963984540054

MAX_ROWS = 20_000
"""Rows, or groups of rows, of a resample; above, so many are drawn, and their spread is scaled to all."""
MIN_RESAMPLES = 200
_PASSES = 60_000_000
"""Rows times classes times resamples above which fewer resamples are drawn, never fewer than ``MIN_RESAMPLES``."""
_CHUNK = 1_000_000


class Interval(NamedTuple):
    """Ends of a 95 % interval; NaN where the score is not defined."""

    low: float
    high: float


class Difference(NamedTuple):
    """How much better one set of outputs is than another.

    Attributes
    ----------
    mean : float
        Gain of the first over the second on all rows; positive is better, whatever the metric's direction.
    low, high : float
        Ends of its 95 % interval.
    p_value : float
        Two-sided, and in step with the interval: below 0.05 where the interval does not hold 0.
    """

    mean: float
    low: float
    high: float
    p_value: float


def _resamples(n: int, n_resamples: int, rows: int, seed: int, ties: Ties | None = None) -> Iterator[AnyArray]:
    """Counts (b, n) of rows in resamples, in chunks of bounded size.

    ``rows`` of the n rows are drawn with replacement; with ties as many of their groups, with all that is in them.
    """
    rng = np.random.default_rng(seed)
    units = n if ties is None else ties.n
    size = max(1, _CHUNK // max(n, rows))
    for start in range(0, n_resamples, size):
        b = min(size, n_resamples - start)
        drawn = rng.integers(0, units, size=(b, rows)) + np.arange(b)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=b * units).reshape(b, units).astype(np.float64)
        yield counts if ties is None else counts[:, ties.codes]


def resampled_scores(
    y: AnyArray,
    outputs: Mapping[str, AnyArray],
    metric: Metric,
    n: int = 1000,
    seed: int = 0,
    ties: Ties | None = None,
) -> dict[str, AnyArray]:
    """Bootstrap scores of several sets of outputs over the same resamples.

    Parameters
    ----------
    y : ndarray (n_rows,)
    outputs : mapping of str to ndarray (n_rows, n_outputs)
    metric : Metric
    n : int, default 1000
        Resamples; fewer (down to 200) are drawn where the metric costs a pass over many rows for each of many classes.
    seed : int, default 0
    ties : Ties, optional
        Which rows go together: whole groups are drawn. Default: row by row.

    Returns
    -------
    dict of str to ndarray (n,)
        Scores whose spread about the score of all rows is that of a resample of all rows; of few groups widened, so
        that some may lie where no score can.
    """
    scorers = {name: metric.scorer(y, values) for name, values in outputs.items()}
    if not scorers:
        return {}
    n_rows = len(y)
    rows = min(n_rows, MAX_ROWS)
    passes = max(values.shape[1] for values in outputs.values()) if metric.per_class else 1
    work = rows * passes * max(1.0, len(outputs) / 4)
    n_resamples = int(np.clip(_PASSES // work, min(MIN_RESAMPLES, n), n))
    drawn: dict[str, list[AnyArray]] = {name: [] for name in scorers}
    units = n_rows if ties is None else ties.n
    n_drawn = min(units, MAX_ROWS)
    for counts in _resamples(n_rows, n_resamples, n_drawn, seed, ties):
        for name, scorer in scorers.items():
            drawn[name].append(scorer(counts))
    scores = {name: np.concatenate(parts) for name, parts in drawn.items()}
    if ties is not None:
        scores = {name: _spread(values, ties.widening) for name, values in scores.items()}
    if n_drawn == units:
        return scores
    shrink = np.sqrt(n_drawn / units)
    whole = {name: scorer(np.ones((1, n_rows)))[0] for name, scorer in scorers.items()}
    return {name: whole[name] + (values - np.nanmean(values)) * shrink for name, values in scores.items()}


def _spread(scores: AnyArray, factor: float) -> AnyArray:
    """Scores as many times as far from their mean; NaN stays."""
    known = scores[np.isfinite(scores)]
    return scores if not len(known) else known.mean() + (scores - known.mean()) * factor


def percentiles(scores: AnyArray) -> Interval:
    """The middle 95 % of bootstrap scores, leaving out resamples where the score is not defined."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def interval_of(value: float, scores: AnyArray, metric: Metric, ties: Ties | None = None) -> Interval:
    """The percentile interval; turned round about the score (the basic interval) where resamples score worse.

    The calibration error of a resample is larger than that of all rows, whose own is larger than the true one: the
    percentiles would leave out what is nearest to the truth.

    Parameters
    ----------
    value : float
        Score of all rows.
    scores : ndarray (n,)
        Of resamples, see :func:`resampled_scores`.
    metric : Metric
    ties : Ties, optional
        Groups that were drawn.

    Returns
    -------
    Interval
        Within what the metric can be.
    """
    low, high = percentiles(scores)
    if metric.biased:
        low, high = max(0.0, 2 * value - high), max(value, 2 * value - low)
    if ties is not None:  # the spread of few groups is widened, beyond what there can be
        low, high = np.clip([low, high], *range_of(metric.name)).tolist()
    return Interval(low, high)


def bootstrap(
    y: AnyArray, outputs: AnyArray, metric: Metric, n: int = 1000, seed: int = 0, ties: Ties | None = None
) -> Interval:
    """The 95 % bootstrap interval of a score: the percentile one, or for a biased metric the basic one.

    Parameters
    ----------
    y : ndarray (n_rows,)
        Class codes, or floats.
    outputs : ndarray (n_rows, n_outputs)
    metric : Metric
    n : int, default 1000
        Resamples.
    seed : int, default 0
    ties : Ties, optional
        Which rows go together; default: row by row.

    Returns
    -------
    Interval
    """
    drawn = resampled_scores(y, {"": outputs}, metric, n, seed, ties)[""]
    return interval_of(metric.score(y, outputs), drawn, metric, ties)


def wilson(successes: AnyArray | float, total: AnyArray | float) -> tuple[AnyArray, AnyArray]:
    """The 95 % Wilson interval of a share: unlike the bootstrap's it has a width where every row is right."""
    total = np.maximum(np.asarray(total, np.float64), 1e-12)
    share = np.asarray(successes, np.float64) / total
    centre = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * np.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    # At a share of none or all the end is exact: no dust of rounding shall be shown.
    return low * (share > 0), np.maximum(high, share == 1)


class Comparison:
    """Several sets of outputs for the same rows, scored over the same resamples.

    Parameters
    ----------
    y : ndarray (n_rows,)
        Class codes, or floats.
    outputs : mapping of str to ndarray (n_rows, n_outputs)
    metric : Metric
    n : int, default 1000
        Resamples.
    seed : int, default 0
    ties : Ties, optional
        Which rows go together; default: row by row.

    Attributes
    ----------
    scores : dict of str to float
        Score of each set on all rows.
    """

    def __init__(
        self,
        y: AnyArray,
        outputs: Mapping[str, AnyArray],
        metric: Metric,
        n: int = 1000,
        seed: int = 0,
        ties: Ties | None = None,
    ) -> None:
        self.metric = metric
        self.scores = {name: metric.score(y, values) for name, values in outputs.items()}
        self._ties = ties
        self._drawn = resampled_scores(y, outputs, metric, n, seed, ties)
        self._counted: dict[str, float] = {}
        if metric.name == "accuracy":
            self._counted = {name: rows_for_share(v.argmax(axis=1) == y, ties) for name, v in outputs.items()}

    def interval(self, name: str) -> Interval:
        """The 95 % interval of a set's score.

        Wilson's for accuracy, because a small test set without an error would otherwise get an interval of no width,
        with as many rows as those that go together count for; the percentile bootstrap for everything else but a biased
        metric, which gets the basic one.
        """
        if self.metric.name != "accuracy":
            return interval_of(self.scores[name], self._drawn[name], self.metric, self._ties)
        low, high = wilson(self.scores[name] * self._counted[name], self._counted[name])
        return Interval(float(low), float(high))

    def difference(self, name: str, over: str) -> Difference:
        """How much better one set is than another."""
        sign = 1.0 if self.metric.direction == "maximize" else -1.0
        gains = sign * (self._drawn[name] - self._drawn[over])
        gains = gains[np.isfinite(gains)]
        mean = self.metric.gain(self.scores[name], self.scores[over])
        if not len(gains):
            return Difference(mean, float("nan"), float("nan"), float("nan"))
        low, high = percentiles(gains)
        smaller_tail = min(int((gains <= 0).sum()), int((gains >= 0).sum()))
        return Difference(mean, low, high, min(1.0, 2 * (smaller_tail + 1) / (len(gains) + 1)))


def paired_difference(
    y: AnyArray,
    a: AnyArray,
    b: AnyArray,
    metric: Metric,
    n: int = 1000,
    seed: int = 0,
    ties: Ties | None = None,
) -> Difference:
    """How much better outputs ``a`` are than outputs ``b`` on the same rows.

    Parameters
    ----------
    y : ndarray (n_rows,)
    a, b : ndarray (n_rows, n_outputs)
    metric : Metric
    n : int, default 1000
        Resamples.
    seed : int, default 0
    ties : Ties, optional
        Which rows go together; default: row by row.

    Returns
    -------
    Difference
        With the two-sided p-value that inverts the bootstrap interval: twice the share of resamples on the other
        side of zero.
    """
    return Comparison(y, {"a": a, "b": b}, metric, n, seed, ties).difference("a", "b")
