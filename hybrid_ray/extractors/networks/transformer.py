"""What transformers over words and over series have in common."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from hybrid_ray.extractors.networks.passes import by_length
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray

_WIDEST = 2048
_SHORT = 128
"""Tokens up to which each costs about the same: attention is the smaller part of a layer there."""


class TransformerParams(PluginParams):
    """Parameters of a transformer, whatever its tokens are."""

    width: int = Field(64, ge=1, le=_WIDEST)
    """Length of a token's vector in the layers, and of the features; a multiple of ``heads``."""
    heads: int = Field(4, ge=1, le=64)
    """Attentions of a layer, each to an equal part of the vector."""
    layers: int = Field(2, ge=1, le=24)
    """How many lie on each other."""
    inner_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of what a layer adds to the vectors that a training step goes without."""

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Self:
        if self.width % self.heads:
            near = max(round(self.width / self.heads), 1) * self.heads
            raise ValueError(
                f"width must be a multiple of heads ({self.heads}); got {self.width}. The nearest is {near}"
            )
        return self


def by_attention(lengths: AnyArray, most: int) -> list[AnyArray]:
    """Positions of cells of about the same length, so many that together they have ``most`` tokens; one at least.

    Of cells of more than 128 tokens, whose attention costs the square of their length, they are fewer: memory and time
    of a pass stay about the same.
    """
    return by_length(lengths * np.maximum(lengths, _SHORT), most * _SHORT)
