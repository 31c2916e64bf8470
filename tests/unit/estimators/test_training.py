"""Training of networks: the network that is kept is the one that was scored."""

from __future__ import annotations

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from hybrid_ray.estimators.models.training import Training, train_network

N, D = 400, 5


class Exchange(Callback):
    """Changes the network after every epoch, as a fusion that exchanges columns does, and notes what was scored."""

    def __init__(self):
        self.scored = []

    def on_epoch_end(self, net, **kwargs):
        self.scored.append(net.history[-1, "valid_loss"])
        with torch.no_grad():
            net.module_.weight[0] += 1.0


def test_a_callback_that_changes_the_network_does_not_change_the_one_that_is_kept():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(N, D)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    train, held = np.arange(300), np.arange(300, N)
    torch.manual_seed(0)
    exchange = Exchange()
    training = Training("adamw", 1e-2, 0.0, "constant", 32, 6, 6)
    net, epochs = train_network(nn.Linear(D, 2), X, y, (train, held), training, callbacks=[("exchange", exchange)])
    assert epochs == len(exchange.scored) == 6
    with torch.no_grad():
        kept = nn.functional.cross_entropy(net(torch.from_numpy(X[held])), torch.from_numpy(y[held])).item()
    assert abs(kept - min(exchange.scored)) < 1e-6
