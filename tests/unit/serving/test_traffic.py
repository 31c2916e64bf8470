"""Who answers: shares are kept, keys stick, and a share that grows moves nobody back."""

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_ray.serving.traffic import Challenger, Traffic
from hybrid_ray.spec import CanaryRule


def canary(share, **more):
    return Traffic(champion=1, challengers=(Challenger(version=2, share=share),), **more)


def test_all_requests_are_the_champions():
    traffic = Traffic(champion=3)
    assert {traffic.version_at(place) for place in np.linspace(0, 0.999, 50)} == {3}
    assert traffic.versions == (3,)


def test_shares_are_kept():
    traffic = Traffic(champion=1, challengers=(Challenger(version=2, share=0.2), Challenger(version=5, share=0.3)))
    places = [traffic.place_of(f"user {i}") for i in range(20_000)]
    found = [traffic.version_at(place) for place in places]
    assert found.count(2) / 20_000 == pytest.approx(0.2, abs=0.02)
    assert found.count(5) / 20_000 == pytest.approx(0.3, abs=0.02)
    assert traffic.versions == (1, 2, 5)


def test_a_key_sticks_and_a_growing_share_moves_nobody_back():
    keys = [f"user {i}" for i in range(2000)]
    few, many = canary(0.1), canary(0.4)
    moved = {key for key in keys if few.version_at(few.place_of(key)) == 2}
    assert moved
    assert moved < {key for key in keys if many.version_at(many.place_of(key)) == 2}


def test_another_salt_deals_anew():
    keys = [f"user {i}" for i in range(2000)]
    first = {key for key in keys if canary(0.5).place_of(key) < 0.5}
    other = {key for key in keys if canary(0.5, salt="spring").place_of(key) < 0.5}
    assert 400 < len(first & other) < 600


def test_a_key_of_any_characters_has_a_place():
    assert 0 <= canary(0.5).place_of("\ud800 ü") < 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"challengers": [{"version": 1, "share": 0.1}]}, "different versions"),
        ({"challengers": [{"version": 2, "share": 0.7}, {"version": 3, "share": 0.7}]}, "add up to at most 1; got 1.4"),
        ({"challengers": [{"version": 2, "share": 0}]}, "greater than 0"),
        ({"shadows": [1]}, "none the champion"),
        ({"shadows": [2, 2]}, "different versions"),
        ({"rule": {}}, "must have a challenger"),
        ({"key": "x user"}, "pattern"),
        ({"champion": 0}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, told):
    with pytest.raises(ValidationError, match=told):
        Traffic.model_validate({"champion": 1} | wrong)


def test_it_is_written_and_read_again():
    traffic = canary(0.1, shadows=(4,), key="x-user", rule=CanaryRule(margin=0.02))
    assert Traffic.model_validate_json(traffic.model_dump_json()) == traffic
