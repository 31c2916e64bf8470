"""Networks over the cells of a row: each cell becomes a vector, a head reads those of all columns. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.training.loop import CHANGES, Dropout, Learner, Step
from hybrid_ray.types import AnyArray


class Inputs(NamedTuple):
    """Some rows as a network takes them.

    Attributes
    ----------
    cells : tuple of Tensor
        Of the filled cells, as the trunk takes them.
    places : Tensor of int64
        Where each stands among rows x columns.
    rows : int
    """

    cells: tuple[torch.Tensor, ...]
    places: torch.Tensor
    rows: int


Collate = Callable[[dict[str, AnyArray]], tuple[torch.Tensor, ...]]
"""Cells (k, ...) by name as a trunk takes them, on its device; k may be 0."""
Augment = Callable[[dict[str, AnyArray], np.random.Generator], Mapping[str, AnyArray]]
"""Cells, each changed a little; names that are left out stay as they are."""


class ItemFeed:
    """Gives rows of a training to a network.

    Parameters
    ----------
    arrays : mapping of str to ndarray (m, n_columns, ...)
        Of the training rows.
    filled : ndarray of bool (m, n_columns)
        Which cells hold something.
    collate : callable
    device : str
    augment : callable, optional
        Changes the cells of a step, drawn for the whole batch.
    """

    def __init__(
        self,
        arrays: Mapping[str, AnyArray],
        filled: AnyArray,
        collate: Collate,
        device: str,
        augment: Augment | None = None,
    ) -> None:
        self._arrays, self._filled = arrays, filled
        self._collate, self._augment = collate, augment
        self._device = device

    def __call__(self, rows: AnyArray, step: Step | None = None) -> Inputs:
        """Some rows; of a step, a worker's share of them, changed as the step draws."""
        arrays, filled = {name: array[rows] for name, array in self._arrays.items()}, self._filled[rows]
        if step is not None:
            if self._augment is not None:
                arrays = self._changed(arrays, filled, step.rng(CHANGES))
            arrays, filled = {name: array[step.own] for name, array in arrays.items()}, filled[step.own]
        cells, places = _filled_cells(arrays, filled)
        return Inputs(self._collate(cells), torch.from_numpy(places).to(self._device), len(filled))

    def _changed(self, arrays: dict[str, AnyArray], filled: AnyArray, rng: np.random.Generator) -> dict[str, AnyArray]:
        assert self._augment is not None
        cells, places = _filled_cells(arrays, filled)
        for name, values in self._augment(cells, rng).items():
            # Of the type of what is new: pixels that noise was added to are no bytes.
            placed = np.zeros((filled.size, *values.shape[1:]), values.dtype)
            placed[places] = values
            arrays[name] = placed.reshape(*filled.shape, *values.shape[1:])
        return arrays


class CellDropout(Dropout):
    """Dropout inside a trunk: a cell goes without the same features at all of its steps.

    What is drawn, for every column of the whole batch, hangs neither on how far cells are padded nor on which of them
    are filled.

    Attributes
    ----------
    n_columns : int
    places : Tensor of int64 (k,)
        Where the cells stand among rows x columns; ``ItemNet`` says it before each use.
    """

    n_columns: int
    places: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What stays of x (k, steps, width), scaled by what is left out."""
        if self.step is None or not self.share:
            return x
        width = x.shape[2]
        factors = self.stays(self.step, (self.n_columns, width)).to(x.device, x.dtype)
        return x * factors.view(-1, 1, width)[self.places]


class ItemNet(nn.Module):
    """A trunk that gives a vector a cell, and a head over the vectors of a row's columns.

    Parameters
    ----------
    trunk : Module
        Vectors (k, width) of cells.
    n_columns, width, n_outputs : int
    dropout : float
        Share of the features that the head goes without in a step.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, trunk: nn.Module, n_columns: int, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.n_columns, self.width = n_columns, width
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(n_columns * width, n_outputs)
        self.register_buffer("shift", torch.zeros(n_columns * width))
        self.register_buffer("scale", torch.ones(n_columns * width))

    def vectors(self, inputs: Inputs) -> torch.Tensor:
        """Vectors (k, n_columns * width) of rows, zeros where a cell is empty."""
        for module in self.trunk.modules():
            if isinstance(module, CellDropout):
                module.n_columns, module.places = self.n_columns, inputs.places
        found = self.trunk(*inputs.cells)
        placed = found.new_zeros(inputs.rows * self.n_columns, self.width)
        return placed.index_copy(0, inputs.places, found).view(inputs.rows, -1)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Outputs (k, n_outputs)."""
        hidden = (self.vectors(inputs) - self.shift) * self.scale
        outputs: torch.Tensor = self.head(self.dropout(hidden))
        return outputs


class ItemLearner(Learner):
    """Teaches an ``ItemNet`` the labels of its rows.

    Parameters
    ----------
    net : ItemNet
        On its device.
    feed : ItemFeed
    target : ndarray (rows,)
        int64 class codes, or float32 normal scores.
    label_smoothing : float
    """

    net: ItemNet

    def __init__(self, net: ItemNet, feed: ItemFeed, target: AnyArray, label_smoothing: float) -> None:
        self.net, self.feed = net, feed
        self.rows = len(target)
        self.codes = target if target.dtype == np.int64 else None
        self.labels = target
        self._target = torch.from_numpy(target).to(net.shift.device)
        self._smoothing = label_smoothing

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """Cross-entropy, or the smooth L1 loss, of a worker's rows."""
        return _losses(whole(self.feed(step.rows, step)), self._target[step.rows[step.own]], self._smoothing)

    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The same without smoothing."""
        return _losses(self.net(self.feed(rows)), self._target[rows], 0.0)

    def standardise(self, features: torch.Tensor) -> torch.Tensor:
        """Take shift and scale of what the head sees from some rows' vectors (k, n_columns * width); gives them so."""
        shift, spread = features.mean(dim=0), features.std(dim=0, correction=0)
        self.net.shift.copy_(shift)
        self.net.scale.copy_(1 / torch.where(spread > 1e-6, spread, 1.0))
        return (features - shift) * self.net.scale


def mean_by_row(errors: torch.Tensor, row: torch.Tensor, n_rows: int) -> torch.Tensor:
    """Mean error of the cells of each row (n_rows,); 0 of a row that has none."""
    counts = torch.bincount(row, minlength=n_rows).clamp(min=1)
    return errors.new_zeros(n_rows).index_add(0, row, errors) / counts


def _filled_cells(arrays: Mapping[str, AnyArray], filled: AnyArray) -> tuple[dict[str, AnyArray], AnyArray]:
    """Of arrays (m, n_columns, ...): the filled cells (k, ...), and where they stand among rows x columns (k,)."""
    places = np.flatnonzero(filled)
    return {name: array.reshape(filled.size, *array.shape[2:])[places] for name, array in arrays.items()}, places


def _losses(outputs: torch.Tensor, target: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The loss (k,) of each row."""
    if target.dtype == torch.int64:
        return F.cross_entropy(outputs, target, label_smoothing=smoothing, reduction="none")
    return F.smooth_l1_loss(outputs[:, 0], target, reduction="none")
