import numpy as np
import pytest

from hybrid_ray.estimators.models.forecasts import ForecastPool, Told
from hybrid_ray.forecasts import HEAD, LEVEL, REST, SCALE


def rows(errors, n=400, h=4, seed=0, level=1000.0):
    """What forecasters with these errors, (k,) or (n, k), say; and what came."""
    rng = np.random.default_rng(seed)
    spread = np.broadcast_to(np.asarray(errors, float), (n, np.shape(errors)[-1]))
    scale, came = rng.uniform(1, 9, (n, 1)), rng.normal(size=(n, h))
    blocks = [np.concatenate([own[:, None], came + own[:, None] * rng.normal(size=(n, h))], axis=1) for own in spread.T]
    X = np.concatenate([np.full((n, 1), level), np.zeros((n, 1)), scale, *blocks], axis=1).astype(np.float32)
    return X, level + scale * came


def missed(model, X, y):
    return (np.abs(model.predict(X) - y) / X[:, [SCALE]]).mean()


def test_one_forecaster_is_itself():
    X, y = rows([0.5])
    model = ForecastPool().fit(X, y)
    np.testing.assert_allclose(model.predict(X), X[:, :1] + X[:, [SCALE]] * X[:, HEAD:].astype(float), rtol=1e-6)


def test_what_float32_leaves_of_a_level_counts():
    X, y = rows([0.5], level=0.0)
    far = X.copy()
    far[:, LEVEL], far[:, REST] = np.float32(3e9), 50.0
    own, moved = (ForecastPool().fit(each, came).predict(each) for each, came in ((X, y), (far, y + 3e9 + 50)))
    np.testing.assert_allclose(moved - 3e9 - 50, own, atol=1e-4)


def test_weights_find_the_better_forecaster():
    X, y = rows([0.2, 2.0, 2.0])
    fresh, truth = rows([0.2, 2.0, 2.0], seed=1)
    model = ForecastPool(own=False, penalty=0.0).fit(X, y)
    assert model.shares_[0, 0] > 0.9
    assert missed(model, fresh, truth) < 0.6 * missed(ForecastPool(combine="mean").fit(X, y), fresh, truth)


def test_weights_of_a_row_follow_its_own_back_test():
    def mixed(seed):
        good = np.random.default_rng(seed).random(600) < 0.5
        return rows(np.where(good[:, None], [0.2, 2.0], [2.0, 0.2]), n=600, seed=seed)

    (X, y), (fresh, truth) = mixed(0), mixed(1)
    own, alike = (ForecastPool(own=own, penalty=1e-4).fit(X, y) for own in (True, False))
    assert own.trust_[0] > 0.5
    assert alike.trust_[0] == 0
    assert missed(own, fresh, truth) < 0.5 * missed(alike, fresh, truth)


def test_segments_have_weights_of_their_own():
    X, y = rows([0.3, 0.3])
    X[:, 4:6] += 3.0  # the first forecaster is off in the early steps
    X[:, 11:13] += 3.0  # the second in the late ones
    model = ForecastPool(segments=2, own=False, penalty=0.0).fit(X, y)
    assert model.shares_[0, 0] < 0.2
    assert model.shares_[1, 0] > 0.8


def test_a_penalty_pulls_weights_together():
    X, y = rows([0.2, 2.0])
    model = ForecastPool(own=False, penalty=100.0).fit(X, y)
    np.testing.assert_allclose(model.shares_[0], 0.5, atol=0.01)


def test_forecasters_that_were_not_tested_count_as_the_mean():
    X, _ = rows([0.5, 1.0, 2.0], n=3)
    X[0, [3, 8, 13]] = -1
    X[1, 3] = -1
    told = Told.of(X, 4)
    np.testing.assert_array_equal(told.doubts[0], 0)
    assert told.doubts[1, 0] == 0
    assert told.doubts[1, 1] == -told.doubts[1, 2]


def test_a_row_without_a_history_has_an_answer():
    X, y = rows([0.5, 1.0])
    model = ForecastPool().fit(X, y)
    assert np.isfinite(model.predict(np.zeros_like(X[:2]))).all()


def test_columns_that_are_no_forecasts_are_refused():
    X, y = rows([0.5])
    with pytest.raises(ValueError, match=r"X must hold 3 \+ k x 5 columns"):
        ForecastPool().fit(X[:, :-1], y)
