"""Networks over the rows of a table. Imports torch.

What a row gives depends on no other row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.training.loop import Dropout
from hybrid_ray.types import AnyArray

_INSIDE = 2
"""How much wider a block is inside."""


class Plain(nn.Module):
    """Nothing beside the numbers."""

    width = 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, 0)."""
        return rows[:, :0]


class Piecewise(nn.Module):
    """How far numbers fill each piece between bounds: 0 below it, 1 above it, linear inside.

    Parameters
    ----------
    numeric : ndarray of int (j,)
        Which columns are numbers.
    bounds : sequence of sequence of float
        Of each of them, in order; none where it has no pieces.
    """

    places: torch.Tensor
    low: torch.Tensor
    length: torch.Tensor

    def __init__(self, numeric: AnyArray, bounds: Sequence[Sequence[float]]) -> None:
        super().__init__()
        pieces = [(int(j), low, up - low) for j, own in zip(numeric, bounds, strict=True) for low, up in pairwise(own)]
        places, low, length = zip(*pieces, strict=True) if pieces else ((), (), ())
        # Made of what ``look`` learned: they are in no state.
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("length", torch.tensor(length, dtype=torch.float32).clamp(min=1e-6), persistent=False)
        self.width = len(pieces)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, pieces of all numbers)."""
        return ((rows[:, self.places] - self.low) / self.length).clamp(0, 1)


class Periodic(nn.Module):
    """Features of the sines and cosines of numbers, of learned frequencies, each number with features of its own.

    Parameters
    ----------
    numeric : ndarray of int (j,)
    waves : int
        Frequencies of a number, and its features.
    frequency : float
        Deviation of the first frequencies.
    """

    places: torch.Tensor

    def __init__(self, numeric: AnyArray, waves: int, frequency: float) -> None:
        super().__init__()
        self.register_buffer("places", torch.from_numpy(numeric.copy()), persistent=False)
        self.frequencies = nn.Parameter(frequency * torch.randn(len(numeric), waves))
        bound = (2 * waves) ** -0.5
        self.weight = nn.Parameter(torch.empty(len(numeric), 2 * waves, waves).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(numeric), waves).uniform_(-bound, bound))
        self.width = len(numeric) * waves

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(k, waves of all numbers)."""
        angles = 2 * math.pi * self.frequencies * rows[:, self.places, None]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        return F.relu(torch.einsum("kjw,jwf->kjf", waves, self.weight) + self.bias).flatten(1)


class _Block(nn.Module):
    """Two layers around a shortcut; each row is normalised by itself."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.back = nn.Linear(width, _INSIDE * width), nn.Linear(_INSIDE * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.back(self.dropout(F.relu(self.wide(self.norm(x)))))
        return x + added


class ResidualRows(nn.Module):
    """A layer, residual blocks, and the last hidden layer of a row.

    Parameters
    ----------
    numbers : Plain, Piecewise or Periodic
        What stands beside the encoded columns.
    columns, width, layers : int
    dropout : float
        Share of the numbers inside a block that it goes without in a step.
    """

    def __init__(
        self, numbers: Plain | Piecewise | Periodic, columns: int, width: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self.first = nn.Linear(columns + numbers.width, width)
        self.blocks = nn.Sequential(*(_Block(width, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of encoded rows (k, columns)."""
        return F.relu(self.norm(self.blocks(self.first(torch.cat([rows, self.numbers(rows)], dim=1)))))
