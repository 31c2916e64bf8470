"""The stage that trains extractors: every fold for itself, before anything is searched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from hybrid_ray.errors import TooSlowError
from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray.matrices import FoldOrder
from hybrid_ray.on_ray.optional import SHARE, end_of, fit_in_time
from hybrid_ray.on_ray.resources import ClusterView, plan_team, shared_bytes
from hybrid_ray.on_ray.stages import Features, Job, extraction_plan
from hybrid_ray.on_ray.train import FoldFit, FoldTrainer, Place, settle, turns
from hybrid_ray.progress import Stage
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.store.runs import RunStore
from hybrid_ray.types import AnyArray, Task

_Training = Mapping[int, list[slice | AnyArray]]
"""Training rows of each fold: slices of the rows sorted by fold, or positions among them."""


@dataclass(frozen=True)
class Trained:
    """The trained extractors of a run.

    Attributes
    ----------
    trainers : dict of str to FoldTrainer
    folds : dict of str to (dict of int to FoldFit)
    given_up : dict of str to str
        Why optional ones are not among them.
    seconds : float
        What training took, without that of those that were given up.
    """

    trainers: dict[str, FoldTrainer]
    folds: dict[str, dict[int, FoldFit]]
    given_up: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def cached(self, name: str) -> int:
        """How many of an extractor's fold fits came from the store."""
        return sum(fit.cached for fit in self.folds[name].values())

    def extract_s(self, n_rows: int, slots: int, every_copy: bool) -> float:
        """Seconds that the features of other rows will take, about, by what those of the training rows took.

        Fits that came from the store do not tell.

        Parameters
        ----------
        n_rows : int
        slots : int
            Tasks at the same time.
        every_copy : bool
            True: by the copies of all folds; False: by one.
        """
        seconds = 0.0
        for name, fits in self.folds.items():
            spent = [fit.extract_s for fit in fits.values() if not fit.cached]
            one = sum(spent) / max(len(spent), 1)
            copies = one * max(len(fits) / slots, 1.0) if every_copy else one
            seconds += (self.trainers[name].shared_s + copies) * n_rows / len(self.trainers[name].order)
        return seconds


def train_stage(job: Job, features: Features, order: FoldOrder) -> Trained:
    """Fit the trained extractors, every fold for itself, all folds side by side; teams of workers one after the other.

    Optional ones come after the others, one after the other: each is fitted in its part of the time, or not at all.
    """
    y = job.rows.learned[order.rows]
    starts = range(1 if order.forward else 0, len(order.bounds) - 1)
    training = {fold: fitted_on(job.rows.target.task, y, _training(order, fold)) for fold in starts}
    # All places are planned before the first fit takes what is free.
    places = {name: _fit_place(job, features.decided[name]) for name in features.raw}
    shared = shared_bytes(job.cluster.view())
    optional = [name for name in features.raw if features.decided[name].optional]
    needed = [name for name in features.raw if name not in optional]
    with job.progress.stage("train", len(features.raw) * len(starts)) as stage:
        began = time.monotonic()
        trainers: dict[str, FoldTrainer] = {}
        folds: dict[str, dict[int, FoldFit]] = {}
        for group in turns({name: places[name] for name in needed}):
            trainers |= {name: _trainer(job, features, name, order, y, places[name], shared) for name in group}
            pending = {name: {f: trainers[name].fit(f, slices) for f, slices in training.items()} for name in group}
            for name, fits in pending.items():
                folds[name] = settle(fits, partial(stage.advance, 1, name))
        trained = Trained(trainers, folds, seconds=time.monotonic() - began)
        until = None if job.until is None else time.time() + SHARE * max(job.until - time.time(), 0.0)
        for place, name in enumerate(optional):
            own = _trainer(job, features, name, order, y, places[name], shared)
            end = end_of(until, len(optional) - place)
            trained = _tried(trained, name, own, training, _slots(job.cluster.view(), places[name]), end, stage)
    return trained


def _tried(
    trained: Trained,
    name: str,
    trainer: FoldTrainer,
    training: _Training,
    slots: int,
    until: float | None,
    stage: Stage,
) -> Trained:
    """With one optional extractor more, or with why it was given up."""
    began = time.monotonic()
    try:
        fits = fit_in_time(trainer, training, slots, until)
    except TooSlowError as error:
        why = f"{name}: given up, as it is optional: {error}. More time_limit_s, or `optional: false`, keeps it"
        stage.note(why)
        return replace(trained, given_up=trained.given_up | {name: why})
    stage.advance(len(fits), name)
    return Trained(
        trained.trainers | {name: trainer},
        trained.folds | {name: fits},
        trained.given_up,
        trained.seconds + time.monotonic() - began,
    )


def _trainer(
    job: Job, features: Features, name: str, order: FoldOrder, y: AnyArray, place: Place, shared: int
) -> FoldTrainer:
    raw = features.raw[name]
    root = job.root if EXTRACTORS.get(raw.entry.name).tags.costly else None
    context = _context(job, place.threads, order.groups)

    def note(key: str) -> None:
        RunStore(job.root).use(job.run_id, trained=[key])

    return FoldTrainer(raw, order.rows, y, context, root, place, shared, note)


def _slots(view: ClusterView, place: Place) -> int:
    """Fits at the same time; teams train one after the other."""
    if place.workers > 1:
        return 1
    held = view.gpus / place.gpus if place.gpus else view.cpus / (place.cpus or 1.0)
    return max(int(held), 1)


def _fit_place(job: Job, spec: ExtractorSpec) -> Place:
    """A GPU where the extractor uses one and the cluster has it, else the CPUs asked for, or those of a plain task.

    A training that can be spread has as many workers as ``resources`` asks for, each with so much.
    """
    plan = extraction_plan(job, spec)
    asked = spec.resources
    cpus = plan.cpus if plan.gpus else asked.num_cpus
    device = plan.device if plan.gpus else "cpu"
    threads = max(int(asked.num_cpus or 1), 1)
    cpus = job.task_cpus if cpus is None else cpus
    if not EXTRACTORS.get(spec.name).tags.spreads:
        return Place(cpus, plan.gpus, device, threads=threads)
    view, where = job.cluster.view(), f"extractors[{spec.id}]"
    workers = plan_team(view, cpus, plan.gpus, asked=asked, where=where)
    return Place(cpus, plan.gpus, device, workers, threads)


def _context(job: Job, threads: int, groups: AnyArray | None) -> FitContext:
    return FitContext(job.rows.target.task, job.n_outputs, job.spec.seed, threads, groups=groups)


def fitted_on(task: Task, y: AnyArray, rows: list[slice]) -> list[slice | AnyArray]:
    """The training rows that extractors are fitted on: to find anomalies, the normal ones of them.

    Parameters
    ----------
    task : Task
    y : ndarray (n,)
    rows : list of slice
        Of ``y``.
    """
    if task != "anomaly" or not y.any():
        return [*rows]
    return [np.flatnonzero(y[part] == 0) + int(part.start) for part in rows]


def _training(order: FoldOrder, fold: int) -> list[slice]:
    n = len(order.rows)
    before, after = slice(0, int(order.bounds[fold])), slice(int(order.bounds[fold + 1]), n)
    return [before] if order.forward else [s for s in (before, after) if s.stop > s.start]
