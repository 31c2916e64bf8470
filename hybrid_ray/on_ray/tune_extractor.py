"""Trainings of extractors that can be resumed, and spread over several workers by Ray Train."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from hybrid_ray.errors import BadInputError, RunFailedError
from hybrid_ray.extractors.pace import Sparing
from hybrid_ray.on_ray.scratch import scratch
from hybrid_ray.on_ray.teams import STARTS, LostWorkersError, quietly, worker_fault
from hybrid_ray.plugins import load_plugins
from hybrid_ray.store.checkpoints import StoreCheckpoints
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from hybrid_ray.training.loop import Team

_MOST_FAILURES = 3
"""Deaths of workers that one training survives: each time it goes on from its last checkpoint."""


@dataclass(frozen=True)
class Here:
    """Conducts a training in this process, from its last checkpoint.

    Attributes
    ----------
    checkpoints : StoreCheckpoints or None
    device : str
    allowed_s : float or None
        Seconds that it may take; None: as long as it wants.
    """

    checkpoints: StoreCheckpoints | None
    device: str
    allowed_s: float | None = None

    def __call__(self, training: Any) -> dict[str, AnyArray]:
        """What was learned, by name.

        Raises
        ------
        TooSlowError
            It would take longer than it may.
        """
        run = training.run
        learned: dict[str, AnyArray] = run(
            self.device, checkpoints=_sparing(self.checkpoints), allowed_s=self.allowed_s
        )
        return learned


@dataclass(frozen=True)
class Further:
    """Conducts further trainings of one fit in this process, each from its last checkpoint.

    Attributes
    ----------
    checkpoints : StoreCheckpoints or None
        Of the fit.
    device : str
    """

    checkpoints: StoreCheckpoints | None
    device: str

    def __call__(self, name: str) -> Here:
        """Who conducts the training of a name."""
        return Here(None if self.checkpoints is None else self.checkpoints.of(name), self.device)


@dataclass(frozen=True)
class Known:
    """Conducts nothing: the training was carried out elsewhere.

    Attributes
    ----------
    learned : dict of str to ndarray
    """

    learned: dict[str, AnyArray]

    def __call__(self, training: Any) -> dict[str, AnyArray]:
        """What was learned, by name."""
        return self.learned


@dataclass(frozen=True)
class Spread:
    """Conducts a training on several workers of Ray Train; blocks until it is done.

    A worker that dies ends its team; a new team goes on from the last checkpoint.

    Attributes
    ----------
    checkpoints : StoreCheckpoints or None
    workers : int
    cpus, gpus : float
        Of one worker.
    """

    checkpoints: StoreCheckpoints | None
    workers: int
    cpus: float
    gpus: float = 0.0

    def __call__(self, training: Any) -> dict[str, AnyArray]:
        """What was learned, by name.

        Raises
        ------
        BadInputError
            The training cannot end well with these parameters or rows.
        RunFailedError
            Workers died too often or did not start; what was done is kept in the checkpoint.
        """
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError

        resources = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        # Rows lie in the object store once; all else of Ray Train's own is disposable, and goes with this folder.
        rows = ray.put(training.blank())
        with quietly(), scratch("hybrid_ray_train") as folder:
            trainer = TorchTrainer(
                _work,
                train_loop_config={"training": [rows], "checkpoints": self.checkpoints, "folder": os.getcwd()},
                scaling_config=ScalingConfig(
                    num_workers=self.workers, use_gpu=self.gpus > 0, resources_per_worker=resources
                ),
                run_config=RunConfig(
                    storage_path=str(folder),
                    failure_config=FailureConfig(max_failures=_MOST_FAILURES, controller_failure_limit=STARTS),
                ),
                torch_config=TorchConfig(backend="nccl" if self.gpus else "gloo"),
            )
            try:
                result = trainer.fit()
            except TrainingFailedError as error:
                fault = worker_fault(error, f"training of {training.extractor.name}")
                if isinstance(fault, LostWorkersError):
                    fault = RunFailedError(f"{fault}. What was done is kept: run again to go on")
                raise fault from error
        learned: dict[str, AnyArray] | BadInputError = result.return_value
        if isinstance(learned, BadInputError):
            raise learned
        return learned


def _work(config: dict[str, Any]) -> dict[str, AnyArray] | BadInputError:
    """What each worker does; the first one's answer is the training's.

    What is wrong with parameters or rows is an answer as well: Ray Train would take it for a death, and begin anew.
    """
    import ray.train.torch

    if os.path.isdir(config["folder"]):
        os.chdir(config["folder"])  # Ray Train has moved to a folder of its own, where no relative path leads anywhere
    load_plugins()
    training = ray.get(config["training"][0])
    device = ray.train.torch.get_device().type
    try:
        learned: dict[str, AnyArray] = training.run(device, _team(), _sparing(config["checkpoints"]))
    except BadInputError as error:
        return error
    return learned


def _sparing(checkpoints: StoreCheckpoints | None) -> Sparing | None:
    return Sparing(checkpoints) if checkpoints is not None else None


def _team() -> Team:
    """The workers of this training, as its loop sees them."""
    import ray.train.torch
    import torch
    from torch import nn

    from hybrid_ray.training.loop import Team

    class TrainTeam(Team):
        """Workers of Ray Train, joined by torch's collectives."""

        def __init__(self) -> None:
            context = ray.train.get_context()
            self.rank, self.size = context.get_world_rank(), context.get_world_size()

        def wrap(self, net: nn.Module) -> nn.Module:
            wrapped: nn.Module = ray.train.torch.prepare_model(net)
            return wrapped

        def total(self, values: torch.Tensor) -> torch.Tensor:
            if self.size > 1:
                torch.distributed.all_reduce(values)
            return values

    return TrainTeam()
