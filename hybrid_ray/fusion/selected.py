"""Feature-level fusion that keeps the columns that tell most of the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.fusion.concat import SCALES, Concat, ConcatParams
from hybrid_ray.fusion.information import mutual_information
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, State, Task


class SelectedParams(PluginParams):
    """Parameters of :class:`Selected`."""

    share: float = Field(0.3, gt=0, le=1)
    """Share of all columns that is kept: those of the largest mutual information with the label."""
    scale: Literal["column", "block"] = "column"
    """column: every column gets variance 1; block: columns keep their variances relative to each other."""


@FUSIONS.register("selected")
class Selected(FeatureFusion):
    """Blocks side by side, of which the columns of the largest mutual information with the label are kept.

    References
    ----------
    Battiti, "Using mutual information for selecting features in supervised neural net learning", IEEE Trans. Neural
    Networks 1994.
    """

    Params = SelectedParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._concat = Concat(ConcatParams(scale=self.params.scale))
        self._columns: AnyArray | None = None

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Some, few and all columns."""
        yield SelectedParams()
        yield SelectedParams(share=0.05, scale="block")
        yield SelectedParams(share=1.0)

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Rank columns on training rows, O(rows * columns); without ``y`` by their variance."""
        self._concat.fit(inputs, y, task, seed)
        matrix = self._concat.combine(inputs)
        worth = matrix.var(axis=0) if y is None else mutual_information(matrix, y)
        kept = max(1, round(self.params.share * matrix.shape[1]))
        self._columns = np.sort(np.argsort(-worth, kind="stable")[:kept])
        return self

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d) of the kept columns, in the order of the blocks' names.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if self._columns is None:
            raise NotFittedError("selected: fit must come before combine")
        return np.ascontiguousarray(self._concat.combine(inputs)[:, self._columns])

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How many columns, and how they are scaled."""
        return {
            "share": trial.suggest_float("share", 0.03, 1.0, log=True),
            "scale": trial.suggest_categorical("scale", SCALES),
        }

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """A third, then a tenth of the columns."""
        return [{"share": share, "scale": "column"} for share in (0.3, 0.1)]

    def get_state(self) -> State:
        """What was learned of each block, and the kept columns."""
        if self._columns is None:
            raise NotFittedError("selected: fit must come before it is saved")
        return nest({"concat": self._concat.get_state(), "kept": State({}, {"columns": self._columns})})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            fusion._concat = Concat.from_state(fusion._concat.params, part(state, "concat"))
            fusion._columns = part(state, "kept").tensors["columns"]
        except KeyError as error:
            raise ArtifactError(f"selected: a saved fusion must hold all its parts; missing {error}") from error
        return fusion
