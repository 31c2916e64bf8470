"""Parameters of extractors whose pretrained network can be made smaller.

Compression is part of the parameters: a compressed network is another extractor, with features and a cache of its own,
and it is saved as it computes. Whether a graph may have it in place of the network that the search saw is decided by a
run, see ``graph.compression``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import model_validator

from hybrid_ray.params import PluginParams
from hybrid_ray.spec.compression import Compression


class CompressibleParams(PluginParams):
    """What these have in common."""

    compress: Compression = Compression()
    """How the network is made smaller, whatever that does to its features; ``graph.compression`` does it where they
    stay what they were."""

    later: ClassVar[frozenset[str]] = frozenset({"compress"})

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        precision = getattr(self, "precision", "auto")
        if self.compress.dynamic and precision not in ("auto", "fp32"):
            raise ValueError(f"precision must be auto or fp32 with compress.int8: dynamic; got {precision}")
        return self

    def compressed(self, compress: Compression) -> Self:
        """The same with a smaller network; products of integers take the place of a reduced format."""
        update: dict[str, Any] = {"compress": compress}
        return self.model_copy(update=update | ({"precision": "fp32"} if compress.dynamic else {}))
