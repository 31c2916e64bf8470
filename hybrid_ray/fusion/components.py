"""Principal components of one block, by the cheapest exact or randomised way, with a fixed sign."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray, FloatArray

EXACT_SIZE = 768
"""Up to this size of the smaller Gram matrix all its eigenvectors are solved for."""
_OVERSAMPLE = 12
_ROUNDS = 4
_SHRINKAGE_ROWS = 5000
"""Rows that the shrinkage of a covariance is estimated on at most."""


def principal_axes(X: FloatArray, n_components: int, seed: int) -> FloatArray:
    """Axes float32 (n_components, d) of the largest variance of centred rows.

    Parameters
    ----------
    X : ndarray float32 (n, d)
        Centred.
    n_components : int
        At most min(n, d).
    seed : int
        Of the randomised range finder, used where min(n, d) is large and few components are wanted.

    Returns
    -------
    ndarray float32 (n_components, d)
        Orthonormal rows, largest variance first; the largest loading of each is positive, so that no library and no
        thread count decides the sign.

    References
    ----------
    Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.4.
    """
    if n_components == 0:
        return np.zeros((0, X.shape[1]), np.float32)
    smaller = min(X.shape)
    if smaller <= EXACT_SIZE or 4 * n_components > smaller:
        axes = _exact(X, n_components)
    else:
        axes = _randomised(X, n_components, seed)
    largest = np.abs(axes).argmax(axis=1)
    signs = np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)
    return (axes * signs[:, None]).astype(np.float32)


def whitened_axes(X: FloatArray, axes: FloatArray, shrinkage: float | None) -> FloatArray:
    """Axes float32 (k, d) along which centred rows have variances of 1, less what shrinkage takes.

    Parameters
    ----------
    X : ndarray float32 (n, d)
        Centred.
    axes : ndarray float32 (k, d)
        Principal axes of X.
    shrinkage : float or None
        Share of the mean variance of a column that the variances along the axes are mixed with; None: the estimate of
        Ledoit and Wolf.
    """
    if not len(X) or not len(axes):
        return axes
    variances = np.square(X @ axes.T, dtype=np.float64).mean(axis=0)
    equal = float(np.square(X, dtype=np.float64).mean())
    share = _ledoit_wolf(X) if shrinkage is None else shrinkage
    mixed = (1.0 - share) * variances + share * equal
    largest = float(mixed.max())
    # Where a block has a lower rank its last components are rounding noise, which must not be blown up.
    sure = variances > 1e-10 * max(float(variances.max()), 1e-30)
    factors = np.divide(np.sqrt(largest), np.sqrt(mixed), out=np.zeros_like(mixed), where=sure & (mixed > 0))
    scaled: FloatArray = (axes * factors[:, None]).astype(np.float32)
    return scaled


def zero_phase(axes: FloatArray) -> FloatArray:
    """Map float32 (d, d) that scales along whitened axes (k, d) and turns back; what no axis spans is left out."""
    lengths = np.linalg.norm(axes.astype(np.float64), axis=1)
    units = np.divide(axes, lengths[:, None], out=np.zeros(axes.shape), where=lengths[:, None] > 0)
    turned: FloatArray = (units.T @ axes).astype(np.float32)
    return turned


def _ledoit_wolf(X: FloatArray) -> float:
    """Share of shrinkage by Ledoit and Wolf, "A well-conditioned estimator for large covariance matrices" (2004).

    As ``sklearn.covariance.ledoit_wolf_shrinkage`` has it; but the squares of a covariance are summed over the smaller
    of both Gram matrices, so that it takes O(n d min(n, d)), which for few wide rows is a hundredth.
    """
    rows = X[:: -(-len(X) // _SHRINKAGE_ROWS)].astype(np.float64)
    n, d = rows.shape
    if n < 2:
        return 1.0
    squares = np.square(rows).sum(axis=1)
    mean = squares.sum() / (n * d)
    gram = rows @ rows.T if n < d else rows.T @ rows
    covariance = float(np.square(gram).sum()) / n**2
    distance = covariance / d - mean**2
    noise = min((np.square(squares).sum() / n - covariance) / (n * d), distance)
    return float(noise / distance) if noise > 0 else 0.0


def _exact(X: FloatArray, n_components: int) -> AnyArray:
    """By the eigenvectors of the smaller Gram matrix, in float64."""
    from scipy.linalg import eigh

    n, d = X.shape
    gram = (X.T @ X if d <= n else X @ X.T).astype(np.float64)
    size = len(gram)
    _, vectors = eigh(gram, subset_by_index=(size - n_components, size - 1))
    vectors = vectors[:, ::-1]
    if d <= n:
        axes: AnyArray = vectors.T
        return axes
    return _unit_rows(vectors.T @ X.astype(np.float64))


def _randomised(X: FloatArray, n_components: int, seed: int) -> AnyArray:
    """By subspace iteration from a seeded random start."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((X.shape[1], n_components + _OVERSAMPLE)).astype(np.float32)
    basis, _ = np.linalg.qr(X @ start)
    for _ in range(_ROUNDS):
        other, _ = np.linalg.qr(X.T @ basis)
        basis, _ = np.linalg.qr(X @ other)
    _, _, axes = np.linalg.svd((basis.T @ X).astype(np.float64), full_matrices=False)
    kept: AnyArray = axes[:n_components]
    return kept


def _unit_rows(rows: AnyArray) -> AnyArray:
    """Rows of length 1; rows of rounding noise, where the block has a lower rank, become 0."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    unit: AnyArray = np.where(length > 1e-6 * max(float(length.max()), 1e-30), rows / np.maximum(length, 1e-30), 0.0)
    return unit
