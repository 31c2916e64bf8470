"""Rows that look like no training row: without anomalies to choose by, detectors are told apart by them.

References
----------
Shi and Horvath, "Unsupervised learning with random forest predictors", Journal of Computational and Graphical
Statistics 15, 2006: each feature is drawn from its own values, independently of the others ("Addcl1").

They are made of features: candidates on the same features are compared fairly, those on different ones roughly.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from hybrid_ray.search.data import FoldedData
from hybrid_ray.types import Block

ENOUGH = 10
"""Anomalous rows that each fold must hold for the choice to rest on them alone."""


def with_counterexamples(data: FoldedData, seed: int) -> FoldedData:
    """The same rows, and in each fold one counterexample for each of its normal rows, where anomalies are too few.

    A counterexample has each feature of some normal row of its fold, but of another row each: every feature alone is
    as usual, together they are not. It counts as anomalous: no fit sees it, and no test row is one.

    Parameters
    ----------
    data : FoldedData
        Of the task ``anomaly``.
    seed : int
    """
    folds = [np.arange(start, stop) for start, stop in pairwise(data.bounds.tolist())]
    if min(int((data.y[folds[fold]] == 1).sum()) for fold in data.folds) >= ENOUGH:
        return data
    normal = [rows[data.y[rows] == 0] for rows in folds]
    rows = np.concatenate([part for pair in zip(folds, normal, strict=True) for part in pair])
    bounds = np.concatenate([[0], np.cumsum([len(a) + len(b) for a, b in zip(folds, normal, strict=True)])])
    spans = [slice(stop - len(own), stop) for stop, own in zip(bounds[1:].tolist(), normal, strict=True)]

    def mixed(number: int, block: Block) -> Block:
        values, present = block.values[rows], block.present[rows]
        for fold, span in enumerate(spans):
            there = np.flatnonzero(present[span]) + span.start  # what is not there is zeros, and tells itself
            values[there] = np.random.default_rng([seed, number, fold]).permuted(values[there], axis=0)
        return Block(values, present)

    made, y = np.zeros(len(rows), bool), data.y[rows]
    for span in spans:
        made[span], y[span] = True, 1
    numbers = {name: number for number, name in enumerate(sorted([*data.frozen, *data.trained]))}
    return replace(
        data,
        y=y,
        bounds=bounds,
        frozen={name: mixed(numbers[name], block) for name, block in data.frozen.items()},
        trained={name: tuple(mixed(numbers[name], b) for b in own) for name, own in data.trained.items()},
        made=made,
        groups=None if data.groups is None else data.groups[rows],
    )
