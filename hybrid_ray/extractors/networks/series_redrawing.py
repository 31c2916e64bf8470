"""Autoencoders of series. Imports torch.

What a series gives depends on no other series, nor on how far it is padded.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors.networks.redrawing_learner import Redrawer

Layers = Literal["recurrent", "convolutional"]
_LOOK = 7
"""Steps that a convolution looks at."""


class _Recurrent(nn.Module):
    """An LSTM that reads a series to a few numbers, and another that draws the series from them, step by step."""

    def __init__(self, channels: int, width: int, features: int) -> None:
        super().__init__()
        self.reader = nn.LSTM(2 * channels, width, batch_first=True)
        self.few = nn.Linear(width, features)
        self.drawer = nn.LSTM(features, width, batch_first=True)
        self.step = nn.Linear(width, channels)

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read, _ = self.reader(steps)
        last = lengths.to(steps.device)[:, None, None] - 1
        code = self.few(read.gather(1, last.expand(-1, 1, read.shape[2]))[:, 0])
        states, _ = self.drawer(code[:, None].expand(-1, steps.shape[1], -1).contiguous())
        return code, self.step(states)


class _Convolutional(nn.Module):
    """Convolutions that halve the length twice, and their reverse; steps beyond the end are zeros."""

    def __init__(self, channels: int, width: int, features: int) -> None:
        super().__init__()
        half = _LOOK // 2
        self.down1 = nn.Conv1d(2 * channels, width, _LOOK, 2, half)
        self.down2 = nn.Conv1d(width, features, _LOOK, 2, half)
        self.up1 = nn.Conv1d(features, width, _LOOK, padding=half)
        self.up2 = nn.Conv1d(width, width, _LOOK, padding=half)
        self.step = nn.Conv1d(width, channels, 1)

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = _there(steps.shape[1], lengths.to(steps.device), steps)[:, None]
        half, quarter = whole[..., ::2], whole[..., ::4]
        x = F.relu(self.down1(steps.transpose(1, 2) * whole)) * half
        low = self.down2(x) * quarter
        code = low.sum(dim=2) / quarter.sum(dim=2)
        y = F.relu(self.up1(_doubled(low, half)))
        y = F.relu(self.up2(_doubled(y, whole)))
        drawn: torch.Tensor = self.step(y).transpose(1, 2)
        return code, drawn


def _doubled(x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Each step twice, as far as there are steps: (k, filters, t)."""
    return x.repeat_interleave(2, dim=2)[..., : there.shape[-1]] * there


def _there(longest: int, lengths: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """1 where a series has a step, 0 beyond its end: (k, longest)."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).to(like.dtype)


class SeriesAutoencoder(Redrawer):
    """Both halves.

    Parameters
    ----------
    layers : {"recurrent", "convolutional"}
    channels, width, features : int
    errors : bool
        Whether ``forward`` tells how badly each channel is drawn again.
    """

    def __init__(self, layers: Layers, channels: int, width: int, features: int, errors: bool) -> None:
        super().__init__()
        kind = {"recurrent": _Recurrent, "convolutional": _Convolutional}[layers]
        self.halves = kind(channels, width, features)
        self._channels, self._wide, self._errors = channels, features + errors * channels, errors

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, features), or (k, features + channels) with errors, of what ``collate`` gives."""
        if not len(steps):
            return torch.zeros(0, self._wide, device=steps.device)
        code, drawn = self.halves(steps, lengths)
        if not self._errors:
            return torch.as_tensor(code)
        return torch.cat([code, self.squares(drawn, steps, lengths).sqrt()], dim=1)

    def redrawn(self, *cells: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each series (k,), drawn from what noise made of it."""
        changed, lengths, steps = cells
        return self.squares(self.halves(changed, lengths)[1], steps, lengths).mean(dim=1)

    def squares(self, drawn: torch.Tensor, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each channel (k, channels), over the numbers that are there."""
        values, there = steps[..., : self._channels], steps[..., self._channels :]
        there = there * _there(steps.shape[1], lengths.to(steps.device), steps)[..., None]
        return ((drawn - values).square() * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
