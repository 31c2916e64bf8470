"""Scores of many sets of outputs for the same rows, all at once.

A search for ensemble weights asks for the scores of hundreds of mixtures of the same members; one call of a metric for
each would take longer than mixing them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hybrid_ray.evaluation.statistics import Tally, divide
from hybrid_ray.types import AnyArray

Block = Callable[[AnyArray, AnyArray], AnyArray]
"""Labels (n,) and outputs (b, n, n_outputs) to scores (b,); NaN where a score is not defined."""


def tally_block(y: AnyArray, outputs: AnyArray, finish: Callable[[Tally], AnyArray]) -> AnyArray:
    """Scores that are functions of the confusion matrix's margins."""
    b, _, n_classes = outputs.shape
    guess = outputs.argmax(axis=2)
    cells = guess + n_classes * np.arange(b)[:, None]

    def counted(chosen: AnyArray) -> AnyArray:
        return np.bincount(chosen.ravel(), minlength=b * n_classes).reshape(b, n_classes).astype(np.float64)

    true = np.bincount(y, minlength=n_classes).astype(np.float64)
    return finish(Tally(counted(cells[guess == y]), np.broadcast_to(true, (b, n_classes)), counted(cells)))


def accuracy_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Share of rows whose most probable class is theirs."""
    shares: AnyArray = (outputs.argmax(axis=2) == y).mean(axis=1)
    return shares


def area_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Area under the ROC curve: of class 1 with two classes, else the mean over the classes where it is defined."""
    from scipy.stats import rankdata

    codes = [1] if outputs.shape[2] == 2 else range(outputs.shape[2])
    total, defined = np.zeros(len(outputs)), 0
    for code in codes:
        positive = y == code
        n_positive = int(positive.sum())
        pairs = n_positive * (len(y) - n_positive)
        if not pairs:
            continue
        ranks = rankdata(outputs[:, :, code], axis=1)
        total += (ranks[:, positive].sum(axis=1) - n_positive * (n_positive + 1) / 2) / pairs
        defined += 1
    return divide(total, np.full(len(outputs), float(defined)), np.nan)


def precision_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Average precision: of class 1 with two classes, else the mean over the classes where it is defined.

    Each row of a class adds the same recall, at the threshold of its own score: it is the mean, over these rows, of
    the share of the class among all rows that score as high. Two sorts of numbers are far quicker than one of places.
    """
    codes = [1] if outputs.shape[2] == 2 else range(outputs.shape[2])
    total, defined = np.zeros(len(outputs)), 0
    for code in codes:
        positive = y == code
        if not positive.any():
            continue
        every = np.sort(outputs[:, :, code], axis=1)
        own = np.sort(outputs[:, positive, code], axis=1)
        total += [_precision(scores, ranked) for scores, ranked in zip(own, every, strict=True)]
        defined += 1
    return divide(total, np.full(len(outputs), float(defined)), np.nan)


def _precision(own: AnyArray, every: AnyArray) -> float:
    """Average precision of one ranking: scores of the class, and of all rows, both ascending."""
    own_as_high = len(own) - np.searchsorted(own, own)
    as_high = len(every) - np.searchsorted(every, own)
    return float((own_as_high / as_high).mean())


def log_loss_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Mean negative log probability of the true class."""
    eps = np.finfo(np.float64).eps
    losses: AnyArray = -np.log(np.clip(outputs[:, np.arange(len(y)), y], eps, 1 - eps)).mean(axis=1)
    return losses


def squared_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Root of the mean squared error."""
    errors: AnyArray = np.sqrt(np.square(outputs[:, :, 0] - y).mean(axis=1))
    return errors


def absolute_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Mean absolute error."""
    errors: AnyArray = np.abs(outputs[:, :, 0] - y).mean(axis=1)
    return errors


def percentage_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Mean absolute error as a share of the truth."""
    shares = np.abs(outputs[:, :, 0] - y) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    errors: AnyArray = shares.mean(axis=1)
    return errors


def median_block(y: AnyArray, outputs: AnyArray) -> AnyArray:
    """Median absolute error."""
    errors: AnyArray = np.median(np.abs(outputs[:, :, 0] - y), axis=1)
    return errors
