"""Features of a graph convolutional network, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hybrid_ray.data.generate import GENERATED
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.graphs.network import TAGS, GraphNetworkExtractor, GraphNetworkParams
from hybrid_ray.extractors.graphs.smoothing import Mix
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from hybrid_ray.extractors.graphs.nets import Hop


class GcnParams(GraphNetworkParams):
    """Parameters of ``gcn``."""

    hidden: int = Field(64, ge=1, le=4096)
    """Width of every layer."""
    layers: int = Field(2, ge=1, le=16)
    """Hops from which a node is told; the weights of the last are those of the head."""


@EXTRACTORS.register("gcn")
class GcnExtractor(GraphNetworkExtractor):
    """Layers that each take the normalised sum of what neighbours have; the last leaves its weights to the head.

    References
    ----------
    Kipf and Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = GcnParams
    mix: ClassVar[Mix] = "sum"

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Outputs of one column, what is hidden of two."""
        few: dict[str, Any] = {"graph": GENERATED, "hidden": 3, "epochs": 2}
        yield GcnParams(**few, parts=2), {"node": "node"}
        yield GcnParams(**few, features="hidden", layers=3), {"from": "node", "to": "node"}

    @property
    def width(self) -> int:
        """As the parameters say."""
        return int(self.params.hidden)

    def hops(self) -> list[Hop]:
        """Convolutions between, and a plain sum."""
        from torch import nn

        from hybrid_ray.extractors.graphs.nets import GCNConv, Hop, SimpleConv

        p = self.params
        between = [
            Hop(GCNConv(p.hidden, p.hidden, normalize=False), weighted=True, active=nn.ReLU(), dropout=p.dropout)
            for _ in range(p.layers - 2)
        ]
        last = [Hop(SimpleConv(aggr="sum"), weighted=True)] if p.layers > 1 else []
        return [*between, *last]
