"""Feature-level fusion by a network whose input columns are chosen anew while it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.information import mutual_information
from hybrid_ray.fusion.networks.base import NETWORK_START, NetworkFusion, NetworkParams, network_space
from hybrid_ray.fusion.networks.layers import Weights
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.training import Named
    from hybrid_ray.fusion.networks.net import FusionNet

ADAPTIVE_PCA: tuple[int | None, ...] = (None, 64, 256)


class AdaptiveParams(NetworkParams):
    """Parameters of :class:`Adaptive`."""

    pca: int | None = Field(None, ge=1, le=4096)
    """Principal components that a wider block is reduced to first; left out, columns are chosen as they are."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of units left out of each step."""
    share: float = Field(0.2, gt=0, le=1)
    """Share of all columns that the network sees at a time."""
    every: int = Field(3, ge=1, le=1000)
    """Epochs after which columns are chosen anew."""
    exchanged: float = Field(0.3, ge=0, le=1)
    """Share of the chosen columns that are exchanged the first time; it falls to 0. With 0 the first choice stays."""


@FUSIONS.register("adaptive")
class Adaptive(NetworkFusion):
    """Adaptive hybrid network: a selector, then linear, batch normalisation, ReLU and dropout.

    It starts from the columns of the largest mutual information with the label, as ``selected`` does. Every few epochs
    the columns that the network uses least make room for those that have the largest mutual information with the label
    given what the network predicts by now: what it knows already brings no column in.

    References
    ----------
    Fleuret, "Fast binary feature selection with conditional mutual information", JMLR 2004, and Brown et al.,
    "Conditional likelihood maximisation", JMLR 2012, for what comes in; Mocanu et al., "Scalable training of artificial
    neural networks with adaptive sparse connectivity", Nature Communications 2018, for what goes; Evci et al., "Rigging
    the lottery", ICML 2020, for beginning with weights of 0 and for a share that falls as a cosine does.
    """

    Params = AdaptiveParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Small and quickly trained, columns chosen anew after the first epoch."""
        yield AdaptiveParams(share=0.4, every=1, keep=False, hidden=8, max_epochs=2, batch_size=16, folds=2)

    def _build(
        self, widths: Sequence[int], n_outputs: int, X: FloatArray, y: AnyArray
    ) -> tuple[FusionNet, Sequence[Named]]:
        from hybrid_ray.fusion.networks.adaptive_net import AdaptiveNet, Refresh

        own = self.params
        told = mutual_information(X[:, : sum(widths)], y)
        kept = np.zeros(len(told), bool)
        kept[np.argsort(-told, kind="stable")[: max(1, round(own.share * len(told)))]] = True
        net = AdaptiveNet(widths, n_outputs, own.hidden, kept, own.dropout, own.block_dropout)
        return net, [("refresh", Refresh(X, y, own.every, own.exchanged))] if own.exchanged else []

    def _represent(self, weights: Weights, widths: Sequence[int], columns: AnyArray, present: AnyArray) -> AnyArray:
        kept = weights["kept"]
        owners = np.repeat(np.arange(len(widths)), widths)[kept]
        seen = np.where(present[:, owners], columns[:, kept], 0.0)
        units: AnyArray = seen @ weights["first.w"] + weights["first.b"] + ~present @ weights["missing"]
        return np.maximum(units, 0.0)

    def _needed(self) -> set[str]:
        return {"kept", "first.w", "first.b", "missing"}

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """How many columns, how often and how far they change, size, and regularisation."""
        return {
            "pca": trial.suggest_categorical("pca", ADAPTIVE_PCA),
            "share": trial.suggest_float("share", 0.03, 1.0, log=True),
            "every": trial.suggest_int("every", 1, 8),
            "exchanged": trial.suggest_float("exchanged", 0.0, 0.5),
        } | network_space(trial)

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """Few columns with much dropout."""
        first = {"pca": None, "share": 0.2, "every": 3, "exchanged": 0.3}
        return [{**first, **NETWORK_START, "dropout": 0.5}]
