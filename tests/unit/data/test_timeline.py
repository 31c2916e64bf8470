import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.timeline import regular_series
from hybrid_ray.errors import DataError


def series_of(name=None, **columns):
    return regular_series(pa.table(columns), name=name, time="t", value="v", split=None)


def test_points_are_sorted_by_series_and_time():
    found, irregular = series_of("s", s=["b", "a", "b", "a"], t=[2, 1, 1, 2], v=[4.0, 1.0, 3.0, 2.0])
    assert [(each.name, each.values.tolist(), each.rows.tolist()) for each in found] == [
        ("b", [3.0, 4.0], [2, 0]),
        ("a", [1.0, 2.0], [1, 3]),
    ]
    assert irregular.notes() == []


def test_steps_without_a_number_are_gaps_and_are_told():
    (found,), irregular = series_of(t=[0, 1, 3, 4], v=[1.0, None, 3.0, 4.0])
    np.testing.assert_array_equal(found.values, [1, np.nan, np.nan, 3, 4])
    assert found.rows.tolist() == [0, 1, -1, 2, 3]
    assert irregular.gaps == 2
    assert "2 steps have no number" in irregular.notes()[0]


def test_of_points_at_one_step_the_last_counts():
    (found,), irregular = series_of(t=[1, 2, 2, 3], v=[1.0, 2.0, 9.0, 3.0])
    assert found.values.tolist() == [1, 9, 3]
    assert irregular.doubled == 1


def test_points_between_steps_go_to_the_nearest():
    (found,), irregular = series_of(t=[0.0, 1.0, 2.4, 3.0, 4.0], v=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.values.tolist() == [1, 2, 3, 4, 5]
    assert irregular.off == 1


def test_points_without_a_time_are_left_out():
    (found,), irregular = series_of(t=[1, None, 2], v=[1.0, 2.0, 3.0])
    assert found.values.tolist() == [1, 3]
    assert irregular.timeless == 1


def test_points_of_no_series_are_left_out_and_told():
    table = pa.table({"id": ["a", None, "a", None], "t": [1, 2, 2, 3], "v": [1.0, 5.0, 2.0, 6.0]})
    (found,), irregular = regular_series(table, name="id", time="t", value="v", split=None)
    assert found.values.tolist() == [1, 2]
    assert "2 points do not say which series they are of" in irregular.notes()[0]


@pytest.mark.parametrize("days", [28, 91, 364])
def test_steps_of_some_number_of_days_are_no_months(days):
    dates = (np.datetime64("2024-01-01") + np.delete(np.arange(20), 7) * days).astype("datetime64[ms]")
    (found,), irregular = series_of(t=pa.array(dates), v=np.arange(19.0))
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [7]
    assert len(found.values) == 20
    assert irregular.doubled == irregular.off == 0


def test_quarters_are_steps_of_three_months():
    dates = np.arange("2010-01", "2020-01", 3, dtype="datetime64[M]").astype("datetime64[ms]")
    (found,), irregular = series_of(t=pa.array(dates), v=np.arange(40.0))
    assert len(found.values) == 40
    assert irregular.notes() == []


def test_a_series_begins_with_its_first_number():
    (found,), _ = series_of(t=[1, 2, 3], v=[None, 2.0, 3.0])
    assert found.values.tolist() == [2, 3]


@pytest.mark.parametrize(
    "dates",
    [
        ["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"],
        ["2020-01-01", "2020-02-01", "2020-03-01", "2020-05-01"],
    ],
)
def test_months_are_one_step_however_long(dates):
    (found,), _ = series_of(t=dates, v=[1.0, 2.0, 3.0, 5.0])
    np.testing.assert_array_equal(found.values, [1, 2, 3, np.nan, 5])


def test_many_months_do_not_drift():
    dates = np.arange("2000-01", "2020-01", dtype="datetime64[M]").astype("datetime64[ms]")
    (found,), irregular = series_of(t=pa.array(dates), v=np.arange(240.0))
    assert len(found.values) == 240
    assert irregular.notes() == []


def test_hours_and_years_are_regular_too():
    hours = np.arange("2020-01-01T00", "2020-01-03T00", dtype="datetime64[h]").astype("datetime64[ms]")
    (found,), _ = series_of(t=pa.array(hours), v=np.arange(48.0))
    assert len(found.values) == 48
    (found,), _ = series_of(t=["2001-01-01", "2002-01-01", "2004-01-01"], v=[1.0, 2.0, 4.0])
    np.testing.assert_array_equal(found.values, [1, 2, np.nan, 4])


def test_points_may_be_steps_whatever_lies_between():
    table = pa.table({"t": ["2024-01-05", "2024-01-08", "2024-01-09", "2024-01-09"], "v": [1.0, 2.0, 3.0, 4.0]})
    (found,), irregular = regular_series(table, name=None, time="t", value="v", split=None, by_points=True)
    assert found.values.tolist() == [1, 2, 4]
    assert irregular.doubled == 1


def test_test_points_are_the_last():
    table = pa.table({"t": [1, 2, 3, 4], "v": [1.0, 2, 3, 4], "split": ["train", "train", "test", "test"]})
    (found,), _ = regular_series(table, name=None, time="t", value="v", split="split")
    assert (found.tested, found.n_known) == (2, 2)


def test_training_points_after_test_points_are_refused():
    table = pa.table({"t": [1, 2, 3], "v": [1.0, 2, 3], "split": ["train", "test", "train"]})
    with pytest.raises(DataError, match=r"test points must be the last"):
        regular_series(table, name=None, time="t", value="v", split="split")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"t": ["x", "y"], "v": [1.0, 2.0]}, "must be numbers or dates"),
        ({"t": [1, 2], "v": ["a", "b"]}, "must be numbers"),
        ({"t": [None, None], "v": [1.0, 2.0]}, "numbers or dates"),
        ({"t": [0, 1, 2, 9_999_999], "v": [1.0, 2.0, 3.0, 4.0]}, "about equal"),
    ],
)
def test_what_is_no_series_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        series_of(**columns)


