"""Cells as words, and texts of bounded length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.fusion.wording import number, readable, within, words


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (3.0, 4, "3"),
        (-0.0, 4, "0"),
        (1234567.0, 2, "1234567"),
        (1234.5678, 4, "1235"),
        (123456.7, 4, "123500"),
        (0.5, 4, "0.5"),
        (-12.3456, 4, "-12.35"),
        (0.000123456, 3, "0.000123"),
        (1.5e-9, 3, "1.50e-09"),
        (2.5e300, 2, "2.5e+300"),
        (float("nan"), 4, None),
        (float("inf"), 4, None),
    ],
)
def test_numbers_are_short_and_plain(value, digits, expected):
    assert number(value, digits) == expected


@given(st.floats(-1e300, 1e300), st.integers(1, 17))
def test_a_number_can_be_read_back_to_its_digits(value, digits):
    assert float(number(value, digits)) == pytest.approx(value, rel=10.0 ** (1 - digits), abs=0)


def test_each_kind_has_its_words():
    assert words(np.array(["true", "false", "a\n b", None], object), "categorical", 4) == ["yes", "no", "a b", None]
    assert words(np.array(["true  story", " ", None], object), "text", 4) == ["true story", None, None]
    days = np.array(["2024-02-29", "2024-02-29T08:05:59.5", "NaT", "1931-01-01"], "datetime64[ms]")
    assert words(days, "date", 4) == ["2024-02-29", "2024-02-29 08:05", None, "1931-01-01"]
    assert words(np.array([], "datetime64[ms]"), "date", 4) == []


def test_names_are_words():
    assert readable("base_colour") == "base colour"
    assert readable("Class Name") == "Class Name"
    assert readable("_") == "_"


@given(st.lists(st.text("abc", min_size=1, max_size=40), min_size=1, max_size=6), st.integers(10, 120))
def test_only_the_longest_parts_are_cut_and_no_more_than_needed(parts, limit):
    def build(some):
        return "|".join(some)

    text = build(parts)
    cut = within(parts, limit, build)
    assert len(cut) <= limit
    if len(text) <= limit:
        assert cut == text
        return
    kept = [len(part) for part in cut.split("|")]
    longest = max(kept)
    assert all(now == len(part) or now == longest for now, part in zip(kept, parts, strict=True))
    assert len(cut) + len(parts) > limit  # one more character each would not fit
