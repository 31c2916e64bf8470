"""How a deep belief network begins its training. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from hybrid_ray.extractors.imaging import PIXELS
from hybrid_ray.extractors.networks.dbn import DbnExtractor, scaled
from hybrid_ray.extractors.networks.learner import NetworkLearner
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from hybrid_ray.extractors.trained import Training


class DbnLearner(NetworkLearner):
    """Layers that begin as Boltzmann machines leave them: only where the training does, not where it is taken up again.

    Parameters
    ----------
    extractor : DbnExtractor
    arrays : mapping of str to ndarray (m, n_items, ...)
    filled : ndarray of bool (m, n_items)
    training : Training
    device : str
    """

    def __init__(
        self,
        extractor: DbnExtractor,
        arrays: Mapping[str, AnyArray],
        filled: AnyArray,
        training: Training,
        device: str,
    ) -> None:
        super().__init__(extractor, arrays, filled, training, device)
        self._extractor, self._seed = extractor, training.seed
        self._pixels = arrays[PIXELS][filled]

    def begin(self, rows: AnyArray) -> None:
        """Teach the machines; they look at all images, as no label is needed for it."""
        layers = [module for module in self.net.trunk.modules() if isinstance(module, nn.Linear)]
        begun = self._extractor.machines(scaled(self._pixels), self._seed)
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, begun, strict=False):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
