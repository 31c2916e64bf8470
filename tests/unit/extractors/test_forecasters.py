import numpy as np
import pytest

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.forecasters import arima
from hybrid_ray.extractors.trained import Training
from hybrid_ray.forecasts import ERROR, HEAD, LEVEL, REST, SCALE, UNTESTED, seasonal_naive

AT = np.arange(120)
RNG = np.random.default_rng(0)
SEASONAL = (100 + 2 * AT) * (1 + 0.3 * np.sin(2 * np.pi * AT / 12)) * np.exp(0.02 * RNG.normal(size=120))


def forecaster(name, **params):
    return build_extractor(name, {"horizon": 12, "season": 12} | params, {"history": "series"})


def steps_of(extractor, *histories):
    cells = np.empty(len(histories), object)
    cells[:] = [np.asarray(history, np.float32).reshape(-1, 1) for history in histories]
    values = extractor.transform({"history": cells}).values.astype(np.float64)
    return values[:, [LEVEL]] + values[:, [REST]] + values[:, [SCALE]] * values[:, HEAD:], values


def error(name, history=SEASONAL, **params):
    told, _ = steps_of(forecaster(name, **params), history[:-12])
    return np.abs(told[0] - history[-12:]).mean()


@pytest.mark.parametrize("name", ["theta", "ets", "arima"])
def test_a_method_beats_the_seasonal_naive_where_there_is_a_trend(name):
    assert error(name) < error("seasonal_naive")


def test_an_autoregression_sees_through_noise_what_a_repetition_repeats():
    rng = np.random.default_rng(8)
    clean = 100 + 30 * np.sin(2 * np.pi * np.arange(240) / 12)
    noisy = clean + 5 * rng.normal(size=240)
    told, plain = (steps_of(forecaster(name), noisy[:-12])[0][0] for name in ("autoregression", "seasonal_naive"))
    assert np.abs(told - clean[-12:]).mean() < 0.8 * np.abs(plain - clean[-12:]).mean()


def test_periods_may_be_others_than_the_season_and_several():
    history = np.tile([1.0, 2, 3, 4], 6)
    np.testing.assert_allclose(
        steps_of(forecaster("seasonal_naive", period=4, horizon=5), history)[0][0], [1, 2, 3, 4, 1]
    )
    two = np.concatenate([np.full(4, 2.0), np.full(4, 4.0)])
    np.testing.assert_allclose(steps_of(forecaster("seasonal_naive", period=4, periods=9), two)[0][0], 3)


def test_arima_finds_an_autoregression_and_differences_a_walk():
    noise = np.random.default_rng(3).normal(size=400)
    ar = np.zeros(400)
    for t in range(1, 400):
        ar[t] = 0.8 * ar[t - 1] + noise[t]
    told, _ = steps_of(forecaster("arima", season=1, horizon=3), 50 + ar)
    np.testing.assert_allclose(told[0], 50 + ar[-1] * 0.8 ** np.arange(1, 4), atol=1.0)
    walk = 500 + np.cumsum(noise)
    told, _ = steps_of(forecaster("arima", season=1, horizon=3), walk)
    np.testing.assert_allclose(told[0], walk[-1], atol=2.0)


@pytest.mark.parametrize("params", [{"models": 1}, {"exact": True}, {"max_p": 0, "max_q": 0}, {"logs": False}])
def test_arima_keeps_to_its_bounds(params):
    assert error("arima", **params) < 60


@pytest.mark.parametrize("models", [1, 5, 81])
def test_arima_tries_no_more_orders_than_it_may(models, monkeypatch):
    tried = []
    fitted = arima._fitted
    monkeypatch.setattr(
        arima, "_fitted", lambda series, p, q: (tried.append((len(series), p, q)), fitted(series, p, q))[1]
    )
    forecaster("arima", models=models, max_p=3, max_q=2, steps=40).fitted(SEASONAL)
    assert len(tried) == len(set(tried)) == min(models, 4 * 3)
    assert all(steps <= 40 and p <= 3 and q <= 2 for steps, p, q in tried)


def test_ets_lets_a_trend_go_on_or_fade():
    line = 10 + 2.0 * np.arange(40) + 0.01 * np.random.default_rng(1).normal(size=40)
    told, _ = steps_of(forecaster("ets", season=1, horizon=5), line)
    np.testing.assert_allclose(told[0], 10 + 2.0 * np.arange(40, 45), atol=1.0)
    level = 10 + np.random.default_rng(2).normal(size=200)
    told, _ = steps_of(forecaster("ets", season=1, horizon=5), level)
    np.testing.assert_allclose(told[0], 10, atol=0.7)


