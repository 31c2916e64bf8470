"""What decision-level fusions share that keep one weight a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, State

NEGLIGIBLE = 1e-3
"""A weight below this part of the mean weight is not worth a member at prediction."""


class WeightedFusion(DecisionFusion):
    """A decision-level fusion whose whole state is a weight for each member: none negative, together 1."""

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._weights: dict[str, float] = {}

    def _keep(self, names: Sequence[str], weights: AnyArray) -> None:
        """Take weights (m,), not all 0. Dividing makes the weight of a sole member exactly 1."""
        self._weights = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))

    def _used(self, inputs: Mapping[str, AnyArray]) -> dict[str, float]:
        """Members that have weight, by name.

        Raises
        ------
        NotFittedError
            Nothing was fitted yet.
        KeyError
            One of them is not among the inputs.
        """
        used = {name: self._weights[name] for name in sorted(self._weights) if self._weights[name] > 0}
        if not used:
            raise NotFittedError(f"{self.name}: fit must come before combine")
        self._check_there(used, inputs)
        return used

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member; they sum to 1."""
        return dict(self._weights)

    def get_state(self) -> State:
        """The weights."""
        return State({"weights": dict(self._weights)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        weights = state.meta.get("weights")
        if not isinstance(weights, dict) or not all(isinstance(w, int | float) and w >= 0 for w in weights.values()):
            raise ArtifactError(f"{cls.name}: a saved fusion must hold weights, none negative; got {weights!r}")
        fusion = cls(params)
        fusion._weights = {str(name): float(weight) for name, weight in weights.items()}
        return fusion


def weighted_mean(inputs: Mapping[str, AnyArray], weights: Mapping[str, float]) -> AnyArray:
    """Weighted mean float64 (n, C) or (n, 1), added up in the order of ``weights``."""
    total: AnyArray | None = None
    for name, weight in weights.items():
        part = np.asarray(inputs[name], np.float64) * weight
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None, "a mean needs a member"
    return total


def without_negligible(weights: AnyArray) -> AnyArray:
    """Weights (m,) with those that change next to nothing set to 0."""
    return np.where(weights > NEGLIGIBLE / len(weights), weights, 0.0)
