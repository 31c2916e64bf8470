"""Which labels are likely to be wrong, by what models that did not see them say.

References
----------
Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021: thresholds
(equation 1), the confident joint (equation 2), pruning by noise rate for each pair of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors.

    Attributes
    ----------
    rows : ndarray int (m,)
        Positions of rows whose label is likely wrong, the likeliest first.
    likely : ndarray int (m,)
        The class that each is likely of.
    probabilities : ndarray float64 (m, 2)
        Of the given class, and of the likely one.
    joint : ndarray float64 (C, C)
        Rows by given label (first axis) and likely true class, calibrated to the given labels' counts.
    """

    rows: AnyArray
    likely: AnyArray
    probabilities: AnyArray
    joint: AnyArray


def confident_joint(y: AnyArray, probabilities: AnyArray) -> AnyArray:
    """Rows by given label and by the class that they are confidently of, scaled to the counts of given labels.

    A row is confidently of a class when its probability is at least the mean over the rows with that label; of several
    such classes, the most probable one.

    Parameters
    ----------
    y : ndarray int (n,)
        Given class codes.
    probabilities : ndarray (n, C)
        Out-of-fold: no row's own label went into them.

    Returns
    -------
    ndarray float64 (C, C)
    """
    n_classes = probabilities.shape[1]
    given = np.bincount(y, minlength=n_classes).astype(np.float64)
    thresholds = np.array([probabilities[y == c, c].mean() if given[c] else np.inf for c in range(n_classes)])
    above = np.where(probabilities >= thresholds, probabilities, -1.0)
    sure = above.max(axis=1) >= 0
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (y[sure], above[sure].argmax(axis=1)), 1.0)
    # A class of whose rows none is confidently anything is taken to be what it says.
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = given[empty]
    scaled: AnyArray = joint * (given / np.maximum(joint.sum(axis=1), 1))[:, None]
    return scaled


def label_errors(y: AnyArray, probabilities: AnyArray) -> LabelErrors:
    """Rows whose label is likely wrong.

    Parameters
    ----------
    y : ndarray int (n,)
        Given class codes.
    probabilities : ndarray (n, C)
        Out-of-fold: no row's own label went into them.

    Returns
    -------
    LabelErrors
        For each pair of classes as many rows as the joint says, those with the largest margin of the other class over
        the given one; never a row whose given class is the most probable one. O(n log n) for each pair of classes.
    """
    joint = confident_joint(y, probabilities)
    n_classes = probabilities.shape[1]
    margin = np.zeros(len(y))
    likely = y.copy()
    for given in range(n_classes):
        own = np.flatnonzero(y == given)
        for other in range(n_classes):
            n = round(joint[given, other])
            if other == given or n == 0:
                continue
            gaps = probabilities[own, other] - probabilities[own, given]
            first = np.argsort(-gaps, kind="stable")[:n]
            better = first[gaps[first] > margin[own[first]]]
            margin[own[better]] = gaps[better]
            likely[own[better]] = other
    rows = np.flatnonzero(likely != y)
    rows = rows[np.argsort(-margin[rows], kind="stable")]
    shown = np.column_stack([probabilities[rows, y[rows]], probabilities[rows, likely[rows]]])
    return LabelErrors(rows, likely[rows], shown, joint)
