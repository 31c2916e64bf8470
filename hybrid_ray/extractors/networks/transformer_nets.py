"""A transformer over whatever its tokens are. Imports torch.

What a cell gives depends on no other cell, nor on how far it is padded. The layers are written out: torch's own take
another way outside a training, which rounds differently and refuses cells that are padded further than the longest.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.training.items import CellDropout

_SLOWEST = 10_000.0
"""Tokens of a turn of the slowest wave, over 2 pi, about."""


def turned(x: torch.Tensor) -> torch.Tensor:
    """Parts of tokens (k, heads, n, d), each pair of numbers turned by its token's place times a rate of its own.

    So products of two of them tell how far apart they stand, for any number of tokens; of an odd d the last stays.
    """
    half = x.shape[3] // 2
    rates = _SLOWEST ** -(torch.arange(half, dtype=torch.float64) / max(half, 1))
    angles = torch.arange(x.shape[2], dtype=torch.float64)[:, None] * rates
    cosines, sines = angles.cos().to(x), angles.sin().to(x)
    first, second, rest = x.split([half, half, x.shape[3] - 2 * half], dim=3)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines, rest], dim=3)


class _Attention(nn.Module):
    """Self-attention of several heads; torch's fused kernels never hold all scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.three = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """What each token (k, n, width) hears of those that are there (k, n)."""
        k, n, width = x.shape
        query, key, value = self.three(x).view(k, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(turned(query), turned(key), value, there[:, None, None])
        told: torch.Tensor = self.out(heard.transpose(1, 2).reshape(k, n, width))
        return told


class _Layer(nn.Module):
    """Attention and two dense layers, each of what was normalised before, beside a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout1, self.dropout2 = CellDropout(dropout), CellDropout(dropout)

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout1(self.attention(self.norm1(x), there))
        after: torch.Tensor = x + self.dropout2(self.down(F.relu(self.up(self.norm2(x)))))
        return after


class Transformer(nn.Module):
    """The mean of what layers of attention make of a cell's tokens.

    Time is O(layers * n * width * (n + width)) for a cell of n tokens.

    Parameters
    ----------
    inputs, width, heads, layers : int
    dropout : float
    """

    def __init__(self, inputs: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.into = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of tokens (k, longest, inputs) and lengths (k,), which may be on the CPU."""
        if not len(tokens):
            return torch.zeros(0, self.width, device=tokens.device)
        lengths = lengths.to(tokens.device)[:, None]
        there = torch.arange(tokens.shape[1], device=tokens.device) < lengths
        hidden = self.into(tokens)
        for layer in self.layers:
            hidden = layer(hidden, there)
        return (self.norm(hidden) * there[:, :, None]).sum(dim=1) / lengths
