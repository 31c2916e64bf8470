import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, r2_score

from hybrid_ray.estimators.models import head_net, training
from hybrid_ray.estimators.models.head import HeadClassifier, HeadRegressor
from hybrid_ray.estimators.models.linear import LinearClassifier
from hybrid_ray.estimators.models.network import forward
from hybrid_ray.estimators.neural_head import OPTIMIZERS, SCHEDULES


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    curve = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2])
    return X, (curve > -0.5).astype(int) + (curve > 0.7), 50 + 10 * (curve + 0.2 * rng.normal(size=600))


def small(**params):
    return HeadClassifier(**{"hidden": 32, "max_epochs": 25, "learning_rate": 1e-2, "batch_size": 32, **params})


def test_it_learns_what_no_linear_model_does(rows):
    X, y, values = rows
    head, line = small().fit(X[:450], y[:450]), LinearClassifier(C=1.0).fit(X[:450], y[:450])
    assert log_loss(y[450:], head.predict_proba(X[450:])) < 0.7 * log_loss(y[450:], line.predict_proba(X[450:]))
    regressor = HeadRegressor(hidden=32, max_epochs=40, learning_rate=1e-2, batch_size=32).fit(X[:450], values[:450])
    assert r2_score(values[450:], regressor.predict(X[450:])) > 0.7


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(rows, optimizer):
    X, y, _ = rows
    rate = {"adagrad": 5e-2, "sgd": 3e-2}.get(optimizer, 1e-2)
    head = small(optimizer=optimizer, learning_rate=rate, dropout=0.0).fit(X, y)
    assert log_loss(y, head.predict_proba(X)) < 0.6


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_lowers_the_rate_as_it_says(rows, schedule, monkeypatch):
    X, y, _ = rows
    rates = []

    class Watched(training.NeuralNet):
        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            rates.append(self.optimizer_.param_groups[0]["lr"])

    monkeypatch.setattr(training, "NeuralNet", Watched)
    noise = np.random.default_rng(1).integers(3, size=len(y))  # nothing to learn: the plateau is reached at once
    small(schedule=schedule, max_epochs=9, patience=9).fit(X, noise)
    assert len(rates) == 9
    assert rates == sorted(rates, reverse=True)
    assert (rates[-1] == rates[0]) == (schedule == "constant")


def test_folded_layers_answer_as_the_network_does():
    torch.manual_seed(0)
    net = head_net._Head(5, 3, head_net.Shape(hidden=8, depth=2, dropout=0.3, batch_norm=True))
    X = torch.randn(64, 5)
    for _ in range(5):
        net(X)  # moves the running means
    net.eval()
    with torch.no_grad():
        wanted = net(X).numpy()
    np.testing.assert_allclose(forward(head_net._folded(net), X.numpy()), wanted, atol=1e-5)


def test_training_stops_and_keeps_the_best_epoch(rows):
    X, _, _ = rows
    noise = np.random.default_rng(1).integers(3, size=600)
    head = small(hidden=256, dropout=0.0, max_epochs=200, patience=4, schedule="constant").fit(X, noise)
    assert head.n_iter_ < 60
    fresh = np.random.default_rng(2).normal(size=(500, 4)).astype(np.float32)
    assert log_loss(np.arange(500) % 3, head.predict_proba(fresh)) < 1.4  # overfitted to the end it is far above


def test_torch_is_left_as_it_was(rows):
    X, y, _ = rows
    torch.manual_seed(5)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    small(max_epochs=1).fit(X, y)
    torch.testing.assert_close(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_prediction_loads_no_torch():
    code = (
        "import sys; from hybrid_ray.plugins import load_plugins; from hybrid_ray.registry import ESTIMATORS;"
        "load_plugins(); ESTIMATORS.get('neural_head').models(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
