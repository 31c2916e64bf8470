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


@pytest.fixture
def watched(monkeypatch):
    """The networks that are trained, each with the rate of every epoch as ``rates``."""
    nets = []

    class Watched(training.NeuralNet):
        def on_train_begin(self, *given, **kwargs):
            super().on_train_begin(*given, **kwargs)
            self.rates = []
            nets.append(self)

        def on_epoch_end(self, *given, **kwargs):
            self.rates.append(self.optimizer_.param_groups[0]["lr"])
            super().on_epoch_end(*given, **kwargs)

    monkeypatch.setattr(training, "NeuralNet", Watched)
    return nets


KINDS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_what_it_is_called_and_learns(rows, optimizer, watched):
    X, y, _ = rows
    rate = {"adagrad": 5e-2, "sgd": 3e-2}.get(optimizer, 1e-2)
    head = small(optimizer=optimizer, learning_rate=rate, dropout=0.0).fit(X, y)
    assert log_loss(y, head.predict_proba(X)) < 0.6
    used = watched[0].optimizer_
    assert type(used) is KINDS[optimizer]
    given = used.param_groups[0]
    assert given["weight_decay"] == head.weight_decay
    momentum = (given.get("momentum", 0.0), given.get("nesterov", False))
    assert momentum == ((0.9, True) if optimizer == "sgd" else (0.0, False))


def plateau(losses, rate, wait):
    """Rates that are cut after more than so many epochs in a row without a gain."""
    rates, best, waited = [], np.inf, 0
    for loss in losses:
        rates.append(rate)
        gained = loss < best * (1 - 1e-4)
        best, waited = (loss, 0) if gained else (best, waited + 1)
        if waited > wait:
            rate, waited = 0.3 * rate, 0
    return rates


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_lowers_the_rate_as_it_says(rows, schedule, watched):
    X, y, _ = rows
    noise = np.random.default_rng(1).integers(3, size=len(y))  # nothing to learn: the plateau is reached at once
    small(schedule=schedule, max_epochs=9, patience=9).fit(X, noise)
    epochs = np.arange(9)
    expected = {
        "constant": np.full(9, 1e-2),
        "exponential": 1e-2 * 0.01 ** (epochs / 9),
        "cosine": 1e-2 * (1 + np.cos(np.pi * epochs / 9)) / 2,
        "step": 1e-2 * 0.3 ** (epochs // 3),
        "plateau": plateau(watched[0].history[:, "valid_loss"], 1e-2, wait=3),
    }
    np.testing.assert_allclose(watched[0].rates, expected[schedule], rtol=1e-6)
    assert (len(set(watched[0].rates)) == 1) == (schedule == "constant")


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
