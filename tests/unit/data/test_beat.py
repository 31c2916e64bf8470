from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.beat import Beat
from hybrid_ray.data.timeline import regular_series
from hybrid_ray.errors import DataError

START = datetime(2024, 1, 1)


def panel(series, step_length=None, **columns):
    """Series of a table that holds the times of each by its name; each value is its place in its series."""
    rows = [(name, time, float(i)) for name, times in series.items() for i, time in enumerate(times)]
    name, time, value = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"name": name, "time": time, "value": value} | columns)
    return regular_series(table, name="name", time="time", value="value", split=None, step_length=step_length)


def days(n, every=1, start=START):
    return [start + timedelta(days=every * i) for i in range(n)]


def told(found):
    return " ".join(found.notes())


def test_all_series_of_a_panel_have_the_step_of_most_of_them():
    workdays = [day for day in days(28) if day.weekday() in (0, 2, 4)]
    series, found = panel({"a": days(28), "b": days(28), "c": days(28), "weekly": days(4, 7), "mwf": workdays})
    by_name = {each.name: each for each in series}
    assert found.step_length == "1d"
    assert len(by_name["a"].values) == 28
    assert np.flatnonzero(np.isfinite(by_name["weekly"].values)).tolist() == [0, 7, 14, 21]
    assert np.isfinite(by_name["mwf"].values).sum() == 12
    assert "2 series have points more or less often than the step of all, 1d" in told(found)


def test_a_series_that_no_step_fits_is_left_out_and_told():
    series, found = panel({"a": [0, 1, 2, 3], "far": [0, 1, 3000], "b": [5, 6, 7]})
    assert [each.name for each in series] == ["a", "b"]
    assert "1 series have points too far apart for steps: they are left out" in told(found)
    with pytest.raises(DataError, match=r"steps must be about equal; got 3 points over 3000 steps in 'far'"):
        panel({"far": [0, 1, 3000]})


@pytest.mark.parametrize(
    ("times", "text"),
    [
        (days(10), "1d"),
        (days(10, 7), "7d"),
        ([datetime(2023 + m // 12, m % 12 + 1, 1) for m in range(14)], "1mo"),
        ([datetime(2020 + m // 4, 3 * (m % 4) + 1, 1) for m in range(14)], "3mo"),
        ([START + timedelta(minutes=15 * i) for i in range(9)], "15min"),
        ([START + timedelta(microseconds=500 * i) for i in range(9)], "0.5ms"),
        ([0.0, 0.25, 0.5], 0.25),
    ],
)
def test_what_was_found_can_be_asked_for(times, text):
    series, found = panel({"a": times})
    again, repeated = panel({"a": times}, found.step_length)
    assert found.step_length == repeated.step_length == text
    assert np.array_equal(series[0].values, again[0].values)
    assert len(series[0].values) == len(times)


def test_later_points_are_brought_to_the_step_that_is_asked_for():
    # Two days of every week are known: by itself their distance is no day.
    sparse = [day for day in days(28) if day.weekday() in (1, 5)]
    own, _ = panel({"a": sparse})
    asked, found = panel({"a": sparse}, "1d")
    assert len(own[0].values) < len(asked[0].values) == (sparse[-1] - sparse[0]).days + 1
    assert "1 series have points more or less often" in told(found)
    single, _ = panel({"a": days(1)}, "1d")
    assert len(single[0].values) == 1


@pytest.mark.parametrize(("times", "asked"), [([0, 1, 2], "1d"), (days(3), 1.0)])
def test_a_length_of_another_kind_than_the_times_is_refused(times, asked):
    with pytest.raises(DataError, match=r"data\.series\.step_length: must be a"):
        panel({"a": times}, asked)


def test_steps_of_four_weeks_stay_so_where_a_holiday_moved_one():
    times = days(30, 28)
    times[13] += timedelta(days=1)
    _, found = panel({"a": times, "b": days(30, 28)})
    assert found.step_length == "28d"


def test_clocks_of_their_own_keep_every_point():
    # 60 a second, told in whole milliseconds, and a second sensor whose clock runs faster by four in a hundred.
    slow = np.rint(np.arange(600) * 1000 / 60)
    fast = np.rint(np.arange(600) * 1000 / 62.5)
    series, found = panel({"slow": slow, "fast": fast})
    assert [np.isfinite(each.values).sum() for each in series] == [600, 600]
    assert [len(each.values) for each in series] == [600, 600]
    assert found.doubled == found.other == 0


@pytest.mark.parametrize("zones", [("+01:00", "+02:00"), ("+0100", "+0200")])
def test_months_of_text_are_those_that_its_offsets_show(zones):
    # Midnight in Berlin is the day before in universal time, of the first of a month the month before.
    texts = [f"2024-{m:02d}-01T00:00:00{zones[3 < m < 11]}" for m in range(1, 13)]
    series, found = panel({"a": [text for text in texts if "-03-" not in text]})
    assert found.step_length == "1mo"
    assert np.flatnonzero(np.isnan(series[0].values)).tolist() == [2]
    assert len(series[0].values) == 12


def test_the_step_of_no_distances_is_open():
    assert Beat.of([np.zeros(1), np.full(3, 5.0)], False) is None
