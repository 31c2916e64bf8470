"""Feature-level fusion of forecasts: as they are, in units of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.forecasts import ERROR, SCALE
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, State, Task


class ForecastsParams(PluginParams):
    """Parameters of :class:`Forecasts`: there are none."""


@FUSIONS.register("forecasts")
class Forecasts(FeatureFusion):
    """Level (two numbers) and scale of each row, then each forecaster's back-test error and steps, by name.

    Nothing is standardised: steps are in units of their row already, and learners of forecasts weigh them against each
    other. A row without a history is all zeros.
    """

    Params = ForecastsParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._widths: dict[str, int] = {}

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Remember the names and how wide they are."""
        self._widths = {name: int(inputs[name].values.shape[1]) for name in sorted(inputs)}
        return self

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, 3 + the sum of widths less 3).

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if not self._widths:
            raise NotFittedError("forecasts: fit must come before combine")
        self._check_there(self._widths, inputs)
        parts = [self._part(name, inputs[name]) for name in self._widths]
        # Forecasters of one history agree about its level and scale: any that read it tells.
        head = parts[0][:, :ERROR]
        for part in parts[1:]:
            head = np.where(head[:, [SCALE]] > 0, head, part[:, :ERROR])
        return np.concatenate([head, *(part[:, ERROR:] for part in parts)], axis=1)

    def _part(self, name: str, block: Block) -> FloatArray:
        if block.values.shape[1] != self._widths[name]:
            raise ValueError(
                f"forecasts: {name} must be {self._widths[name]} wide, as in training; got {block.values.shape[1]}"
            )
        return block.values if block.present.all() else np.where(block.present[:, None], block.values, np.float32(0))

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """Nothing to choose."""
        return {}

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """The one way."""
        return [{}]

    def get_state(self) -> State:
        """Widths by name."""
        if not self._widths:
            raise NotFittedError("forecasts: fit must come before it is saved")
        return State({"widths": dict(self._widths)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        widths = state.meta.get("widths")
        if not isinstance(widths, dict) or not widths:
            raise ArtifactError(f"forecasts: a saved fusion must hold the widths of its blocks; got {widths!r}")
        fusion = cls(params)
        fusion._widths = {str(name): int(width) for name, width in widths.items()}
        return fusion
