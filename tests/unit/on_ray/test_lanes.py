"""How many actors a search starts."""

from __future__ import annotations

from hybrid_ray.on_ray.search import lanes_worth


def test_a_small_search_is_worth_one_actor_and_a_large_one_many() -> None:
    assert lanes_worth(4 * 3, 400 * 64) == 1
    assert lanes_worth(100 * 5, 1000 * 60) == 16
    assert lanes_worth(10**6, 10**6) > 1000
