"""What a training makes of its rows before it begins: a hold-out, and a target that suits a loss."""

from __future__ import annotations

import numpy as np

from hybrid_ray.dealing import hold_groups
from hybrid_ray.types import AnyArray, FloatArray

_HELD_OUT = 0.1
"""Share of the training rows that says when to stop."""
_MIN_HELD_OUT = 5
"""Rows below which nothing is held out."""


def hold_out(codes: AnyArray | None, n: int, seed: int, groups: AnyArray | None = None) -> tuple[AnyArray, AnyArray]:
    """Rows to learn from and rows that say when to stop, both sorted; classes keep their shares where they can.

    Rows of one group (n,), where groups are given, stay together.
    """
    generator = np.random.default_rng(seed)
    if groups is not None:
        held = np.flatnonzero(hold_groups(groups, codes, _HELD_OUT, seed))
    elif codes is None:
        held = generator.permutation(n)[: int(n * _HELD_OUT)]
    else:
        of_class = [generator.permutation(np.flatnonzero(codes == code)) for code in np.unique(codes)]
        # Each class in turn gives its share, rounded at random: rare classes are held out now and then.
        held = np.concatenate([rows[: int(len(rows) * _HELD_OUT + generator.random())] for rows in of_class])
    if len(held) < _MIN_HELD_OUT:
        held = held[:0]
    return np.setdiff1d(np.arange(n), held), np.sort(held)


def normal_scores(y: AnyArray) -> FloatArray:
    """Numbers (m,) as the normal quantiles of their ranks, float32: a heavy tail does not rule the loss."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(y) - 0.5) / len(y)), np.float32)
