"""Networks over the words of texts. Imports torch.

What a text gives depends on no other text, nor on how far it is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hybrid_ray.extractors.networks.vocabulary import PAD


class ConvolutionalText(nn.Module):
    """The largest answer of each pattern over a text.

    Parameters
    ----------
    n_words, embedding : int
    filters : int
        Patterns of each width.
    widths : sequence of int
    """

    def __init__(self, n_words: int, embedding: int, filters: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, embedding, PAD)
        self.widths = tuple(widths)
        self.n_features = filters * len(self.widths)
        # Zeros on both sides: each pattern may hang over an end, and the shortest text has an answer.
        self.patterns = nn.ModuleList(nn.Conv1d(embedding, filters, width, padding=width - 1) for width in widths)

    def forward(self, numbers: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, filters * widths) of numbers (k, longest) and lengths (k,)."""
        if not len(numbers):
            return torch.zeros(0, self.n_features, device=numbers.device)
        vectors = self.embedding(numbers).transpose(1, 2)
        lengths = lengths.to(numbers.device)[:, None]
        best = []
        for width, pattern in zip(self.widths, self.patterns, strict=True):
            answers = pattern(vectors)
            beyond = torch.arange(answers.shape[2], device=numbers.device) >= lengths + width - 1
            best.append(answers.masked_fill(beyond[:, None], -torch.inf).amax(dim=2))
        return F.relu(torch.cat(best, dim=1))


class RecurrentText(nn.Module):
    """States of a recurrent network of both directions, weighted by attention.

    Parameters
    ----------
    n_words, embedding, hidden, layers : int
    cell : {"lstm", "gru"}
    """

    def __init__(self, n_words: int, embedding: int, hidden: int, layers: int, cell: Literal["lstm", "gru"]) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.embedding = nn.Embedding(n_words, embedding, PAD)
        self.recurrent = kind(embedding, hidden, layers, batch_first=True, bidirectional=True)
        self.looked_for = nn.Linear(2 * hidden, 2 * hidden)
        self.weight = nn.Linear(2 * hidden, 1, bias=False)

    def forward(self, numbers: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, 2 * hidden) of numbers (k, longest) and lengths (k,), which are on the CPU."""
        if not len(numbers):
            return torch.zeros(0, 2 * self.recurrent.hidden_size, device=numbers.device)
        packed = pack_padded_sequence(self.embedding(numbers), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        scores = self.weight(torch.tanh(self.looked_for(states)))[:, :, 0]
        beyond = torch.arange(states.shape[1], device=states.device) >= lengths.to(states.device)[:, None]
        weights = scores.masked_fill(beyond, -torch.inf).softmax(dim=1)
        return (weights[:, :, None] * states).sum(dim=1)
