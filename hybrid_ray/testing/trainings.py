"""Contract checks of trainings that can be cut off and spread; :mod:`hybrid_ray.testing.extractors` yields them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from hybrid_ray.extractors.base import Conductor
from hybrid_ray.extractors.trained import Training
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.types import AnyArray

Fit = Callable[[Conductor], AnyArray]
"""Features of some rows by an extractor whose training a conductor carries out."""
_STEP_ROWS = 11
"""Rows of a step that two workers cannot share evenly."""


def check_resumes(fit: Fit) -> None:
    """A training that is cut off after a pass and taken up in another process ends where it would have ended."""
    checkpoints = MemoryCheckpoints(dies_at=1)

    def cut_off(training: Training) -> dict[str, AnyArray]:
        # Only the first of an extractor's trainings, where it has several, is cut off.
        with suppress(KeyboardInterrupt):
            training.blank().run("cpu", checkpoints=checkpoints)
        checkpoints.dies_at = None
        assert checkpoints.states, "a training must write a checkpoint after each pass"
        return training.blank().run("cpu", checkpoints=checkpoints)

    np.testing.assert_array_equal(fit(cut_off), fit(_whole))


def check_shares(fit: Fit) -> None:
    """Of a step each of two workers makes, for its share of the rows, what one worker makes of all of them."""
    seen: list[Training] = []

    def watched(training: Training) -> dict[str, AnyArray]:
        seen.append(training)
        return _whole(training)

    fit(watched)
    whole = _losses(seen[0], slice(None))
    assert len(whole) > 1, "a step must have a loss for each of its rows"
    for rank in (0, 1):
        np.testing.assert_allclose(_losses(seen[0], slice(rank, None, 2)), whole[rank::2], rtol=1e-4, atol=1e-5)


def _whole(training: Training) -> dict[str, AnyArray]:
    return training.blank().run("cpu")


def _losses(training: Training, own: slice) -> AnyArray:
    """Losses of a worker's rows in the first step."""
    from hybrid_ray.seeding import reproducible
    from hybrid_ray.training.loop import Step, drawing

    blank = training.blank()
    blank.extractor.setup("cpu")
    with reproducible(blank.seed, blank.threads):
        learner = blank.extractor.learner(blank)
        kept, _ = learner.hold_out(blank.seed, blank.groups)
        learner.begin(kept)
        step = Step(kept[:_STEP_ROWS], own, (blank.seed, 0, 0))
        with drawing(learner.net, step):
            losses: AnyArray = learner.losses(learner.net, step).detach().numpy()
    return losses
