import numpy as np
import pytest

from hybrid_ray.forecasts import (
    Adjusted,
    Came,
    Outlook,
    is_seasonal,
    naive2,
    rows_for,
    scale_in,
    scale_of,
    seasonal_naive,
    steps_of,
    without_gaps,
)
from hybrid_ray.types import Block

AT = np.arange(96)
SEASONAL = (100 + AT) * (1 + 0.2 * np.sin(2 * np.pi * AT / 12))


def test_the_scale_is_the_mean_change_over_a_season():
    assert scale_of(np.array([1.0, 2.0, 4.0, 8.0]), 2) == pytest.approx((3 + 6) / 2)
    assert scale_of(np.array([1.0, 2.0, 4.0]), 5) == pytest.approx(1.5)
    assert scale_of(np.full(30, -7.0), 12) == 7.0
    assert scale_of(np.zeros(30), 12) == 1.0


def test_a_season_is_repeated_from_its_own_place():
    np.testing.assert_array_equal(seasonal_naive(np.array([9.0, 1, 2, 3]), 3, 5), [1, 2, 3, 1, 2])
    np.testing.assert_array_equal(seasonal_naive(np.array([1.0, 2]), 3, 2), [2, 2])


def test_naive2_repeats_the_season_around_the_last_number():
    told = naive2(SEASONAL, 12, 24)
    np.testing.assert_allclose(told[:12], told[12:])
    after = np.arange(96, 120)
    came = (100 + after) * (1 + 0.2 * np.sin(2 * np.pi * after / 12))
    assert np.abs(told - came).mean() < np.abs(SEASONAL[-1] - came).mean()


def test_noise_has_no_season_and_naive2_is_naive():
    noise = 50 + np.random.default_rng(1).normal(size=96)
    assert not is_seasonal(noise, 12)
    np.testing.assert_array_equal(naive2(noise, 12, 3), np.full(3, noise[-1]))


def test_a_history_is_put_back_as_it_was_adjusted():
    for history, multiplied in ((SEASONAL, True), (SEASONAL - 150, False)):
        adjusted = Adjusted.of(history, (12,))
        assert (adjusted.season, adjusted.multiplied) == (12, multiplied)
        assert adjusted.values.std() < history.std()
        longer = Adjusted.of(history[:84], (12,))
        again = longer.again(adjusted.values[84:])
        np.testing.assert_allclose(again, history[84:], rtol=0.05, atol=3)


def test_gaps_lie_on_straight_lines_and_ends_repeat():
    np.testing.assert_array_equal(without_gaps(np.array([np.nan, 1, np.nan, 3, np.nan])), [1, 1, 2, 3, 3])


def test_labels_travel_as_numbers():
    came = Came.after([SEASONAL, SEASONAL[:50]], np.arange(12.0).reshape(2, 6), 12)
    packed = came.packed()
    assert packed.shape == (2, 20)
    assert steps_of(packed) == 6
    assert steps_of(np.zeros(4)) == 1
    for part, expected in zip(Came.of(packed), came, strict=True):
        np.testing.assert_array_equal(part, expected)
    assert came.last[1, 0] == SEASONAL[49]
    np.testing.assert_array_equal(came.seasonal[0], SEASONAL[84:90])


def _rows(n, seed):
    rng = np.random.default_rng(seed)
    scale = rng.uniform(1, 100, (n, 1))
    forecast = rng.normal(size=(n, 4)) * scale
    values = forecast + scale * rng.standard_t(4, (n, 4)) * np.array([1, 2, 3, 4])
    return forecast, Came(values, forecast, forecast, scale, scale)


def test_intervals_hold_what_they_promise_whatever_the_scale():
    outlook = Outlook.learned(*(lambda f, c: (f, c.packed()))(*_rows(800, 0)), (0.95, 0.8))
    assert outlook.levels == (0.8, 0.95)
    forecast, came = _rows(4000, 1)
    parts = outlook.parts(outlook.around(forecast, came.scale))
    assert list(parts) == ["prediction", "low_80", "high_80", "low_95", "high_95"]
    np.testing.assert_array_equal(parts["prediction"], forecast)
    for level, name in ((0.8, "80"), (0.95, "95")):
        inside = (parts[f"low_{name}"] <= came.values) & (came.values <= parts[f"high_{name}"])
        assert inside.mean() == pytest.approx(level, abs=0.02)
    assert (np.diff(outlook.widths, axis=1) >= 0).all()


def test_an_outlook_is_kept_as_json_and_may_have_no_intervals():
    forecast, came = _rows(50, 2)
    outlook = Outlook.learned(forecast, came.packed(), (0.5,))
    again = Outlook.from_json(outlook.to_json())
    assert (again.horizon, again.levels, again.n_outputs) == (4, (0.5,), 12)
    np.testing.assert_array_equal(again.widths, outlook.widths)
    none = Outlook.from_json(Outlook.learned(forecast, came.packed(), ()).to_json())
    assert none.n_outputs == 4
    np.testing.assert_array_equal(none.around(forecast, came.scale), forecast)


@pytest.mark.parametrize(("n", "levels"), [(3, ()), (4, (0.8,)), (18, (0.8,)), (19, (0.8, 0.95))])
def test_rows_promise_no_more_than_they_can_tell(n, levels):
    forecast, came = _rows(n, 3)
    outlook = Outlook.learned(forecast, came.packed(), (0.8, 0.95))
    assert outlook.levels == levels
    assert [rows_for(level) <= n for level in (0.8, 0.95)] == [level in levels for level in (0.8, 0.95)]
    assert outlook.around(forecast, came.scale).shape == (n, outlook.n_outputs)


def test_the_widest_interval_that_rows_tell_holds_their_largest_error():
    forecast, came = _rows(19, 3)
    largest = (np.abs(forecast - came.values) / came.scale).max(axis=0)
    outlook = Outlook.learned(forecast, came.packed(), (0.95,))
    np.testing.assert_allclose(outlook.widths[0], np.maximum.accumulate(largest))


def test_the_scale_of_a_row_stands_in_any_forecasters_block():
    block = Block(np.array([[5, 0, 2, -1, 0.5], [0, 0, 0, 0, 0]], np.float32), np.array([True, False]))
    np.testing.assert_array_equal(scale_in({"a": block, "b": block}), [[2], [0]])
