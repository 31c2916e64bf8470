"""The training of a network, the same on one worker and on several. Imports torch.

Every worker goes through the same batches in the same order and takes its share of each: gradients are those of the
whole batch, so that the number of workers changes results by rounding only. What is random (order, dropout, changed
rows) is drawn for the whole batch from the seed, the pass and the step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from hybrid_ray.errors import BadInputError
from hybrid_ray.training.rows import hold_out
from hybrid_ray.training.settings import Settings, rate
from hybrid_ray.types import AnyArray, State

_MIN_STEPS = 16
"""Steps a pass that few rows are divided into, at least."""
_MAX_NORM = 1.0
"""Norm that gradients are cut to."""
_ORDER, CHANGES, _DROPOUT, HEAD, _MORE = 0, 1, 2, 3, 16
"""Streams of what is random: the order of rows, changes to them, the first dropout, rows for a head; from the last one
on, further dropouts."""
SCORED = 64
"""Rows of a step that only measures."""
OPTIMIZERS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"fused": True}),
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
}
"""By name: the class, and what it is given beside rate and decay."""


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


class Step(NamedTuple):
    """One worker's part of a step.

    Attributes
    ----------
    rows : ndarray of int
        Of the whole batch.
    own : slice
        Which of them are this worker's.
    seeds : tuple of int
        Of all that is random in this step, whoever takes which rows: seed, pass, step.
    """

    rows: AnyArray
    own: slice
    seeds: tuple[int, int, int]

    def rng(self, stream: int) -> np.random.Generator:
        """Draws of one kind for the whole batch."""
        seed, epoch, step = self.seeds
        return np.random.default_rng([seed, stream, epoch, step])


class Learner(ABC):
    """A network, the rows that it learns from, and the loss of each.

    Attributes
    ----------
    net : Module
        On its device.
    rows : int
        How many there are.
    codes : ndarray of int64 (rows,) or None
        Classes, whose shares the hold-out keeps.
    """

    net: nn.Module
    rows: int
    codes: AnyArray | None = None

    @property
    def learning(self) -> Mapping[str, torch.Tensor]:
        """What is trained, by name, always in one order; default: every parameter of the network."""
        return dict(self.net.named_parameters())

    @property
    def constants(self) -> Mapping[str, torch.Tensor]:
        """What ``begin`` sets and a training that is taken up again must find; default: the network's buffers."""
        return dict(self.net.named_buffers())

    @property
    def kept(self) -> Mapping[str, torch.Tensor]:
        """What the training gives, of its best pass; default: all that is trained, and the constants."""
        return {**self.learning, **self.constants}

    def hold_out(self, seed: int, groups: AnyArray | None) -> tuple[AnyArray, AnyArray]:
        """Rows to learn from and rows that say when to stop, both sorted.

        Parameters
        ----------
        seed : int
        groups : ndarray of int or None
            Of the rows of the training: those of one number stay together. Default: they are the learner's own rows.
        """
        return hold_out(self.codes, self.rows, seed, groups)

    def begin(self, rows: AnyArray) -> None:  # noqa: B027 - an optional hook
        """Before the first pass, with the rows that are learned from: the same on every worker."""

    @abstractmethod
    def losses(self, whole: nn.Module, step: Step) -> torch.Tensor:
        """The loss (k,) of each of a worker's rows; ``whole`` is ``net`` as the team has wrapped it."""

    @abstractmethod
    def measured(self, rows: AnyArray) -> torch.Tensor:
        """The loss (k,) of rows that are held out, by which passes are compared; called without gradients."""


