"""What a decision-level fusion may be asked to be good at, whoever computes it."""

from __future__ import annotations

from typing import Protocol

from hybrid_ray.types import AnyArray, Direction


class Scoring(Protocol):
    """A metric, as :mod:`hybrid_ray.evaluation.metrics` has them."""

    @property
    def name(self) -> str:
        """scikit-learn's name of the metric."""

    @property
    def direction(self) -> Direction:
        """Which way is better."""

    def scores(self, y: AnyArray, outputs: AnyArray) -> AnyArray:
        """Scores (b,) of b sets of outputs (b, n, n_outputs) for labels (n,); NaN where the metric is not defined."""
