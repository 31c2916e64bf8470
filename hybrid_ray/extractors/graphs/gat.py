"""Features of a graph attention network, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hybrid_ray.data.generate import GENERATED
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.graphs.network import TAGS, GraphNetworkExtractor, GraphNetworkParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from torch import nn

    from hybrid_ray.extractors.graphs.nets import Hop


class GatParams(GraphNetworkParams):
    """Parameters of ``gat``."""

    hidden: int = Field(8, ge=1, le=4096)
    """Width of a head."""
    heads: int = Field(8, ge=1, le=64)
    """Heads of a layer, side by side; the last has one of their joint width."""
    layers: int = Field(2, ge=1, le=16)
    """Hops from which a node is told."""


@EXTRACTORS.register("gat")
class GatExtractor(GraphNetworkExtractor):
    """Layers that learn which neighbours to listen to; features are first brought to the width of a layer.

    References
    ----------
    Velickovic et al., "Graph attention networks", ICLR 2018.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = GatParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Outputs of one column, what is hidden of two."""
        few: dict[str, Any] = {"graph": GENERATED, "hidden": 3, "epochs": 2}
        yield GatParams(**few, parts=2), {"node": "node"}
        yield GatParams(**few, features="hidden", heads=2), {"from": "node", "to": "node"}

    @property
    def width(self) -> int:
        """That of all heads."""
        return int(self.params.hidden * self.params.heads)

    @property
    def active(self) -> nn.Module:
        """None: the first layer is part of the first attention."""
        from torch import nn

        return nn.Identity()

    def hops(self) -> list[Hop]:
        """Attentions of several heads, and one of a single head."""
        from torch import nn

        from hybrid_ray.extractors.graphs.nets import GATConv, Hop

        p = self.params
        several = [
            Hop(GATConv(self.width, p.hidden, heads=p.heads, add_self_loops=False), active=nn.ELU(), dropout=share)
            for share in [0.0, *[p.dropout] * (p.layers - 2)][: p.layers - 1]
        ]
        return [*several, Hop(GATConv(self.width, self.width, add_self_loops=False), dropout=p.dropout)]
