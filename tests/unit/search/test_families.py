"""Which family comes next: by what it may still gain for what it costs."""

from collections import Counter

import pytest

from hybrid_ray.search.families import MOST, SLOWER, UNKNOWN, FamilyChooser, Pursuit


def told(costs, values, seed=0, starts=None):
    """A chooser that knows some trials: family and gain."""
    chooser = FamilyChooser(costs, 5, starts or {}, seed)
    for family, value in values:
        chooser.tell(family, value)
    return chooser


def shares(chooser, draws=4000):
    """How often each family is drawn."""
    counts = Counter(chooser.draw()[0] for _ in range(draws))
    return {family: count / draws for family, count in counts.items()}


def test_of_equals_the_cheaper_is_drawn_more_often_as_it_costs_less():
    found = shares(told({"quick": 1.0, "slow": 3.0}, [("quick", 0.5), ("slow", 0.5)]))
    assert found["quick"] == pytest.approx(0.9, abs=0.03)


def test_a_family_that_brings_nothing_more_is_drawn_less():
    chooser = told({"a": 1.0, "b": 1.0}, [("a", 0.5), ("b", 0.4), ("b", 0.5), *[("a", 0.4)] * 9])
    assert shares(chooser)["b"] == pytest.approx(0.9, abs=0.03)
    chooser.tell("a", 0.6)
    assert shares(chooser)["a"] == pytest.approx(1 / 6, abs=0.03)  # it took ten trials to get there
    chooser.tell("a", 0.7)
    assert shares(chooser)["a"] == pytest.approx(
        0.8, abs=0.03
    )  # and one to get further, where the other has two steps to go


def test_a_family_that_is_behind_has_to_catch_up_but_is_not_given_up():
    behind = Pursuit()
    assert behind.price(0.9, 5.0) == 5.0
    behind.add(0.1, 5.0)
    assert (behind.price(0.1, 5.0), behind.price(0.9, 5.0)) == (5.0, UNKNOWN * 5.0)
    behind.add(0.5, 10.0)
    assert behind.price(0.9, 5.0) == pytest.approx(SLOWER * 10.0)  # a step like the last one, for the ten that took
    behind.add(0.5001, 5.0)
    assert behind.price(0.9, 5.0) == MOST * 5.0


def test_trials_without_all_folds_and_failed_ones_are_paid_and_set_no_mark():
    pursuit = Pursuit()
    pursuit.add(0.5, 5.0)
    pursuit.add(None, 2.0)
    assert (pursuit.best, pursuit.spent, pursuit.last) == (0.5, 7.0, 5.0)
    chooser = told({"a": 1.0, "b": 1.0}, [("a", 0.5), ("b", 0.5)])
    for _ in range(20):
        chooser.tell("a", None, folds=1)
    assert shares(chooser)["a"] == pytest.approx(1 / 5, abs=0.03)  # four trials' worth of fits have brought nothing


def test_the_first_draws_of_a_family_take_its_starts():
    chooser = told({"a": 1.0}, [], starts={"a": [{"a.x": 1}, {"a.x": 2}]})
    assert [chooser.draw() for _ in range(3)] == [("a", {"a.x": 1}), ("a", {"a.x": 2}), ("a", {})]


def test_a_seed_gives_the_same_draws():
    costs = {"a": 1.0, "b": 2.0, "c": 3.0}
    choosers = [told(costs, [], seed=seed) for seed in (0, 0, 1)]
    first, again, other = ([chooser.draw() for _ in range(20)] for chooser in choosers)
    assert first == again
    assert first != other
