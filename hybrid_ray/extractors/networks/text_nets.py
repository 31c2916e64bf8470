"""Networks over the words of texts. Imports torch.

What a text gives depends on no other text, nor on how far it is padded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors.networks.recurrent import AttentiveRecurrent, Cell
from hybrid_ray.extractors.networks.transformer_nets import Transformer
from hybrid_ray.extractors.networks.vocabulary import PAD

_SPREAD = 0.25
"""Largest first number of a word's vector, as Kim has it: with larger ones a network learns little about its words."""
_LOUD = 3**0.5 / _SPREAD
"""What brings the numbers of such vectors to a deviation of 1, which layers between shortcuts need to hear them."""


def _words(n_words: int, embedding: int) -> nn.Embedding:
    words = nn.Embedding(n_words, embedding, PAD)
    nn.init.uniform_(words.weight, -_SPREAD, _SPREAD)
    with torch.no_grad():
        words.weight[PAD] = 0.0
    return words


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
        self.embedding = _words(n_words, embedding)
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
    """A recurrent network with attention over the words' vectors.

    Parameters
    ----------
    n_words, embedding, hidden, layers : int
    cell : {"lstm", "gru"}
    """

    def __init__(self, n_words: int, embedding: int, hidden: int, layers: int, cell: Cell) -> None:
        super().__init__()
        self.embedding = _words(n_words, embedding)
        self.reader = AttentiveRecurrent(embedding, hidden, layers, cell)

    def forward(self, numbers: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, 2 * hidden) of numbers (k, longest) and lengths (k,)."""
        vectors: torch.Tensor = self.reader(self.embedding(numbers), lengths)
        return vectors


class TransformerText(nn.Module):
    """Layers of attention over the words' vectors.

    Parameters
    ----------
    n_words, embedding, width, heads, layers : int
    dropout : float
    """

    def __init__(self, n_words: int, embedding: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = _words(n_words, embedding)
        self.reader = Transformer(embedding, width, heads, layers, dropout)

    def forward(self, numbers: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of numbers (k, longest) and lengths (k,)."""
        vectors: torch.Tensor = self.reader(self.embedding(numbers) * _LOUD, lengths)
        return vectors
