"""The training of a tuned extractor, the same on one worker and on several. Imports torch.

Every worker goes through the same batches in the same order and takes its share of each: gradients are those of the
whole batch, so that the number of workers changes results by rounding only. What is random (order, dropout, changed
rows) is drawn for the whole batch from the seed, the pass and the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hybrid_ray.extractors._cnn_net import hold_out
from hybrid_ray.extractors._tuned import ACTIVATIONS, Tuning
from hybrid_ray.extractors._tuned_net import adapters, with_adapters
from hybrid_ray.extractors.items import FILLED
from hybrid_ray.types import AnyArray, Prepared, State

_MIN_STEPS = 16
"""Steps a pass that few rows are divided into, at least."""
_PROBED = 1024
"""Rows that the head is fitted to before anything is tuned."""
_WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
_MAX_NORM = 1.0
"""Norm that gradients are cut to."""
_SCORED = 64
"""Rows of a step that only measures."""


class Team:
    """How workers of one training work together; by itself, a team of one."""

    rank = 0
    size = 1

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network whose gradients are the mean over all workers."""
        return net

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all workers."""
        return values


class Checkpoints(Protocol):
    """Where a training that is cut off is taken up again."""

    def load(self) -> State | None:
        """What was saved last, whole; None when nothing was."""

    def save(self, state: State) -> None:
        """Keep a state in place of the last one."""


class Inputs(NamedTuple):
    """Some rows as the network takes them.

    Attributes
    ----------
    cells : tuple of Tensor
        Of the filled cells, as ``Split.collate`` gives them.
    places : Tensor of int64
        Where each stands among rows x columns.
    rows : int
    """

    cells: tuple[torch.Tensor, ...]
    places: torch.Tensor
    rows: int


class TunedNet(nn.Module):
    """The upper part with its low-rank matrices, and a head over the vectors of a row's columns.

    Parameters
    ----------
    top : Module
    n_columns, width : int
    n_outputs : int
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, top: nn.Module, n_columns: int, width: int, n_outputs: int) -> None:
        super().__init__()
        self.top = top
        self.n_columns, self.width = n_columns, width
        self.head = nn.Linear(n_columns * width, n_outputs)
        self.register_buffer("shift", torch.zeros(n_columns * width))
        self.register_buffer("scale", torch.ones(n_columns * width))

    def vectors(self, inputs: Inputs) -> torch.Tensor:
        """Vectors (k, n_columns * width) of rows, zeros where a cell is empty."""
        found = self.top(*inputs.cells)
        placed = found.new_zeros(inputs.rows * self.n_columns, self.width)
        return placed.index_copy(0, inputs.places, found).view(inputs.rows, -1)

    def forward(self, inputs: Inputs, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Outputs (k, n_outputs); ``keep`` (k, n_columns * width) multiplies the features: dropout."""
        hidden = (self.vectors(inputs) - self.shift) * self.scale
        outputs: torch.Tensor = self.head(hidden if keep is None else hidden * keep)
        return outputs


class _Feed:
    """Rows of a training, from activations that are kept, or computed each time."""

    def __init__(self, training: Tuning) -> None:
        self._extractor = training.extractor
        n = len(training.target)
        prepared = Prepared(dict(training.arrays), np.ones(n, bool))
        self._arrays = self._extractor.kept(prepared).arrays
        self._seed = training.seed

    def __call__(self, rows: AnyArray, share: slice = slice(None), draw: tuple[int, int] | None = None) -> Inputs:
        """The share of some rows; with a draw (pass, step) they are changed as it says."""
        arrays = {name: array[rows] for name, array in self._arrays.items()}
        if draw is not None and self._extractor.augmented:
            arrays = self._changed(arrays, np.random.default_rng([self._seed, 1, *draw]))
        arrays = {name: array[share] for name, array in arrays.items()}
        found, filled = self._extractor.activations(arrays), arrays[FILLED]
        places = np.flatnonzero(filled)
        flat = found[ACTIVATIONS].reshape(filled.size, *found[ACTIVATIONS].shape[2:])[places]
        split = self._extractor.split()
        return Inputs(split.collate(flat), torch.from_numpy(places).to(split.device), len(filled))

    def _changed(self, arrays: dict[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        filled = arrays[FILLED]
        cells = np.flatnonzero(filled)
        items = {name: a.reshape(filled.size, *a.shape[2:]) for name, a in arrays.items() if name != FILLED}
        changed = self._extractor.augment({name: array[cells] for name, array in items.items()}, rng)
        placed = {name: array.copy() for name, array in items.items()}
        for name, array in changed.items():
            placed[name][cells] = array
        return {name: array.reshape(arrays[name].shape) for name, array in placed.items()} | {FILLED: filled}


@dataclass
class _Progress:
    """How far a training is.

    Attributes
    ----------
    done : int
        Passes done.
    best : float
        Smallest hold-out loss.
    worse : int
        Passes since then.
    kept : dict of str to Tensor
        The low-rank matrices of the best pass.
    """

    done: int = 0
    best: float = math.inf
    worse: int = 0
    kept: dict[str, torch.Tensor] | None = None

    def told(self, loss: float, weights: Mapping[str, torch.Tensor]) -> None:
        """One more pass; ``loss`` is NaN where nothing is held out: the last pass counts then."""
        self.done += 1
        if math.isnan(loss) or loss < self.best:
            self.best, self.worse = (self.best if math.isnan(loss) else loss), 0
            self.kept = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self.worse += 1


def train(training: Tuning, team: Team, checkpoints: Checkpoints | None = None) -> dict[str, AnyArray]:
    """Tune in place of one worker of a team; torch's generator must be seeded alike on all of them.

    Parameters
    ----------
    training : Tuning
        Its extractor is set up.
    team : Team
    checkpoints : Checkpoints, optional
        Written after each pass by the first worker, read by all at the start.

    Returns
    -------
    dict of str to ndarray
        The low-rank matrices of the pass with the smallest hold-out loss, by layer name with ``.A`` or ``.B``.
    """
    settings, split = training.extractor.params, training.extractor.split()
    target = torch.from_numpy(training.target).to(split.device)
    classes = training.target.dtype == np.int64
    kept, held = hold_out(training.target if classes else None, len(target), training.seed)
    feed = _Feed(training)
    top = with_adapters(split.top, split.targets, settings.rank, settings.alpha)
    net = TunedNet(top, len(training.extractor.columns), split.width, training.n_outputs).to(split.device)
    weights = adapters(net.top, split.targets)
    learning = [*weights.values(), *net.head.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=settings.lr, weight_decay=settings.weight_decay)
    progress = _Progress()
    saved = checkpoints.load() if checkpoints is not None else None
    if saved is None:
        _fit_head(net, feed, kept, training)
    else:
        progress = _restored(saved, net, weights, optimizer)
    whole = team.wrap(net)
    batch = int(np.clip(len(kept) // _MIN_STEPS, 1, settings.batch_size))
    batch = max(batch, min(8, settings.batch_size))
    steps = math.ceil(len(kept) / batch)
    while progress.done < settings.epochs and progress.worse < settings.patience:
        epoch = progress.done
        for step, rows in enumerate(_batches(kept, batch, training.seed, epoch)):
            _set_rate(optimizer, settings.lr, (epoch * steps + step) / (settings.epochs * steps))
            share = slice(team.rank, None, team.size)
            # A worker without a row takes part all the same: the others wait for its gradients.
            mine, weight = (rows[share], 1.0) if len(rows) > team.rank else (rows[:1], 0.0)
            inputs = feed(rows, share if weight else slice(0, 1), (epoch, step))
            keep = _keep(len(rows), net.shift, settings.dropout, training.seed, epoch, step)
            outputs = whole(inputs, keep[share if weight else slice(0, 1)])
            loss = _losses(outputs, target[mine], settings.label_smoothing).sum() * weight * team.size / len(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, _MAX_NORM)
            optimizer.step()
        progress.told(_held_loss(net, feed, held, target, team), weights)
        if checkpoints is not None and team.rank == 0:
            checkpoints.save(_state(progress, net, weights, optimizer))
    assert progress.kept is not None
    return {name: weight.cpu().numpy() for name, weight in progress.kept.items()}


def _batches(rows: AnyArray, size: int, seed: int, epoch: int) -> Iterator[AnyArray]:
    order = np.random.default_rng([seed, 0, epoch]).permutation(rows)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _set_rate(optimizer: torch.optim.Optimizer, most: float, done: float) -> None:
    """A learning rate that rises over the first steps and falls along a cosine; ``done`` is in [0, 1)."""
    falling = 0.5 * (1 + math.cos(math.pi * max(done - _WARM_UP, 0.0) / (1 - _WARM_UP)))
    for group in optimizer.param_groups:
        group["lr"] = most * (falling if done >= _WARM_UP else (done + 1e-3) / _WARM_UP)


def _keep(n: int, like: torch.Tensor, dropout: float, seed: int, epoch: int, step: int) -> torch.Tensor:
    """Factors (n, features) of dropout for a whole batch: the same whoever takes which rows."""
    stays = np.random.default_rng([seed, 2, epoch, step]).random((n, len(like)), np.float32) >= dropout
    return torch.from_numpy(stays / np.float32(1 - dropout)).to(like.device, like.dtype)


def _losses(outputs: torch.Tensor, target: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The loss (k,) of each row."""
    if target.dtype == torch.int64:
        return F.cross_entropy(outputs, target, label_smoothing=smoothing, reduction="none")
    return F.smooth_l1_loss(outputs[:, 0], target, reduction="none")


def _held_loss(net: TunedNet, feed: _Feed, held: AnyArray, target: torch.Tensor, team: Team) -> float:
    """The mean loss of the rows that are held out, each worker measuring its share; NaN when there are none."""
    total = torch.zeros((), dtype=torch.float64, device=target.device)
    with torch.no_grad():
        mine = held[team.rank :: team.size]
        for start in range(0, len(mine), _SCORED):
            rows = mine[start : start + _SCORED]
            total += _losses(net(feed(rows)), target[rows], 0.0).double().sum()
    return float(team.total(total)) / len(held) if len(held) else math.nan


def _fit_head(net: TunedNet, feed: _Feed, kept: AnyArray, training: Tuning) -> None:
    """Standardise the features and fit the head to them as they are, on some training rows: the same on all workers."""
    from sklearn.linear_model import LogisticRegression, Ridge

    rows = np.sort(np.random.default_rng([training.seed, 3]).permutation(kept)[:_PROBED])
    with torch.no_grad():
        found = [net.vectors(feed(rows[start : start + _SCORED])) for start in range(0, len(rows), _SCORED)]
    features = torch.cat(found).double()
    shift, spread = features.mean(dim=0), features.std(dim=0, correction=0)
    net.shift.copy_(shift)
    net.scale.copy_(1 / torch.where(spread > 1e-6, spread, 1.0))
    X = ((features - shift) * net.scale).cpu().numpy()
    y = training.target[rows]
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    if y.dtype != np.int64:
        ridge = Ridge(alpha=len(X) / 10).fit(X, y)
        _set_head(net, np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), [0])
        return
    if len(np.unique(y)) < 2:
        return
    logistic = LogisticRegression(C=0.01, max_iter=200).fit(X, y)
    W, b = logistic.coef_, logistic.intercept_
    if len(W) == 1:  # of two classes scikit-learn gives the second one's margin over the first
        W, b = np.concatenate([-W / 2, W / 2]), np.concatenate([-b / 2, b / 2])
    _set_head(net, W, b, [int(code) for code in logistic.classes_])


