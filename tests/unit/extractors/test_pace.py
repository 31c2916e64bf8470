"""A training that would take too long is given up after its first passes, and what it saved is kept."""

import numpy as np
import pytest

from hybrid_ray.errors import TooSlowError
from hybrid_ray.extractors.pace import PASSES, Paced, Sparing
from hybrid_ray.types import State


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self):
        return self.now


class Kept:
    """Checkpoints in memory."""

    def __init__(self, state=None):
        self.state = state

    def load(self):
        return self.state

    def save(self, state):
        self.state = state


def state(done, worse=0):
    return State({"done": done, "worse": worse}, {"x": np.zeros(1)})


def passes(paced, clock, seconds, n, start=0, worse=0):
    """Passes that take some seconds each."""
    for done in range(start + 1, start + n + 1):
        clock.now += seconds
        paced.save(state(done, worse))


def paced(allowed_s, kept=None, epochs=8, patience=2):
    clock = Clock()
    found = Paced(kept, allowed_s, epochs, patience, clock)
    clock.now += 1000  # setting up is not training
    found.load()
    return found, clock


def test_a_slow_first_pass_is_enough_and_is_kept():
    kept = Kept()
    watched, clock = paced(10 * PASSES - 1, kept)
    with pytest.raises(TooSlowError, match=f"within {10 * PASSES - 1} s; passes so far: 1 in 10 s, .* 60 s"):
        passes(watched, clock, 10.0, 1)
    assert kept.state.meta["done"] == 1


def test_one_that_keeps_its_pace_is_left_alone_until_it_takes_more_passes_than_most():
    watched, clock = paced(10 * PASSES + 1)
    passes(watched, clock, 10.0, PASSES - 1)
    with pytest.raises(TooSlowError):
        passes(watched, clock, 10.0, 1, PASSES - 1)


def test_one_that_slows_down_is_given_up():
    watched, clock = paced(10 * PASSES + 1)
    passes(watched, clock, 10.0, 2)
    with pytest.raises(TooSlowError):
        passes(watched, clock, 30.0, 1, 2)


@pytest.mark.parametrize("last", [{"n": 8}, {"n": 3, "worse": 2}], ids=["all passes", "patience"])
def test_one_that_is_over_is_never_given_up(last):
    watched, clock = paced(1e9)
    passes(watched, clock, 1.0, last["n"] - 1)
    clock.now += 1e12
    watched.save(state(last["n"], last.get("worse", 0)))


def test_few_passes_are_few():
    watched, clock = paced(25, epochs=2)
    passes(watched, clock, 12.0, 2)


def test_one_that_goes_on_needs_only_what_is_left():
    watched, clock = paced(25, Kept(state(4)))
    passes(watched, clock, 12.0, 1, 4)
    with pytest.raises(TooSlowError, match="passes so far: 2 in 24 s"):
        passes(watched, clock, 12.0, 1, 5)


class Slow(Kept):
    """Checkpoints that take some seconds each."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.saved = clock, seconds, []

    def save(self, state):
        self.clock.now += self.seconds
        self.saved.append(state.meta["done"])
        super().save(state)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, list(range(1, 31))), (0.1, list(range(1, 31))), (0.5, [1, 6, 11, 16, 21, 26])]
)
def test_saving_takes_a_tenth_of_the_time_at_most(seconds, expected):
    clock = Clock()
    slow = Slow(clock, seconds)
    sparing = Sparing(slow, clock)
    assert sparing.load() is None
    passes(sparing, clock, 1.0, 30)
    assert slow.saved == expected
    assert sparing.load().meta["done"] == expected[-1]
    assert seconds * len(slow.saved) <= 0.1 * 30 + seconds
