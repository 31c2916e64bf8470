import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import log_loss, r2_score

from hybrid_ray.estimators.models.boosted_network import (
    FEW_STAGES,
    BoostedNetworkClassifier,
    BoostedNetworkRegressor,
    _apply,
)
from hybrid_ray.estimators.models.linear import LinearClassifier, LinearRegressor


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 4)).astype(np.float32)
    curve = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2])
    return X, (curve > -0.5).astype(int) + (curve > 0.7), 50 + 10 * (curve + 0.2 * rng.normal(size=900))


def test_it_learns_what_no_linear_model_does(rows):
    X, y, values = rows
    booster, line = (
        BoostedNetworkClassifier(n_estimators=25).fit(X[:600], y[:600]),
        LinearClassifier().fit(X[:600], y[:600]),
    )
    assert log_loss(y[600:], booster.predict_proba(X[600:])) < 0.75 * log_loss(y[600:], line.predict_proba(X[600:]))
    scores = [
        r2_score(values[600:], model.fit(X[:600], values[:600]).predict(X[600:]))
        for model in (BoostedNetworkRegressor(n_estimators=25), LinearRegressor())
    ]
    assert scores[0] > 0.75 > scores[1] + 0.2


def test_each_network_lowers_the_loss_of_the_rows_it_learns_from(rows):
    X, y, _ = rows
    few = X[:60], y[:60]  # too few rows to hold any out: nothing stops the boosting
    models = [BoostedNetworkClassifier(n_estimators=n).fit(*few) for n in range(1, 6)]
    losses = [log_loss(few[1], model.predict_proba(few[0])) for model in models]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.05


def test_the_sum_is_one_wide_network(rows):
    X, y, _ = rows
    model = BoostedNetworkClassifier(n_estimators=5, hidden=7).fit(X[:60], y[:60])
    assert model.inner_.shape == (4, 5 * 7)
    assert model.outer_.shape == (5 * 7, 3)
    parts = [
        _apply((model.inner_[:, s], model.inner_offsets_[s], model.outer_[s], np.zeros(3)), X)
        for s in (slice(i * 7, (i + 1) * 7) for i in range(5))
    ]
    expected = log_softmax(np.sum(parts, axis=0) + model.outer_offsets_, axis=1)
    np.testing.assert_allclose(np.log(model.predict_proba(X)), expected, atol=1e-6)


def test_boosting_stops_where_held_out_rows_get_no_better(rows):
    X, _, _ = rows
    noise = np.random.default_rng(1).integers(3, size=900)
    model = BoostedNetworkClassifier(n_estimators=200, patience=3).fit(X, noise)
    assert model.n_iter_ < 40
    prior = log_loss(noise, np.tile(np.bincount(noise) / 900, (900, 1)))
    assert log_loss(noise, model.predict_proba(X)) < prior + 0.01
    few = BoostedNetworkClassifier(n_estimators=200).fit(X[:40], noise[:40])
    assert few.n_iter_ == FEW_STAGES
