"""Features of a network on single nodes, spread over the graph, trained on the training rows."""

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
    from hybrid_ray.extractors.graphs.nets import Hop


class AppnpParams(GraphNetworkParams):
    """Parameters of ``appnp``."""

    hidden: int = Field(64, ge=1, le=4096)
    """Width of the layer."""
    steps: int = Field(10, ge=1, le=100)
    """Hops over which what the layer gives is spread."""
    teleport: float = Field(0.1, gt=0, lt=1)
    """Part of what a node has after each hop that is its own: the larger, the nearer is what it is told."""


@EXTRACTORS.register("appnp")
class AppnpExtractor(GraphNetworkExtractor):
    """A layer on each node by itself; what it gives is spread over the graph by personalised PageRank.

    References
    ----------
    Gasteiger, Bojchevski and Günnemann, "Predict then propagate: graph neural networks meet personalized PageRank",
    ICLR 2019.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = AppnpParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Outputs of one column, what is hidden of two."""
        few: dict[str, Any] = {"graph": GENERATED, "hidden": 3, "epochs": 2, "steps": 3}
        yield AppnpParams(**few, parts=2), {"node": "node"}
        yield AppnpParams(**few, features="hidden", teleport=0.3), {"from": "node", "to": "node"}

    @property
    def width(self) -> int:
        """As the parameters say."""
        return int(self.params.hidden)

    def hops(self) -> list[Hop]:
        """The same hop many times."""
        from hybrid_ray.extractors.graphs.nets import Hop, SimpleConv

        share = self.params.teleport
        return [Hop(SimpleConv(aggr="sum"), weighted=True, teleport=share) for _ in range(self.params.steps)]
