"""Distances between rows; imports numpy only."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray


def squared_distances(X: AnyArray, centres: AnyArray) -> AnyArray:
    """Squared Euclidean distances float64 (n, k) of rows (n, d) to others (k, d), never below 0."""
    wide, to = np.asarray(X, np.float64), np.asarray(centres, np.float64)
    lengths = np.einsum("ij,ij->i", wide, wide)[:, None] + np.einsum("ij,ij->i", to, to)
    found: AnyArray = np.maximum(lengths - 2.0 * (wide @ to.T), 0.0)
    return found
