"""Trainings of extractors that are networks: described once, carried out on one worker or several, and resumable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import ExtractorTags, FitContext
from hybrid_ray.training.rows import normal_scores
from hybrid_ray.training.settings import Settings
from hybrid_ray.types import AnyArray, Prepared

if TYPE_CHECKING:
    from hybrid_ray.training.loop import Checkpoints, Learner, Team


class Trainable(Protocol):
    """An extractor that a training teaches."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags]

    @property
    def settings(self) -> Settings:
        """How it is trained."""

    def setup(self, device: str = "cpu") -> None:
        """Be ready to train on a device."""

    def learner(self, training: Training) -> Learner:
        """The network with the rows of a training, on the device of ``setup``; torch's generator is seeded."""

    def blank(self) -> Trainable:
        """The same without a network: it can be sent to another process."""


@dataclass(frozen=True)
class Training:
    """One training, as the workers that carry it out need it.

    Attributes
    ----------
    extractor : Trainable
        Not fitted.
    arrays : mapping of str to ndarray
        Of the present training rows: what ``prepare`` gave, or what ``before_fits`` made of it.
    target : ndarray (m,) or None
        int64 class codes, or float32 normal scores; None where labels are not looked at.
    n_outputs : int
    seed : int
    threads : int
    groups : ndarray of int (m,) or None
        Rows of one number are held out together.
    """

    extractor: Trainable
    arrays: Mapping[str, AnyArray]
    target: AnyArray | None
    n_outputs: int
    seed: int
    threads: int
    groups: AnyArray | None = None

    def run(
        self,
        device: str,
        team: Team | None = None,
        checkpoints: Checkpoints | None = None,
        allowed_s: float | None = None,
    ) -> dict[str, AnyArray]:
        """Train as one worker of a team, from the last checkpoint if there is one: what was learned, by name.

        Raises
        ------
        TooSlowError
            Its passes show that it would take more than ``allowed_s`` seconds.
        BadInputError
            It does not end in finite weights.
        """
        from hybrid_ray.extractors.pace import Paced
        from hybrid_ray.seeding import reproducible
        from hybrid_ray.training.loop import Team, train

        settings = self.extractor.settings
        if allowed_s is not None:
            checkpoints = Paced(checkpoints, allowed_s, settings.epochs, settings.patience)
        self.extractor.setup(device)  # it may draw, and may have been done already: before the seed
        with reproducible(self.seed, self.threads):
            learner = self.extractor.learner(self)
            try:
                return train(learner, settings, self.seed, team or Team(), checkpoints, self.groups)
            except BadInputError as error:
                raise BadInputError(f"{self.extractor.name}.{error}") from error

    def blank(self) -> Training:
        """The same with an extractor that holds no network yet: it can be sent to another process."""
        return replace(self, extractor=self.extractor.blank())


def teach(
    extractor: Trainable, prepared: Prepared, y: AnyArray | None, context: FitContext, device: str
) -> dict[str, AnyArray]:
    """Train an extractor on the present rows, where the context says: what was learned, by name.

    Raises
    ------
    BadInputError
        There are no labels that it needs, or fewer than two rows hold anything.
    """
    rows = int(prepared.present.sum())
    supervised = extractor.tags.supervised
    if rows < 2 or (supervised and y is None):
        raise BadInputError(
            f"{extractor.name}: needs {'labels and ' if supervised else ''}at least two rows that are not empty; got "
            f"{rows} rows. Leave it out"
        )
    target = _target(y[prepared.present], context) if supervised and y is not None else None
    groups = None if context.groups is None else context.groups[prepared.present]
    training = Training(
        extractor, dict(prepared.arrays), target, context.n_outputs, context.seed, context.threads, groups
    )
    return training.run(device) if context.conduct is None else context.conduct(training)


def _target(y: AnyArray, context: FitContext) -> AnyArray:
    """Labels as a loss takes them."""
    return normal_scores(y) if context.task == "regression" else y.astype(np.int64)
