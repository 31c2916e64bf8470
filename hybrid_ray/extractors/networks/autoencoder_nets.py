"""The two halves of an autoencoder of images, and how it is taught. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors.networks.redrawing_learner import RedrawingLearner
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from hybrid_ray.extractors.networks.autoencoder import AutoencoderExtractor

Layers = Literal["convolutional", "dense"]
_FINAL_SIDE = 4
"""Side of the smallest feature map: small enough to be flat, large enough to know where things are."""
_DENSE = 16
"""Units of a dense layer for each of ``width``."""


def encoder(layers: Layers, channels: int, side: int, width: int, features: int) -> nn.Module:
    """Vectors (k, features) of images (k, channels, side, side) in [0, 1]."""
    if layers == "dense":
        hidden = _DENSE * width
        return nn.Sequential(
            nn.Flatten(), nn.Linear(channels * side**2, hidden), nn.ReLU(), nn.Linear(hidden, features)
        )
    sizes, last = _sizes(side, width)
    steps: list[nn.Module] = []
    inner = channels
    for outer in sizes:
        steps += [nn.Conv2d(inner, outer, 3, 2, 1), nn.ReLU()]
        inner = outer
    return nn.Sequential(*steps, nn.Flatten(), nn.Linear(inner * last**2, features))


def decoder(layers: Layers, channels: int, side: int, width: int, features: int) -> nn.Module:
    """Images (k, channels, side, side) of vectors (k, features)."""
    if layers == "dense":
        hidden = _DENSE * width
        return nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels * side**2),
            nn.Unflatten(1, (channels, side, side)),
        )
    sizes, last = _sizes(side, width)
    steps: list[nn.Module] = [
        nn.Linear(features, sizes[-1] * last**2),
        nn.Unflatten(1, (sizes[-1], last, last)),
        nn.ReLU(),
    ]
    outer_sizes = [channels, *sizes[:-1]]
    for number in reversed(range(len(sizes))):
        goal = _side(side, number)
        steps += [nn.Upsample(size=(goal, goal)), nn.Conv2d(sizes[number], outer_sizes[number], 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


def _sizes(side: int, width: int) -> tuple[list[int], int]:
    """Channels of the convolutions, which halve the side until it is small, and the last side."""
    sizes: list[int] = []
    while not sizes or _side(side, len(sizes)) > _FINAL_SIDE:
        sizes.append(min(width * 2 ** len(sizes), 8 * width))
    return sizes, _side(side, len(sizes))


def _side(side: int, halved: int) -> int:
    """The side of an image after some convolutions of stride 2."""
    for _ in range(halved):
        side = -(-side // 2)
    return side


class Autoencoder(nn.Module):
    """Both halves."""

    def __init__(self, trunk: nn.Module, drawing: nn.Module) -> None:
        super().__init__()
        self.trunk, self.drawing = trunk, drawing

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images as they are drawn again."""
        drawn: torch.Tensor = self.drawing(self.trunk(images))
        return drawn


class Measured(nn.Module):
    """Vectors of images, with how badly each is drawn again: in the mean, and in the worst of 16 parts."""

    def __init__(self, halves: Autoencoder) -> None:
        super().__init__()
        self.halves = halves

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Vectors (k, features + 2) of images (k, channels, side, side)."""
        few = self.halves.trunk(images)
        squares = (self.halves.drawing(few) - images).square().mean(dim=1, keepdim=True)
        parts = F.adaptive_avg_pool2d(squares, min(_FINAL_SIDE, squares.shape[-1])).flatten(1)
        worst = parts.amax(dim=1) if len(images) else parts.sum(dim=1)
        return torch.cat([few, torch.stack([squares.flatten(1).mean(dim=1), worst], dim=1).sqrt()], dim=1)


class ImagesLearner(RedrawingLearner):
    """Teaches both halves on images; the trunk is what is kept, and where errors are asked for both.

    Parameters
    ----------
    extractor : AutoencoderExtractor
    arrays : mapping of str to ndarray (m, n_columns, size, size, channels)
        Images as they are, and again: changed in each pass.
    filled : ndarray of bool (m, n_columns)
    device : str
    """

    net: Autoencoder

    def __init__(
        self, extractor: AutoencoderExtractor, arrays: Mapping[str, AnyArray], filled: AnyArray, device: str
    ) -> None:
        super().__init__(extractor.halves(), extractor, arrays, filled, device)
        self._whole = bool(extractor.n_errors)

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """The trunk, or both halves under the names that they have beside the errors."""
        if self._whole:
            return {f"halves.{name}": tensor for name, tensor in self.net.state_dict().items()}
        return dict(self.net.trunk.state_dict())

    def errors(self, net: nn.Module, cells: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Mean squared error of each image (k,), drawn from what was changed in it."""
        changed, images = cells
        return (net(changed) - images).square().flatten(1).mean(dim=1)
