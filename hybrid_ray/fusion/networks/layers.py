"""Parts of networks on plain arrays, float64: prediction needs no torch and no row depends on those beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from torch import nn

Weights = dict[str, AnyArray]
"""Arrays of a trained network by name, float64."""
_EPSILON = 1e-5


def linear_weights(name: str, layer: nn.Linear) -> Weights:
    """Weights (n_inputs, n_outputs) and offsets (n_outputs,) of a layer of torch."""
    from hybrid_ray.estimators.models.training import wide

    return {f"{name}.w": wide(layer.weight.T), f"{name}.b": wide(layer.bias)}


def norm_weights(name: str, layer: nn.LayerNorm) -> Weights:
    """Factors and offsets (d,) of a layer normalisation of torch."""
    from hybrid_ray.estimators.models.training import wide

    return {f"{name}.w": wide(layer.weight), f"{name}.b": wide(layer.bias)}


def linear(weights: Weights, name: str, X: AnyArray) -> AnyArray:
    """A linear map of the last axis."""
    values: AnyArray = X @ weights[f"{name}.w"] + weights[f"{name}.b"]
    return values


def layer_norm(weights: Weights, name: str, X: AnyArray) -> AnyArray:
    """Layer normalisation of the last axis."""
    centred = X - X.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + _EPSILON)
    values: AnyArray = scaled * weights[f"{name}.w"] + weights[f"{name}.b"]
    return values


def attend(weights: Weights, name: str, X: AnyArray, heads: int) -> AnyArray:
    """Self-attention (n, tokens, d) of several heads."""
    n, tokens, width = X.shape
    stacked = linear(weights, f"{name}.three", X).reshape(n, tokens, 3, heads, width // heads)
    query, key, value = stacked.transpose(2, 0, 3, 1, 4)
    likeness = query @ key.transpose(0, 1, 3, 2) / np.sqrt(width // heads)
    likeness = np.exp(likeness - likeness.max(axis=-1, keepdims=True))
    heard = (likeness / likeness.sum(axis=-1, keepdims=True)) @ value
    return linear(weights, f"{name}.out", heard.transpose(0, 2, 1, 3).reshape(n, tokens, width))
