"""How far several annotators agree, beyond what chance would have them agree.

References
----------
Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960.
Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76, 1971.
Krippendorff, Content Analysis, 4th edition, 2019, chapter 12: alpha by the matrix of coincidences, for nominal data.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from hybrid_ray.types import AnyArray


def cohen(votes: AnyArray) -> dict[tuple[int, int], float]:
    """Cohen's kappa of each pair of annotators, over the rows that both labelled.

    Parameters
    ----------
    votes : ndarray int (n, k)
        Class codes, negative where an annotator has none.

    Returns
    -------
    dict of (int, int) to float
        NaN where a pair has no row in common, or only one class on them.
    """
    found = {}
    for a, b in combinations(range(votes.shape[1]), 2):
        both = votes[(votes[:, [a, b]] >= 0).all(axis=1)][:, [a, b]]
        several = len(both) > 0 and len(np.unique(both)) > 1
        found[a, b] = float(cohen_kappa_score(both[:, 0], both[:, 1])) if several else float("nan")
    return found


def fleiss(votes: AnyArray) -> float:
    """Fleiss' kappa over the rows that all annotators labelled; NaN where there are none, or one class on them.

    Parameters
    ----------
    votes : ndarray int (n, k)
        Class codes, negative where an annotator has none.
    """
    whole = votes[(votes >= 0).all(axis=1)]
    if not len(whole) or len(np.unique(whole)) < 2:
        return float("nan")
    return float(fleiss_kappa(aggregate_raters(whole)[0], method="fleiss"))


def krippendorff(votes: AnyArray) -> float:
    """Krippendorff's alpha for nominal data, over the rows with two labels or more.

    Parameters
    ----------
    votes : ndarray int (n, k)
        Class codes, negative where an annotator has none.

    Returns
    -------
    float
        1: they agree; 0: as chance would have it; NaN where nothing can be said: no row has two labels, or all labels
        are the same.
    """
    classes = np.unique(votes[votes >= 0])
    counts = (votes[:, :, None] == classes).sum(axis=1).astype(np.float64)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return float("nan")
    given = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (given - 1)
    total = given.sum()
    shares = counts.sum(axis=0)
    expected = (shares * (shares - 1)).sum() / (total - 1)
    if expected == total:
        return float("nan")
    return float(1 - (total - agreeing.sum()) / (total - expected))
