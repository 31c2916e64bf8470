"""The front of score against cost, and what each preference takes of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import BadInputError
from hybrid_ray.search.costs import Cost, Prices, extractor_cost, measured
from hybrid_ray.search.tradeoff import Option, Wish, first_of_equals, front, preferred
from hybrid_ray.types import Block, Prepared, State


def option(name, gain, ms, mb=1.0, spread=0.1):
    """Scores around a gain whose standard error is ``spread``."""
    half = spread * np.sqrt(3)
    return Option(name, (gain - half, gain - half, gain + half, gain + half), Cost(ms, ms / 4, mb))


GOOD, NEAR, FAR, POOR, WASTE = (
    option("good", 1.0, 80.0),
    option("near", 0.95, 20.0),
    option("far", 0.85, 5.0),
    option("poor", 0.2, 1.0),
    option("waste", 0.9, 90.0, mb=9.0),
)
ALL = [WASTE, POOR, FAR, NEAR, GOOD]


def taken(**wish):
    objectives = wish.pop("objectives", ("metric", "latency"))
    return [found.choice for found in preferred(ALL, Wish(objectives, **wish))]


def test_the_front_is_what_nothing_beats_in_everything():
    assert [o.choice for o in front(ALL, ("latency",))] == ["poor", "far", "near", "good"]
    small = option("small", 0.1, 50.0, mb=0.5)
    assert [o.choice for o in front([*ALL, small], ("latency", "size"))] == ["poor", "far", "near", "small", "good"]
    assert [o.choice for o in front(ALL, ())] == ["good"]
    assert [o.choice for o in front([GOOD, GOOD], ("latency",))] == ["good"]


def test_each_preference_gives_up_as_much_of_the_score_as_it_says():
    assert GOOD.gain == pytest.approx(1.0)
    assert taken() == ["good", "near", "waste", "far", "poor"]
    assert taken(prefer="balanced")[0] == "near"
    assert taken(prefer="speed")[0] == "far"
    assert sorted(taken(prefer="speed")) == sorted(o.choice for o in ALL)


def test_a_later_choice_must_be_told_apart_from_an_earlier_one_to_take_its_place():
    trusted = Option("trusted", (0.70, 0.72, 0.74), Cost())
    luckier = Option("luckier", (0.73, 0.71, 0.76), Cost())  # 0.013 better, give or take 0.012: told apart
    clearly = Option("clearly", (0.80, 0.82, 0.84), Cost())
    noisy = Option("noisy", (0.60, 0.80, 0.79), Cost())  # 0.010 better, give or take 0.057
    assert [o.choice for o in first_of_equals([trusted, noisy])] == ["trusted", "noisy"]
    assert first_of_equals([trusted, luckier])[0] is luckier
    assert [o.choice for o in first_of_equals([trusted, noisy, clearly])] == ["clearly", "noisy", "trusted"]
    assert first_of_equals([noisy, trusted])[0] is noisy
    assert first_of_equals([trusted])[0] is trusted


def test_limits_come_before_preferences():
    assert taken(max_latency_ms=10.0) == ["far", "poor"]
    assert taken(max_latency_ms=10.0, prefer="speed")[0] == "far"
    assert Wish(max_latency_ms=10.0).costs == ("latency",)
    with pytest.raises(
        BadInputError, match=r"got 0.5 ms and None MB; the quickest found takes 1 ms, the smallest has 1 MB"
    ):
        taken(max_latency_ms=0.5)


def test_an_ensemble_costs_its_chains_and_each_extractor_once():
    first, second = Candidate(("image", "text"), "concat", "knn"), Candidate(("text",), "concat", "logistic")
    chains = {first.key: Cost(1.0, 0.5, 2.0), second.key: Cost(3.0, 1.0, 4.0)}
    prices = Prices(chains, {"image": Cost(10.0, 5.0, 50.0), "text": Cost(20.0, 9.0, 80.0)}, folds=2)
    assert prices.of([first, second]) == Cost(10 + 20 + 2 * 4, 5 + 9 + 2 * 1.5, 50 + 80 + 2 * 6)
    assert prices.of([second]) == Cost(20 + 6, 9 + 2, 80 + 8)
    assert prices.of([]) == Cost()


class Tuned:
    """An extractor whose copies share a pass of 10 ms and 100 bytes; each adds 1 ms and 20 bytes of its own."""

    def __init__(self, clock):
        self.clock = clock

    def prepare(self, batch):
        return Prepared({"x": batch["x"]}, np.ones(len(batch["x"]), bool))

    def shared(self, prepared):
        self.clock.now += 0.010
        return Prepared({"done": prepared.arrays["x"]}, prepared.present)

    def block(self, prepared):
        if "done" not in prepared.arrays:
            prepared = self.shared(prepared)
        self.clock.now += 0.001
        return Block(np.zeros((len(prepared.present), 2), np.float32), prepared.present)

    def learned(self):
        return State(tensors={"low": np.zeros(5, np.float32)})

    def get_state(self):
        return State(tensors={"low": np.zeros(5, np.float32)}, blobs={"weights": bytes(100)})


def test_copies_of_an_extractor_cost_what_they_share_once(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("hybrid_ray.search.costs.time", SimpleNamespace(perf_counter=lambda: clock.now))
    batch = {"x": np.arange(64)}
    one = extractor_cost(Tuned(clock), batch, 64)
    five = extractor_cost(Tuned(clock), batch, 64, copies=5)
    assert (one.latency_ms, one.size_mb) == (pytest.approx(11.0), pytest.approx(120e-6))
    assert (five.latency_ms, five.size_mb) == (pytest.approx(10.0 + 5 * 1.0), pytest.approx(100e-6 + 5 * 20e-6))
    assert five.batch_ms == pytest.approx(five.latency_ms / 64)


def test_rows_are_measured_alone_and_together():
    seen = []
    cost = measured(lambda part: seen.append(part.stop - part.start), 100, 3_000_000)
    assert (seen.count(1), seen.count(64)) == (10, 3)
    assert cost.size_mb == 3.0
    assert 0 <= cost.batch_ms <= cost.latency_ms
    assert measured(lambda part: None, 1, 0).size_mb == 0.0
