import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from hybrid_ray.estimators.models.bayes import BayesClassifier
from hybrid_ray.estimators.models.linear import LinearClassifier, LinearRegressor
from hybrid_ray.estimators.models.neighbours import NeighbourClassifier, NeighbourRegressor, directed
from hybrid_ray.estimators.models.network import FEW_EPOCHS, NetworkClassifier, NetworkRegressor
from hybrid_ray.estimators.models.resample import hold_out


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(int) + (X[:, 1] > 0.5)


def test_logistic_regression_is_scikit_learns(rows):
    X, y = rows
    values = X.astype(np.float64)
    for codes in (y, (y > 0).astype(int)):
        theirs = LogisticRegression(C=0.5 / values.var(axis=0).sum()).fit(values, codes).predict_proba(values)
        np.testing.assert_allclose(LinearClassifier(C=0.5).fit(X, codes).predict_proba(X), theirs, atol=1e-9)


def test_a_logistic_fit_that_does_not_converge_is_used_without_a_warning(rows, recwarn):
    X, y = rows
    model = LinearClassifier(C=1e6, max_iter=2).fit(X, y)
    assert model.n_iter_ == 2
    assert not recwarn.list


def test_a_penalty_left_out_is_chosen_for_the_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 300))
    fresh = rng.normal(size=(4000, 300))
    clean, noisy = X[:, 0] + X[:, 1], X[:, 0] + rng.normal(0, 3, 400)
    assert LinearClassifier().fit(X[:, :2], clean > 0).C_ == 1000
    assert LinearClassifier().fit(X, noisy > 0).C_ < 1
    assert LinearRegressor().fit(X[:, :2], clean).alpha_ == pytest.approx(1e-3)
    assert LinearRegressor().fit(X, noisy).alpha_ > 3
    chosen = LinearRegressor().fit(X, noisy).predict(fresh)
    unpenalised = LinearRegressor(alpha=1e-3).fit(X, noisy).predict(fresh)
    assert np.mean((chosen - fresh[:, 0]) ** 2) < 0.5 * np.mean((unpenalised - fresh[:, 0]) ** 2)


@pytest.mark.parametrize("build", [lambda: LinearClassifier(C=2.0), lambda: LinearRegressor(alpha=0.3)])
def test_a_penalty_suits_any_number_and_any_scale_of_features(rows, build):
    X, y = rows

    def predict(model, rows):
        return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)

    alone = predict(build().fit(X, y > 0), X)
    for same in (np.tile(X, (1, 50)), X * 30, np.concatenate([X, np.ones_like(X)], axis=1)):
        np.testing.assert_allclose(predict(build().fit(same, y > 0), same), alone, atol=1e-3)
    assert np.isfinite(predict(build().fit(np.ones_like(X), y > 0), X)).all()


def test_ridge_stands_collinear_columns(rows, recwarn):
    X, _ = rows
    twice = np.concatenate([X, X], axis=1)
    model = LinearRegressor(alpha=1e-2).fit(twice, X[:, 0] * 2.0)
    np.testing.assert_allclose(model.predict(twice), X[:, 0] * 2.0, atol=1e-2)
    assert not recwarn.list


def test_uncalibrated_naive_bayes_is_scikit_learns(rows):
    X, y = rows
    theirs = GaussianNB(var_smoothing=0.1).fit(X.astype(np.float64), y).predict_proba(X.astype(np.float64))
    ours = BayesClassifier(var_smoothing=0.1, calibrate=False).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_calibration_saves_naive_bayes_from_dependent_features(rows):
    X, y = rows
    copies = np.tile(X[:, :1], (1, 60))
    codes = (y > 0).astype(int)
    losses = [
        -np.log(
            np.maximum(m.fit(copies[:200], codes[:200]).predict_proba(copies[200:])[np.arange(100), codes[200:]], 1e-15)
        ).mean()
        for m in (BayesClassifier(), BayesClassifier(calibrate=False))
    ]
    assert losses[0] < 0.6 < 1.5 < losses[1]


def test_neighbours_vote_with_the_class_shares_beside_them():
    X = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    model = NeighbourClassifier(n_neighbors=2, weights="uniform", smoothing=1.0).fit(X, [0, 0, 1, 1])
    np.testing.assert_allclose(model.predict_proba(np.array([[0.4]], np.float32)), [[2.5 / 3, 0.5 / 3]])


def test_a_row_that_was_seen_decides_by_distance():
    X = np.array([[0.0], [1.0], [2.0]], np.float32)
    model = NeighbourRegressor(n_neighbors=3, weights="distance").fit(X, [5.0, 1.0, 1.0])
    np.testing.assert_allclose(model.predict(X[:1]), 5.0, atol=1e-4)
    same = NeighbourRegressor(n_neighbors=3).fit(np.zeros((3, 1), np.float32), [1.0, 2.0, 6.0])
    np.testing.assert_allclose(same.predict(np.zeros((1, 1), np.float32)), 3.0)


def test_more_neighbours_than_rows_are_all_rows():
    X = np.arange(4, dtype=np.float32)[:, None]
    assert NeighbourRegressor(n_neighbors=50, weights="uniform").fit(X, [1.0, 2, 3, 6]).predict(X)[0] == 3.0


def test_cosine_compares_directions():
    X = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    model = NeighbourClassifier(n_neighbors=1, metric="cosine").fit(X, [0, 1])
    assert model.predict(np.array([[100.0, 1.0], [0.001, 0.01]], np.float32)).tolist() == [0, 1]
    assert np.isfinite(directed(np.zeros((1, 2), np.float32), "cosine")).all()


def test_a_network_keeps_its_best_epoch(rows):
    X, _ = rows
    noise = np.random.default_rng(5).integers(2, size=300)
    _, held = hold_out(300, noise, 0.15, 0)
    # Labels are noise, which 64 units learn by heart: later epochs are ever worse on other rows.
    patient = NetworkClassifier(hidden=64, learning_rate=0.01, alpha=0.0, patience=80, max_epochs=80).fit(X, noise)
    loss = -np.log(patient.predict_proba(X)[held, noise[held]]).mean()
    assert 0.6 < loss < 0.75
    quick = NetworkClassifier(hidden=64, learning_rate=0.01, alpha=0.0, patience=5, max_epochs=80).fit(X, noise)
    assert quick.n_iter_ < 40 < patient.n_iter_


def test_few_rows_train_a_fixed_number_of_epochs(rows):
    X, _ = rows
    long, set_ = (NetworkRegressor(hidden=8, max_epochs=e).fit(X[:30], X[:30, 0]) for e in (500, FEW_EPOCHS))
    np.testing.assert_array_equal(long.predict(X), set_.predict(X))


def test_layers_are_as_deep_and_wide_as_asked(rows):
    X, y = rows
    model = NetworkClassifier(hidden=7, depth=3, max_epochs=3).fit(X, y)
    assert [w.shape for w, _ in model.layers_] == [(4, 7), (7, 7), (7, 7), (7, 3)]
