"""Forecasters that read covariates: how rows become arrays, and what they gain where values depend on them."""

import numpy as np
import pytest

from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.forecasters.base import COVARIATES
from hybrid_ray.extractors.forecasters.recurrent import in_own_units
from hybrid_ray.forecasts import ERROR, HEAD, LEVEL, REST, SCALE, UNTESTED, carried
from hybrid_ray.types import HISTORY

H, SEASON = 7, 7
ALONE = {"history": "series"}
PROMOTED = {"history": "series", "promo": "series"}
BOTH = {"history": "series", "promo": "series", "temp": "series"}
FEW = {"epochs": 15, "lr": 1e-2, "windows": 12, "hidden": 8, "batch_size": 64, "window": 14}


def sales(n=12, heat=0.0, seed=0):
    """Series of several lengths whose values rise by half in a promotion, at random a day in five, and where asked with
    the temperature of a week before: (values, promo, temp).
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        steps = int(rng.integers(110, 170))
        at, promo = np.arange(steps), (rng.random(steps) < 0.2).astype(float)
        temp = rng.normal(size=steps)
        season = 1 + 0.3 * np.sin(2 * np.pi * (at / SEASON + rng.random()))
        driven = np.exp(0.4 * promo + heat * np.roll(temp, SEASON) + 0.02 * rng.normal(size=steps))
        found.append((rng.uniform(50, 500) * season * driven, promo, temp))
    return found


def cells_of(arrays):
    cells = np.empty(len(arrays), object)
    for row, steps in enumerate(arrays):
        cells[row] = None if steps is None else np.asarray(steps, np.float32).reshape(-1, 1)
    return cells


def batch_of(series):
    return {
        "history": cells_of([values[:-H] for values, _, _ in series]),
        "promo": cells_of([promo for _, promo, _ in series]),
        "temp": cells_of([temp[:-H] for _, _, temp in series]),
    }


def forecaster(name, columns, **params):
    known = {"known": ["promo"]} if "promo" in columns else {}
    return build_extractor(name, {"horizon": H, "season": SEASON} | known | params, columns)


def ready(name, columns, batch, **params):
    extractor = forecaster(name, columns, **params)
    extractor.setup("cpu")
    if extractor.tags.trained:
        extractor.fit(extractor.prepare(batch), None, FitContext("forecasting", H, seed=0))
        extractor.setup("cpu")
    return extractor


def steps_of(extractor, batch):
    values = extractor.transform(batch).values.astype(np.float64)
    return values[:, [LEVEL]] + values[:, [REST]] + values[:, [SCALE]] * values[:, HEAD:], values[:, ERROR]


def missed(name, columns, series, **params):
    batch = batch_of(series)
    told, error = steps_of(ready(name, columns, batch, **params), batch)
    came = np.array([values[-H:] for values, _, _ in series])
    return np.abs(told / came - 1).mean(), error


def test_covariates_stand_beside_the_history_without_gaps():
    extractor = forecaster("autoregression", BOTH)
    assert (extractor.history, extractor.known, extractor.covariates) == ("history", ("promo",), ("promo", "temp"))
    nan = np.nan
    batch = {
        "history": cells_of([[1, 2, 3], None, [4, nan, 6], [7, 8]]),
        "promo": cells_of([[nan, 1, nan, 0, nan, 1, 0, 0, 0, 0], [1], None, [1, 0, 1]]),
        "temp": cells_of([[5, nan, 7], [1], [nan, nan, 3], None]),
    }
    prepared = extractor.prepare(batch)
    assert prepared.present.tolist() == [True, False, True, True]
    assert prepared.errors == {1: "history: must hold a number; got none"}
    first, second, third = prepared.arrays[COVARIATES]
    np.testing.assert_array_equal(first[:, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(first[:, 1], [5, 5, 7, *[7] * H])
    np.testing.assert_array_equal(second, np.array([[0, 3]] * (3 + H)))
    np.testing.assert_array_equal(third[:, 0], [1, 0, 1, *[1] * (H - 1)])
    assert not third[:, 1].any()


def test_covariates_begin_with_the_history_that_is_looked_at():
    whole = sales(1)
    n = len(whole[0][0]) - H
    last = [(whole[0][0][n - 60 :], whole[0][1][n - 60 :], whole[0][2][n - 60 :])]
    extractor = forecaster("autoregression", BOTH, history=60)
    prepared = [extractor.prepare(batch_of(series)) for series in (whole, last)]
    for name in (HISTORY, COVARIATES):
        np.testing.assert_array_equal(prepared[0].arrays[name][0], prepared[1].arrays[name][0])
    assert prepared[0].arrays[COVARIATES][0].shape == (60 + H, 2)


def test_a_covariate_that_does_not_fit_its_history_counts_as_missing_and_has_a_reason():
    extractor = forecaster("autoregression", BOTH)
    batch = batch_of(sales(3))
    batch["promo"][0], batch["temp"][0] = batch["promo"][0][:5], batch["temp"][0][1:]
    batch["promo"][2] = np.ones((len(batch["history"][2]) + H + 1, 1), np.float32)
    prepared = extractor.prepare(batch)
    n, m = len(batch["history"][0]), len(batch["history"][2])
    assert prepared.present.all()
    assert prepared.errors == {
        0: f"promo: must have {n} to {n + H} steps, as many as history and up to {H} ahead; got 5; "
        f"temp: must have {n} steps, as many as history; got {n - 1}",
        2: f"promo: must have {m} to {m + H} steps, as many as history and up to {H} ahead; got {m + H + 1}",
    }
    assert not prepared.arrays[COVARIATES][0].any()
    assert np.isfinite(extractor.block(prepared).values).all()


@pytest.mark.parametrize(("name", "params"), [("autoregression", {}), ("forecast_rnn", FEW)])
def test_a_promotion_that_is_known_ahead_is_used(name, params):
    alone, told = (missed(name, columns, sales(), **params)[0] for columns in (ALONE, PROMOTED))
    assert told < 0.4 * alone


@pytest.mark.parametrize(("name", "params"), [("autoregression", {}), ("forecast_rnn", FEW)])
def test_what_was_observed_is_used(name, params):
    told, both = (missed(name, columns, sales(heat=0.3), **params)[0] for columns in (PROMOTED, BOTH))
    assert both < 0.85 * told


def test_what_arima_misses_may_be_told_by_covariates():
    alone, told = (missed("arima_rnn", columns, sales(6), **FEW | {"models": 2})[0] for columns in (ALONE, PROMOTED))
    assert told < 0.8 * alone


def test_a_back_test_knows_what_was_known_ahead_and_no_more():
    _, alone = missed("autoregression", ALONE, sales())
    _, told = missed("autoregression", PROMOTED, sales())
    assert told.mean() < 0.4 * alone.mean()
    batch = batch_of(sales(3))
    extractor = forecaster("autoregression", BOTH)
    before = steps_of(extractor, {name: cells_of([c[:-H] for c in cells]) for name, cells in batch.items()})[0]
    other = {**batch, "temp": cells_of([np.concatenate([c[:-H], 100 + c[-H:]]) for c in batch["temp"]])}
    changed = extractor.prepare(other)
    for row, history in enumerate(changed.arrays[HISTORY]):
        beside = extractor.beside(changed.arrays, row)
        held = beside._replace(values=beside.values[: len(history)])
        np.testing.assert_allclose(extractor.answer(history[:-H], H, held), before[row], rtol=1e-4)


@pytest.mark.parametrize(("name", "params"), [("autoregression", {}), ("forecast_rnn", FEW | {"epochs": 2})])
def test_what_is_observed_after_the_origin_is_never_seen(name, params):
    batch = batch_of(sales(6))
    extractor = ready(name, {"history": "series", "temp": "series"}, batch, **params)
    prepared = extractor.prepare(batch)
    later = [steps.copy() for steps in prepared.arrays[COVARIATES]]
    for steps in later:
        steps[-H:] = 1e3
    cells = np.empty(6, object)
    cells[:] = later
    changed = extractor.extract({**prepared.arrays, COVARIATES: cells})
    np.testing.assert_array_equal(changed, extractor.extract(prepared.arrays))


@pytest.mark.parametrize(("name", "params"), [("autoregression", {}), ("forecast_rnn", FEW | {"epochs": 1})])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_short_histories_and_covariates_that_never_vary_have_an_answer(name, params, steps):
    batch = batch_of(sales(4))
    extractor = ready(name, BOTH, batch, **params)
    odd = {
        "history": cells_of([np.arange(steps) + 1.0, np.full(steps, 3.0), np.arange(steps) + 1.0]),
        "promo": cells_of([np.ones(steps + H), np.full(steps + 1, 1e9), None]),
        "temp": cells_of([np.full(steps, 1e-9), None, np.arange(steps) * 1e12]),
    }
    values = extractor.transform(odd).values
    assert np.isfinite(values).all()
    assert extractor.transform({name: cells[:0] for name, cells in odd.items()}).values.shape == (0, HEAD + H)


def test_the_network_is_saved_with_what_it_learned_of_covariates():
    batch = batch_of(sales(6))
    extractor = ready("forecast_rnn", BOTH, batch, **FEW | {"epochs": 2, "cell": "gru"})
    again = type(extractor).from_state(extractor.params, BOTH, extractor.get_state())
    np.testing.assert_array_equal(again.transform(batch).values, extractor.transform(batch).values)
    assert {"straight.weight", "curved.0.weight"} <= set(extractor.get_state().tensors)


def test_without_covariates_a_network_begins_with_the_numbers_that_it_always_did():
    import torch
    from torch import nn

    from hybrid_ray.extractors.forecasters.recurrent_net import RecurrentForecast

    def drawn(make):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return make(), torch.rand(1)

    net, after = drawn(lambda: RecurrentForecast(14, 7, 7, 8, "lstm"))
    (plain, _, _), expected = drawn(lambda: (nn.LSTM(7, 8, batch_first=True), nn.Linear(8, 7), nn.Linear(14, 7)))
    assert set(net.state_dict()) == {
        *(f"recurrent.{name}" for name in plain.state_dict()),
        *(f"{part}.{what}" for part in ("head", "linear") for what in ("weight", "bias")),
    }
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(net.state_dict()[f"recurrent.{name}"], tensor, rtol=0, atol=0)
    assert after == expected


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("autoregression", "f97b262d1b46cd869e2c6cac5616b37f"),
        ("theta", "b0c9a278d98d0513d1564a30beb229c9"),
        ("forecast_rnn", "894ad23c4cc9d1d61fe519059c89c3be"),
        ("arima_rnn", "97a701d189e0b1c64e70a273f9bc13d1"),
    ],
)
def test_without_covariates_cached_forecasts_are_found_again(name, fingerprint):
    # Of version 2, and 3 of the networks: levels are two numbers.
    few = {"epochs": 3, "windows": 6, "hidden": 8} if "rnn" in name else {}
    extractor = build_extractor(name, {"horizon": 4, "season": 6} | few, ALONE)
    assert extractor.fingerprint() == fingerprint
    assert list(extractor.prepare({"history": batch_of(sales(2))["history"]}).arrays) == [HISTORY]


def test_a_covariate_that_never_varies_changes_nothing():
    batch = batch_of(sales(5))
    alone = forecaster("autoregression", ALONE).transform(batch).values
    batch["promo"] = cells_of([np.ones(len(cell) + H) for cell in batch["history"]])
    np.testing.assert_allclose(forecaster("autoregression", PROMOTED).transform(batch).values, alone, rtol=1e-5)
    assert (alone[:, ERROR] != UNTESTED).all()


def test_units_of_covariates():
    beside = np.array([[0.0, 10, 5, 0], [1, 20, 5, 0], [0, 30, 6, 3]])
    units = in_own_units(beside, 2)
    np.testing.assert_allclose(units, [[0, -1, 0, 0], [1, 1, 0, 0], [0, 3, 0.2, 3]])
    np.testing.assert_array_equal(carried(np.array([np.nan, 1, np.nan, 3, np.nan])), [1, 1, 1, 3, 3])
    np.testing.assert_array_equal(carried(np.full(2, np.nan)), [0, 0])
