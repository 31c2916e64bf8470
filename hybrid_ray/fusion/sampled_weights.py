"""Weights of a pool by Optuna's samplers: slower than the solvers of :mod:`hybrid_ray.fusion.weights`, for any loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.types import AnyArray

Sampler = Literal["tpe", "cmaes"]


def sampled_weights(
    loss: Callable[[AnyArray], float], n_members: int, sampler: Sampler, evaluations: int, seed: int
) -> AnyArray:
    """Weights (n_members,) on the simplex: the best of those that a sampler asked for.

    Equal weights and each member alone are asked for first, so that the answer is never worse than these.

    Parameters
    ----------
    loss : callable
        Weights to a loss; lower is better.
    n_members : int
    sampler : {"tpe", "cmaes"}
    evaluations : int
        Weights to ask for, beside the first ones.
    seed : int
        Seed of the sampler.

    References
    ----------
    Bergstra et al., "Algorithms for hyper-parameter optimization", NIPS 2011 (TPE); Hansen, "The CMA evolution
    strategy: a tutorial", 2016.
    """
    if n_members == 1:
        return np.ones(1)
    starts = [np.ones(n_members), *np.eye(n_members)]
    with quiet_optuna():
        import optuna

        samplers = {"tpe": optuna.samplers.TPESampler, "cmaes": optuna.samplers.CmaEsSampler}
        study = optuna.create_study(sampler=samplers[sampler](seed=seed))
        for start in starts:
            study.enqueue_trial({f"w{i}": float(w) for i, w in enumerate(start)})
        best, least = starts[0] / n_members, np.inf
        for _ in range(len(starts) + evaluations):
            trial = study.ask()
            shares = np.array([trial.suggest_float(f"w{i}", 0.0, 1.0) for i in range(n_members)])
            total = float(shares.sum())
            weights = shares / total if total > 0 else starts[0] / n_members
            value = loss(weights)
            study.tell(trial, value)
            if value < least:
                best, least = weights, value
    return best
