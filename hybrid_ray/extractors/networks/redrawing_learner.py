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


class RedrawingLearner(Learner):
    """Teaches a network to draw items again.

    Parameters
    ----------
    net : Module
    extractor : RedrawingExtractor
    arrays : mapping of str to ndarray (m, n_items, ...)
        Items as they are, and again: changed in each pass.
    filled : ndarray of bool (m, n_items)
    device : str
    """

    def __init__(
        self,
        net: nn.Module,
        extractor: RedrawingExtractor,
        arrays: Mapping[str, AnyArray],
        filled: AnyArray,
        device: str,
    ) -> None:
        self.net = net.to(device)
        self.rows = len(filled)
        self._n_items = filled.shape[1]

        def collate(cells: dict[str, AnyArray]) -> tuple[torch.Tensor, ...]:
            return extractor.collate(cells, device)

        self._feed = ItemFeed(arrays, filled, collate, device, extractor.augment if extractor.augmented else None)

    def errors(self, net: nn.Module, cells: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """How badly a network draws each item again (k,); default: what it gives."""
        found: torch.Tensor = net(*cells)
        return found

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """Mean error of a row's items."""
        return self._errors(whole, step.rows, step)

    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The same of items that are not changed."""
        return self._errors(self.net, rows, None)

    def _errors(self, net: nn.Module, rows: AnyArray, step: Step | None) -> torch.Tensor:
        inputs = self._feed(rows, step)
        return mean_by_row(self.errors(net, inputs.cells), inputs.places // self._n_items, inputs.rows)


class RedrawerLearner(RedrawingLearner):
    """Teaches an extractor whose trunk is a ``Redrawer``; see ``RedrawingLearner``."""

    net: _Redrawn

    def __init__(
        self, extractor: RedrawingExtractor, arrays: Mapping[str, AnyArray], filled: AnyArray, device: str
    ) -> None:
        trunk = extractor.trunk()
        assert isinstance(trunk, Redrawer)
        super().__init__(_Redrawn(trunk), extractor, arrays, filled, device)

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """Both halves."""
        return dict(self.net.trunk.state_dict())
