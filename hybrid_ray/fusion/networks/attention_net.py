"""The attention network in torch. Only ``fit`` imports this: features are computed without torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hybrid_ray.estimators.models.training import wide
from hybrid_ray.fusion.networks.layers import Weights, linear_weights, norm_weights
from hybrid_ray.fusion.networks.net import FusionNet, drop_blocks, split_blocks


class _Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.three = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """What each token hears (n, tokens, width)."""
        n, tokens, width = X.shape
        stacked = self.three(X).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = stacked.permute(2, 0, 3, 1, 4)
        heard = nn.functional.scaled_dot_product_attention(query, key, value)
        told: torch.Tensor = self.out(heard.transpose(1, 2).reshape(n, tokens, width))
        return told


class _Layer(nn.Module):
    """A transformer layer that normalises first."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = _Attention(width, heads)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Tokens (n, tokens, width) after the layer."""
        X = X + self.dropout(self.attention(self.norms[0](X)))
        after: torch.Tensor = X + self.dropout(self.down(torch.relu(self.up(self.norms[1](X)))))
        return after

    def weights(self, name: str) -> Weights:
        """Arrays of the layer, under its name."""
        parts = {"three": self.attention.three, "out": self.attention.out, "up": self.up, "down": self.down}
        found: Weights = {}
        for part, layer in parts.items():
            found |= linear_weights(f"{name}.{part}", layer)
        for i, norm in enumerate(self.norms):
            assert isinstance(norm, nn.LayerNorm), "what __init__ made"
            found |= norm_weights(f"{name}.norm.{i}", norm)
        return found


class AttentionNet(FusionNet):
    """Blocks as tokens, among them one that asks: a linear head reads what it heard."""

    def __init__(
        self,
        widths: Sequence[int],
        n_outputs: int,
        hidden: int,
        tokens: int,
        heads: int,
        depth: int,
        dropout: float,
        block_dropout: float,
    ) -> None:
        super().__init__()
        self.widths, self.shape, self.block_dropout = tuple(widths), (tokens, hidden), block_dropout
        self.projections = nn.ModuleList(nn.Linear(width, tokens * hidden, bias=False) for width in widths)
        self.kinds = nn.Parameter(0.1 * torch.randn(len(widths), tokens, hidden))
        self.missing = nn.Parameter(torch.zeros(len(widths), tokens, hidden))
        self.asking = nn.Parameter(0.1 * torch.randn(1, hidden))
        self.layers = nn.ModuleList(_Layer(hidden, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs (n, n_outputs) of blocks side by side and, in the last columns, which are present."""
        blocks, present = split_blocks(X, self.widths)
        if self.training:
            present = drop_blocks(present, self.block_dropout)
        said = [project(block).view(-1, *self.shape) for project, block in zip(self.projections, blocks, strict=True)]
        tokens = torch.where(present[:, :, None, None], torch.stack(said, dim=1), self.missing) + self.kinds
        tokens = torch.cat([self.asking.expand(len(X), 1, -1), tokens.flatten(1, 2)], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        outputs: torch.Tensor = self.last(self.dropout(self.norm(tokens[:, 0])))
        return outputs

    def weights(self) -> Weights:
        """The arrays that the representation needs."""
        found = norm_weights("norm", self.norm)
        found |= {"kinds": wide(self.kinds), "missing": wide(self.missing), "asking": wide(self.asking)}
        for i, project in enumerate(self.projections):
            assert isinstance(project, nn.Linear), "what __init__ made"
            found[f"project.{i}"] = wide(project.weight.T)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, _Layer), "what __init__ made"
            found |= layer.weights(f"layer.{i}")
        return found
