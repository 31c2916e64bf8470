"""What the networks of torch share: a way out of torch, and which blocks a row has. Only ``fit`` imports this."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hybrid_ray.fusion.networks.layers import Weights


class FusionNet(nn.Module):
    """A network whose last layer is linear: what goes into that one is the representation."""

    def weights(self) -> Weights:
        """The arrays that the representation needs, float64."""
        raise NotImplementedError


def split_blocks(X: torch.Tensor, widths: Sequence[int]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Blocks (n, width) and presence bool (n, k) of what a network is given: (n, sum of widths + k)."""
    *blocks, present = X.split([*widths, len(widths)], dim=1)
    return tuple(blocks), present > 0.5


def drop_blocks(present: torch.Tensor, rate: float) -> torch.Tensor:
    """Presence (n, k) with blocks taken away at a rate; no row loses its last one.

    References
    ----------
    Neverova et al., "ModDrop: adaptive multi-modal gesture recognition", IEEE TPAMI 2016.
    """
    if rate == 0.0:
        return present
    kept = present & (torch.rand(present.shape) >= rate)
    return torch.where(kept.any(dim=1, keepdim=True), kept, present)
