"""Networks over the steps of series. Imports torch.

What a series gives depends on no other series, nor on how far it is padded.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors.networks.transformer_nets import Transformer


class _Block(nn.Module):
    """Two convolutions around a shortcut; each step is normalised by itself, and steps beyond the end are zeros."""

    def __init__(self, inner: int, outer: int, width: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (width - 1) // 2
        self.conv1 = nn.Conv1d(inner, outer, width, padding=padding, dilation=dilation)
        self.conv2 = nn.Conv1d(outer, outer, width, padding=padding, dilation=dilation)
        self.norm1, self.norm2 = nn.LayerNorm(outer), nn.LayerNorm(outer)
        self.shortcut = nn.Identity() if inner == outer else nn.Conv1d(inner, outer, 1)

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(_normalised(self.norm1, self.conv1(x))) * there
        return F.relu(_normalised(self.norm2, self.conv2(hidden)) + self.shortcut(x)) * there


class ConvolutionalSeries(nn.Module):
    """Residual blocks whose view of the past and the future doubles, and the mean and the largest of their answers.

    Parameters
    ----------
    inputs : int
        Numbers of a step.
    filters : int
        Channels of each block.
    blocks : int
    width : int
        Steps that a convolution looks at; odd.
    """

    def __init__(self, inputs: int, filters: int, blocks: int, width: int) -> None:
        super().__init__()
        self.filters = filters
        sizes = [inputs, *[filters] * blocks]
        self.blocks = nn.ModuleList(
            _Block(inner, outer, width, 2**number) for number, (inner, outer) in enumerate(pairwise(sizes))
        )

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, 2 * filters) of steps (k, longest, inputs) and lengths (k,)."""
        if not len(steps):
            return torch.zeros(0, 2 * self.filters, device=steps.device)
        lengths = lengths.to(steps.device)[:, None]
        there = (torch.arange(steps.shape[1], device=steps.device) < lengths).to(steps.dtype)[:, None]
        hidden = steps.transpose(1, 2) * there
        for block in self.blocks:
            hidden = block(hidden, there)
        # Answers are not negative: steps beyond the end, which are zero, are never the largest alone.
        return torch.cat([hidden.sum(dim=2) / lengths, hidden.amax(dim=2)], dim=1)


class TransformerSeries(nn.Module):
    """Layers of attention over stretches of steps, which overlap.

    Parameters
    ----------
    inputs : int
        Numbers of a step.
    patch : int
        Steps of a stretch.
    stride : int
        Steps from the beginning of one to that of the next, at most ``patch``.
    width, heads, layers : int
    dropout : float
    """

    def __init__(
        self, inputs: int, patch: int, stride: int, width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride
        self.reader = Transformer(inputs * patch, width, heads, layers, dropout)

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of steps (k, longest, inputs) and lengths (k,); of no step, all inputs are zeros."""
        longest = steps.shape[1]
        there = torch.arange(longest, device=steps.device) < lengths.to(steps.device)[:, None]
        last = (longest - 1) // self.stride * self.stride
        steps = F.pad(steps * there[:, :, None], (0, 0, 0, last + self.patch - longest))
        stretches = steps.unfold(1, self.patch, self.stride).flatten(2)
        vectors: torch.Tensor = self.reader(stretches, (lengths + self.stride - 1) // self.stride)
        return vectors


def _normalised(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Each step (k, channels, t) normalised over its channels."""
    found: torch.Tensor = norm(x.transpose(1, 2)).transpose(1, 2)
    return found
