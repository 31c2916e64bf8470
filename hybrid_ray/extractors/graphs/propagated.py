"""Features of nodes, smoothed over their neighbourhood; nothing is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.generate import GENERATED
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.graphs.nodes import Attached, KnownNodes, NodeParams
from hybrid_ray.extractors.graphs.smoothing import smoothed, smoothed_new
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind

MAX_VALUES = 2**31
"""Numbers that the features of all nodes after all hops may be: 8 GiB."""


class PropagatedParams(NodeParams):
    """Parameters of ``propagated``."""

    hops: int = Field(2, ge=0, le=32)
    """How far neighbours are taken in; 0: a node's own features only."""
    keep: Literal["last", "all"] = "last"
    """last: features after the last hop; all: those of every hop side by side, the node's own among them."""
    normalize: bool = True
    """True: the features of a node are divided by the sum of their sizes first."""


@EXTRACTORS.register("propagated")
class PropagatedExtractor(KnownNodes):
    """What a node and its neighbours have for features, smoothed by the normalised adjacency.

    References
    ----------
    Wu et al., "Simplifying graph convolutional networks", ICML 2019 (``keep: last``); Frasca et al., "SIGN: scalable
    inception graph neural networks", arXiv 2004.11198 (``keep: all``).
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="graph", kinds=frozenset({"node"}), context="graph")
    Params: ClassVar[type[PluginParams]] = PropagatedParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """One column, and every hop of two."""
        yield PropagatedParams(graph=GENERATED), {"node": "node"}
        yield PropagatedParams(graph=GENERATED, hops=3, keep="all", normalize=False), {"from": "node", "to": "node"}

    @property
    def item_features(self) -> int:
        """Features of a node, once or after each hop."""
        return int(self.graph.width * (self.params.hops + 1 if self.params.keep == "all" else 1))

    def check(self) -> None:
        """Refuse what would not fit into memory."""
        values = len(self.graph) * self.graph.width * (self.params.hops + 1)
        if values > MAX_VALUES:
            raise BadInputError(
                f"{self.name}.hops: nodes x features x (hops + 1) must be at most {MAX_VALUES}; got {values}. Use a "
                "network (gcn, sage), or fewer features"
            )

    def made(self) -> dict[str, AnyArray]:
        """Features after every hop, which new nodes need."""
        states = smoothed(self.graph, self._scaled(self.graph.features.toarray()), self.params.hops)
        return {"states": np.stack(states), "vectors": self._kept(states)}

    def attached(self, made: Mapping[str, AnyArray], new: Attached) -> FloatArray:
        """The same of new nodes."""
        return self._kept(smoothed_new(self.graph, list(made["states"]), new, self._scaled(new.features)))

    def _kept(self, states: list[FloatArray]) -> FloatArray:
        return np.hstack(states) if self.params.keep == "all" else states[-1]

    def _scaled(self, features: FloatArray) -> FloatArray:
        return by_size(features) if self.params.normalize else features


def by_size(features: FloatArray) -> FloatArray:
    """Rows (k, d) divided by the sum of their sizes; zeros stay zeros."""
    sizes = np.abs(features).sum(axis=1, keepdims=True)
    return np.asarray(features / np.where(sizes > 0, sizes, 1), np.float32)
