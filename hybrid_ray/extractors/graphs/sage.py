"""Features of a GraphSAGE network, trained on the training rows."""

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


class SageParams(GraphNetworkParams):
    """Parameters of ``sage``."""

    hidden: int = Field(64, ge=1, le=4096)
    """Width of every layer."""
    layers: int = Field(2, ge=1, le=16)
    """Hops from which a node is told; the weights of the last are those of the head."""


@EXTRACTORS.register("sage")
class SageExtractor(GraphNetworkExtractor):
    """Layers that each take what a node has and, apart from it, the mean of what its neighbours have.

    References
    ----------
    Hamilton, Ying and Leskovec, "Inductive representation learning on large graphs", NeurIPS 2017; neighbours are
    all taken, none is sampled.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = SageParams
    mix: ClassVar[Mix] = "mean"
    loops: ClassVar[bool] = False

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Outputs of one column, what is hidden of two."""
        few: dict[str, Any] = {"graph": GENERATED, "hidden": 3, "epochs": 2}
        yield SageParams(**few, parts=2), {"node": "node"}
        yield SageParams(**few, features="hidden", layers=3), {"from": "node", "to": "node"}

    @property
    def width(self) -> int:
        """As the parameters say."""
        return int(self.params.hidden)

    @property
    def item_features(self) -> int:
        """What a node has, and what its neighbours have."""
        return int(self.params.hidden * (2 if self.params.layers > 1 else 1))

    def hops(self) -> list[Hop]:
        """Convolutions between, and a plain mean beside the node's own."""
        from torch import nn

        from hybrid_ray.extractors.graphs.nets import Hop, SAGEConv, SimpleConv

        p = self.params
        between = [Hop(SAGEConv(p.hidden, p.hidden), active=nn.ReLU(), dropout=p.dropout) for _ in range(p.layers - 2)]
        last = [Hop(SimpleConv(aggr="mean", combine_root="cat"))] if p.layers > 1 else []
        return [*between, *last]
