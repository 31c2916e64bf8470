"""The network of ``cnn`` and its training. Imports torch: only ``cnn`` imports this, inside its methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from hybrid_ray.data.augment import ImageAugmentation
from hybrid_ray.extractors.tensors import to_tensor
from hybrid_ray.training.rows import hold_out
from hybrid_ray.types import AnyArray

_FINAL_SIDE = 4
"""Side of the last feature map: small enough to be flat, large enough to know where things are."""
_STRIDED_FROM = 24
"""Side of an image from which the first convolution halves it: a quarter of the work, and no less accurate."""
_MIN_STEPS = 16
"""Steps an epoch that few rows are divided into, at least."""
_SUMMED = 256
"""Images that are summed at once: as wide numbers all of them would be many times as large as they are."""


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        same = inner == outer and stride == 1
        shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class ResidualNet(nn.Module):
    """A small residual network over the images of a row, one head over all of them.

    Parameters
    ----------
    channels, side : int
        Of the images.
    n_columns : int
        Images of a row; they share the trunk.
    n_outputs : int
    width : int
        Channels of the first stage; they double where the side halves, up to eight times.
    depth : int
        Residual blocks of a stage.
    n_features : int
        Length of an image's vector.
    dropout : float
    jitter : tuple of float
        Largest shift (share of the side), rotation (degrees) and change of scale while training.
    flip : bool
        Left and right may be exchanged while training.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        channels: int,
        side: int,
        n_columns: int,
        n_outputs: int,
        *,
        width: int,
        depth: int,
        n_features: int,
        dropout: float,
        jitter: tuple[float, float, float],
        flip: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        self.jitter = jitter
        self.flip = flip
        stride = 2 if side >= _STRIDED_FROM else 1
        side = -(-side // stride)
        stem = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU()]
        layers += [_Residual(width, width, 1) for _ in range(depth)]
        inner = width
        while side > _FINAL_SIDE:
            outer, side = min(2 * inner, 8 * width), -(-side // 2)
            layers += [_Residual(inner, outer, 2), *(_Residual(outer, outer, 1) for _ in range(depth - 1))]
            inner = outer
        self.trunk = nn.Sequential(*layers)
        self.neck = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(inner * side * side, n_features, bias=False),
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(n_columns * n_features, n_outputs))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Vectors (k, n_features) of images (k, side, side, channels), levels from 0 to 255, uint8 or floats."""
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        images = self._augmented(images) if self.training else images
        vectors: torch.Tensor = self.neck(self.trunk(images))
        return vectors

    def forward(self, pixels: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
        """Outputs (m, n_outputs) of rows: pixels (m, n_columns, side, side, channels), filled (m, n_columns)."""
        m, n_columns = filled.shape
        vectors = self.features(pixels.flatten(0, 1)).view(m, n_columns, -1) * filled[:, :, None]
        outputs: torch.Tensor = self.head(vectors.flatten(1))
        return outputs

    def _augmented(self, images: torch.Tensor) -> torch.Tensor:
        """Images shifted, turned and scaled a little, each in its own way."""
        shift, degrees, scale = self.jitter
        k = len(images)
        draw = (torch.rand(k, 4) * 2 - 1).to(images.device)
        angle, zoom = draw[:, 0] * math.radians(degrees), 1 + draw[:, 1] * scale
        cos, sin, move = zoom * angle.cos(), zoom * angle.sin(), 2 * shift * draw[:, 2:]
        mirror = 1 - 2 * (torch.rand(k) < 0.5).float().to(images.device) if self.flip else torch.ones_like(cos)
        rows = (torch.stack([mirror * cos, -sin, move[:, 0]], 1), torch.stack([mirror * sin, cos, move[:, 1]], 1))
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def train(
    net: ResidualNet,
    pixels: AnyArray,
    filled: AnyArray,
    y: AnyArray,
    settings: Mapping[str, Any],
    device: str,
    seed: int,
    augment: ImageAugmentation,
    groups: AnyArray | None = None,
) -> None:
    """Fit a network in place on all rows but a hold-out of them, which says which epoch was best.

    Parameters
    ----------
    net : ResidualNet
    pixels : ndarray of uint8 (m, n_columns, side, side, channels)
    filled : ndarray of bool (m, n_columns)
    y : ndarray (m,)
        int64 class codes; or float32, standardised.
    settings : mapping
        ``epochs``, ``patience``, ``batch_size``, ``lr``, ``weight_decay``, ``label_smoothing``.
    device : str
    seed : int
        Of the hold-out and of ``augment``; torch's generator must be seeded by the caller.
    augment : ImageAugmentation
        What is done to the training images of each step beside what the network itself does.
    groups : ndarray of int (m,) or None
        Rows of one number are held out together.
    """
    from skorch import NeuralNet
    from skorch.callbacks import EarlyStopping, LRScheduler
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    classes = y.dtype == np.int64
    kept, held = hold_out(y if classes else None, len(y), seed, groups)
    _standardise(net, pixels[kept][filled[kept]])
    batch = int(np.clip(len(kept) // _MIN_STEPS, 8, settings["batch_size"]))
    steps = max(len(kept) // batch, 1)
    callbacks: list[tuple[str, Any]] = [
        (
            "schedule",
            LRScheduler(
                torch.optim.lr_scheduler.OneCycleLR,
                max_lr=settings["lr"],
                total_steps=settings["epochs"] * steps,
                pct_start=0.2,
                step_every="batch",
            ),
        )
    ]
    target = y if classes else y.astype(np.float32)[:, None]
    parts = [Dataset(_inputs(pixels[r], filled[r]), torch.from_numpy(target[r])) for r in (kept, held)]
    if len(held):
        callbacks.append(("best", EarlyStopping(patience=settings["patience"], load_best=True, sink=_silent)))
    learner = NeuralNet(
        net,
        criterion=nn.CrossEntropyLoss(label_smoothing=settings["label_smoothing"]) if classes else nn.SmoothL1Loss(),
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=settings["weight_decay"],
        lr=settings["lr"],
        batch_size=batch,
        max_epochs=settings["epochs"],
        iterator_train__shuffle=True,
        iterator_train__collate_fn=partial(_augmented_batch, augment, np.random.default_rng(seed)),
        iterator_train__drop_last=len(kept) >= batch,  # a last batch of one row has no variance to normalise by
        iterator_valid__batch_size=256,
        train_split=predefined_split(parts[1]) if len(held) else None,
        callbacks=callbacks,
        device=device,
        verbose=0,
    )
    learner.fit(parts[0], None)
    net.eval().requires_grad_(False)


def _augmented_batch(augment: ImageAugmentation, rng: np.random.Generator, rows: list[Any]) -> Any:
    """Rows of a training step as one batch, their images augmented."""
    inputs, target = default_collate(rows)
    pixels = inputs["pixels"].numpy()
    images = augment(pixels.reshape(-1, *pixels.shape[2:]), rng).reshape(pixels.shape)
    return inputs | {"pixels": torch.from_numpy(np.ascontiguousarray(images))}, target


def _silent(message: str) -> None:
    """Where skorch's messages go: the run tells its own progress."""


def _inputs(pixels: AnyArray, filled: AnyArray) -> dict[str, torch.Tensor]:
    return {"pixels": to_tensor(pixels, "cpu"), "filled": to_tensor(filled, "cpu")}


def _standardise(net: ResidualNet, images: AnyArray) -> None:
    """Give the network the mean and deviation of each channel of images (k, side, side, channels), of bytes."""
    sums = np.zeros((2, images.shape[-1]), np.int64)
    for start in range(0, len(images), _SUMMED):
        some = images[start : start + _SUMMED].astype(np.int32)
        sums += some.sum(axis=(0, 1, 2)), np.square(some).sum(axis=(0, 1, 2))
    mean, square = sums / max(images[..., 0].size, 1)
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    net.mean.copy_(torch.from_numpy(mean).view(1, -1, 1, 1))
    net.std.copy_(torch.from_numpy(std).clamp(min=1.0).view(1, -1, 1, 1))
