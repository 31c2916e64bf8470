"""The network of ``forecast_rnn``, and what it gives to the training loop. Imports torch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from hybrid_ray.training.loop import Learner, Step
from hybrid_ray.types import AnyArray, FloatArray


class RecurrentForecast(nn.Module):
    """All steps at once: a recurrent network over seasons, and a linear one over steps.

    Parameters
    ----------
    window, horizon, season, hidden : int
        The window holds whole seasons.
    cell : {"lstm", "gru"}
    """

    def __init__(self, window: int, horizon: int, season: int, hidden: int, cell: Literal["lstm", "gru"]) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.season = season
        self.recurrent = kind(season, hidden, batch_first=True)
        self.head = nn.Linear(hidden, horizon)
        self.linear = nn.Linear(window, horizon)
        # It begins as the seasonal naive forecast, and the recurrent part with nothing to say.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            for step in range(horizon):
                self.linear.weight[step, window - season + step % season] = 1.0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Steps (k, horizon) of windows (k, window)."""
        states, _ = self.recurrent(windows.view(len(windows), -1, self.season))
        told: torch.Tensor = self.head(states[:, -1]) + self.linear(windows)
        return told


class WindowLearner(Learner):
    """Teaches a network what followed windows.

    Parameters
    ----------
    net : Module
        On its device.
    windows : ndarray float32 (n, window)
    after : ndarray float32 (n, horizon)
    weights : ndarray float32 (n,)
        What turns errors into those of MASE.
    """

    def __init__(self, net: nn.Module, windows: FloatArray, after: FloatArray, weights: FloatArray) -> None:
        self.net, self.rows = net, len(windows)
        self._device = next(iter(net.parameters())).device
        self._parts = tuple(torch.from_numpy(part) for part in (windows, after, weights))

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """Of a worker's rows."""
        return self._losses(whole, step.rows[step.own])

    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The same, of rows that are held out."""
        return self._losses(self.net, rows)

    def _losses(self, net: nn.Module, rows: AnyArray) -> torch.Tensor:
        windows, after, weights = (part[torch.from_numpy(rows)].to(self._device) for part in self._parts)
        return (net(windows) - after).abs().mean(dim=1) * weights
