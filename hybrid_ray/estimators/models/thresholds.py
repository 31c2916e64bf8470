"""Where trees part rows: thresholds half-way between training rows rather than on one.

Some libraries take values of training rows for thresholds. Where a network gives a feature of such a row with another
rounding, as it does with other threads or in other company, the row falls to the other side, and its answer jumps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hybrid_ray.types import AnyArray, FloatArray


def neighbours(
    X: FloatArray, features: AnyArray, thresholds: AnyArray, goes_left: Literal["below", "equal"]
) -> tuple[AnyArray, AnyArray]:
    """The values of training rows on either side of each threshold.

    It takes O(n log n) for every feature that is split on, and O(m log n) for m splits.

    Parameters
    ----------
    X : ndarray float32 (n, d)
        Training rows.
    features : ndarray of int (m,)
        Column that each split looks at.
    thresholds : ndarray (m,)
    goes_left : {"below", "equal"}
        Whether a value that equals the threshold goes right, or left with those below.

    Returns
    -------
    low, high : ndarray float64 (m,)
        Both the threshold itself where all rows are on one side.
    """
    low, high = thresholds.astype(np.float64), thresholds.astype(np.float64)
    for feature in np.unique(features):
        splits = np.flatnonzero(features == feature)
        values = np.unique(X[:, feature]).astype(np.float64)
        above = np.searchsorted(values, low[splits], side="left" if goes_left == "below" else "right")
        inside = (above > 0) & (above < len(values))
        low[splits[inside]], high[splits[inside]] = values[above[inside] - 1], values[above[inside]]
    return low, high
