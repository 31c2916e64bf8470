"""A linear function that stands for whatever reads features, between nothing and a row.

Forests and neighbours have no gradients: what they make of features is asked, where some of these are the row's and the
others are what nothing gives, and a line is fitted through the answers.

References
----------
Lundberg and Lee, "A unified approach to interpreting model predictions", NeurIPS 2017: which features are mixed how
often, so that a line through answers without noise tells Shapley values (Kernel SHAP).
Covert and Lee, "Improving KernelSHAP: practical Shapley value estimation via linear regression", AISTATS 2021: each mix
is asked with its opposite.
Chen, Lundberg and Lee, "Explaining a series of models by propagating Shapley values", Nature Communications 2022: what
features add, over how far they moved, is what goes on backwards into the network that made them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hybrid_ray.types import AnyArray

_PENALTIES = np.logspace(-5, 3, 17)
"""Ridge penalties that are chosen from, as multiples of the mean squared length of what is fitted on."""


def linear_surrogate(
    answers: Callable[[AnyArray], AnyArray], nothing: AnyArray, row: AnyArray, *, pairs: int = 256, seed: int = 0
) -> AnyArray:
    """Weights w (d,) of features, so that w · (row - nothing) is what the answer changes by, exactly.

    Among such weights, those of a ridge regression on mixes of the two: where the answers do not tell features apart,
    each gets its share by how far it moved. The penalty is chosen by leaving out one pair of mixes after the other.

    Parameters
    ----------
    answers : callable
        Answers (k,) to features (k, d).
    nothing, row : ndarray (d,)
    pairs : int, default 256
        Mixes, and as many opposite ones, that are asked.
    seed : int, default 0

    Returns
    -------
    ndarray of float64 (d,)
        Zero where a feature does not move.
    """
    from sklearn.linear_model import RidgeCV

    moved = np.asarray(row, np.float64) - nothing
    there = np.flatnonzero(moved)
    weights = np.zeros(len(moved))
    if not len(there):
        return weights
    none, every = (float(value) for value in answers(np.stack([nothing, row])))
    step = moved[there]
    along = step / (step @ step)
    weights[there] = (every - none) * along
    if len(there) == 1:
        return weights
    kept = _mixes(len(there), pairs, np.random.default_rng(seed))
    mixed = np.repeat(np.asarray(nothing)[None], 2 * pairs, axis=0)
    mixed[:, there] = np.where(np.concatenate([kept, ~kept]), row[there], nothing[there])
    found = np.asarray(answers(mixed), np.float64)
    X = kept * step
    shares = X @ along
    # Across the step lies all that its sum does not fix; of a pair, half the difference is what a line can tell of.
    across = X - shares[:, None] * step
    y = (found[:pairs] - found[pairs:]) / 2 - (every - none) * (shares - 0.5)
    size = float((across**2).sum(axis=1).mean())
    if size > 0:
        weights[there] += RidgeCV(_PENALTIES * size, fit_intercept=False).fit(across, y).coef_
    return weights


def _mixes(d: int, n: int, rng: np.random.Generator) -> AnyArray:
    """Which of d features are the row's, bool (n, d): sizes as Kernel SHAP weighs them, any set of a size."""
    sizes = np.arange(1, d)
    chances = 1.0 / (sizes * (d - sizes))
    drawn = rng.choice(sizes, n, p=chances / chances.sum())
    ranks = rng.random((n, d)).argsort(axis=1).argsort(axis=1)
    return ranks < drawn[:, None]
