"""What a network extractor gives to the training loop. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from hybrid_ray.training.items import ItemFeed, ItemLearner, ItemNet
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from hybrid_ray.extractors.networks.base import TrainedNetwork
    from hybrid_ray.extractors.trained import Training


class NetworkLearner(ItemLearner):
    """A fresh trunk under a head; the trunk is what is kept.

    Parameters
    ----------
    extractor : TrainedNetwork
    arrays : mapping of str to ndarray (m, n_items, ...)
        Encoded items of the training rows.
    filled : ndarray of bool (m, n_items)
    training : Training
    device : str
    """

    def __init__(
        self,
        extractor: TrainedNetwork,
        arrays: Mapping[str, AnyArray],
        filled: AnyArray,
        training: Training,
        device: str,
    ) -> None:
        own = extractor.params
        net = ItemNet(extractor.trunk(), filled.shape[1], extractor.item_features, training.n_outputs, own.dropout)

        def collate(cells: dict[str, AnyArray]) -> tuple[torch.Tensor, ...]:
            return extractor.collate(cells, device)

        augment = extractor.augment if extractor.augmented else None
        feed = ItemFeed(arrays, filled, collate, device, augment)
        assert training.target is not None
        super().__init__(net.to(device), feed, training.target, own.label_smoothing)

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """The trunk."""
        return dict(self.net.trunk.state_dict())
