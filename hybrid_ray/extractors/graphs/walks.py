"""Random walks over a graph, and what nodes are near each other on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_ray.data.node_graph import NodeGraph
from hybrid_ray.types import AnyArray

_TRIES = 64
"""Draws of a step before it is taken as it was drawn last: bounds the time that extreme p and q take."""


def walks(graph: NodeGraph, length: int, p: float, q: float, rng: np.random.Generator) -> AnyArray:
    """One walk from each node that has neighbours.

    Parameters
    ----------
    graph : NodeGraph
    length : int
        Nodes of a walk.
    p, q : float
        A step goes back where it came from with 1 / p, and away from there with 1 / q, of the odds that it stays near.

    Returns
    -------
    ndarray of int64 (k, length)

    References
    ----------
    Grover and Leskovec, "node2vec: scalable feature learning for networks", KDD 2016. Steps are drawn evenly and
    rejected, as in Yang et al., "KnightKing", SOSP 2019: no table of second-order odds is made.
    """
    starts = np.flatnonzero(graph.degrees)
    path = np.empty((len(starts), length), np.int64)
    path[:, 0] = starts
    keys = np.repeat(np.arange(len(graph)), graph.degrees) * len(graph) + graph.neighbours
    most = max(1.0, 1 / p, 1 / q)
    for step in range(1, length):
        now, before = path[:, step - 1], path[:, max(step - 2, 0)]
        path[:, step] = _drawn(graph, now, rng)
        open_ = np.arange(len(starts)) if step > 1 and (p != 1 or q != 1) else starts[:0]
        for _ in range(_TRIES):
            to, back = path[open_, step], before[open_]
            odds = np.where(to == back, 1 / p, np.where(_linked(keys, back * len(graph) + to), 1.0, 1 / q))
            open_ = open_[rng.random(len(open_)) * most > odds]
            if not len(open_):
                break
            path[open_, step] = _drawn(graph, now[open_], rng)
    return path


def met(path: AnyArray, window: int, n: int) -> Any:
    """How often nodes are at most ``window`` steps apart on walks: a symmetric scipy.sparse.csr_array (n, n)."""
    from scipy.sparse import coo_array

    total = coo_array((n, n), dtype=np.float64).tocsr()
    for apart in range(1, min(window, path.shape[1] - 1) + 1):
        pair = (path[:, :-apart].ravel(), path[:, apart:].ravel())
        total = total + coo_array((np.ones(len(pair[0])), pair), shape=(n, n)).tocsr()
    return total + total.T


def _drawn(graph: NodeGraph, nodes: AnyArray, rng: np.random.Generator) -> AnyArray:
    """A neighbour of each, every one as likely."""
    degrees = graph.degrees[nodes]
    return graph.neighbours[graph.bounds[nodes] + (rng.random(len(nodes)) * degrees).astype(np.int64)]


def _linked(keys: AnyArray, wanted: AnyArray) -> AnyArray:
    """Which of ``wanted`` are among sorted keys."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[places] == wanted
