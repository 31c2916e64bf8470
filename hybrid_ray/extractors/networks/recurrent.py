"""A recurrent network with attention, over whatever its steps are. Imports torch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Cell = Literal["lstm", "gru"]


class AttentiveRecurrent(nn.Module):
    """States of a recurrent network of both directions, weighted by attention.

    Parameters
    ----------
    inputs, hidden, layers : int
    cell : {"lstm", "gru"}
    """

    def __init__(self, inputs: int, hidden: int, layers: int, cell: Cell) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.recurrent = kind(inputs, hidden, layers, batch_first=True, bidirectional=True)
        self.looked_for = nn.Linear(2 * hidden, 2 * hidden)
        self.weight = nn.Linear(2 * hidden, 1, bias=False)

    def forward(self, steps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, 2 * hidden) of steps (k, longest, inputs) and lengths (k,)."""
        if not len(steps):
            return torch.zeros(0, 2 * self.recurrent.hidden_size, device=steps.device)
        # Torch wants lengths on the CPU, but a spread training takes all that it is given to the GPU.
        packed = pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        scores = self.weight(torch.tanh(self.looked_for(states)))[:, :, 0]
        beyond = torch.arange(states.shape[1], device=states.device) >= lengths.to(states.device)[:, None]
        weights = scores.masked_fill(beyond, -torch.inf).softmax(dim=1)
        return (weights[:, :, None] * states).sum(dim=1)
