"""Feature-level fusion by products of blocks, beside the blocks themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, Self

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

How = Literal["drawn", "same"]


class BilinearParams(PluginParams):
    """Parameters of :class:`Bilinear`."""

    pca: int = Field(32, ge=1, le=4096)
    """Principal components kept of a block that is wider, before products are taken."""
    rank: int = Field(32, ge=1, le=4096)
    """drawn: products of each pair of blocks."""
    how: How = "drawn"
    """drawn: products of random directions of two blocks; same: the element-wise product of two blocks of one width, as
    they are, for encoders that share a space; pairs of other widths have none."""


@FUSIONS.register("bilinear")
class Bilinear(FeatureFusion):
    """Blocks side by side, reduced to principal components, and products of every two of them.

    A product is that of one random direction of each block; many of them together stand for the whole outer product of
    the two, of which they are an unbiased sketch. They show a linear model what only goes together: this word with that
    picture. Blocks of one width, whose columns mean the same, are multiplied column by column instead (``how: same``).
    Where a row lacks a block its products are 0, the mean.

    References
    ----------
    Kim et al., "Hadamard product for low-rank bilinear pooling", ICLR 2017; Kar and Karnick, "Random feature maps for
    dot product kernels", AISTATS 2012, for random directions.
    """

    Params = BilinearParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._blocks: dict[str, Concat] = {}
        self._directions: dict[tuple[str, str], tuple[FloatArray, FloatArray]] = {}
        self._moments: dict[tuple[str, str], tuple[FloatArray, FloatArray]] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Few products, and more than there are columns."""
        yield BilinearParams(pca=3, rank=4)
        yield BilinearParams(pca=64, rank=40)
        yield BilinearParams(pca=3, how="same")

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Learn components, draw directions, and standardise products; ``y`` is not looked at."""
        names = sorted(inputs)
        rng = np.random.default_rng(seed)
        self._blocks = {}
        for name in names:
            self._blocks[name] = Concat(ConcatParams(pca=self.params.pca)).fit({name: inputs[name]}, y, task, seed)
        columns = {name: self._columns(name, inputs[name]) for name in names}
        self._directions, self._moments = {}, {}
        for pair in self._pairs(inputs):
            if self.params.how == "drawn":
                self._directions[pair] = (self._draw(rng, columns[pair[0]]), self._draw(rng, columns[pair[1]]))
            both = inputs[pair[0]].present & inputs[pair[1]].present
            products = self._raw(pair, columns, inputs)
            n_products, products = products.shape[1], products[both]
            mean = products.mean(axis=0) if len(products) else np.zeros(n_products)
            deviation = products.std(axis=0) if len(products) else np.zeros(n_products)
            factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-12)
            self._moments[pair] = (mean.astype(np.float32), factor.astype(np.float32))
        return self

    def _pairs(self, inputs: Mapping[str, Block]) -> list[tuple[str, str]]:
        """Blocks that are multiplied."""
        widths = {name: inputs[name].values.shape[1] for name in sorted(inputs)}
        pairs = list(combinations(widths, 2))
        if self.params.how == "drawn":
            return pairs
        return [(left, right) for left, right in pairs if widths[left] == widths[right]]

    def _columns(self, name: str, block: Block) -> FloatArray:
        """Components float32 (n, k) of one block."""
        return self._blocks[name].combine({name: block})

    def _draw(self, rng: np.random.Generator, columns: FloatArray) -> FloatArray:
        """Directions float32 (k, rank) of signs."""
        signs = rng.integers(0, 2, size=(columns.shape[1], self.params.rank)) * 2.0 - 1.0
        return (signs / np.sqrt(columns.shape[1])).astype(np.float32)

    def _raw(self, pair: tuple[str, str], columns: Mapping[str, FloatArray], inputs: Mapping[str, Block]) -> FloatArray:
        """Products float32 (n, rank), or (n, d) of blocks as they are; 0 where a row lacks one of these."""
        if self.params.how == "same":
            one, other = (np.where(inputs[name].present[:, None], inputs[name].values, 0) for name in pair)
            return one * other
        left, right = self._directions[pair]
        products: FloatArray = (columns[pair[0]] @ left) * (columns[pair[1]] @ right)
        return products

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d): blocks in the order of their names, then the products of each pair.

        Raises
        ------
        KeyError
            A block that ``fit`` saw is not there.
        """
        if not self._blocks:
            raise NotFittedError("bilinear: fit must come before combine")
        self._check_there(self._blocks, inputs)
        columns = {name: self._columns(name, inputs[name]) for name in self._blocks}
        parts = list(columns.values())
        for pair, (mean, factor) in self._moments.items():
            both = inputs[pair[0]].present & inputs[pair[1]].present
            products = (self._raw(pair, columns, inputs) - mean) * factor
            products[~both] = 0.0
            parts.append(products)
        return np.hstack(parts)

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How many components and products; where two blocks have one width, whether these are taken as they are."""
        point: dict[str, Any] = {"pca": trial.suggest_int("pca", 8, 128, log=True)}
        if _alike(dims):
            point["how"] = trial.suggest_categorical("how", ("drawn", "same"))
        if point.get("how") != "same":
            point["rank"] = trial.suggest_int("rank", 8, 256, log=True)
        return point

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """A middling number of both."""
        if not _alike(dims):
            return [{"pca": 64, "rank": 64}]
        return [{"pca": 64, "how": "drawn", "rank": 64}, {"pca": 64, "how": "same"}]

    def get_state(self) -> State:
        """What was learned of each block, directions and moments of each pair."""
        parts = {f"block.{i}": concat.get_state() for i, concat in enumerate(self._blocks.values())}
        for i, (pair, (mean, factor)) in enumerate(self._moments.items()):
            directions = dict(zip(("left", "right"), self._directions.get(pair, ()), strict=False))
            parts[f"pair.{i}"] = State({}, {**directions, "mean": mean, "factor": factor})
        return nest(parts, {"names": list(self._blocks), "pairs": [list(pair) for pair in self._moments]})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            names = [str(name) for name in state.meta["names"]]
            inner = ConcatParams(pca=fusion.params.pca)
            fusion._blocks = {n: Concat.from_state(inner, part(state, f"block.{i}")) for i, n in enumerate(names)}
            for i, (one, other) in enumerate(state.meta["pairs"]):
                kept = part(state, f"pair.{i}").tensors
                if fusion.params.how == "drawn":
                    fusion._directions[one, other] = (kept["left"], kept["right"])
                fusion._moments[one, other] = (kept["mean"], kept["factor"])
        except KeyError as error:
            raise ArtifactError(f"bilinear: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def _alike(dims: Mapping[str, int]) -> bool:
    """Whether two blocks have one width."""
    return len(set(dims.values())) < len(dims)
