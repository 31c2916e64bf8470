"""An autoencoder of the rows of a table. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors.networks.redrawing_learner import Redrawer
from hybrid_ray.types import AnyArray


class TabularAutoencoder(Redrawer):
    """Both halves.

    Parameters
    ----------
    columns : int
        Encoded columns.
    drawn : ndarray of int (j,)
        Which of them are drawn as numbers.
    owners : ndarray of int (j,)
        The input column that each of these is made of.
    values : mapping of int to int
        By input column that is a category: how many values it has.
    n_inputs : int
        Input columns.
    width, features : int
    errors : bool
        Whether ``forward`` tells how badly each input column is drawn again.
    """

    drawn: torch.Tensor
    owners: torch.Tensor

    def __init__(
        self,
        columns: int,
        drawn: AnyArray,
        owners: AnyArray,
        values: Mapping[int, int],
        n_inputs: int,
        width: int,
        features: int,
        errors: bool,
    ) -> None:
        super().__init__()
        self.coder = nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, features))
        outputs = len(drawn) + sum(values.values())
        self.drawer = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, outputs))
        self.register_buffer("drawn", torch.from_numpy(drawn.copy()), persistent=False)
        self.register_buffer("owners", torch.from_numpy(owners.copy()), persistent=False)
        self._values, self._n_inputs, self._errors = dict(values), n_inputs, errors

    def forward(self, rows: torch.Tensor, told: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Vectors (k, features), or (k, features + n_inputs) with errors, of what ``collate`` gives."""
        few: torch.Tensor = self.coder(rows)
        if not self._errors:
            return few
        return torch.cat([few, self.losses(self.drawer(few), rows, told, codes).sqrt()], dim=1)

    def redrawn(self, *cells: torch.Tensor) -> torch.Tensor:
        """Mean loss of the columns of each row (k,), drawn from what was changed in it."""
        rows, told, codes, changed = cells
        return self.losses(self.drawer(self.coder(changed)), rows, told, codes).mean(dim=1)

    def losses(
        self, outputs: torch.Tensor, rows: torch.Tensor, told: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """Of each input column (k, n_inputs): mean squared error of its numbers, or the cross-entropy of its value."""
        outputs = outputs.float()  # they may be in bfloat16 while it is trained
        j, there = len(self.drawn), told.to(outputs.dtype)
        squares = (outputs[:, :j] - rows[:, self.drawn]).square() * there
        zeros = outputs.new_zeros(len(rows), self._n_inputs)
        counts = zeros.index_add(1, self.owners, there).clamp(min=1)
        found = zeros.index_add(1, self.owners, squares) / counts
        scores = outputs[:, j:].split(list(self._values.values()), dim=1)
        surprises = [F.cross_entropy(s, code, reduction="none") for s, code in zip(scores, codes.T, strict=True)]
        if not surprises:
            return found
        places = torch.tensor(list(self._values), device=rows.device)
        return found.index_copy(1, places, torch.stack(surprises, dim=1))
