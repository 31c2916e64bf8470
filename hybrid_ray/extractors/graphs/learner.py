"""What a graph network gives to the training loop. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from hybrid_ray.extractors.graphs.nets import GraphTrunk
from hybrid_ray.training.items import ItemLearner
from hybrid_ray.training.loop import Step

if TYPE_CHECKING:
    from hybrid_ray.extractors.graphs.network import GraphNetworkExtractor
    from hybrid_ray.extractors.trained import Training


class NodeLearner(ItemLearner):
    """Teaches a graph network and its head; both are kept.

    Parameters
    ----------
    extractor : GraphNetworkExtractor
    training : Training
    device : str
    """

    def __init__(self, extractor: GraphNetworkExtractor, training: Training, device: str) -> None:
        arrays, filled = extractor.encoded_rows(training.arrays)
        assert training.target is not None
        net = extractor.net(training.n_outputs).to(device)
        super().__init__(net, extractor.feed(arrays, filled), training.target, extractor.params.label_smoothing)

    @property
    def constants(self) -> Mapping[str, torch.Tensor]:
        """None: shift and scale of the head stay as they are, and the graph is no part of a checkpoint."""
        return {}

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """Network and head."""
        return dict(self.net.state_dict())

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """As any network over cells; what was kept of the graph's nodes is no longer true after it."""
        assert isinstance(self.net.trunk, GraphTrunk)
        self.net.trunk.forget()
        return super().losses(whole, step)
