"""Whether a challenger may take part: only if it is surely better than the champion on rows that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.evaluation.intervals import Difference, paired_difference
from hybrid_ray.evaluation.metrics import Metric
from hybrid_ray.types import AnyArray

LEVEL = 0.05
"""p value of the paired test below which a challenger is better, not lucky."""


@dataclass(frozen=True)
class Trial:
    """Two versions on the same rows.

    Attributes
    ----------
    rows : int
    metric : str
    champion, challenger : float
    gain : Difference
        Of the challenger over the champion.
    accepted : bool
    reason : str
    """

    rows: int
    metric: str
    champion: float
    challenger: float
    gain: Difference
    accepted: bool
    reason: str


def judge(y: AnyArray, champion: AnyArray, challenger: AnyArray, metric: Metric, *, seed: int = 0) -> Trial:
    """Compare two versions on rows that were held out from both, by a paired bootstrap.

    Parameters
    ----------
    y : ndarray (n,)
        Class codes or floats.
    champion, challenger : ndarray (n, n_outputs)
    metric : Metric
    seed : int, default 0
    """
    gain = paired_difference(y, challenger, champion, metric, seed=seed)
    ours, theirs = metric.score(y, challenger), metric.score(y, champion)
    accepted = bool(np.isfinite(gain.mean) and gain.low > 0 and gain.p_value < LEVEL)
    figures = f"{metric.name} {ours:.4g} for {theirs:.4g} on {len(y)} rows, p = {gain.p_value:.3g}"
    reason = f"the challenger is better: {figures}" if accepted else f"the challenger is not surely better: {figures}"
    return Trial(len(y), metric.name, float(theirs), float(ours), gain, accepted, reason)
