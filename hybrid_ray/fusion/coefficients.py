"""What decision-level fusions share that keep coefficients by member, and offsets."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from hybrid_ray.errors import ArtifactError
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, State


class CoefficientFusion(DecisionFusion):
    """A decision-level fusion whose state is one array of coefficients, members first, and offsets (C,)."""

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._names: list[str] = []
        self._classes = True
        self._coefficients: AnyArray = np.zeros((0, 1))
        self._offsets: AnyArray = np.zeros(1)

    @abstractmethod
    def _fault(self) -> str:
        """What is wrong with the shape of a loaded state; empty when nothing is."""

    @property
    def weights(self) -> dict[str, float]:
        """Share of each member in the mean absolute coefficient; they sum to 1."""
        shares = np.abs(self._coefficients).mean(axis=tuple(range(1, self._coefficients.ndim)))
        total = float(shares.sum())
        return dict(zip(self._names, (shares / total if total > 0 else shares).tolist(), strict=True))

    def get_state(self) -> State:
        """Names, coefficients and offsets."""
        return State(
            {"names": list(self._names), "classes": self._classes},
            {"coefficients": self._coefficients, "offsets": self._offsets},
        )

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            fusion._names = [str(name) for name in state.meta["names"]]
            fusion._classes = bool(state.meta["classes"])
            fusion._coefficients = state.tensors["coefficients"]
            fusion._offsets = state.tensors["offsets"]
        except KeyError as error:
            raise ArtifactError(
                f"{cls.name}: a saved fusion must hold names and coefficients; missing {error}"
            ) from error
        fault = fusion._fault()
        if fault:
            raise ArtifactError(f"{cls.name}: {fault}")
        return fusion
