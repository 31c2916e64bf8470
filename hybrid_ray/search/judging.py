"""What metrics look at of rows that a member was not fitted on: its predictions, or what rows say of its clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.models.resample import stratified_sample
from hybrid_ray.evaluation.clusters import gather, shuffled
from hybrid_ray.graph import Chain, Member
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import CLUSTERING, AnyArray, Block, FloatArray, Task


def judged(
    member: Member, parts: Iterable[Mapping[str, Block]], task: Task, seed: int, threads: int = 1, chance: bool = False
) -> AnyArray:
    """Outputs of a member for rows, as the metrics of its task look at them.

    Parameters
    ----------
    member : Member
        For clustering of one chain.
    parts : iterable of mapping of str to Block
        The rows, one part after the other, by extractor key.
    task : Task
    seed : int
    threads : int, default 1
        CPU threads of the second fit of a clusterer.
    chance : bool, default False
        For clustering: the columns of a random assignment follow those of the clusters.

    Returns
    -------
    ndarray float64 (n, n_outputs)
        Predictions; for clustering the columns of ``Evidence``, for which the clusterer is fitted on these rows too.
    """
    if task not in CLUSTERING:
        return np.concatenate([member.predict(part) for part in parts])
    (chain,) = member.chains
    X = np.concatenate([chain.matrix(part) for part in parts])
    model: Any = chain.model
    cluster = model.predict(X)
    again = _again(chain, member.candidate, X, task, seed, threads).predict(X)
    found = gather(
        X, cluster, again, likelihood=model.log_likelihood(X), parameters=model.n_parameters, seed=seed
    ).table
    return np.concatenate([found, shuffled(X, cluster, seed).table], axis=1) if chance else found


def _again(chain: Chain, candidate: Candidate, X: FloatArray, task: Task, seed: int, threads: int) -> Any:
    """A clusterer from the same parameters, fitted on these rows, or on a sample where they are too many for it."""
    family = ESTIMATORS.get(chain.family)
    model = family.build(family.Params.model_validate(dict(candidate.params)), task, seed, threads)
    most = family.tags.max_rows
    rows = X if most is None or len(X) <= most else X[stratified_sample(np.zeros(len(X), np.int64), most, seed)]
    return model.fit(rows, np.zeros(len(rows), np.int64))
