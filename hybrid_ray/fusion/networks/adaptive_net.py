"""The adaptive network in torch. Only ``fit`` imports this: features are computed without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from hybrid_ray.estimators.models.head_net import folded
from hybrid_ray.estimators.models.training import wide
from hybrid_ray.fusion.information import column_parts, information, label_codes, parts, spread_rows
from hybrid_ray.fusion.networks.layers import Weights
from hybrid_ray.fusion.networks.net import FusionNet, drop_blocks, split_blocks
from hybrid_ray.types import AnyArray, FloatArray

SETTLED = 0.75
"""Part of the epochs after which the selection stays as it is."""
_BINS = 8
_GROUP_ROWS = 60
"""Fewer rows than this make no group of their own: counts of them are chance."""
_GROUPS = 4
"""Groups at most of rows for which the network predicts one class, by how sure it is."""
_REFRESH_ROWS = 5000
_SURE = 3.0
"""Deviations of what counts of independent columns tell, 2n times which is about chi-squared, that are chance."""


class AdaptiveNet(FusionNet):
    """Selected columns, then linear, batch normalisation, ReLU and dropout; a linear head reads the hidden units."""

    kept: torch.Tensor
    owners: torch.Tensor

    def __init__(
        self,
        widths: Sequence[int],
        n_outputs: int,
        hidden: int,
        kept: AnyArray,
        dropout: float,
        block_dropout: float,
    ) -> None:
        super().__init__()
        self.widths, self.block_dropout = tuple(widths), block_dropout
        self.register_buffer("kept", torch.from_numpy(kept.astype(np.float32)))
        self.register_buffer("owners", torch.from_numpy(np.repeat(np.arange(len(widths)), widths)))
        self.linear = nn.Linear(len(kept), hidden)
        with torch.no_grad():  # as a layer of the kept columns alone would begin
            self.linear.weight *= self.kept * (len(kept) / max(float(kept.sum()), 1.0)) ** 0.5
        self.missing = nn.Linear(len(widths), hidden, bias=False)
        nn.init.zeros_(self.missing.weight)
        self.norm = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs (n, n_outputs) of blocks side by side and, in the last columns, which are present."""
        blocks, present = split_blocks(X, self.widths)
        if self.training:
            present = drop_blocks(present, self.block_dropout)
        there = present.to(X.dtype)
        columns = torch.cat(blocks, dim=1) * there[:, self.owners] * self.kept
        units = torch.relu(self.norm(self.linear(columns) + self.missing(1.0 - there)))
        outputs: torch.Tensor = self.last(self.dropout(units))
        return outputs

    def weights(self) -> Weights:
        """The arrays that the representation needs, normalisation folded in."""
        first, offsets = folded(self.linear, self.norm)
        variance = self.norm.running_var
        assert variance is not None, "a norm that tracks its inputs"
        factor = self.norm.weight / torch.sqrt(variance + self.norm.eps)
        kept = np.flatnonzero(self.kept.numpy())
        return {
            "kept": kept,
            "first.w": wide(first)[kept],
            "first.b": wide(offsets),
            "missing": wide(self.missing.weight.T * factor),
        }


@dataclass
class Refresh(Callback):
    """Every so many epochs, the columns that the network uses least make room for those that tell it most.

    Use is the length of a column's weights in the first layer, as columns have one variance. What a column outside
    tells is its mutual information with the label given what the network predicts, so that none comes in for what the
    network knows already; one that tells no more than chance may does not come in. A column that comes in begins with
    weights of 0, and changes no prediction at first.

    Attributes
    ----------
    X : ndarray float32 (n, D + k)
        Training rows, as the network is given them.
    y : ndarray (n,)
    every : int
        Epochs between two.
    share : float
        Share of the kept columns that are exchanged at first; it falls to 0 as a cosine does.
    """

    X: FloatArray
    y: AnyArray
    every: int
    share: float

    def __post_init__(self) -> None:
        rows = spread_rows(len(self.X), _REFRESH_ROWS)
        self._rows = torch.from_numpy(np.ascontiguousarray(self.X[rows]))
        self._codes = label_codes(self.y[rows], _BINS)
        self._parts: AnyArray | None = None
        self._chance = 0.0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Exchange columns, when it is time."""
        epoch, last = len(net.history), SETTLED * net.max_epochs
        if epoch % self.every or epoch > last:
            return
        module: AdaptiveNet = net.module_
        kept = module.kept.numpy() > 0
        share = 0.5 * self.share * (1.0 + np.cos(np.pi * epoch / last))
        exchanged = round(share * kept.sum())
        if not exchanged:
            return
        told = np.where(kept, -np.inf, self._told(module))
        exchanged = min(exchanged, int((told > self._chance).sum()))
        used = np.where(kept, np.linalg.norm(module.linear.weight.detach().numpy(), axis=0), np.inf)
        module.kept[torch.from_numpy(np.argsort(used, kind="stable")[:exchanged])] = 0.0
        module.kept[torch.from_numpy(np.argsort(-told, kind="stable")[:exchanged])] = 1.0
        self._forget(module, net.optimizer_)

    def _told(self, module: AdaptiveNet) -> AnyArray:
        if self._parts is None:  # a network that stops before the first time needs none
            self._parts = column_parts(self._rows[:, : len(module.kept)].numpy(), _BINS)
        module.eval()
        with torch.no_grad():
            outputs = module(self._rows).numpy()
        module.train()
        groups = known_groups(outputs)
        freedom = (int(groups.max()) + 1) * (_BINS - 1) * int(self._codes.max())
        self._chance = _SURE * np.sqrt(2.0 * freedom) / (2.0 * len(groups))
        return information(self._parts, self._codes, groups)

    def _forget(self, module: AdaptiveNet, optimizer: torch.optim.Optimizer) -> None:
        """Zero weights and moments of columns outside, which are also what a column that comes in begins with."""
        with torch.no_grad():
            kept = module.kept
            fresh = kept * (module.linear.weight.abs().sum(dim=0) > 0)
            module.linear.weight *= fresh
            for moment in optimizer.state[module.linear.weight].values():
                if moment.shape == module.linear.weight.shape:
                    moment *= fresh


def known_groups(outputs: AnyArray) -> AnyArray:
    """Group int64 (n,) of rows for which a network predicts about the same, without gaps.

    Parameters
    ----------
    outputs : ndarray (n, C) or (n, 1)
        Logits, or values.
    """
    n, width = outputs.shape
    label = outputs.argmax(axis=1) if width > 1 else np.zeros(n, np.int64)
    ordered = np.sort(outputs, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] if width > 1 else outputs[:, 0]
    most = _GROUPS if width > 1 else 2 * _GROUPS
    groups = np.zeros(n, np.int64)
    for code in np.unique(label):
        rows = np.flatnonzero(label == code)
        if len(rows) >= _GROUP_ROWS:  # the others are one group, 0
            groups[rows] = 1 + int(code) * most + parts(sure[rows], min(most, len(rows) // _GROUP_ROWS))
    found: AnyArray = np.unique(groups, return_inverse=True)[1]
    return found
