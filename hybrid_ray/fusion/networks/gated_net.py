"""The gated multimodal unit in torch. Only ``fit`` imports this: features are computed without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from hybrid_ray.estimators.models.training import wide
from hybrid_ray.fusion.networks.layers import Weights, linear_weights
from hybrid_ray.fusion.networks.net import FusionNet, drop_blocks, split_blocks

Activation = Literal["tanh", "relu"]
Gate = Literal["softmax", "sigmoid", "product"]


class GatedNet(FusionNet):
    """Each block is projected, gates decide how much of each passes, and a linear head reads the sum."""

    def __init__(
        self,
        widths: Sequence[int],
        n_outputs: int,
        hidden: int,
        activation: Activation,
        gate: Gate,
        dropout: float,
        block_dropout: float,
    ) -> None:
        super().__init__()
        self.widths, self.activation, self.gate, self.block_dropout = tuple(widths), activation, gate, block_dropout
        self.projections = nn.ModuleList(nn.Linear(width, hidden) for width in widths)
        # A missing block says nothing at first: 0 to a sum, 1 to a product.
        self.missing = nn.Parameter(torch.full((len(widths), hidden), float(gate == "product")))
        self.gates = None if gate == "product" else nn.Linear(len(widths) * hidden, len(widths) * hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs (n, n_outputs) of blocks side by side and, in the last columns, which are present."""
        blocks, present = split_blocks(X, self.widths)
        if self.training:
            present = drop_blocks(present, self.block_dropout)
        squashed = torch.tanh if self.activation == "tanh" else torch.relu
        said = [squashed(project(block)) for project, block in zip(self.projections, blocks, strict=True)]
        units = torch.where(present[:, :, None], torch.stack(said, dim=1), self.missing)
        outputs: torch.Tensor = self.last(self.dropout(self._fused(units)))
        return outputs

    def _fused(self, units: torch.Tensor) -> torch.Tensor:
        """Units (n, hidden) of units (n, k, hidden) of all blocks."""
        if self.gates is None:
            return units.prod(dim=1)
        gates = self.gates(self.dropout(units).flatten(1)).view_as(units)
        passed = torch.softmax(gates, dim=1) if self.gate == "softmax" else torch.sigmoid(gates)
        return (passed * units).sum(dim=1)

    def weights(self) -> Weights:
        """The arrays that the representation needs."""
        found: Weights = {"missing": wide(self.missing)}
        if self.gates is not None:
            found |= linear_weights("gates", self.gates)
        for i, project in enumerate(self.projections):
            assert isinstance(project, nn.Linear), "what __init__ made"
            found |= linear_weights(f"project.{i}", project)
        return found
