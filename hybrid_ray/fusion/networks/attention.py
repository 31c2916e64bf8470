"""Feature-level fusion by attention between blocks that is learned from the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.networks.base import (
    NETWORK_PCA,
    NETWORK_START,
    NetworkFusion,
    NetworkParams,
    network_space,
)
from hybrid_ray.fusion.networks.layers import Weights, attend, layer_norm, linear
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.training import Named
    from hybrid_ray.fusion.networks.net import FusionNet

HEADS = 4
_LINEAR = ("three", "out", "up", "down")
_NORMS = ("norm.0", "norm.1")


class AttentionParams(NetworkParams):
    """Parameters of :class:`Attention`."""

    hidden: int = Field(64, ge=4, le=2048, multiple_of=HEADS)
    """Width of a token and of the fused representation; a multiple of 4, the number of heads."""
    tokens: int = Field(2, ge=1, le=16)
    """Tokens that a block becomes."""
    depth: int = Field(1, ge=1, le=4)
    """Transformer layers."""


@FUSIONS.register("attention")
class Attention(NetworkFusion):
    """Small transformer: blocks become tokens that attend to each other, and one more token asks them all.

    Each block has embeddings of its own that say which block a token is of; the representation is what the asking token
    holds in the end.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; Xiong et al., "On layer normalization in the transformer
    architecture", ICML 2020, for layers that normalise first; Gorishniy et al., "Revisiting deep learning models for
    tabular data", NeurIPS 2021, for a token that asks.
    """

    Params = AttentionParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Small and quickly trained."""
        yield AttentionParams(hidden=8, depth=2, pca=3, max_epochs=2, batch_size=16, folds=2)

    def _build(
        self, widths: Sequence[int], n_outputs: int, X: FloatArray, y: AnyArray
    ) -> tuple[FusionNet, Sequence[Named]]:
        from hybrid_ray.fusion.networks.attention_net import AttentionNet

        own = self.params
        net = AttentionNet(widths, n_outputs, own.hidden, own.tokens, HEADS, own.depth, own.dropout, own.block_dropout)
        return net, ()

    def _represent(self, weights: Weights, widths: Sequence[int], columns: AnyArray, present: AnyArray) -> AnyArray:
        n, count, hidden = len(columns), self.params.tokens, self.params.hidden
        blocks = np.split(columns, np.cumsum(widths)[:-1], axis=1)
        said = [(block @ weights[f"project.{i}"]).reshape(n, count, hidden) for i, block in enumerate(blocks)]
        told = np.where(present[:, :, None, None], np.stack(said, axis=1), weights["missing"]) + weights["kinds"]
        asking = np.broadcast_to(weights["asking"], (n, 1, hidden))
        tokens = np.concatenate([asking, told.reshape(n, len(widths) * count, hidden)], axis=1)
        for i in range(self.params.depth):
            name = f"layer.{i}"
            tokens = tokens + attend(weights, name, layer_norm(weights, f"{name}.norm.0", tokens), HEADS)
            inner = linear(weights, f"{name}.up", layer_norm(weights, f"{name}.norm.1", tokens))
            tokens = tokens + linear(weights, f"{name}.down", np.maximum(inner, 0.0))
        return layer_norm(weights, "norm", tokens[:, 0])

    def _needed(self) -> set[str]:
        layers = {f"layer.{i}.{part}" for i in range(self.params.depth) for part in (*_LINEAR, *_NORMS)} | {"norm"}
        return {"kinds", "missing", "asking"} | {f"{name}.{kind}" for name in layers for kind in "wb"}

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """Tokens, layers, size, and regularisation."""
        point = {
            "pca": trial.suggest_categorical("pca", NETWORK_PCA),
            "tokens": trial.suggest_int("tokens", 1, 4),
            "depth": trial.suggest_int("depth", 1, 2),
        } | network_space(trial)
        return point

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """Two tokens a block and one layer, beside the blocks and alone."""
        first = {"pca": 64, "tokens": 2, "depth": 1, **NETWORK_START}
        return [first, {**first, "keep": False}]
