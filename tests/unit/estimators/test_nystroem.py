import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC, LinearSVR

from hybrid_ray.estimators.models import nystroem
from hybrid_ray.estimators.models.kernel import KernelClassifier
from hybrid_ray.estimators.models.linear import LinearClassifier, total_variance
from hybrid_ray.estimators.models.nystroem import LandmarkClassifier, LandmarkRegressor


def rings(n, seed=0, classes=3):
    """Classes at distances from the middle: no line tells them apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    reach = 1.0 + y + 0.25 * rng.normal(size=n)
    return np.column_stack([reach * np.cos(angle), reach * np.sin(angle)]).astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 3])
def test_decisions_are_those_of_scikit_learns_pipeline(classes):
    X, y = rings(300, classes=classes)
    gamma = 2.0 / total_variance(X.astype(np.float64))
    mapping = Nystroem(kernel="rbf", gamma=gamma, n_components=50, random_state=5)
    pipeline = make_pipeline(mapping, LinearSVC(C=0.7, dual=False, random_state=5)).fit(X.astype(np.float64), y)
    ours = LandmarkClassifier(C=0.7, gamma=2.0, n_landmarks=50, random_state=5).fit(X, y)
    wanted = pipeline.decision_function(X.astype(np.float64))
    np.testing.assert_allclose(ours._decisions(X).squeeze(), wanted, atol=1e-6)


def test_values_are_those_of_scikit_learns_pipeline():
    X, y = rings(300)
    target = y + 0.1 * X[:, 0]
    scaled = (target - target.mean()) / target.std()
    mapping = Nystroem(kernel="rbf", gamma=2.0 / total_variance(X.astype(np.float64)), n_components=50, random_state=5)
    machine = LinearSVR(epsilon=0.1, loss="squared_epsilon_insensitive", dual=False, random_state=5)
    pipeline = make_pipeline(mapping, machine).fit(X.astype(np.float64), scaled)
    ours = LandmarkRegressor(gamma=2.0, n_landmarks=50, random_state=5).fit(X, target)
    wanted = pipeline.predict(X.astype(np.float64)) * target.std() + target.mean()
    np.testing.assert_allclose(ours.predict(X), wanted, atol=1e-6)


def test_it_is_near_the_whole_kernel_and_far_above_a_line():
    X, y = rings(1200)
    fresh, truth = rings(600, seed=1)
    losses = {
        model: log_loss(truth, model.fit(X, y).predict_proba(fresh))
        for model in (LandmarkClassifier(n_landmarks=100), KernelClassifier(), LinearClassifier())
    }
    landmarks, kernel, line = losses.values()
    assert landmarks < kernel + 0.05
    assert landmarks < 0.3 * line


def test_rows_are_predicted_in_chunks(monkeypatch):
    X, y = rings(100)
    model = LandmarkClassifier(n_landmarks=20).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr(nystroem, "_CHUNK", 7)
    np.testing.assert_allclose(model.predict_proba(X), whole, atol=1e-12)
