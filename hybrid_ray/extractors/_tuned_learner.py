"""What a tuned extractor gives to the training loop. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hybrid_ray.extractors._tuned import ACTIVATIONS
from hybrid_ray.extractors._tuned_net import adapters, with_adapters
from hybrid_ray.extractors.items import FILLED
from hybrid_ray.training.items import ItemFeed, ItemLearner, ItemNet
from hybrid_ray.training.loop import HEAD, SCORED
from hybrid_ray.types import AnyArray, Prepared

if TYPE_CHECKING:
    from hybrid_ray.extractors._tuned import TunedExtractor
    from hybrid_ray.extractors.trained import Training

_PROBED = 1024
"""Rows that the head is fitted to before anything is tuned."""


def _feed(extractor: TunedExtractor, training: Training) -> ItemFeed:
    """Rows of a training, from activations that are kept, or computed each time."""
    split = extractor.split()
    arrays = dict(extractor.kept(Prepared(dict(training.arrays), np.ones(len(training.arrays[FILLED]), bool))).arrays)
    filled = arrays.pop(FILLED)

    def collate(cells: dict[str, AnyArray]) -> tuple[torch.Tensor, ...]:
        return split.collate(cells[ACTIVATIONS] if ACTIVATIONS in cells else split.of_cells(cells, np.float32))

    return ItemFeed(arrays, filled, collate, split.device, extractor.augment if extractor.augmented else None)


class TunedLearner(ItemLearner):
    """The upper part of a pretrained network, of which only low-rank matrices learn, and the head.

    Parameters
    ----------
    extractor : TunedExtractor
        Set up.
    training : Training
    """

    def __init__(self, extractor: TunedExtractor, training: Training) -> None:
        assert training.target is not None
        settings, split = extractor.params, extractor.split()
        feed = _feed(extractor, training)
        top = with_adapters(split.top, split.targets, settings.rank, settings.alpha)
        net = ItemNet(top, len(extractor.columns), split.width, training.n_outputs, settings.dropout)
        super().__init__(net.to(split.device), feed, training.target, settings.label_smoothing)
        self._weights: Mapping[str, torch.Tensor] = adapters(net.trunk, split.targets)
        self._seed = training.seed

    @property
    def learning(self) -> Mapping[str, torch.Tensor]:
        """The low-rank matrices and the head."""
        head = self.net.head
        return {**self._weights, "head.weight": head.weight, "head.bias": head.bias}

    @property
    def constants(self) -> Mapping[str, torch.Tensor]:
        """What the features are standardised by."""
        return {"shift": self.net.shift, "scale": self.net.scale}

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """The low-rank matrices, by layer name with ``.A`` or ``.B``."""
        return self._weights

    def begin(self, rows: AnyArray) -> None:
        """Standardise the features and fit the head to them as they are, on some training rows."""
        from sklearn.linear_model import LogisticRegression, Ridge

        probed = np.sort(np.random.default_rng([self._seed, HEAD]).permutation(rows)[:_PROBED])
        parts = [probed[start : start + SCORED] for start in range(0, len(probed), SCORED)]
        with torch.no_grad():
            found = torch.cat([self.net.vectors(self.feed(part)) for part in parts])
            X = self.standardise(found.double()).cpu().numpy()
        y = self.labels[probed]
        nn.init.zeros_(self.net.head.weight)
        nn.init.zeros_(self.net.head.bias)
        if y.dtype != np.int64:
            ridge = Ridge(alpha=len(X) / 10).fit(X, y)
            self._set_head(np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), [0])
            return
        if len(np.unique(y)) < 2:
            return
        logistic = LogisticRegression(C=0.01, max_iter=200).fit(X, y)
        W, b = logistic.coef_, logistic.intercept_
        if len(W) == 1:  # of two classes scikit-learn gives the second one's margin over the first
            W, b = np.concatenate([-W / 2, W / 2]), np.concatenate([-b / 2, b / 2])
        self._set_head(W, b, [int(code) for code in logistic.classes_])

    def _set_head(self, W: AnyArray, b: AnyArray, codes: list[int]) -> None:
        """Weights of the head for some of its outputs."""
        head = self.net.head
        with torch.no_grad():
            head.weight[codes] = torch.from_numpy(np.asarray(W, np.float32)).to(head.weight.device)
            head.bias[codes] = torch.from_numpy(np.asarray(b, np.float32)).to(head.bias.device)
