"""Trainings that a run can go without: given up once they show that they would take too much of its time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import ray
from ray.exceptions import RayTaskError

from hybrid_ray.errors import TooSlowError
from hybrid_ray.on_ray.train import FoldFit, FoldTrainer, settle
from hybrid_ray.types import AnyArray

SHARE = 0.5
"""Part of the time that a run has left which its optional trainings may take together."""


def end_of(until: float | None, waiting: int) -> float | None:
    """When the next of several optional trainings must be over: each gets the same part of the time for all of them.

    Parameters
    ----------
    until : float or None
        When all must be over, as ``time.time()``.
    waiting : int
        Trainings that are not done, the next one included.
    """
    if until is None:
        return None
    now = time.time()
    return now + max(until - now, 0.0) / waiting


def fit_in_time(
    trainer: FoldTrainer, folds: Mapping[int, Sequence[slice | AnyArray]], slots: int, until: float | None
) -> dict[int, FoldFit]:
    """Fit a trained extractor on folds, all of them or none.

    Each fit watches its own passes; what all fits have in common, and features that take their time, are watched from
    here. Fits that are in the store take no time.

    Parameters
    ----------
    trainer : FoldTrainer
    folds : mapping of int to sequence of (slice or ndarray)
        Training rows of each fold.
    slots : int
        Fits at the same time.
    until : float or None
        When they must be over, as ``time.time()``; None: there is time for everything.

    Raises
    ------
    TooSlowError
        They would not be over by then. What they saved is kept: a run with more time goes on from there.
    """
    if until is None:
        return settle({fold: trainer.fit(fold, training) for fold, training in folds.items()})
    todo = [fold for fold, training in folds.items() if not trainer.known(fold, training)]
    try:
        if todo:
            _wait([trainer.rows()], until)
        allowed_s = max(until - time.time(), 0.0) / max(math.ceil(len(todo) / slots), 1)
        fits = {fold: trainer.fit(fold, training, allowed_s) for fold, training in folds.items()}
        _wait([fit.cached for fit in fits.values()], until)
    except TooSlowError:
        trainer.stop()
        raise
    return settle(fits)


def _wait(tasks: Sequence[Any], until: float) -> None:
    """Wait for tasks, and for the first of them that says it is too slow."""
    left = list(tasks)
    while left:
        done, left = ray.wait(left, timeout=max(until - time.time(), 0.0), fetch_local=False)
        if not done:
            raise TooSlowError(f"training must end in its share of time_limit_s; it has not, {len(left)} fits are left")
        try:
            ray.get(done)
        except RayTaskError as error:
            _too_slow_or(error)


def _too_slow_or(error: RayTaskError) -> NoReturn:
    if isinstance(error.cause, TooSlowError):
        raise TooSlowError(str(error.cause)) from None
    raise error
