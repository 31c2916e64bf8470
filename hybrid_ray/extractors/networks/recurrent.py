"""A recurrent network with attention, over whatever its steps are. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from hybrid_ray.extractors.networks.passes import by_length

Cell = Literal["lstm", "gru"]
_STEPS: Mapping[str, int] = {"cpu": 1024, "cuda": 65536}
"""Steps, padding included, of cells that go through together."""


class AttentiveRecurrent(nn.Module):
    """States of a recurrent network of both directions, weighted by attention.

    Both directions are networks of their own, the one behind gets each cell's steps turned around: a cell's states then
    need no packing against what lies beyond its end, which on a CPU makes gradients cost several times as much.

    Parameters
    ----------
    inputs, hidden, layers : int
    cell : {"lstm", "gru"}
    """

    def __init__(self, inputs: int, hidden: int, layers: int, cell: Cell) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        sizes = [inputs, *[2 * hidden] * (layers - 1)]
        self.ahead = nn.ModuleList(kind(size, hidden, batch_first=True) for size in sizes)
        self.behind = nn.ModuleList(kind(size, hidden, batch_first=True) for size in sizes)
        self.looked_for = nn.Linear(2 * hidden, 2 * hidden)
        self.weight = nn.Linear(2 * hidden, 1, bias=False)

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, 2 * hidden) of steps (k, longest, inputs) and lengths (k,)."""
        if not len(steps):
            return torch.zeros(0, self.looked_for.in_features, device=steps.device)
        lengths = lengths.to(steps.device)
        # A batch of a training holds cells of any length: those of like length go through together.
        parts = by_length(lengths.cpu().numpy(), _STEPS[steps.device.type])
        places = [torch.from_numpy(part).to(steps.device) for part in parts]
        vectors = [self._pass(steps[cells, : int(lengths[cells[-1]])], lengths[cells]) for cells in places]
        return torch.cat(vectors)[torch.cat(places).argsort()]

    def _pass(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        at = torch.arange(steps.shape[1], device=steps.device)
        left = lengths[:, None] - 1 - at
        beyond = left < 0
        turned = torch.where(beyond, at, left)[:, :, None]
        states = steps
        for ahead, behind in zip(self.ahead, self.behind, strict=True):
            states = torch.cat([ahead(states)[0], _in_order(behind(_in_order(states, turned))[0], turned)], dim=2)
        scores = self.weight(torch.tanh(self.looked_for(states)))[:, :, 0]
        weights = scores.masked_fill(beyond, -torch.inf).softmax(dim=1)
        return (weights[:, :, None] * states).sum(dim=1)


def _in_order(steps: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Steps (k, t, width) of each cell in an order (k, t, 1) of its own."""
    return steps.gather(1, order.expand(-1, -1, steps.shape[2]))
