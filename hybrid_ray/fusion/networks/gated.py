"""Feature-level fusion by gates that are learned from the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import expit, softmax

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.networks.base import (
    NETWORK_PCA,
    NETWORK_START,
    NetworkFusion,
    NetworkParams,
    network_space,
)
from hybrid_ray.fusion.networks.layers import Weights, linear
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.training import Named
    from hybrid_ray.fusion.networks.net import FusionNet


class GatedParams(NetworkParams):
    """Parameters of :class:`Gated`."""

    activation: Literal["tanh", "relu"] = "tanh"
    """How projections are squashed."""
    gate: Literal["softmax", "sigmoid", "product"] = "softmax"
    """softmax: what one block's gate gains, the others' lose; sigmoid: each gate by itself; product: no gates, the
    projections are multiplied with each other."""


@FUSIONS.register("gated")
class Gated(NetworkFusion):
    """Gated multimodal unit: each block is projected, and gates that see all projections weigh them unit by unit.

    Gates look at projections and not, as in the paper, at the blocks themselves, so that the learned vector of a
    missing block speaks to them too.

    References
    ----------
    Arevalo et al., "Gated multimodal units for information fusion", ICLR workshop 2017; Kim et al., "Hadamard product
    for low-rank bilinear pooling", ICLR 2017, for products.
    """

    Params = GatedParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Small and quickly trained, with gates and with products."""
        quick = {"hidden": 8, "max_epochs": 2, "batch_size": 16, "folds": 2}
        yield GatedParams(**quick)
        yield GatedParams(gate="product", activation="relu", pca=3, keep=False, block_dropout=0.0, **quick)

    def _build(
        self, widths: Sequence[int], n_outputs: int, X: FloatArray, y: AnyArray
    ) -> tuple[FusionNet, Sequence[Named]]:
        from hybrid_ray.fusion.networks.gated_net import GatedNet

        own = self.params
        return GatedNet(widths, n_outputs, own.hidden, own.activation, own.gate, own.dropout, own.block_dropout), ()

    def _represent(self, weights: Weights, widths: Sequence[int], columns: AnyArray, present: AnyArray) -> AnyArray:
        blocks = np.split(columns, np.cumsum(widths)[:-1], axis=1)
        said = np.stack([linear(weights, f"project.{i}", block) for i, block in enumerate(blocks)], axis=1)
        said = np.tanh(said) if self.params.activation == "tanh" else np.maximum(said, 0.0)
        units = np.where(present[:, :, None], said, weights["missing"])
        if self.params.gate == "product":
            product: AnyArray = units.prod(axis=1)
            return product
        gates = linear(weights, "gates", np.hstack([*units.swapaxes(0, 1)])).reshape(units.shape)
        passed = softmax(gates, axis=1) if self.params.gate == "softmax" else expit(gates)
        fused: AnyArray = (passed * units).sum(axis=1)
        return fused

    def _needed(self) -> set[str]:
        gates = set() if self.params.gate == "product" else {"gates.w", "gates.b"}
        projections = {f"project.{i}.{kind}" for i in range(len(self._blocks)) for kind in "wb"}
        return {"missing"} | gates | projections

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """The kind of gate, size, and regularisation."""
        return {
            "pca": trial.suggest_categorical("pca", NETWORK_PCA),
            "gate": trial.suggest_categorical("gate", ("softmax", "sigmoid", "product")),
            "activation": trial.suggest_categorical("activation", ("tanh", "relu")),
        } | network_space(trial)

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """The unit of the paper, beside the blocks and alone."""
        first = {"pca": 64, "gate": "softmax", "activation": "tanh", **NETWORK_START}
        return [first, {**first, "keep": False}]