def test_an_autoregression_that_learns_little_repeats_the_season():
    noise = 100 + np.random.default_rng(4).normal(size=60)
    told, _ = steps_of(forecaster("autoregression", penalty=1e6), noise)
    np.testing.assert_allclose(told[0], seasonal_naive(noise, 12, 12), atol=0.05)


def test_a_back_test_tells_how_a_method_did_before():
    _, (values,) = steps_of(forecaster("seasonal_naive"), SEASONAL)
    missed = np.abs(seasonal_naive(SEASONAL[:-12], 12, 12) - SEASONAL[-12:]).mean()
    assert values[ERROR] == pytest.approx(missed / values[SCALE], rel=1e-3)
    _, (values,) = steps_of(forecaster("seasonal_naive", backtest=False), SEASONAL)
    assert values[ERROR] == UNTESTED
    _, (values,) = steps_of(forecaster("seasonal_naive"), SEASONAL[:20])
    assert values[ERROR] == UNTESTED


@pytest.mark.parametrize("name", ["seasonal_naive", "theta", "ets", "autoregression"])
def test_steps_before_the_history_that_is_asked_for_change_nothing(name):
    before = np.concatenate([np.linspace(9000, 1, 50), SEASONAL])
    np.testing.assert_array_equal(
        steps_of(forecaster(name, history=120), before)[1], steps_of(forecaster(name, history=120), SEASONAL)[1]
    )
    assert not np.array_equal(steps_of(forecaster(name), before)[1], steps_of(forecaster(name), SEASONAL)[1])


def test_a_history_whose_last_steps_are_gaps_has_nothing_to_be_forecast_from():
    cells = np.empty(1, object)
    cells[0] = np.array([[1.0], [2.0], [np.nan], [np.nan]])
    prepared = forecaster("theta", history=2).prepare({"history": cells})
    assert not prepared.present.any()
    assert prepared.errors == {0: "history: must hold a number; got none"}


def test_one_that_nobody_told_the_horizon_is_refused():
    with pytest.raises(SpecError, match=r"theta.params.horizon: must be set"):
        build_extractor("theta", {}, {"history": "series"}).check()
    forecaster("theta").check()


def _trained(histories, **params):
    extractor = forecaster("forecast_rnn", window=24, hidden=8, windows=16, **params)
    extractor.setup("cpu")
    cells = np.empty(len(histories), object)
    cells[:] = [history.astype(np.float32)[:, None] for history in histories]
    extractor.fit(extractor.prepare({"history": cells}), None, FitContext("forecasting", 12, seed=0))
    extractor.setup("cpu")
    return extractor


def test_the_network_begins_with_the_seasonal_naive_and_learns():
    rng = np.random.default_rng(7)
    waves = [
        rng.uniform(50, 500) * np.exp(0.02 * AT * rng.uniform(0.5, 1.5)) * (1 + 0.3 * np.sin(2 * np.pi * AT / 12))
        for _ in range(8)
    ]
    known = [wave[:-12] for wave in waves]
    came = np.array([wave[-12:] for wave in waves])
    naive = np.array([seasonal_naive(history, 12, 12) for history in known])

    def missed(extractor):
        return np.abs(steps_of(extractor, *known)[0] / came - 1).mean()

    at_once, learned = _trained(known, epochs=1, lr=1e-9), _trained(known, epochs=8, lr=5e-3)
    np.testing.assert_allclose(steps_of(at_once, *known)[0], naive, rtol=1e-3)
    assert missed(learned) < 0.7 * missed(at_once)


@pytest.mark.parametrize("name", ["forecast_rnn", "arima_rnn"])
@pytest.mark.parametrize(
    ("n", "groups", "whole"), [(40, None, True), (40, np.arange(40) % 13, True), (2, None, False), (2, [0, 1], None)]
)
def test_windows_of_whole_histories_say_when_to_stop(name, n, groups, whole):
    """Windows of one history overlap; of two histories only some windows can be held out, of two groups none."""
    extractor = forecaster(name, window=24, hidden=4, windows=40)
    cells = np.empty(n, object)
    cells[:] = [SEASONAL[at:, None].astype(np.float32) for at in range(n)]
    extractor.setup("cpu")
    groups = None if groups is None else np.array(groups)
    training = Training(extractor, extractor.prepare({"history": cells}).arrays, None, 12, 0, 1, groups)
    learner = extractor.learner(training)
    kept, held = learner.hold_out(0, groups)
    owner = np.arange(n) if groups is None else groups
    of = owner[np.arange(40 * n) // 40]
    assert learner.rows == len(kept) + len(held) == 40 * n
    assert not set(kept) & set(held)
    if whole is None:
        assert len(held) == 0
        return
    assert 0.05 < len(held) / learner.rows < 0.2
    assert (not set(of[kept]) & set(of[held])) == whole
