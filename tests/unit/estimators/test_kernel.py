import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.metrics import log_loss
from sklearn.svm import SVC, SVR

from hybrid_ray.estimators.models import kernel
from hybrid_ray.estimators.models.kernel import (
    KernelClassifier,
    KernelRegressor,
    KernelRows,
    kernel_matrix,
    pair_weights,
)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32), y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["rbf", "linear"])
def test_one_matrix_product_gives_libsvms_decisions(wine, n_classes, name):
    X, y = wine
    X, y = X[y < n_classes].astype(np.float64), y[y < n_classes]
    machine = SVC(C=2.0, kernel=name, gamma=0.1, decision_function_shape="ovo").fit(X, y)
    products = kernel_matrix(X, machine.support_vectors_, name, 0.1) @ pair_weights(machine, n_classes)
    sign = -1.0 if n_classes == 2 else 1.0
    expected = machine.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(products + sign * machine.intercept_, sign * expected, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_fitted_classifier_decides_as_libsvm_does(wine, n_classes):
    X, y = wine
    X, y = X[y < n_classes], np.minimum(y[y < n_classes], n_classes - 1)
    model = KernelClassifier(C=2.0, gamma=0.7).fit(X, y)
    gamma = float(model.gamma_[0])
    machine = SVC(C=2.0, gamma=gamma, decision_function_shape="ovo").fit(X.astype(np.float64), y)
    products = kernel_matrix(X.astype(np.float64), model.support_vectors_, "rbf", gamma) @ model.weights_
    expected = machine.decision_function(X.astype(np.float64)).reshape(len(X), -1)
    np.testing.assert_allclose(products + model.intercepts_, -expected if n_classes == 2 else expected, atol=1e-2)


def test_the_kernel_matrix_of_far_rows_has_no_rounding_below_zero():
    rows = np.full((3, 4), 1e4) + np.arange(3)[:, None] * 1e-4
    assert (kernel_matrix(rows, rows, "rbf", 1.0) <= 1.0).all()


def test_a_held_kernel_matrix_and_a_kernel_made_as_needed_agree(wine, monkeypatch):
    X, y = wine
    held = KernelClassifier(C=3.0, gamma=0.5).fit(X, y)
    values = KernelRegressor(C=3.0).fit(X[:, 1:], X[:, 0])
    monkeypatch.setattr(kernel, "GRAM_ROWS", 10)
    needed = KernelClassifier(C=3.0, gamma=0.5).fit(X, y)
    np.testing.assert_allclose(needed.predict_proba(X), held.predict_proba(X), atol=1e-3)
    again = KernelRegressor(C=3.0).fit(X[:, 1:], X[:, 0])
    np.testing.assert_allclose(again.predict(X[:, 1:]), values.predict(X[:, 1:]), atol=1e-2)


def test_probabilities_are_better_than_scikit_learns_own_calibration():
    from sklearn.calibration import CalibratedClassifierCV

    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32) / 16
    ours = KernelClassifier(C=3.0, random_state=0).fit(X[:600], y[:600])
    theirs = CalibratedClassifierCV(SVC(C=3.0), ensemble=False, cv=3).fit(X[:600], y[:600])
    assert log_loss(y[600:1200], ours.predict_proba(X[600:1200])) < log_loss(
        y[600:1200], theirs.predict_proba(X[600:1200])
    )


def test_gamma_is_relative_to_the_spread_of_the_rows(wine):
    X, _ = wine
    small, large = (KernelRows.make(X * factor, "rbf", 0.5) for factor in (1, 100))
    np.testing.assert_allclose(small.gram, large.gram, atol=1e-5)


def test_a_regressor_does_not_depend_on_the_unit_of_its_target(wine):
    X, _ = wine
    target = X[:, 0].astype(np.float64)
    plain = KernelRegressor(C=3.0).fit(X[:, 1:], target).predict(X[:, 1:])
    scaled = KernelRegressor(C=3.0).fit(X[:, 1:], 1e6 + 1e5 * target).predict(X[:, 1:])
    np.testing.assert_allclose((scaled - 1e6) / 1e5, plain, atol=1e-3)
    direct = SVR(C=3.0, gamma=KernelRegressor(C=3.0).fit(X[:, 1:], target).gamma_[0], epsilon=0.1)
    reference = direct.fit(X[:, 1:], (target - target.mean()) / target.std()).predict(X[:, 1:])
    np.testing.assert_allclose(plain, reference * target.std() + target.mean(), atol=1e-2)


def test_a_fit_that_runs_out_of_steps_is_used_without_a_warning(wine, recwarn):
    X, y = wine
    model = KernelClassifier(C=1e4, max_iter=5).fit(X, y)
    assert not recwarn.list
    assert model.n_iter_ <= 5
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
