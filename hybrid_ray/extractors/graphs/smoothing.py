"""Means over neighbours, weighted so that hubs do not drown the others: one hop at a time, also for new nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hybrid_ray.data.node_graph import NodeGraph
from hybrid_ray.extractors.graphs.nodes import Attached
from hybrid_ray.types import AnyArray, FloatArray

Mix = Literal["none", "sum", "mean"]
"""What the first layer of a network reads of neighbours: nothing, their normalised sum, or their mean beside the node's
own features."""


def adjacency(graph: NodeGraph) -> Any:
    """The normalised adjacency as a scipy.sparse.csr_array (n, n) of float32.

    An edge of nodes with d and e neighbours counts 1 / sqrt((d + 1)(e + 1)); each node is its own neighbour as well
    (Kipf and Welling 2017, equation 2).
    """
    from scipy.sparse import csr_array, eye_array

    n = len(graph)
    ones = np.ones(len(graph.neighbours), np.float32)
    linked = csr_array((ones, graph.neighbours, graph.bounds), shape=(n, n)) + eye_array(n, dtype=np.float32)
    scale = (1 / np.sqrt(graph.degrees + 1)).astype(np.float32)
    return csr_array(linked * scale[:, None] * scale[None, :])


def edge_weights(graph: NodeGraph, new: Attached) -> tuple[FloatArray, FloatArray]:
    """The same weights of new nodes: of their neighbours (e,), and of themselves (k,)."""
    own = new.degrees + 1
    theirs = graph.degrees[new.source] + 1
    return (1 / np.sqrt(own[new.owner] * theirs)).astype(np.float32), (1 / own).astype(np.float32)


def smoothed(graph: NodeGraph, features: FloatArray, hops: int) -> list[FloatArray]:
    """Features (n, d) after 0, 1, ... ``hops`` hops."""
    links = adjacency(graph)
    states = [features]
    for _ in range(hops):
        states.append(np.asarray(links @ states[-1], np.float32))
    return states


def smoothed_new(graph: NodeGraph, states: Sequence[FloatArray], new: Attached, features: FloatArray) -> list[AnyArray]:
    """Features (k, d) of new nodes after as many hops, from the states of the graph's own nodes."""
    theirs, own = edge_weights(graph, new)
    heard = _heard(new, theirs)
    found = [features]
    for state in states[:-1]:
        found.append(np.asarray(heard @ state[new.source] + own[:, None] * found[-1], np.float32))
    return found


def neighbour_mean(new: Attached, vectors: FloatArray) -> FloatArray:
    """Means (k, d) of the neighbours' vectors (e, d) of new nodes; zeros where there are none."""
    return np.asarray(_heard(new, 1 / new.degrees[new.owner]) @ vectors, np.float32)


def first_inputs(graph: NodeGraph, mix: Mix) -> Any:
    """What the first layer of a network reads of each node: a scipy.sparse.csr_array (n, width) of float32."""
    from scipy.sparse import csr_array, diags_array, hstack

    own = unit(graph.features)
    if mix == "none":
        return own
    if mix == "sum":
        return csr_array(adjacency(graph) @ own)
    ones = np.ones(len(graph.neighbours), np.float32)
    linked = csr_array((ones, graph.neighbours, graph.bounds), shape=(len(graph), len(graph)))
    shares = diags_array((1 / np.maximum(graph.degrees, 1)).astype(np.float32))
    return csr_array(hstack([own, shares @ linked @ own]))


def first_inputs_new(graph: NodeGraph, mix: Mix, new: Attached) -> FloatArray:
    """The same (k, width) of new nodes."""
    from scipy.sparse import csr_array

    if not len(new):
        return np.zeros((0, graph.width * (2 if mix == "mean" else 1)), np.float32)
    own: FloatArray = unit(csr_array(new.features)).toarray()
    if mix == "none":
        return own
    near = unit(graph.features[new.source]).toarray()
    if mix == "sum":
        theirs, mine = edge_weights(graph, new)
        return np.asarray(_heard(new, theirs) @ near + mine[:, None] * own, np.float32)
    return np.hstack([own, neighbour_mean(new, near)])


def unit(features: Any) -> Any:
    """Rows of a sparse matrix brought to a length of 1; zeros stay zeros."""
    from scipy.sparse import csr_array, diags_array

    sizes = np.sqrt(np.asarray(features.multiply(features).sum(axis=1), np.float64).ravel())
    return csr_array(diags_array(1 / np.where(sizes > 0, sizes, 1)) @ features).astype(np.float32)


def _heard(new: Attached, weights: AnyArray) -> Any:
    """Weights of neighbours as a sparse matrix (k, e)."""
    from scipy.sparse import csr_array

    bounds = np.concatenate([[0], np.cumsum(new.degrees)])
    return csr_array((weights, np.arange(len(new.source)), bounds), shape=(len(new), len(new.source)))
