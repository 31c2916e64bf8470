"""How a network is taught to draw again what it is shown. Imports torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from hybrid_ray.training.items import ItemFeed, mean_by_row
from hybrid_ray.training.loop import Learner, Step
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from hybrid_ray.extractors.networks.redrawing import RedrawingExtractor


class Redrawer(nn.Module):
    """Both halves of an autoencoder, in one."""

    @abstractmethod
    def redrawn(self, *cells: torch.Tensor) -> torch.Tensor:
        """How badly each item is drawn again (k,), of what ``collate`` gives in a training."""


class _Redrawn(nn.Module):
    """The network as the training loop calls it."""

    def __init__(self, trunk: Redrawer) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, *cells: torch.Tensor) -> torch.Tensor:
        return self.trunk.redrawn(*cells)


class RedrawerLearner(Learner):
    """Teaches a network to draw items again.

    Parameters
    ----------
    extractor : RedrawingExtractor
        Its trunk is a ``Redrawer``.
    arrays : mapping of str to ndarray (m, n_items, ...)
        Items as they are, and again: changed in each pass.
    filled : ndarray of bool (m, n_items)
    device : str
    """

    net: _Redrawn

    def __init__(
        self, extractor: RedrawingExtractor, arrays: Mapping[str, AnyArray], filled: AnyArray, device: str
    ) -> None:
        trunk = extractor.trunk()
        assert isinstance(trunk, Redrawer)
        self.net = _Redrawn(trunk).to(device)
        self.rows = len(filled)
        self._n_items = filled.shape[1]

        def collate(cells: dict[str, AnyArray]) -> tuple[torch.Tensor, ...]:
            return extractor.collate(cells, device)

        self._feed = ItemFeed(arrays, filled, collate, device, extractor.augment if extractor.augmented else None)

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """Both halves."""
        return dict(self.net.trunk.state_dict())

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """Mean error of a row's items."""
        return self._errors(whole, step.rows, step)

    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The same of items that are not changed."""
        return self._errors(self.net, rows, None)

    def _errors(self, net: nn.Module, rows: AnyArray, step: Step | None) -> torch.Tensor:
        inputs = self._feed(rows, step)
        return mean_by_row(net(*inputs.cells), inputs.places // self._n_items, inputs.rows)
