"""Feature-level fusion by canonical correlation: what blocks have in common, beside the blocks themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.fusion.concat import Concat, ConcatParams
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Block, FloatArray, State, Task

MIN_ROWS = 20
"""Fewer rows than this that have every block tell nothing of what blocks have in common."""
_TINY = 1e-12


class CanonicalParams(PluginParams):
    """Parameters of :class:`Canonical`."""

    pca: int = Field(64, ge=1, le=4096)
    """Principal components kept of a block that is wider."""
    variates: int = Field(16, ge=1, le=4096)
    """Canonical variates: directions that the blocks share."""
    ridge: float = Field(0.1, gt=0, le=100)
    """Strength of the penalty, relative to the mean variance of a block's components: without it blocks of many columns
    correlate by chance."""
    keep: bool = True
    """True: the blocks stand beside the variates; False: the variates alone, where there are some."""


@FUSIONS.register("canonical")
class Canonical(FeatureFusion):
    """Generalised canonical correlation of all blocks (MAXVAR): directions along which they agree.

    A row's variate is the mean of what its present blocks say, so that a row that lacks one still has it.

    References
    ----------
    Kettenring, "Canonical analysis of several sets of variables", Biometrika 1971; Vinod, "Canonical ridge and
    econometrics of joint production", Journal of Econometrics 1976.
    """

    Params = CanonicalParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._blocks: dict[str, Concat] = {}
        self._axes: dict[str, tuple[FloatArray, FloatArray]] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """With the blocks, and without."""
        yield CanonicalParams()
        yield CanonicalParams(pca=3, variates=2, ridge=1.0)
        yield CanonicalParams(variates=3, keep=False)

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Learn components and variates, O(rows * components^2); ``y`` is not looked at."""
        names = sorted(inputs)
        self._blocks, self._axes = {}, {}
        for name in names:
            self._blocks[name] = Concat(ConcatParams(pca=self.params.pca)).fit({name: inputs[name]}, y, task, seed)
        whole = np.logical_and.reduce([inputs[name].present for name in names])
        if len(names) < 2 or whole.sum() < MIN_ROWS:
            return self
        rows = np.flatnonzero(whole)
        means, whitened, maps = {}, [], []
        for name in names:
            values = self._columns(name, inputs[name])[rows].astype(np.float64)
            means[name] = values.mean(axis=0)
            map_ = _whitener(values - means[name], self.params.ridge)
            whitened.append((values - means[name]) @ map_)
            maps.append(map_)
        axes, spread = _shared(np.hstack(whitened), self.params.variates, len(names))
        start = 0
        for name, map_ in zip(names, maps, strict=True):
            own = map_ @ axes[start : start + len(map_)] / spread
            self._axes[name] = (means[name].astype(np.float32), own.astype(np.float32))
            start += len(map_)
        return self

    def _columns(self, name: str, block: Block) -> FloatArray:
        """Components float32 (n, k) of one block."""
        return self._blocks[name].combine({name: block})

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d): blocks in the order of their names, then the variates.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if not self._blocks:
            raise NotFittedError("canonical: fit must come before combine")
        self._check_there(self._blocks, inputs)
        columns = {name: self._columns(name, inputs[name]) for name in self._blocks}
        parts = list(columns.values()) if self.params.keep or not self._axes else []
        if self._axes:
            said: AnyArray = np.zeros(1, np.float32)
            speakers: AnyArray = np.zeros(1, np.float32)
            for name, (mean, axes) in self._axes.items():
                present = inputs[name].present[:, None].astype(np.float32)
                said = said + present * ((columns[name] - mean) @ axes)
                speakers = speakers + present
            parts.append((said / np.maximum(speakers, 1.0)).astype(np.float32))
        return np.hstack(parts)

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How many components and variates, and the penalty."""
        return {
            "pca": trial.suggest_int("pca", 16, 128, log=True),
            "variates": trial.suggest_int("variates", 4, 64, log=True),
            "ridge": trial.suggest_float("ridge", 1e-2, 10.0, log=True),
        }

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """A middling number of both."""
        return [{"pca": 64, "variates": 16, "ridge": 0.3}]

    def get_state(self) -> State:
        """What was learned of each block, and its part of the variates."""
        parts = {f"block.{i}": concat.get_state() for i, concat in enumerate(self._blocks.values())}
        for i, (mean, axes) in enumerate(self._axes.values()):
            parts[f"axes.{i}"] = State({}, {"mean": mean, "axes": axes})
        return nest(parts, {"names": list(self._blocks), "variates": bool(self._axes)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            names = [str(name) for name in state.meta["names"]]
            inner = ConcatParams(pca=fusion.params.pca)
            fusion._blocks = {n: Concat.from_state(inner, part(state, f"block.{i}")) for i, n in enumerate(names)}
            if state.meta["variates"]:
                for i, name in enumerate(names):
                    kept = part(state, f"axes.{i}").tensors
                    fusion._axes[name] = (kept["mean"], kept["axes"])
        except KeyError as error:
            raise ArtifactError(f"canonical: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def _whitener(centred: AnyArray, ridge: float) -> AnyArray:
    """Symmetric map (k, k) after which centred rows (n, k) have variances of 1, less what the penalty takes."""
    covariance = centred.T @ centred / len(centred)
    unit = float(np.trace(covariance)) / len(covariance)
    if unit < _TINY:  # a block that never varied has nothing in common with another
        return np.zeros_like(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * unit * np.eye(len(covariance)))
    map_: AnyArray = (vectors / np.sqrt(values)) @ vectors.T
    return map_


def _shared(whitened: AnyArray, most: int, n_blocks: int) -> tuple[AnyArray, AnyArray]:
    """Axes (sum k, c) of the largest variance of whitened blocks side by side, and the variates' deviations (c,)."""
    values, vectors = np.linalg.eigh(whitened.T @ whitened / len(whitened))
    kept = min(most, len(values))
    axes = vectors[:, ::-1][:, :kept]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(kept)] < 0, -1.0, 1.0)
    # A variate is the mean of the blocks' parts; the axes' own variance is that of their sum.
    spread = np.sqrt(np.maximum(values[::-1][:kept], _TINY)) / n_blocks
    return axes, spread
