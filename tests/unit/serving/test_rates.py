"""Askers get their rate, a burst of a second, and nobody pays for another."""

import pytest

from hybrid_ray.serving import rates
from hybrid_ray.serving.rates import RateLimit


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_burst_of_a_second_then_the_rate(clock):
    limit = RateLimit(clock)
    assert [limit.wait_s("a", 5) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    clock.now = 0.2
    assert [limit.wait_s("a", 5) for _ in range(2)] == [0, 1]
    assert limit.wait_s("b", 5) == 0


def test_in_the_long_run_the_rate_holds(clock):
    limit = RateLimit(clock)
    taken = 0
    for step in range(1000):
        clock.now = step / 100
        taken += limit.wait_s("a", 3) == 0
    assert 29 <= taken <= 33


def test_a_rate_below_one_is_told_how_long_to_wait(clock):
    limit = RateLimit(clock)
    assert limit.wait_s("a", 0.1) == 0
    assert limit.wait_s("a", 0.1) == 10
    clock.now = 10.0
    assert limit.wait_s("a", 0.1) == 0


def test_a_refused_request_takes_nothing(clock):
    limit = RateLimit(clock)
    assert limit.wait_s("a", 1) == 0
    clock.now = 0.9
    assert [limit.wait_s("a", 1) for _ in range(5)] == [1] * 5
    clock.now = 1.0
    assert limit.wait_s("a", 1) == 0


def test_askers_are_forgotten_not_piled_up(clock, monkeypatch):
    monkeypatch.setattr(rates, "MOST", 3)
    limit = RateLimit(clock)
    for asker in "abcd":
        limit.wait_s(asker, 1)
    assert limit.wait_s("d", 1) == 1
    assert limit.wait_s("a", 1) == 0
