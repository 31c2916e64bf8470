"""Points put together to longer steps, beside pandas."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.resampling import Resampling
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.data.timeline import regular_series
from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.spec import load_spec
from hybrid_ray.spec.series import ResampleSpec


def irregular(n=400, seed=0, days=100):
    """Points at times drawn over some days, a tenth of them without a number, in no order."""
    rng = np.random.default_rng(seed)
    seconds = rng.choice(days * 86_400, n, replace=False)
    times = np.datetime64("2023-11-07T05:00:00", "ms") + seconds * np.timedelta64(1000, "ms")
    return times, np.where(rng.random(n) < 0.1, np.nan, rng.normal(10, 3, n))


def resampled(times, values, beside=None, ahead=False, **asked):
    table = pa.table({"t": pa.array(times), "v": pa.array(values, from_pandas=True)})
    covariates = {}
    if beside is not None:
        table, covariates = table.append_column("x", pa.array(beside, from_pandas=True)), {"x": "x"}
    (series,), found = regular_series(
        table,
        name=None,
        time="t",
        value="v",
        split=None,
        resampling=Resampling(ResampleSpec(**asked)),
        covariates=covariates,
        ahead=ahead,
    )
    return series, found


OF_PANDAS = {"12h": "12h", "1d": "D", "3d": "3D", "1w": "W-MON", "1mo": "MS"}


@pytest.mark.parametrize("every", OF_PANDAS)
@pytest.mark.parametrize("by", ["mean", "sum", "median", "min", "max", "first", "last"])
def test_steps_are_those_of_pandas(every, by):
    times, values = irregular()
    series, found = resampled(times, values, every=every, by=by, empty="gap")
    of_days = {"closed": "left", "label": "left"} | ({"origin": "epoch"} if every == "3d" else {})
    bins = pd.Series(values, index=pd.DatetimeIndex(times)).sort_index().resample(OF_PANDAS[every], **of_days)
    expected = bins.sum(min_count=1) if by == "sum" else getattr(bins, by)()
    np.testing.assert_allclose(series.values, expected[expected.first_valid_index() :], rtol=1e-12)
    assert (found.combined, found.gaps) == (400, int(np.isnan(series.values).sum()))


def test_a_year_is_a_step():
    times = pa.array([dt.date(2020, 3, 1), dt.date(2020, 12, 31), dt.date(2021, 1, 1), dt.date(2023, 7, 1)])
    series, _ = resampled(times, [1.0, 2, 3, 4], every="1y", by="sum")
    assert series.values.tolist() == [3, 3, 0, 4]


def test_times_that_are_numbers_have_steps_of_a_number():
    series, _ = resampled([0.0, 0.4, 1.1, 1.6, 4.9], [1.0, 2, 3, 4, 5], every=1.5)
    np.testing.assert_array_equal(series.values, [2, 4, np.nan, 5])


@pytest.mark.parametrize(
    ("asked", "middle"),
    [({"by": "sum"}, 0), ({"by": "sum", "empty": "gap"}, np.nan), ({"by": "max"}, np.nan), ({"empty": "zero"}, 0)],
)
def test_a_step_without_a_point_is_a_gap_or_nothing(asked, middle):
    series, found = resampled([0, 1, 4, 5, 8], [1.0, 2, 3, 4, 5], every=2, **asked)
    np.testing.assert_array_equal(series.values[[1, 3]], [middle] * 2)
    assert found.gaps == 2 * np.isnan(middle)


def test_a_sum_of_missing_numbers_is_a_gap():
    series, _ = resampled([0, 1, 2, 3, 4], [1.0, 2, None, None, 5], every=2, by="sum")
    np.testing.assert_array_equal(series.values, [3, np.nan, 5])


def test_covariates_are_means_of_their_steps():
    series, _ = resampled([0, 1, 2, 3, 4], [1.0] * 5, [0.0, 1, None, 3, None], every=2, by="sum")
    np.testing.assert_array_equal(series.beside[:, 0], [0.5, 3, np.nan])


def test_days_begin_at_midnight_of_the_zone_that_times_are_told_in():
    hours = np.datetime64("2024-01-01T05:00", "ms") + np.arange(48) * np.timedelta64(1, "h")
    of_zone = pa.array(hours).cast(pa.timestamp("ms", "America/New_York"))  # midnight there is 5 o'clock
    series, _ = resampled(of_zone, np.repeat([1.0, 2.0], 24), every="1d", by="sum")
    assert series.values.tolist() == [24, 48]
    plain, _ = resampled(hours, np.repeat([1.0, 2.0], 24), every="1d", by="sum")
    assert plain.values.tolist() == [19, 43, 10]


def test_a_last_step_that_may_not_be_over_is_told():
    full, found = resampled(np.arange(20), np.ones(20), every=5, by="sum")
    assert (full.values.tolist(), found.partial) == ([5, 5, 5, 5], 0)
    cut, found = resampled(np.arange(17), np.ones(17), every=5, by="sum")
    assert (cut.values.tolist(), found.partial) == ([5, 5, 5, 2], 1)
    assert found.notes() == [
        "17 points are put together to 4 steps.",
        "1 series end in a step of less than half as many points as usual: it may not be over.",
    ]


@pytest.mark.parametrize(
    ("times", "asked", "message"),
    [
        ([1, 2, 3], {"every": "1d"}, "must be a number, as times are numbers; got '1d'"),
        (["2024-01-01", "2024-01-02"], {"every": 2}, "must be a duration, 1h or 1mo say, as times are dates; got 2"),
        (["2024-01-01", "2024-01-02", "2024-01-03"], {"every": "1h"}, r"no shorter than .* 46 of 49 steps without"),
        ([0, 1_000_000], {"every": 1, "by": "sum"}, "2 points over 1000000 steps"),
    ],
)
def test_steps_that_do_not_suit_the_times_are_refused(times, asked, message):
    with pytest.raises(DataError, match=message):
        resampled(times, np.ones(len(times)), **asked)


# ------------------------------------------------------------------------------------------ rows of a spec

HOURS = [
    f"2024-{1 + d // 30:02d}-{1 + d % 30:02d} {h:02d}:00" for d in [*range(30), *range(60, 70)] for h in (0, 9, 21)
]


def spec_of(tmp_path, split=None, **series):
    table = pa.table({"name": ["a"] * 120, "t": HOURS, "value": np.arange(120.0)})
    if split is not None:
        table = table.append_column("split", pa.array(split))
    pq.write_table(table, tmp_path / "points.parquet")
    asked = {"id": "name", "time": "t", "horizon": 2, "season": 1} | series
    return load_spec(
        {"name": "f", "data": {"path": str(tmp_path / "points.parquet"), "label": "value", "series": asked}}
    )


def rows_of(spec, training=True):
    source = open_source(spec.data, training=training)
    tables = [t for piece in source.pieces for t in read_piece(source, piece, source.schema.names, 7)]
    return source, pa.concat_tables(tables).to_pylist()


def test_rows_are_windows_of_the_longer_steps(tmp_path):
    source, rows = rows_of(spec_of(tmp_path, resample={"every": "1d", "by": "sum"}))
    assert source.about["notes"] == ["120 points are put together to 70 steps."]
    assert rows[-1]["value"] == [114 + 115 + 116, 117 + 118 + 119]
    assert rows[-1]["history"][:2] == [0 + 1 + 2, 3 + 4 + 5]
    assert rows[-1]["history"][30:60] == [0.0] * 30, "days without a sale"
    assert rows[-1]["t"] == "2024-03-08 21:00", "the last point of a history"


def test_rows_to_predict_end_with_the_last_step(tmp_path):
    spec = spec_of(tmp_path, resample={"every": "1d", "by": "max"})
    _, (row,) = rows_of(spec, training=False)
    assert (len(row["history"]), row["history"][-1], row["t"]) == (70, 119.0, "2024-03-10 21:00")


def test_a_step_with_a_test_point_is_for_the_final_score(tmp_path):
    split = ["train"] * 113 + ["test"] * 7
    _, rows = rows_of(spec_of(tmp_path, split, resample={"every": "1d", "by": "last"}))
    assert [row["value"] for row in rows if row["split"] == "test"] == [[113.0, 116.0]]
    assert max(row["value"][-1] for row in rows if row["split"] == "train") == 110.0


def test_only_rows_that_are_resampled_are_known_by_another_digest(tmp_path):
    plain = spec_of(tmp_path)
    assert "resample" not in plain.data.series.identity()
    digests = {
        open_source(spec.data).digest
        for spec in (plain, spec_of(tmp_path, resample={"every": "1d"}), spec_of(tmp_path, resample={"every": "2d"}))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({"resample": {"every": "daily"}}, "resample.every: must be a number and one of s, min, .*; got 'daily'"),
        ({"resample": {"every": "0d"}}, "resample.every: must be a number and one of s"),
        ({"resample": {"every": 0}}, "resample.every: must be a number and one of s.*; got 0"),
        ({"resample": {"every": float("inf")}}, "resample.every: must be a number and one of s"),
        ({"resample": {"every": float("nan")}}, "resample.every: must be a number and one of s"),
        ({"resample": {"every": "1d", "by": "avg"}}, "resample.by: must be one of .*; got 'avg'"),
        ({"resample": {"every": "1d"}, "steps": "points"}, "must be left out where `series.steps` is points"),
    ],
)
def test_what_is_no_length_is_refused(tmp_path, series, message):
    with pytest.raises(BadInputError, match=message):
        spec_of(tmp_path, **series)


@pytest.mark.parametrize("asked", [{"by": "sum"}, {"by": "mean", "empty": "zero"}, {"by": "mean"}])
def test_steps_that_only_covariates_know_are_ahead(asked):
    """Rows after the last value tell covariates of days to come; a weekend among them is no day of 0."""
    days = np.array([0, 1, 3, 4, 5, 6, 9, 10])
    times = np.datetime64("2024-01-01", "ms") + days * np.timedelta64(86_400_000, "ms")
    values = [5.0] * 4 + [np.nan] * 4
    series, _ = resampled(times, values, np.arange(8.0), ahead=True, every="1d", **asked)
    empty = np.nan if asked == {"by": "mean"} else 0.0
    np.testing.assert_array_equal(series.values, [5, 5, empty, 5, 5])
    assert len(series.beside) == 11


def test_the_last_step_with_a_number_may_not_be_over():
    hours = np.arange(24 * 3 + 5)
    times = np.datetime64("2024-01-01", "ms") + hours * np.timedelta64(3_600_000, "ms")
    ahead = times[-1] + np.arange(1, 49) * np.timedelta64(3_600_000, "ms")
    values = np.append(np.ones(len(hours)), np.full(48, np.nan))
    _, found = resampled(np.append(times, ahead), values, every="1d", by="sum")
    assert found.partial == 0, "the day of the last number has all its points"
    _, found = resampled(times, np.ones(len(hours)), every="1d", by="sum")
    assert found.partial == 1


@pytest.mark.parametrize("every", [0.1, 0.2, 0.3])
def test_decimal_steps_hold_as_many_points_each(every):
    times = [round(i / 100, 2) for i in range(300)]
    series, _ = resampled(times, np.ones(300), every=every, by="sum")
    assert set(series.values) == {round(every * 100)}
