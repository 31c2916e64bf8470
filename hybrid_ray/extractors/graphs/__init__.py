"""Extractors of nodes of a graph; registered by import."""

from hybrid_ray.extractors.graphs import appnp, gat, gcn, node2vec, propagated, sage

__all__ = ["appnp", "gat", "gcn", "node2vec", "propagated", "sage"]
