"""What a fusion says that a number may be: a distribution, not a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

_HALVINGS = 60
_FAR = 10.0
"""Deviations beyond the outermost mean within which every quantile is looked for."""


@dataclass(frozen=True)
class NormalMixture:
    """For each of n rows a mixture of k normal distributions.

    Attributes
    ----------
    weights : ndarray (k,)
        They sum to 1.
    means : ndarray (n, k)
    deviations : ndarray (k,)
        Above 0.
    """

    weights: AnyArray
    means: AnyArray
    deviations: AnyArray

    def mean(self) -> AnyArray:
        """Mean (n,) of each row."""
        mean: AnyArray = self.means @ self.weights
        return mean

    def deviation(self) -> AnyArray:
        """Standard deviation (n,) of each row: what the parts leave open, and how far they lie apart."""
        between = np.square(self.means - self.mean()[:, None]) @ self.weights
        deviation: AnyArray = np.sqrt(np.square(self.deviations) @ self.weights + between)
        return deviation

    def quantile(self, share: float) -> AnyArray:
        """Value (n,) that each row's number stays below with probability ``share``, by bisection."""
        from scipy.special import ndtr, ndtri

        if len(self.weights) == 1:
            alone: AnyArray = self.means[:, 0] + float(ndtri(share)) * self.deviations[0]
            return alone
        low = (self.means - _FAR * self.deviations).min(axis=1)
        high = (self.means + _FAR * self.deviations).max(axis=1)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = ndtr((middle[:, None] - self.means) / self.deviations) @ self.weights < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found: AnyArray = (low + high) / 2
        return found

    def interval(self, level: float) -> tuple[AnyArray, AnyArray]:
        """Ends (n,) of the central interval that holds each row's number with probability ``level``."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)
