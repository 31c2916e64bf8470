"""Numbers for people."""

import pytest

from hybrid_ray.evaluation import formatting as fmt
from hybrid_ray.evaluation.formatting import DASH, MINUS


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.98123, 3, "0.981"),
        (-0.5, 3, f"{MINUS}0.500"),
        (152034.4, 0, "152,034"),
        (0.00001234, 4, f"1.2e{MINUS}05"),
        (-0.00001234, 4, f"{MINUS}1.2e{MINUS}05"),
        (3.2e15, 2, "3.2e+15"),
        (0.0, 2, "0.00"),
        (None, 3, DASH),
        (float("nan"), 3, DASH),
    ],
)
def test_numbers(value, decimals, text):
    assert fmt.number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0131, "+0.013"),
        (-0.0131, "\N{MINUS SIGN}0.013"),
        (0.0001, "0.000"),
        (-0.0001, "0.000"),
        (None, DASH),
    ],
)
def test_signed_numbers(value, text):
    assert fmt.signed(value) == text


@pytest.mark.parametrize(
    ("score", "decimals"),
    [
        ((0.9775, 0.9578, 0.9881), 3),
        ((0.9775, 0.976, 0.979), 4),
        ((0.92, 0.85, 0.98), 3),
        ((91330, 78898, 103726), 0),
        ((38.4, 36.9, 40.1), 1),
        ((0.5, None, None), 3),
        ((1.0, 1.0, 1.0), 3),
        ((None, None, None), 3),
    ],
)
def test_decimals_of_scores_follow_their_intervals(score, decimals):
    assert fmt.score_decimals(*score) == decimals


@pytest.mark.parametrize(("values", "decimals"), [([0.5, 12.0], 1), ([1234.5], 0), ([0.0123], 4), ([None, 0.0], 3)])
def test_decimals_of_plain_numbers(values, decimals):
    assert fmt.decimals_for(values) == decimals


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.25, "0.25"),
        (1500, "1,500"),
        (25000, "25k"),
        (1.5e6, "1.5M"),
        (-2e9, f"{MINUS}2G"),
    ],
)
def test_axis_numbers(value, text):
    assert fmt.compact(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.34, "0.34"), (0.0123, "0.012"), (0.001, "<0.01"), (None, DASH)])
def test_p_values(value, text):
    assert fmt.p_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (23_456_789, "23.5 MB"), (999_600, "1.0 MB"), (5e12, "5000 GB")]
)
def test_sizes(value, text):
    assert fmt.size(int(value)) == text


def test_small_things():
    assert fmt.count(12345) == "12,345"
    assert fmt.share(3, 1000) == "0.3 %"
    assert fmt.share(1, 2) == "50 %"
    assert fmt.share(1, 0) == DASH
    assert fmt.milliseconds(0.42) == "0.42 ms"
    assert fmt.milliseconds(1234.0) == "1,234 ms"
    assert fmt.parameters({"C": 0.31000001, "depth": None, "sizes": (64, 32), "inner": {"on": True}}) == (
        "C=0.31, depth=none, sizes=[64, 32], inner={on=true}"
    )
