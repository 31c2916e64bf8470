"""One label of several annotators' votes.

References
----------
Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied Statistics 28,
1979.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

NO_VOTE = -1
"""Code of a row that an annotator did not label."""
SMOOTHING = 0.01
"""Votes that each annotator is thought to have given to each class for each true class: few votes prove little."""
TRUST = 1.0
"""Votes that each is thought to have given right, beside these: whom no other annotator contradicts is believed."""
MOST_ROUNDS = 200
ENOUGH = 1e-6
"""Change of a probability below which EM ends."""


@dataclass(frozen=True)
class Consensus:
    """What several annotators' votes say together.

    Attributes
    ----------
    probabilities : ndarray float64 (n, C)
        Of each class, rows sum to 1; rows without a vote hold the shares of the classes, equal ones if there is none.
    confusion : ndarray float64 (k, C, C)
        Of each annotator: the chance of each vote (last axis) by the true class.
    """

    probabilities: AnyArray
    confusion: AnyArray

    def accuracy(self, votes: AnyArray) -> AnyArray:
        """How right each annotator is (k,): the mean probability of its votes (n, k); NaN of one without any."""
        cast = votes != NO_VOTE
        said = np.take_along_axis(self.probabilities, np.where(cast, votes, 0), axis=1)
        counts = cast.sum(axis=0)
        return np.where(counts > 0, (said * cast).sum(axis=0) / np.maximum(counts, 1), np.nan)


def majority(votes: AnyArray, n_classes: int) -> Consensus:
    """The share of votes that each class has; an annotator is as right as all votes say, its own too.

    Parameters
    ----------
    votes : ndarray int (n, k)
        Class codes by row and annotator, ``NO_VOTE`` where there is none.
    n_classes : int

    Returns
    -------
    Consensus
        Where classes have the same votes, ``probabilities`` says so.
    """
    counts = np.stack([(votes == code).sum(axis=1) for code in range(n_classes)], axis=1)
    total = counts.sum(axis=1, keepdims=True)
    shares = counts.sum(axis=0) / counts.sum() if counts.any() else np.full(n_classes, 1 / n_classes)
    probabilities = np.where(total > 0, counts / np.maximum(total, 1), shares)
    return Consensus(probabilities, _confusion(votes, probabilities))


def dawid_skene(votes: AnyArray, n_classes: int) -> Consensus:
    """Votes weighed by how often each annotator takes each class for each other, found by EM from the majority.

    Parameters
    ----------
    votes : ndarray int (n, k)
        Class codes by row and annotator, ``NO_VOTE`` where there is none.
    n_classes : int

    Returns
    -------
    Consensus

    Notes
    -----
    O(n k C) a round, at most ``MOST_ROUNDS`` rounds; memory O(n C). Votes of an annotator are taken to depend on the
    true class only.
    """
    found = majority(votes, n_classes)
    labelled = (votes != NO_VOTE).any(axis=1)  # what is thought of the others is these shares themselves
    for _ in range(MOST_ROUNDS if labelled.any() else 0):
        shares = np.maximum(found.probabilities[labelled].mean(axis=0), np.finfo(float).tiny)
        told = np.tile(np.log(shares), (len(votes), 1))
        for own, confusion in zip(votes.T, found.confusion, strict=True):
            cast = own != NO_VOTE
            told[cast] += np.log(confusion).T[own[cast]]
        told = np.exp(told - told.max(axis=1, keepdims=True))
        probabilities = told / told.sum(axis=1, keepdims=True)
        moved = np.abs(probabilities - found.probabilities).max()
        found = Consensus(probabilities, _confusion(votes, probabilities))
        if moved < ENOUGH:
            break
    return found


def _confusion(votes: AnyArray, probabilities: AnyArray) -> AnyArray:
    """Chance of each vote by the true class, of each annotator (k, C, C)."""
    n_classes = probabilities.shape[1]
    prior = SMOOTHING + TRUST * np.eye(n_classes)
    counts = np.tile(prior, (votes.shape[1], 1, 1))
    for own, by_class in zip(votes.T, counts, strict=True):
        cast = own != NO_VOTE
        np.add.at(by_class.T, own[cast], probabilities[cast])
    confusion: AnyArray = counts / counts.sum(axis=2, keepdims=True)
    return confusion
