"""The network of neural heads. Only the heads' ``fit`` imports this: prediction needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from hybrid_ray.estimators.models.network import Layers
from hybrid_ray.estimators.models.training import Training, train_network, wide
from hybrid_ray.types import AnyArray, FloatArray


@dataclass(frozen=True)
class Shape:
    """What a head is built of; every field is a parameter of the heads, described there."""

    hidden: int
    depth: int
    dropout: float
    batch_norm: bool


def train_head(
    X: FloatArray,
    y: AnyArray,
    rows: tuple[AnyArray, AnyArray],
    n_outputs: int,
    shape: Shape,
    training: Training,
    class_weights: AnyArray | None,
) -> tuple[Layers, int]:
    """Train a head; the caller seeds torch.

    Parameters
    ----------
    X : ndarray float32 (n, d)
    y : ndarray (n,)
        int64 class codes, or float32 standardised values.
    rows : tuple of ndarray
        Rows to train on, and rows that say which epoch was best (maybe none).
    n_outputs : int
        Number of classes, or 1.
    shape : Shape
    training : Training
    class_weights : ndarray (n_outputs,) or None

    Returns
    -------
    layers : list of (weights, offsets)
        Batch normalisation is folded into the weights.
    epochs : int
        Epochs that were trained.
    """
    net, epochs = train_network(_Head(X.shape[1], n_outputs, shape), X, y, rows, training, class_weights)
    return _folded(net), epochs


def folded(linear: nn.Linear, norm: nn.BatchNorm1d | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (n_inputs, width) and offsets (width,) of a linear map and the running normalisation after it."""
    weights, offsets = linear.weight.T, linear.bias
    if norm is None:
        return weights, offsets
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None, "a norm that tracks its inputs"
    assert variance is not None, "a norm that tracks its inputs"
    factor = norm.weight / torch.sqrt(variance + norm.eps)
    return weights * factor, (offsets - mean) * factor + norm.bias


class _Hidden(nn.Module):
    """A linear map, normalised if asked, rectified and thinned out."""

    def __init__(self, n_inputs: int, width: int, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, width)
        self.norm = nn.BatchNorm1d(width) if shape.batch_norm else None
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Hidden units (n, width)."""
        values = self.linear(X) if self.norm is None else self.norm(self.linear(X))
        units: torch.Tensor = self.dropout(torch.relu(values))
        return units


class _Head(nn.Module):
    """Hidden layers of one width, and a linear one."""

    def __init__(self, n_features: int, n_outputs: int, shape: Shape) -> None:
        super().__init__()
        widths = [n_features, *[shape.hidden] * shape.depth]
        self.hidden = nn.Sequential(*(_Hidden(a, b, shape) for a, b in pairwise(widths)))
        self.last = nn.Linear(widths[-1], n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs (n, n_outputs)."""
        outputs: torch.Tensor = self.last(self.hidden(X))
        return outputs


def _folded(net: _Head) -> Layers:
    """The layers of a trained head, each normalisation made part of the linear map before it."""
    with torch.no_grad():
        pairs = [folded(layer.linear, layer.norm) for layer in net.hidden if isinstance(layer, _Hidden)]
        pairs.append((net.last.weight.T, net.last.bias))
        return [(wide(weights), wide(offsets)) for weights, offsets in pairs]
