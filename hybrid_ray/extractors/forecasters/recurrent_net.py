"""The network of ``forecast_rnn``, and what it gives to the training loop. Imports torch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from hybrid_ray.training.loop import Learner, Step
from hybrid_ray.training.rows import hold_out
from hybrid_ray.types import AnyArray, FloatArray


class RecurrentForecast(nn.Module):
    """All steps at once: a recurrent network over seasons, and a linear one over steps.

    Parameters
    ----------
    window, horizon, season, hidden : int
        The window holds whole seasons.
    cell : {"lstm", "gru"}
    n_known, n_beside : int
        Covariates that are known ahead, and all.
    """

    def __init__(
        self,
        window: int,
        horizon: int,
        season: int,
        hidden: int,
        cell: Literal["lstm", "gru"],
        n_known: int = 0,
        n_beside: int = 0,
    ) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.season, self.window, self.n_known = season, window, n_known
        self.recurrent = kind(season * (1 + n_beside), hidden, batch_first=True)
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
        # Made last: a network without covariates begins with the numbers that it always did.
        if n_known:
            last = nn.Linear(hidden, 1)
            self.curved = nn.Sequential(nn.Linear(hidden + 2 * n_known, hidden), nn.ReLU(), last)
            self.straight = nn.Linear(2 * n_known, 1, bias=False)
            for silent in (*last.parameters(), *self.straight.parameters()):
                nn.init.zeros_(silent)

    def forward(self, windows: torch.Tensor, beside: torch.Tensor | None = None) -> torch.Tensor:
        """Steps (k, horizon) of windows (k, window), and of covariates (k, window + horizon, n_beside)."""
        seasons = windows.view(len(windows), -1, self.season)
        if beside is not None:
            seen = beside[:, : self.window].reshape(len(windows), seasons.shape[1], -1)
            seasons = torch.cat([seasons, seen], dim=2)
        states, _ = self.recurrent(seasons)
        told: torch.Tensor = self.head(states[:, -1]) + self.linear(windows)
        return told if beside is None or not self.n_known else told + self._driven(states[:, -1], beside)

    def _driven(self, state: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        """What known covariates add to each step (k, horizon)."""
        ahead = beside[:, self.window :, : self.n_known]
        steps = torch.arange(ahead.shape[1], device=beside.device)
        last = beside[:, self.window - self.season + steps % self.season, : self.n_known]
        told = torch.cat([ahead, ahead - last], dim=2)
        known = torch.cat([state[:, None].expand(-1, ahead.shape[1], -1), told], dim=2)
        driven: torch.Tensor = (self.curved(known) + self.straight(told)).squeeze(2)
        return driven


class WindowLearner(Learner):
    """Teaches a network what followed windows.

    Parameters
    ----------
    net : Module
        On its device.
    of : ndarray of int (n,)
        Row of the training whose history each window is of.
    windows : ndarray float32 (n, window)
    after : ndarray float32 (n, horizon)
    weights : ndarray float32 (n,)
        What turns errors into those of MASE.
    *beside : ndarray float32 (n, window + horizon, k)
        Covariates, where there are any.
    """

    def __init__(
        self,
        net: nn.Module,
        of: AnyArray,
        windows: FloatArray,
        after: FloatArray,
        weights: FloatArray,
        *beside: FloatArray,
    ) -> None:
        self.net, self.rows, self._of = net, len(windows), of
        self._device = next(iter(net.parameters())).device
        self._parts = tuple(torch.from_numpy(part) for part in (windows, after, weights, *beside))

    def hold_out(self, seed: int, groups: AnyArray | None) -> tuple[AnyArray, AnyArray]:
        """Windows of whole histories, as most of one overlap, or of whole groups; of one or two histories any.

        Rows of one series at several origins are histories of their own: held out together, a few whole series end
        trainings too soon (M3 monthly: MASE 1.02 instead of 0.99, mean of three seeds).
        """
        if groups is not None:
            return hold_out(None, self.rows, seed, groups[self._of])
        kept, held = hold_out(None, self.rows, seed, self._of)
        return (kept, held) if len(held) else hold_out(None, self.rows, seed)

    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """Of a worker's rows."""
        return self._losses(whole, step.rows[step.own])

    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The same, of rows that are held out."""
        return self._losses(self.net, rows)

    def _losses(self, net: nn.Module, rows: AnyArray) -> torch.Tensor:
        windows, after, weights, *beside = (part[torch.from_numpy(rows)].to(self._device) for part in self._parts)
        return (net(windows, *beside) - after).abs().mean(dim=1) * weights
