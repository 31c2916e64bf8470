"""Weights of a pool by sampling: slower than the solvers of :mod:`hybrid_ray.fusion.weights`, for any loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.types import AnyArray

Sampler = Literal["tpe", "cmaes"]
Losses = Callable[[AnyArray], AnyArray]
"""Weights (b, m) to losses (b,); lower is better."""
_WORST = 1e30
"""What a sampler is told where a loss is not defined."""
_GAIN, _PATIENCE = 1e-6, 25
"""CMA-ES stops after so many generations whose best is not better by so much of the loss."""
_SPREAD = 0.3
"""Deviation of the roots of the weights that CMA-ES asks for first."""


def sampled_weights(losses: Losses, n_members: int, sampler: Sampler, evaluations: int, seed: int) -> AnyArray:
    """Weights (n_members,) on the simplex: the best of those that a sampler asked for.

    Equal weights and each member alone come first, so that the answer is never worse than these.

    Parameters
    ----------
    losses : callable
    n_members : int
    sampler : {"tpe", "cmaes"}
    evaluations : int
        Most weights to ask for, beside the first ones.
    seed : int
        Seed of the sampler.

    References
    ----------
    Bergstra et al., "Algorithms for hyper-parameter optimization", NIPS 2011 (TPE); Hansen, "The CMA evolution
    strategy: a tutorial", 2016.
    """
    if n_members == 1:
        return np.ones(1)
    starts = np.vstack([np.full((1, n_members), 1.0 / n_members), np.eye(n_members)])
    first = _told(losses(starts))
    best, least = starts[first.argmin()], float(first.min())
    asked = _by_tpe if sampler == "tpe" else _by_cmaes
    for weights, values in asked(losses, starts, first, evaluations, seed):
        if values.min() < least:
            best, least = weights[values.argmin()], float(values.min())
    return best


def _by_tpe(
    losses: Losses, starts: AnyArray, first: AnyArray, evaluations: int, seed: int
) -> Iterator[tuple[AnyArray, AnyArray]]:
    """Weights that Optuna's TPE asks for one after another, and their losses."""
    n_members = starts.shape[1]
    names = [f"w{i}" for i in range(n_members)]
    with quiet_optuna():
        import optuna

        share: optuna.distributions.BaseDistribution = optuna.distributions.FloatDistribution(0.0, 1.0)
        space = dict.fromkeys(names, share)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        for start, value in zip(starts / starts.max(axis=1, keepdims=True), first, strict=True):
            params = dict(zip(names, start.tolist(), strict=True))
            study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(value)))
        for _ in range(evaluations):
            trial = study.ask()
            weights = _on_simplex(np.array([[trial.suggest_float(name, 0.0, 1.0) for name in names]]))
            values = _told(losses(weights))
            study.tell(trial, float(values[0]))
            yield weights, values


def _by_cmaes(
    losses: Losses, starts: AnyArray, first: AnyArray, evaluations: int, seed: int
) -> Iterator[tuple[AnyArray, AnyArray]]:
    """Weights that CMA-ES asks for, a generation at a time, and their losses.

    The package that Optuna's sampler is made of is asked itself: the sampler writes its whole state into every trial,
    which costs a hundred times what a generation does.
    """
    from cmaes import CMA

    centre = (starts[0] + starts[first.argmin()]) / 2
    # Weights are squares: at a bound of the simplex, where the best ones often lie, most draws would be drawn again.
    search = CMA(mean=np.sqrt(centre), sigma=_SPREAD, seed=seed)
    best, waited = float(first.min()), 0
    for start in range(0, evaluations, search.population_size):
        asked = [search.ask() for _ in range(min(search.population_size, evaluations - start))]
        weights = _on_simplex(np.square(np.stack(asked)))
        values = _told(losses(weights))
        yield weights, values
        if len(asked) == search.population_size:
            search.tell(list(zip(asked, values.tolist(), strict=True)))
        gained = values.min() < best - _GAIN * abs(best)
        waited = 0 if gained else waited + 1
        best = min(best, float(values.min()))
        if waited >= _PATIENCE or search.should_stop():
            break


def _on_simplex(shares: AnyArray) -> AnyArray:
    """Weights (b, m) from shares (b, m), none negative; equal ones where all shares are 0."""
    totals = shares.sum(axis=1, keepdims=True)
    weights: AnyArray = np.where(totals > 0, shares / np.where(totals > 0, totals, 1.0), 1.0 / shares.shape[1])
    return weights


def _told(values: AnyArray) -> AnyArray:
    """Losses as a sampler can be told them."""
    return np.where(np.isfinite(values), values, _WORST)
