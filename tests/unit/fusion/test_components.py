import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage

from hybrid_ray.fusion import components
from hybrid_ray.fusion.components import principal_axes


def centred(n, d, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    k = rank or min(n, d)
    spectrum = 0.8 ** np.arange(k)
    X = (rng.normal(size=(n, k)) * spectrum) @ np.linalg.qr(rng.normal(size=(d, k)))[0].T
    return (X - X.mean(axis=0)).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(200, 20), (20, 200), (50, 50)])
def test_axes_are_those_of_a_singular_value_decomposition(n, d):
    X = centred(n, d)
    axes = principal_axes(X, 6, seed=0)
    _, _, expected = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs((axes * expected[:6]).sum(axis=1)), 1.0, atol=1e-3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(6), atol=1e-5)
    assert axes.dtype == np.float32


def test_the_randomised_way_keeps_as_much_variance_as_the_exact_one(monkeypatch):
    X = centred(400, 300, rank=120)
    exact = principal_axes(X, 10, seed=0)
    monkeypatch.setattr(components, "EXACT_SIZE", 50)
    quick = principal_axes(X, 10, seed=0)
    assert not np.array_equal(quick, exact)
    np.testing.assert_allclose(np.square(X @ quick.T).sum(), np.square(X @ exact.T).sum(), rtol=1e-4)
    np.testing.assert_array_equal(principal_axes(X, 10, seed=0), quick)


def test_the_largest_loading_is_positive():
    axes = principal_axes(centred(100, 12), 5, seed=0)
    flipped = principal_axes(-centred(100, 12), 5, seed=0)
    assert (axes[np.arange(5), np.abs(axes).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(flipped, axes, atol=1e-5)


def test_components_beyond_the_rank_are_zero_or_orthonormal():
    for n, d in ((60, 8), (8, 60)):
        axes = principal_axes(centred(n, d, rank=3), 6, seed=0)
        assert np.isfinite(axes).all()
        norms = np.linalg.norm(axes, axis=1)
        np.testing.assert_allclose(norms[:3], 1.0, atol=1e-4)
        assert (np.isclose(norms, 1.0, atol=1e-3) | (norms == 0)).all()


def test_no_components_are_no_axes():
    assert principal_axes(np.zeros((0, 7), np.float32), 0, seed=0).shape == (0, 7)


@pytest.mark.parametrize(("n", "d"), [(60, 300), (300, 60), (7, 7), (2, 5), (40, 1)])
def test_the_share_of_shrinkage_is_that_of_scikit_learn(n, d):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d)
    X -= X.mean(axis=0)
    expected = ledoit_wolf_shrinkage(X.astype(np.float32).astype(np.float64), assume_centered=True)
    assert components._ledoit_wolf(X.astype(np.float32)) == pytest.approx(expected, abs=1e-12)
