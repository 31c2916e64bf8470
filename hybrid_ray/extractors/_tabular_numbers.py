"""Numbers of a table: imputed, clipped, scaled. Learned from training rows, applied to any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hybrid_ray.preparation.unskew import KNOTS, rank_scores
from hybrid_ray.types import AnyArray

Impute = Literal["median", "mean", "most_frequent", "constant", "knn", "iterative"]
Scale = Literal["standard", "robust", "none", "log", "quantile"]

NEIGHBOURS = 5
NEIGHBOUR_ROWS = 1000
"""Training rows, spread evenly, among which neighbours are looked for; they are part of the saved extractor."""
_ROUNDS = 5
"""Times that each column is estimated from the others."""
_RIDGE = 1e-2
"""Penalty of those estimates, relative to the number of rows."""
_LARGEST = float(np.finfo(np.float32).max)
_HIDDEN = 1e4
"""Standard deviations as many times the interquartile range say more of a few values than of the rest."""
_QUARTILES_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution of deviation 1."""
_LINEAR = 3.0
"""Scaled values beyond this are compressed by a logarithm: order is kept, nothing overflows."""
_SKEWED = 1.0
"""Size of the skewness from which ``log`` takes a logarithm."""


@dataclass(frozen=True)
class Numbers:
    """What was learned of k columns of numbers.

    Attributes
    ----------
    impute : Impute
    scale : Scale
    fill, centre, spread : ndarray float64 (k,)
        What a missing value becomes; what is taken off and divided by, after the shape was changed.
    more : dict of str to ndarray
        ``low`` and ``high`` (k,) when values are clipped; ``knots`` (KNOTS, k) of the quantiles; ``log`` (3, k) with
        way, end and unit of skewed columns, way 0 for the others; ``sample`` (r, k) and ``location`` (2, k) of
        neighbours; ``weights`` (k, k + 1) and ``location`` of the estimates of each column from the others.
    """

    impute: Impute
    scale: Scale
    fill: AnyArray
    centre: AnyArray
    spread: AnyArray
    more: Mapping[str, AnyArray] = field(default_factory=dict)

    @classmethod
    def fit(cls, values: AnyArray, impute: Impute, constant: AnyArray, scale: Scale, clip: float | None) -> Numbers:
        """From float64 (m, k), NaN where missing; ``constant`` (k,) is for ``impute: constant``, NaN for the median."""
        k = values.shape[1]
        fill, centre, spread = np.zeros(k), np.zeros(k), np.ones(k)
        low, high = np.full(k, -np.inf), np.full(k, np.inf)
        knots, log = np.zeros((KNOTS, k)), np.zeros((3, k))
        for j in range(k):
            known = values[~np.isnan(values[:, j]), j]
            given = impute == "constant" and not np.isnan(constant[j])
            fill[j] = constant[j] if given else 0.0
            if not len(known):
                continue
            if clip is not None:
                low[j], high[j] = np.quantile(known, [clip, 1 - clip])
                known = known.clip(low[j], high[j])
            if not given:
                fill[j] = _typical(known, impute)
            if scale == "quantile":
                knots[:, j] = np.quantile(known, np.linspace(0, 1, KNOTS))
            if scale == "log":
                log[:, j] = _logarithm(known)
                known = _logged(known[:, None], log[:, [j]])[:, 0]
            if scale in ("standard", "robust", "log"):
                centre[j], spread[j] = _location(known, scale)
        more: dict[str, AnyArray] = {"low": low, "high": high} if clip is not None else {}
        more |= {"knots": knots} if scale == "quantile" else {}
        more |= {"log": log} if scale == "log" else {}
        clipped = values.clip(low, high) if clip is not None else values
        return cls(impute, scale, fill, centre, spread, more | _relations(clipped, fill, impute))

    def __call__(self, values: AnyArray) -> AnyArray:
        """Scaled float64 (m, k); missing values are imputed, and far ones compressed unless ``scale`` is none."""
        if "low" in self.more:
            values = values.clip(self.more["low"], self.more["high"])
        filled = self._imputed(values)
        if self.scale == "quantile":
            return rank_scores(filled, self.more["knots"])
        if self.scale == "log":
            filled = _logged(filled, self.more["log"])
        with np.errstate(over="ignore"):
            z = (filled - self.centre) / self.spread
        if self.scale == "none":
            return z.clip(-_LARGEST, _LARGEST)
        z = np.nan_to_num(z, nan=0.0, posinf=1e300, neginf=-1e300)
        size = np.abs(z)
        return np.where(size <= _LINEAR, z, np.sign(z) * (_LINEAR + np.log1p(np.maximum(size - _LINEAR, 0.0))))

    def _imputed(self, values: AnyArray) -> AnyArray:
        """Values without gaps, float64 (m, k)."""
        gaps = np.isnan(values)
        filled = np.where(gaps, self.fill, values)
        if self.impute not in ("knn", "iterative") or not gaps.any():
            return filled
        some = gaps.any(axis=1)
        location = self.more["location"]
        z = _standard(filled[some], location)
        z[gaps[some]] = np.nan
        found = _neighboured(z, self.more["sample"]) if self.impute == "knn" else _estimated(z, self.more["weights"])
        filled[some] = np.where(gaps[some], found * location[1] + location[0], filled[some])
        return filled


