"""The clusters of a graph, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hybrid_ray.evaluation.clusters import Evidence
from hybrid_ray.evaluation.schema import ClusterCard, ClusterRow
from hybrid_ray.types import AnyArray

NEAREST = 5
"""Rows that are named of each cluster."""
MAX_BARS = 100
"""Silhouettes that are drawn of each cluster."""
MAX_POINTS = 600
"""Rows on the map."""


def cluster_card(
    y: AnyArray, table: AnyArray, numbers: AnyArray, labels: Sequence[Any] | None, seed: int = 0
) -> ClusterCard:
    """Sizes, silhouettes and examples of each cluster.

    Parameters
    ----------
    y : ndarray of int (n,)
        Codes of the labels that clusters are compared with, -1 where there is none.
    table : ndarray (n, k)
        Columns of ``Evidence``.
    numbers : ndarray of int (n,)
        What the rows are called.
    labels : sequence or None
        Labels in code order.
    seed : int, default 0
        Draws the rows of the map.

    Returns
    -------
    ClusterCard
    """
    known = Evidence.of(table)
    cluster = known.cluster.astype(np.int64)
    rows, silhouettes = [], []
    for number in range(int(cluster.max()) + 1):
        own = np.flatnonzero(cluster == number)
        values = np.sort(known.silhouette[own])[::-1]
        codes = y[own][y[own] >= 0]
        rows.append(
            ClusterRow(
                cluster=number,
                rows=len(own),
                share=len(own) / len(cluster),
                silhouette=float(values.mean()) if len(own) else None,
                nearest=numbers[own[np.argsort(known.inner[own], kind="stable")[:NEAREST]]].tolist(),
                labels=np.bincount(codes, minlength=len(labels)).tolist() if labels else [],
            )
        )
        shown = np.unique(np.linspace(0, len(values) - 1, min(MAX_BARS, len(values))).astype(np.int64))
        silhouettes.append(values[shown].tolist() if len(values) else [])
    drawn = np.sort(np.random.default_rng(seed).permutation(len(cluster))[:MAX_POINTS])
    points = [(float(known.x[i]), float(known.y[i]), int(cluster[i])) for i in drawn]
    named = [str(label) for label in labels or ()]
    return ClusterCard(rows=rows, labels=named, silhouettes=silhouettes, points=points)