@pytest.mark.parametrize("unit", ["us", "ns", "text"])
def test_points_less_than_a_millisecond_apart_are_steps(unit):
    """A sensor at 12 kHz, whose clock tells whole microseconds: 83, 83 and 84 of them."""
    micros = np.arange(3000) * 1_000_000 // 12_000
    times = np.datetime64("2024-05-01T10:00:00", "us") + micros
    told = pa.array(times.astype(str).tolist()) if unit == "text" else pa.array(times.astype(f"datetime64[{unit}]"))
    (found,), irregular = series_of(t=told, v=np.arange(3000.0))
    np.testing.assert_array_equal(found.values, np.arange(3000))
    assert irregular.notes() == []


def test_a_clock_that_rounds_makes_no_gaps():
    """300 points a second, told in whole milliseconds: 3, 3 and 4 apart; one of them is left out."""
    times = np.delete(np.arange(900) * 1000 // 300, 500)
    (found,), irregular = series_of(t=times, v=np.delete(np.arange(900.0), 500))
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [500]
    assert np.nanmax(np.abs(found.values - np.arange(900))) == 0
    assert (irregular.off, irregular.doubled) == (0, 0)


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Pacific/Auckland", None])
def test_months_begin_where_the_clock_stands(zone):
    """The first of April in London is the last of March in universal time."""
    first = [dt.datetime(2021 + m // 12, m % 12 + 1, 1, tzinfo=ZoneInfo(zone) if zone else None) for m in range(36)]
    (found,), irregular = series_of(t=pa.array(first, pa.timestamp("ms", zone)), v=np.arange(36.0))
    np.testing.assert_array_equal(found.values, np.arange(36))
    assert irregular.notes() == []


@pytest.mark.parametrize("pause", [41, 600_003])
@pytest.mark.parametrize("rate", [60, 128, 300])
def test_a_pause_makes_points_fall_on_no_others(rate, pause):
    """Whole milliseconds of a sensor that pauses once, for no number of steps."""
    times = np.arange(4000) * 1000 // rate
    times[2000:] += pause
    (found,), irregular = series_of(t=times, v=np.arange(4000.0))
    assert irregular.doubled == 0
    known = np.flatnonzero(np.isfinite(found.values))
    np.testing.assert_array_equal(found.values[known], np.arange(4000))
    gap = np.diff(known)[1999]
    assert gap == pytest.approx(pause * rate / 1000 + 1, rel=1e-4, abs=1)
    assert set(np.delete(np.diff(known), 1999)) == {1}


def test_development_points_are_for_the_score_where_no_others_are():
    found, _ = regular_series(
        pa.table({"t": range(10), "v": np.arange(10.0), "part": ["train"] * 7 + ["val"] * 3}),
        name=None,
        time="t",
        value="v",
        split="part",
    )
    assert found[0].tested == 3


AHEAD = {"t": [1, 2, 3, 4, 5, 6, 7], "v": [1.0, None, 3.0, 4.0, 5.0, None, None], "c": [0.0] * 7}


@pytest.mark.parametrize(("ahead", "tested"), [(True, 2), (False, 4)])
@pytest.mark.parametrize("nothing", [None, " "])
def test_a_row_without_a_value_needs_no_word_of_the_split(ahead, tested, nothing):
    words = ["train", nothing, "train", "test", "test", nothing, nothing]
    table = pa.table({**AHEAD, "part": pa.array(words)}).take([6, 0, 3, 5, 1, 2, 4])
    asked = {"name": None, "time": "t", "value": "v", "split": "part", "covariates": {"c": "known"}, "ahead": ahead}
    (found,), _ = regular_series(table, **asked)
    assert (found.n_known, found.tested, len(found.beside)) == (3, tested, 7)


def test_a_row_with_a_value_has_a_word_of_the_split():
    table = pa.table({"t": [1, 2], "v": [1.0, 2.0], "part": ["train", None]})
    with pytest.raises(DataError, match=r"must hold train, dev or test in every row; got .*None"):
        regular_series(table, name=None, time="t", value="v", split="part")
