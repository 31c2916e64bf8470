"""Canaries are judged at every request and the level still holds; what is broken is seen."""

import numpy as np
import pytest
from scipy.special import betaln

from hybrid_ray.serving.verdict import Tally, mean_bounds, rate_bounds, verdict
from hybrid_ray.spec import CanaryRule


def test_a_rate_of_which_nothing_is_known_may_be_any():
    assert rate_bounds(0, 0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(("events", "n"), [(0, 50), (3, 40), (40, 40), (1, 20000)])
def test_the_bounds_of_a_rate_are_where_the_mixture_is_as_many_times_likelier(events, n):
    low, high = rate_bounds(events, n, 0.05)
    for end in (low, high):
        if 0 < end < 1:
            log_ratio = betaln(events + 1, n - events + 1) - events * np.log(end) - (n - events) * np.log1p(-end)
            assert log_ratio == pytest.approx(np.log(20), rel=1e-6)
    assert low <= events / n <= high
    assert (low == 0) == (events == 0)
    assert (high == 1) == (events == n)


def test_a_rate_is_within_its_bounds_at_all_times_at_once():
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        events = np.cumsum(rng.random(400) < 0.1)
        looks = range(0, 400, 5)
        missed += any(not low <= 0.1 <= high for low, high in (rate_bounds(int(events[i]), i + 1, 0.1) for i in looks))
    assert missed / 300 < 0.1 + 4 * np.sqrt(0.09 / 300)


def test_a_mean_is_within_its_bounds_at_all_times_at_once():
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(400):
        losses = rng.exponential(size=3000)
        total, squares = np.cumsum(losses), np.cumsum(losses**2)
        looks = np.arange(100, 3000, 29)
        bounds = [mean_bounds(int(n), total[n - 1], squares[n - 1], 0.1) for n in looks]
        missed += any(not low <= 1.0 <= high for low, high in bounds)
    assert missed / 400 < 0.1 + 4 * np.sqrt(0.09 / 400)


def test_nothing_is_said_of_the_mean_of_few():
    assert mean_bounds(29, 29.0, 29.0, 0.05) == (-np.inf, np.inf)
    low, high = mean_bounds(10_000, 10_000.0, 20_000.0, 0.05)
    assert 0.9 < low < 1 < high < 1.1


def test_a_canary_that_fails_is_taken_back_before_it_has_answered_much():
    found = verdict(CanaryRule(), Tally(1000), Tally(requests=60, errors=12))
    assert found.action == "rollback"
    assert "failed requests must be at most 0.01" in found.reason


def test_one_failure_is_no_reason():
    assert verdict(CanaryRule(), Tally(1000), Tally(requests=40, errors=1)).action == "wait"


def test_a_canary_that_keeps_its_limits_is_promoted_once_that_is_sure():
    rule = CanaryRule(max_latency_ms=50)
    assert verdict(rule, Tally(9000), Tally(requests=499)).action == "wait"
    few = verdict(rule, Tally(9000), Tally(requests=500))
    assert few.action == "wait"
    assert "it may be" in few.reason
    assert verdict(rule, Tally(9000), Tally(requests=2000, slow=20)).action == "promote"


def test_a_slow_canary_is_taken_back():
    found = verdict(CanaryRule(max_latency_ms=50), Tally(1000), Tally(requests=300, slow=60))
    assert found.action == "rollback"
    assert "above 50 ms" in found.reason


def losses(n, mean, seed):
    values = np.random.default_rng(seed).normal(mean, 0.3, n)
    return {"labelled": n, "loss": float(values.sum()), "squares": float((values**2).sum())}


@pytest.mark.parametrize(("mean", "action"), [(0.5, "promote"), (0.75, "rollback"), (0.4, "promote")])
def test_labels_decide_where_the_rule_says_so(mean, action):
    rule = CanaryRule(margin=0.05)
    champion = Tally(requests=20_000, **losses(20_000, 0.5, 0))
    assert verdict(rule, champion, Tally(requests=4000, **losses(4000, mean, 1))).action == action
    assert verdict(rule, champion, Tally(requests=4000)).action == "wait"
