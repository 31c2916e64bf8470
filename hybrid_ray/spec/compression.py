"""What a spec says of compression: how pretrained networks are made smaller, and what that may cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hybrid_ray.documented import Documented


class Compression(Documented):
    """How a network is made smaller."""

    int8: Literal["none", "weights", "dynamic"] = "none"
    """weights: every matrix of weights is kept in 8 bits, a quarter of the size, and computed with as before. dynamic:
    linear layers, and wide convolutions over single pixels, also multiply 8-bit integers, their inputs rounded row by
    row: quicker, and less near."""
    prune: float = Field(0.0, ge=0, lt=1)
    """Share of the weights of each layer that mixes all channels, the smallest, that are set to zero: less to keep, no
    less to compute."""

    @property
    def asked(self) -> bool:
        """True when anything is to be done."""
        return self.int8 != "none" or self.prune > 0

    @property
    def dynamic(self) -> bool:
        """True when layers multiply integers."""
        return self.int8 == "dynamic"


class CompressionSpec(Compression):
    """Pretrained networks of the graph made smaller after the search, where its answers stay what they were."""

    min_cosine: float = Field(0.99, gt=0, le=1)
    """Smallest cosine, over a sample of rows, between a row's features before and after; a network whose features
    change more stays as it is."""
    max_loss: float = Field(0.01, ge=0, lt=1)
    """Share of the out-of-fold score that may be lost, the graph's chains fitted again on the new features; where more
    is, all networks stay as they are."""

    @property
    def plain(self) -> Compression:
        """What is to be done, without what it may cost."""
        return Compression(int8=self.int8, prune=self.prune)
