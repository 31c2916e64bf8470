"""Vectors of nodes by where random walks lead; features and labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.data.generate import GENERATED
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.graphs.nodes import Attached, KnownNodes, NodeParams
from hybrid_ray.extractors.graphs.smoothing import neighbour_mean
from hybrid_ray.extractors.graphs.walks import met, walks
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind


class Node2vecParams(NodeParams):
    """Parameters of ``node2vec``."""

    dimensions: int = Field(64, ge=1, le=1024)
    """Length of a vector."""
    walks: int = Field(10, ge=1, le=1000)
    """Walks that begin at each node."""
    length: int = Field(40, ge=2, le=1000)
    """Nodes of a walk."""
    window: int = Field(10, ge=1, le=100)
    """Steps up to which nodes of a walk count as near."""
    p: float = Field(1.0, gt=0, le=1e3)
    """The larger, the less a walk goes back where it came from."""
    q: float = Field(1.0, gt=0, le=1e3)
    """The larger, the more a walk stays near where it came from."""
    negatives: float = Field(1.0, gt=0, le=100)
    """Negative samples of the skip-gram model that is solved: a pair must meet so much more often than by chance."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the walks."""


@EXTRACTORS.register("node2vec")
class Node2vecExtractor(KnownNodes):
    """A vector of each node such that nodes which random walks see together are near; a new node's is its neighbours'.

    The skip-gram model with negative sampling has a matrix that it factorises: that matrix is made of the walks and
    factorised at once, which takes seconds, has no learning rate, and gives the same for the same seed. A new node has
    the mean of its neighbours' vectors, zeros where it has none.

    References
    ----------
    Grover and Leskovec, "node2vec: scalable feature learning for networks", KDD 2016; Levy and Goldberg, "Neural word
    embedding as implicit matrix factorization", NeurIPS 2014; Qiu et al., "Network embedding as matrix factorization",
    WSDM 2018.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="graph", kinds=frozenset({"node"}), context="graph")
    Params: ClassVar[type[PluginParams]] = Node2vecParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Few short walks on one column, biased ones on two."""
        few: dict[str, Any] = {"graph": GENERATED, "dimensions": 4, "walks": 2, "length": 8, "window": 3}
        yield Node2vecParams(**few), {"node": "node"}
        yield Node2vecParams(**few, p=4.0, q=0.5), {"from": "node", "to": "node"}

    @property
    def item_features(self) -> int:
        """As the parameters say, or fewer: a graph of few nodes has no more."""
        return int(min(self.params.dimensions, max(len(self.graph) - 1, 1)))

    def made(self) -> dict[str, AnyArray]:
        """Vectors of all nodes."""
        from sklearn.utils.extmath import randomized_svd
        from threadpoolctl import threadpool_limits

        p, n = self.params, len(self.graph)
        vectors = np.zeros((n, self.item_features), np.float32)
        if not len(self.graph.neighbours):
            return {"vectors": vectors}
        rng = np.random.default_rng(p.seed)
        near = met(np.concatenate([walks(self.graph, p.length, p.p, p.q, rng) for _ in range(p.walks)]), p.window, n)
        with threadpool_limits(1, "blas"):  # every worker makes them: the same, however many threads it has
            left, sizes, _ = randomized_svd(_surprise(near, p.negatives), self.item_features, random_state=p.seed)
        vectors[:] = left * np.sqrt(sizes)
        return {"vectors": vectors}

    def attached(self, made: Mapping[str, AnyArray], new: Attached) -> FloatArray:
        """The mean of the neighbours' vectors."""
        return neighbour_mean(new, made["vectors"][new.source])


def _surprise(near: Any, negatives: float) -> Any:
    """Of counts (n, n): how much more often than by chance, as a logarithm; what is not above 0 is left out."""
    held = near.tocoo()
    sums = np.asarray(near.sum(axis=1)).ravel()
    chance = sums[held.row] * sums[held.col] / sums.sum()
    held.data = np.maximum(np.log(held.data / (chance * negatives)), 0)
    return held.tocsr()