class Dropout(nn.Module):
    """Dropout of features (k, ...) of rows that a team draws for the whole batch; nothing outside a step.

    Parameters
    ----------
    share : float
        What is left out.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.step: Step | None = None
        self.stream = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What stays of x, scaled by what is left out."""
        if self.step is None or not self.share:
            return x
        return x * self.stays(self.step, x.shape[1:]).to(x.device, x.dtype)

    def stays(self, step: Step, shape: Sequence[int]) -> torch.Tensor:
        """Factors (rows, *shape) of a worker's rows of a step: 0 for what is left out."""
        drawn = step.rng(self.stream).random((len(step.rows), *shape), np.float32)
        return torch.from_numpy((drawn >= self.share)[step.own] / np.float32(1 - self.share))


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
    cuts : int
        Times that a plateau has cut the rate.
    kept : dict of str to Tensor
        What the best pass gives.
    """

    done: int = 0
    best: float = math.inf
    worse: int = 0
    cuts: int = 0
    kept: dict[str, torch.Tensor] | None = None

    def told(self, loss: float | None, weights: Mapping[str, torch.Tensor], wait: int) -> None:
        """One more pass; ``loss`` is None where nothing is held out: the last pass counts then.

        A pass that ends in weights that are no numbers is worse than any other.
        """
        self.done += 1
        sound = all(bool(weight.isfinite().all()) for weight in weights.values())
        if sound and (loss is None or loss < self.best):
            self.best, self.worse = (self.best if loss is None else loss), 0
            self.kept = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self.worse += 1
            self.cuts += self.worse % wait == 0


def train(
    learner: Learner,
    settings: Settings,
    seed: int,
    team: Team,
    checkpoints: Checkpoints | None = None,
    groups: AnyArray | None = None,
) -> dict[str, AnyArray]:
    """Train in place of one worker of a team; torch's generator must be seeded alike on all of them.

    Parameters
    ----------
    learner : Learner
    settings : Settings
    seed : int
        Of the hold-out and of all that is drawn.
    team : Team
    checkpoints : Checkpoints, optional
        Written after each pass by the first worker, read by all at the start.
    groups : ndarray of int (m,), optional
        Of the training's rows: those of one number are held out together.

    Returns
    -------
    dict of str to ndarray
        What the learner keeps, of the pass with the smallest hold-out loss.

    Raises
    ------
    BadInputError
        No pass ended in finite weights and a finite loss.
    """
    kept, held = learner.hold_out(seed, groups)
    learning = list(learner.learning.values())
    kind, options = OPTIMIZERS[settings.optimizer]
    optimizer = kind(learning, lr=settings.lr, weight_decay=settings.weight_decay, **options)
    saved = checkpoints.load() if checkpoints is not None else None
    if saved is None:
        learner.begin(kept)
        progress = _Progress()
    else:
        progress = _restored(saved, learner, optimizer)
    whole = team.wrap(learner.net)
    batch = int(np.clip(len(kept) // _MIN_STEPS, 1, settings.batch_size))
    batch = max(batch, min(8, settings.batch_size))
    steps = math.ceil(len(kept) / batch)
    while progress.done < settings.epochs and progress.worse < settings.patience:
        epoch = progress.done
        for number, rows in enumerate(_batches(kept, batch, seed, epoch)):
            now = rate(settings, (epoch * steps + number) / (settings.epochs * steps), progress.cuts)
            for group in optimizer.param_groups:
                group["lr"] = now
            # A worker without a row takes part all the same: the others wait for its gradients.
            working = len(rows) > team.rank
            own = slice(team.rank, None, team.size) if working else slice(0, 1)
            step = Step(rows if working else rows[:1], own, (seed, epoch, number))
            with drawing(learner.net, step), _precision(settings, learning[0].device):
                losses = learner.losses(whole, step)
            loss = losses.float().sum() * float(working) * team.size / len(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, _MAX_NORM)
            optimizer.step()
        progress.told(_held_loss(learner, held, team), learner.kept, settings.wait)
        if checkpoints is not None and team.rank == 0:
            checkpoints.save(_state(progress, learner, optimizer))
    if progress.kept is None:
        raise BadInputError(
            f"lr: must be so small that the training ends in finite weights; got {settings.lr:g}, with which no pass "
            f"of {progress.done} did. Lower it"
        )
    return {name: weight.cpu().numpy() for name, weight in progress.kept.items()}


def _batches(rows: AnyArray, size: int, seed: int, epoch: int) -> Iterator[AnyArray]:
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(rows)
    for start in range(0, len(order), size):
        yield order[start : start + size]


@contextmanager
def drawing(net: nn.Module, step: Step) -> Iterator[None]:
    """A block in which a network's dropouts draw for a step."""
    dropouts = [module for module in net.modules() if isinstance(module, Dropout)]
    for number, module in enumerate(dropouts):
        module.step, module.stream = step, _MORE + number if number else _DROPOUT
    yield
    for module in dropouts:
        module.step = None


def _precision(settings: Settings, device: torch.device) -> AbstractContextManager[Any]:
    if settings.mixed and device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _held_loss(learner: Learner, held: AnyArray, team: Team) -> float | None:
    """The mean loss of the rows that are held out, each worker measuring its share; None when there are none."""
    device = next(iter(learner.learning.values())).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad():
        mine = held[team.rank :: team.size]
        for start in range(0, len(mine), SCORED):
            total += learner.measured(mine[start : start + SCORED]).double().sum()
    return float(team.total(total)) / len(held) if len(held) else None


# ---------------------------------------------------------------------------------------------------- checkpoints


def _state(progress: _Progress, learner: Learner, optimizer: torch.optim.Optimizer) -> State:
    """All that the next pass depends on, without pickle."""
    tensors = {f"learning/{name}": tensor for name, tensor in learner.learning.items()}
    tensors |= {f"constants/{name}": tensor for name, tensor in learner.constants.items()}
    tensors |= {f"kept/{name}": tensor for name, tensor in (progress.kept or {}).items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items() if tensor is not None}
    best = None if math.isinf(progress.best) else progress.best
    meta: dict[str, Any] = {"done": progress.done, "best": best, "worse": progress.worse, "cuts": progress.cuts}
    return State(meta, {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()})


def _restored(state: State, learner: Learner, optimizer: torch.optim.Optimizer) -> _Progress:
    """Put a state back; gives how far it was."""
    held = {name: torch.from_numpy(np.array(values)) for name, values in state.tensors.items()}
    with torch.no_grad():
        for area, tensors in (("learning", learner.learning), ("constants", learner.constants)):
            for name, tensor in tensors.items():
                tensor.copy_(held[f"{area}/{name}"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in held.items():
        area, _, rest = key.partition("/")
        if area == "optimizer":
            number, _, name = rest.partition("/")
            moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    kept = {
        name: held[f"kept/{name}"].to(tensor.device) for name, tensor in learner.kept.items() if f"kept/{name}" in held
    }
    best = math.inf if state.meta["best"] is None else float(state.meta["best"])
    return _Progress(int(state.meta["done"]), best, int(state.meta["worse"]), int(state.meta["cuts"]), kept or None)
