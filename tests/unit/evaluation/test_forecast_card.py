import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from hybrid_ray.evaluation import plots
from hybrid_ray.evaluation.assembly import ENSEMBLE, evaluate_test
from hybrid_ray.evaluation.baselines import baselines
from hybrid_ray.evaluation.forecast_card import forecast_card
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.forecasts import Came, Outlook


@pytest.fixture(scope="module")
def told():
    """Labels of 300 rows of 5 steps, and forecasts whose errors grow with the step."""
    rng = np.random.default_rng(0)
    scale = rng.uniform(1, 20, (300, 1))
    values = 100 + scale * rng.normal(size=(300, 5))
    forecast = values + scale * rng.normal(size=(300, 5)) * np.arange(1, 6) / 5
    came = Came(values, values + scale, values - 2 * scale, values[:, :1], scale)
    return came.packed(), forecast


def test_errors_are_told_by_step_in_units_of_the_rows(told):
    y, forecast = told
    card = forecast_card(y, forecast, None)
    assert [row.step for row in card.steps] == [1, 2, 3, 4, 5]
    errors = [row.error for row in card.steps]
    assert errors == sorted(errors)
    assert [row.naive2 for row in card.steps] == pytest.approx([1] * 5)
    assert [row.seasonal for row in card.steps] == pytest.approx([2] * 5)
    assert card.intervals == []
    assert len(card.drawn) == 4


def test_intervals_are_counted_on_the_test_rows(told):
    y, forecast = told
    card = forecast_card(y[150:], forecast[150:], Outlook.learned(forecast[:150], y[:150], (0.8, 0.95)))
    for row in card.intervals:
        assert row.covered.value == pytest.approx(row.level, abs=0.06)
        assert row.covered.low <= row.covered.value <= row.covered.high
    assert card.intervals[0].width < card.intervals[1].width
    assert all(len(drawn.low) == len(drawn.came) == 5 for drawn in card.drawn)


def test_pinball_loss_is_scikit_learns(told):
    y, forecast = told
    outlook = Outlook.learned(forecast[:150], y[:150], (0.8,))
    [row] = forecast_card(y[150:], forecast[150:], outlook).intervals
    came = Came.of(y[150:])
    _, low, high = np.split(outlook.around(forecast[150:], came.scale), 3, axis=1)
    losses = [
        mean_pinball_loss((came.values / came.scale).ravel(), (end / came.scale).ravel(), alpha=q)
        for q, end in ((0.1, low), (0.9, high))
    ]
    assert row.pinball == pytest.approx(np.mean(losses))


def test_plain_methods_stand_beside_the_ensemble(told):
    y, forecast = told
    plain = baselines(y[:10], y, "forecasting", 5)
    assert list(plain) == ["naive", "seasonal naive", "naive2"]
    found = evaluate_test(
        y,
        {**plain, ENSEMBLE: forecast},
        task="forecasting",
        metric=get_metric("owa", "forecasting"),
        classes=None,
        n=200,
    )
    scores = {row.name: row.score.value for row in found.levels}
    assert scores["naive2"] == pytest.approx(1)
    assert scores[ENSEMBLE] < 1
    assert found.forecast is not None
    assert found.residuals is None


def test_charts_hold_numbers_of_the_card(told):
    y, forecast = told
    card = forecast_card(y, forecast, Outlook.learned(forecast, y, (0.8,)))
    for chart in (plots.steps_chart(card), plots.forecasts_chart(card)):
        assert chart.startswith("<svg")
        assert "var(--accent)" in chart
