"""Counts of replicas that come, go and begin anew add up."""

import math

import pytest

from hybrid_ray.serving.counts import SECONDS, Counter, Counts, Totals


def counted(*seconds, failed=0, slow_ms=None):
    counter = Counter()
    for i, each in enumerate(seconds):
        counter.add(each, failed=i < failed, slow_ms=slow_ms)
    return counter.counts()


def test_a_replica_counts_what_it_answered():
    found = counted(0.002, 0.02, 3.0, 99.0, failed=2, slow_ms=10)
    assert (found.requests, found.errors, found.slow) == (4, 2, 3)
    assert found.seconds == 102.022
    assert sum(found.bins) == 4
    assert found.bins[SECONDS.index(0.0025)] == 1
    assert found.bins[-1] == 1
    assert found.tally()[:3] == (4, 2, 3)


def test_quantiles_are_ends_of_bins():
    found = counted(*[0.002] * 90, *[0.2] * 10)
    assert found.quantile(0.5) == 0.0025
    assert found.quantile(0.99) == 0.25
    assert math.isnan(Counts().quantile(0.5))
    assert counted(50.0).quantile(0.5) == math.inf


def test_counts_add_and_subtract():
    both = counted(0.1, 0.2, failed=1) + counted(0.3)
    left = both - counted(0.3)
    assert left.tally() == counted(0.1, 0.2, failed=1).tally()
    assert left.bins == counted(0.1, 0.2).bins
    assert left.seconds == pytest.approx(0.3)
    assert both.requests == 3


def test_totals_are_those_of_all_replicas():
    totals = Totals()
    totals.report("a", {1: counted(0.1)})
    totals.report("a", {1: counted(0.1, 0.1), 2: counted(0.5)})
    totals.report("b", {1: counted(0.1)})
    assert {version: counts.requests for version, counts in totals.now().items()} == {1: 3, 2: 1}


def test_what_a_replica_counted_stays_when_it_goes_or_begins_anew():
    totals = Totals()
    totals.report("a", {1: counted(0.1, 0.1)})
    totals.report("b", {1: counted(0.1)})
    totals.forget(["b"])
    assert totals.now()[1].requests == 3
    totals.report("b", {1: counted()})
    totals.report("b", {1: counted(0.1)})
    assert totals.now()[1].requests == 4
    totals.report("a", {1: counted(0.1)})
    assert totals.now()[1].requests == 5