def _typical(known: AnyArray, impute: Impute) -> float:
    """What stands for a missing value of a column (m,), all known."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(known.mean())
    if impute == "mean" and np.isfinite(mean):
        return mean
    if impute == "most_frequent":
        values, counts = np.unique(known, return_counts=True)
        return float(values[counts.argmax()])
    return float(np.median(known))


def _location(known: AnyArray, how: str) -> tuple[float, float]:
    """Centre and spread of numbers (m,): of their bulk where a few are so large that they would hide it."""
    low, first, middle, third, high = np.percentile(known, [0.5, 25, 50, 75, 99.5])
    quartiles = float(third - first)
    kept = known.clip(low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(kept.mean()), float(kept.std())
    hidden = not deviation < _HIDDEN * quartiles and quartiles > 0
    if how == "robust" and quartiles > 0:
        return float(middle), quartiles
    if hidden:
        return float(middle), quartiles / _QUARTILES_OF_NORMAL
    plain = np.isfinite(deviation) and deviation > 1e-12 * abs(mean)
    return (mean, deviation) if plain else (float(middle), 1.0)


def _logarithm(known: AnyArray) -> tuple[float, float, float]:
    """Way (1 right, -1 left, 0 not skewed), end and unit of the logarithm of a column (m,)."""
    kept = known.clip(*np.percentile(known, [0.5, 99.5]))
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(kept.std())
        skewness = float((((kept - kept.mean()) / deviation) ** 3).mean()) if 0 < deviation < np.inf else 0.0
    if not abs(skewness) >= _SKEWED:
        return 0.0, 0.0, 1.0
    way = float(np.sign(skewness))
    end = float((way * known).min())
    unit = float(np.quantile(way * known, 0.25)) - end
    return way, end, unit if 0 < unit < np.inf else 1.0


def _logged(values: AnyArray, log: AnyArray) -> AnyArray:
    """Skewed columns of (m, k) as logarithms of their distance from the end that the tail does not lie at."""
    way, end, unit = log
    with np.errstate(over="ignore"):
        distance = (way * values - end) / unit
    return np.where(way == 0, values, way * np.sign(distance) * np.log1p(np.abs(distance)))


def _relations(values: AnyArray, fill: AnyArray, impute: Impute) -> dict[str, AnyArray]:
    """What imputation from the other columns needs to know of training rows (m, k)."""
    if impute not in ("knn", "iterative"):
        return {}
    gaps = np.isnan(values)
    location = np.stack([fill, np.ones(len(fill))])
    for j in range(values.shape[1]):
        known = values[~gaps[:, j], j]
        if len(known):
            location[:, j] = _location(known, "standard")
    z = _standard(np.where(gaps, fill, values), location)
    if impute == "knn":
        z[gaps] = np.nan
        return {"location": location, "sample": z[:: max(-(-len(z) // NEIGHBOUR_ROWS), 1)]}
    return {"location": location, "weights": _chained(np.where(gaps, 0.0, z), gaps)}


def _standard(values: AnyArray, location: AnyArray) -> AnyArray:
    """Values in deviations from their centre, float64 (m, k), none beyond 10: a far value must not decide the rest."""
    with np.errstate(over="ignore"):
        return np.asarray(((values - location[0]) / location[1]).clip(-10.0, 10.0))


def _chained(z: AnyArray, gaps: AnyArray) -> AnyArray:
    """Ridge regressions of each column on all others, (k, k + 1), intercept last, fitted and filled in turn.

    References
    ----------
    van Buuren, Groothuis-Oudshoorn, "mice: multivariate imputation by chained equations", JSS 2011, without its draws.
    """
    m, k = z.shape
    weights = np.zeros((k, k + 1))
    filled = np.hstack([z, np.ones((m, 1))])
    for _ in range(_ROUNDS):
        for j in range(k):
            known = ~gaps[:, j]
            if known.sum() < 2 or k < 2:
                continue
            others = filled[known]
            others[:, j] = 0.0
            gram = others.T @ others + _RIDGE * known.sum() * np.eye(k + 1)
            weights[j] = np.linalg.solve(gram, others.T @ z[known, j])
            weights[j, j] = 0.0
            filled[~known, j] = filled[~known] @ weights[j]
        filled[:, :k] = filled[:, :k].clip(-10.0, 10.0)
    return weights


def _estimated(z: AnyArray, weights: AnyArray) -> AnyArray:
    """Values (m, k) with every gap estimated from the others, in the order and as often as in training."""
    gaps = np.isnan(z)
    filled = np.hstack([np.where(gaps, 0.0, z), np.ones((len(z), 1))])
    for _ in range(_ROUNDS):
        for j in range(z.shape[1]):
            # A sum along each row does not depend on the rows beside it, as a matrix product may.
            estimate = (filled * weights[j]).sum(axis=1)
            filled[gaps[:, j], j] = estimate[gaps[:, j]]
        filled[:, :-1] = filled[:, :-1].clip(-10.0, 10.0)
    return filled[:, :-1]


def _neighboured(z: AnyArray, sample: AnyArray) -> AnyArray:
    """Values (m, k) with every gap the mean of the nearest rows that have it; the centre where no row has."""
    from sklearn.impute import KNNImputer

    if not len(sample):
        return np.nan_to_num(z)
    imputer = KNNImputer(n_neighbors=NEIGHBOURS, keep_empty_features=True).fit(sample)
    return np.asarray(imputer.transform(z))
