"""The base of extractors whose features are a forecast: of each row's history the next h numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.extractors.signals import objects
from hybrid_ray.forecasts import HEAD, UNTESTED, scale_of, seasonal_naive, without_gaps
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Batch, FloatArray, Kind, Prepared, State

TAGS = ExtractorTags(modality="series", kinds=frozenset({"series"}), forecasts=True)
HISTORY = "history"
_ROOM = 2.0
"""How far a forecast may leave what its history has seen, in widths of that: further is a method that has run away."""


class ForecasterParams(PluginParams):
    """Parameters of every forecaster."""

    horizon: int | None = Field(None, ge=1, le=4096)
    """Steps to forecast; left out: ``data.series.horizon``."""
    season: int | None = Field(None, ge=1, le=65536)
    """Steps of the season that errors are measured against; left out: ``data.series.season``."""


class Forecaster(Extractor):
    """The next h numbers of a row's series, in units of its own history.

    Features are the level of the history (the mean of its last season), its scale (``scale_of``), the error of a
    back-test (-1: there is none) and the forecast of each step, less the level and divided by the scale: ``HEAD`` and h
    numbers, whatever the method, so that blocks of several methods can be weighed against each other.

    A history may be short, constant or have gaps (on straight lines between neighbours). Of several channels the first
    is forecast. What is further from a history than twice its range is cut; a method that fails on a history answers
    with the seasonal naive forecast.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Six steps of a season of four."""
        yield cls.Params.model_validate({"horizon": 6, "season": 4}), {"history": "series"}

    def check(self) -> None:
        """Refuse a forecaster that nobody told how far to look.

        Raises
        ------
        SpecError
            The horizon or the season is open.
        """
        faults = [
            f"{self.name}.params.{name}: must be set, or data.series must be there; got none"
            for name in ("horizon", "season")
            if getattr(self.params, name) is None
        ]
        if faults:
            raise SpecError(faults)

    @property
    def horizon(self) -> int:
        """Steps that are forecast; 1 as long as nobody has said."""
        return int(self.params.horizon or 1)

    @property
    def season(self) -> int:
        """Steps of the season that errors are measured against; 1 as long as nobody has said."""
        return int(self.params.season or 1)

    @property
    def n_features(self) -> int:
        """Level, scale, the error of the back-test, and a number a step."""
        return HEAD + self.horizon

    def prepare(self, batch: Batch) -> Prepared:
        """Histories float64 (t,) without gaps; a row without a number has nothing to be forecast from: an error."""
        (column,) = self.columns
        cells = batch[column]
        present = np.array([cell is not None and bool(np.isfinite(cell[:, 0]).any()) for cell in cells], bool)
        kept = [without_gaps(cell[:, 0]) for cell, there in zip(cells, present, strict=True) if there]
        errors = {int(row): f"{column}: must hold a number; got none" for row in np.flatnonzero(~present)}
        return Prepared({HISTORY: objects(kept)}, present, errors)

    def in_units(self, history: AnyArray, steps: AnyArray, error: float) -> AnyArray:
        """Features of a row: what was forecast (h,), held near the history, in its units, behind the head.

        Parameters
        ----------
        history : ndarray float64 (t,)
        steps : ndarray float64 (h,)
        error : float
            Of a back-test, in units of the scale.
        """
        level, scale = float(history[-self.season :].mean()), scale_of(history, self.season)
        return np.concatenate([[level, scale, error], (held_near(history, steps) - level) / scale])

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The same forecaster."""
        return cls(params, columns)


class LocalParams(ForecasterParams):
    """Parameters of a forecaster that learns from one history at a time."""

    backtest: bool = True
    """True: each history is forecast a second time from a horizon before its end, which tells how far to trust the
    method for this series."""


class LocalForecaster(Forecaster):
    """A forecaster that learns all it knows from the history of the row that it forecasts: nothing is trained."""

    params: Any

    @abstractmethod
    def forecast(self, history: AnyArray, horizon: int) -> AnyArray:
        """The next numbers (horizon,) after a history float64 (t,), t >= 1, without gaps. It may fail."""

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Features of the present rows, each by itself."""
        histories = arrays[HISTORY]
        features = np.zeros((len(histories), self.n_features), np.float32)
        for row, history in zip(features, histories, strict=True):
            known = np.asarray(history, np.float64)
            row[:] = self.in_units(known, self.answer(known, self.horizon), self._error(known))
        return features

    def _error(self, history: AnyArray) -> float:
        """Mean absolute error of a back-test over the last steps; -1 where the history is too short for one."""
        held = min(self.horizon, len(history) // 3)
        if not self.params.backtest or len(history) - held < 2 * self.season or held < 1:
            return UNTESTED
        before = history[:-held]
        missed = np.abs(self.answer(before, held) - history[-held:]).mean()
        return float(missed / scale_of(history, self.season))

    def answer(self, history: AnyArray, horizon: int) -> AnyArray:
        """What the method says, held near the history; the seasonal naive forecast where it fails."""
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(self.forecast(history, horizon), np.float64)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError, IndexError):
            found = np.full(horizon, np.nan)
        if found.shape != (horizon,) or not np.isfinite(found).all():
            found = seasonal_naive(history, self.season, horizon)
        return held_near(history, found)


def held_near(history: AnyArray, steps: AnyArray) -> AnyArray:
    """Forecasts that do not leave what a history has seen by more than twice its range."""
    low, high = history.min(), history.max()
    room = _ROOM * (high - low)
    held: AnyArray = np.clip(steps, low - room, high + room)
    return held
