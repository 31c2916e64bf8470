"""Contract checks of forecasters, beside those of every extractor; :mod:`hybrid_ray.testing.extractors` yields them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hybrid_ray.forecasts import ERROR, HEAD, LEVEL, REST, SCALE, scale_of
from hybrid_ray.types import AnyArray, Block

STEPS = 60
"""Steps of a history."""
Transform = Callable[[list[AnyArray]], Block]
"""Features of histories (t,), by a forecaster that is ready."""


def odd_histories(season: int) -> dict[str, AnyArray]:
    """Histories that a forecaster must take: short, constant, negative, huge, tiny, with gaps, with a jump."""
    rng = np.random.default_rng(5)
    at = np.arange(STEPS)
    wave = 10 + np.sin(2 * np.pi * at / max(season, 2)) + 0.1 * rng.normal(size=STEPS)
    gaps = wave.copy()
    gaps[[0, 5, 6, 7, STEPS - 1]] = np.nan
    return {
        "one step": np.array([3.0]),
        "two steps": np.array([3.0, 4.0]),
        "shorter than a season": wave[: max(season - 1, 1)],
        "two seasons": wave[: 2 * season],
        "constant": np.full(STEPS, 7.0),
        "zeros": np.zeros(STEPS),
        "negative": -wave,
        "around zero": wave - 10,
        "huge": 1e12 * wave,
        "tiny": 1e-9 * wave,
        "gaps": gaps,
        "a jump": np.where(at < STEPS // 2, wave, 50 * wave),
        "rare": np.where(at % 13 == 0, wave, 0.0),
        "exponential": np.exp(at / 3.0),
    }


def check_odd_histories(transform: Transform, season: int, horizon: int) -> None:
    """Whatever a history is, there is a finite forecast of it, near what it has seen."""
    held = odd_histories(season)
    block = transform(list(held.values()))
    assert block.present.all()
    assert np.isfinite(block.values).all()
    for (name, history), row in zip(held.items(), block.values.astype(np.float64), strict=True):
        level, scale, error, steps = row[LEVEL] + row[REST], row[SCALE], row[ERROR], row[HEAD:]
        assert len(steps) == horizon, name
        known = history[np.isfinite(history)]
        reach = 2.5 * np.ptp(known) + 1e-3 * abs(known).max() + 1e-6
        told = level + scale * steps
        assert scale > 0, f"{name}: the scale must be above 0; got {scale}"
        assert error >= 0 or error == -1, f"{name}: an error is not negative, -1 says that there is none; got {error}"
        assert (told >= known.min() - reach).all(), name
        assert (told <= known.max() + reach).all(), name


def check_units(transform: Transform, season: int, horizon: int) -> None:
    """Level and scale are those of the history, and a history in other units gives the same forecast in these."""
    rng = np.random.default_rng(6)
    at = np.arange(STEPS)
    history = 20 + 5 * np.sin(2 * np.pi * at / max(season, 2)) + 0.5 * rng.normal(size=STEPS)
    plain, grown = transform([history, 1000 * history]).values.astype(np.float64)
    np.testing.assert_allclose(plain[SCALE], scale_of(history, season), rtol=1e-4)
    told = [row[LEVEL] + row[REST] for row in (plain, grown)]
    np.testing.assert_allclose(told, np.array([1, 1000]) * history[-season:].mean(), rtol=1e-9)
    np.testing.assert_allclose(grown[SCALE], 1000 * plain[SCALE], rtol=1e-4)
    np.testing.assert_allclose(grown[ERROR:], plain[ERROR:], rtol=1e-2, atol=1e-2)


def check_far_from_zero(transform: Transform, season: int, horizon: int) -> None:
    """A counter that has come far is forecast as well as one that begins: its changes are not rounded away."""
    rng = np.random.default_rng(7)
    changes = 20 + 5 * np.sin(2 * np.pi * np.arange(STEPS) / max(season, 2)) + 0.5 * rng.normal(size=STEPS)
    values = transform([-np.cumsum(changes), 3e9 - np.cumsum(changes)]).values.astype(np.float64)
    level = values[:, LEVEL] + values[:, REST] - [0.0, 3e9]
    np.testing.assert_allclose(level[1], level[0], rtol=1e-4)
    np.testing.assert_allclose(values[1, SCALE], values[0, SCALE], rtol=1e-4)
    told = level[:, None] + values[:, [SCALE]] * values[:, HEAD:]
    assert (np.abs(told + changes.sum()) < changes.sum()).all()


def check_no_future(transform: Transform, season: int, horizon: int) -> None:
    """A history that goes on gives another forecast: what is forecast begins after its last step."""
    at = np.arange(STEPS + 7, dtype=np.float64)
    history = 50 + at + 3 * np.sin(2 * np.pi * at / max(season, 2))
    shorter, longer = transform([history[:STEPS], history]).values.astype(np.float64)
    told = [row[LEVEL] + row[REST] + row[SCALE] * row[HEAD:] for row in (shorter, longer)]
    assert not np.allclose(*told)


FORECASTER_CHECKS: tuple[Any, ...] = (check_odd_histories, check_units, check_far_from_zero, check_no_future)
