"""Ray Tune as the searches use it: actors that stay, nothing written that is read again.

Tune's own bookkeeping would cost a search more than its fits: an actor is thrown away whenever no trial is waiting for
it, which is what happens to all but one at the end of every batch. :class:`Lanes` keeps them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from hybrid_ray.on_ray.batches import GAIN, BatchSearch
from hybrid_ray.on_ray.resources import SearchResources
from hybrid_ray.on_ray.scratch import scratch
from hybrid_ray.quiet import quiet_optuna

START_S = 20.0
"""Longest wait for the other actors when the first one has its first answer."""
PARK_S = 0.05
"""Pause between two looks while an actor waits for the others."""

Work = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""JSON-able items of work to JSON-able answers."""


class Opens(Protocol):
    """What a worker needs, as it travels: picklable, with object references inside."""

    def open(self) -> Work:
        """Called once in each worker."""


class Lanes(FIFOScheduler):
    """Keeps one actor for each concurrent trial from the first trial to the last.

    Tune gives the actor that is free first to the next waiting trial and throws away the actor that was being started
    for it; trials that are shorter than the start of a process would then all run in one actor. So the first answers
    wait until every actor has started; and the cache of idle actors is made large enough for all.

    Parameters
    ----------
    lanes : int
        Trials at the same time.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self._lanes = lanes
        self._full = False
        self._first_answer: float | None = None
        self._cached = False

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """End the trial: a trial has one answer. In the beginning, hold it until all actors are there."""
        if not self._full:
            self._first_answer = self._first_answer or time.monotonic()
            waiting = any(other.status == "PENDING" for other in tune_controller.get_trials())
            self._full = not waiting or time.monotonic() - self._first_answer > START_S
        return str(TrialScheduler.STOP if self._full else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Make room for idle actors, once. A Tune that has no such cache starts actors anew, and works."""
        cache = getattr(tune_controller, "_actor_cache", None)
        if cache is not None and not self._cached:
            cache.increase_max(trial.placement_group_factory, self._lanes)
            self._cached = True


class Worker(tune.Trainable):
    """One actor of a search. A trial of Tune is one item of work, or several short ones, done in one step."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin with the first items; :class:`Supply` brings what is needed to do it."""
        self._context: Opens | None = None
        self._work: Work | None = None
        self._result: dict[str, Any] = {}
        self.reset_config(config)

    def attend(self, context: Opens) -> None:
        """Take what all trials share."""
        self._context = context

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next items."""
        self._items: list[dict[str, Any]] | None = json.loads(new_config["items"])
        return True

    def step(self) -> dict[str, Any]:
        """Do the items; asked again, give the same answers."""
        if self._items is None:
            time.sleep(PARK_S)
            return self._result
        if self._work is None:
            assert self._context is not None
            self._work = self._context.open()
        self._result = {GAIN: 0.0, "answers": json.dumps(self._work(self._items))}
        self._items = None
        return self._result


class Supply(tune.Callback):
    """Hands every actor, when it starts, what all trials share, and has the search look ahead while they work.

    Not through the configuration of a trial: Tune pickles that for its records, and an object whose reference was
    pickled is kept in the object store for as long as the driver lives.

    Parameters
    ----------
    context : Opens
    search : BatchSearch
    """

    def __init__(self, context: Opens, search: BatchSearch) -> None:
        self._context: Opens | None = context
        self._search = search

    def drop(self) -> None:
        """Let go of what was shared: Tune's objects form cycles, which live until they are collected."""
        self._context = None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An actor was started, or is used again; its next call will be the trial's."""
        trial.temporary_state.ray_actor.attend.remote(self._context)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has nothing else to do now: the workers are busy, or starting."""
        self._search.look_ahead()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_trials(context: Opens, search: BatchSearch, resources: SearchResources) -> None:
    """Run a search to its end; its book has the answers.

    Parameters
    ----------
    context : Opens
    search : BatchSearch
    resources : SearchResources
        Trials at the same time, and what one asks of Ray.
    """
    with quiet_optuna():
        if not search.advance():
            return
        supply = Supply(context, search)
        with _environment(), scratch("hybrid_ray_tune") as folder:
            asked = {"cpu": resources.cpus, "memory": resources.memory}
            tuner = tune.Tuner(
                tune.with_resources(Worker, asked),
                tune_config=tune.TuneConfig(
                    search_alg=search,
                    scheduler=Lanes(resources.concurrent),
                    num_samples=-1,
                    max_concurrent_trials=resources.concurrent,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=str(folder),
                    verbose=0,
                    callbacks=[supply],
                    failure_config=tune.FailureConfig(max_failures=2),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            )
            try:
                tuner.fit()
            finally:
                supply.drop()


def _name(trial: Any) -> str:
    return str(trial.trial_id)


@contextmanager
def _environment() -> Iterator[None]:
    """Tune is set up by environment variables; they are put back as they were."""
    mine = {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }
    before = {name: os.environ.get(name) for name in mine}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(mine)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