def _set_head(net: TunedNet, W: AnyArray, b: AnyArray, codes: list[int]) -> None:
    """Weights of the head for some of its outputs."""
    with torch.no_grad():
        net.head.weight[codes] = torch.from_numpy(np.asarray(W, np.float32)).to(net.head.weight.device)
        net.head.bias[codes] = torch.from_numpy(np.asarray(b, np.float32)).to(net.head.bias.device)


# ---------------------------------------------------------------------------------------------------- checkpoints


def _state(
    progress: _Progress, net: TunedNet, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> State:
    """All that the next pass depends on, without pickle."""
    assert progress.kept is not None
    tensors = {f"weights/{name}": weight for name, weight in weights.items()}
    tensors |= {f"kept/{name}": weight for name, weight in progress.kept.items()}
    tensors |= {f"head/{name}": tensor for name, tensor in _head(net).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    best = None if math.isinf(progress.best) else progress.best
    meta: dict[str, Any] = {"done": progress.done, "best": best, "worse": progress.worse}
    return State(meta, {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()})


def _restored(
    state: State, net: TunedNet, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> _Progress:
    """Put a state back; gives how far it was."""
    held = {name: torch.from_numpy(np.array(values)) for name, values in state.tensors.items()}
    device = net.shift.device
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(held[f"weights/{name}"])
        for name, tensor in _head(net).items():
            tensor.copy_(held[f"head/{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in held.items():
        area, _, rest = key.partition("/")
        if area == "optimizer":
            number, _, name = rest.partition("/")
            moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    kept = {name: held[f"kept/{name}"].to(device) for name in weights}
    best = math.inf if state.meta["best"] is None else float(state.meta["best"])
    return _Progress(int(state.meta["done"]), best, int(state.meta["worse"]), kept)


def _head(net: TunedNet) -> dict[str, torch.Tensor]:
    return {"weight": net.head.weight, "bias": net.head.bias, "shift": net.shift, "scale": net.scale}
