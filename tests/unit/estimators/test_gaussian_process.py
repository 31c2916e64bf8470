import warnings

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.metrics import log_loss, r2_score

from hybrid_ray.estimators.models.gaussian_process import ProcessClassifier, ProcessRegressor
from hybrid_ray.estimators.models.linear import total_variance


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    curve = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
    return X, (curve > 0).astype(int) + (curve > 1), 100 + 20 * (curve + 0.2 * rng.normal(size=200))


@pytest.mark.parametrize("max_iter", [0, 30])
def test_values_are_scikit_learns(rows, max_iter):
    X, _, y = rows
    wide = X.astype(np.float64)
    length = np.sqrt(0.5 * total_variance(wide))
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(length, (1e-2 * length, 1e2 * length))
    kernel = kernel + WhiteKernel(0.3, (1e-4, 1e1))
    theirs = GaussianProcessRegressor(kernel, optimizer="fmin_l_bfgs_b" if max_iter else None, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(wide, y)
    ours = ProcessRegressor(max_iter=max_iter).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(wide), rtol=1e-3)


def test_the_marginal_likelihood_finds_width_and_noise(rows):
    X, _, y = rows
    found = ProcessRegressor(gamma=0.01, noise=3.0).fit(X[:140], y[:140])
    left = ProcessRegressor(gamma=0.01, noise=3.0, max_iter=0).fit(X[:140], y[:140])
    scores = [r2_score(y[140:], model.predict(X[140:])) for model in (found, left)]
    assert scores[0] > 0.8 > scores[1] + 0.2


@pytest.mark.parametrize("classes", [2, 3])
def test_latent_means_decide_as_scikit_learns_do(rows, classes):
    X, y, _ = rows
    y = np.minimum(y, classes - 1)
    wide = X.astype(np.float64)
    kernel = ConstantKernel(9.0) * RBF(np.sqrt(0.5 * total_variance(wide)))
    theirs = GaussianProcessClassifier(kernel, optimizer=None).fit(wide, y)
    ours = ProcessClassifier().fit(X, y)
    assert (ours.predict(X) == theirs.predict(wide)).mean() > 0.97
    assert np.abs(ours.predict_proba(X) - theirs.predict_proba(wide)).mean() < 0.1


def test_probabilities_are_calibrated(rows):
    X, y, _ = rows
    proba = ProcessClassifier().fit(X[:140], y[:140]).predict_proba(X[140:])
    prior = np.tile(np.bincount(y[:140]) / 140, (60, 1))
    assert log_loss(y[140:], proba) < 0.6 * log_loss(y[140:], prior)
