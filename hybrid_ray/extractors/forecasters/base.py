"""The base of extractors whose features are a forecast: of each row's history the next h numbers."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.extractors.signals import objects
from hybrid_ray.forecasts import HEAD, UNTESTED, carried, scale_of, seasonal_naive, without_gaps
from hybrid_ray.params import PluginParams
from hybrid_ray.types import HISTORY, AnyArray, Batch, FloatArray, Kind, Prepared, State

TAGS = ExtractorTags(modality="series", kinds=frozenset({"series"}), forecasts=True, version=2)
COVARIATES = "covariates"
"""What ``prepare`` gives beside ``HISTORY`` where there are any: of each row a ``Beside.values``."""
_ROOM = 2.0
"""How far a forecast may leave what its history has seen, in widths of that: further is a method that has run away."""


class ForecasterParams(PluginParams):
    """Parameters of every forecaster."""

    later: ClassVar[frozenset[str]] = frozenset({"history"})

    horizon: int | None = Field(None, ge=1, le=4096)
    """Steps to forecast; left out: ``data.series.horizon``."""
    season: int | None = Field(None, ge=1, le=65536)
    """Steps of the season that errors are measured against; left out: ``data.series.season``."""
    history: int | None = Field(None, ge=2, le=262_144)
    """Last steps of a history that are looked at; left out: as many as ``data.series`` makes rows of, else all."""


class CovariateParams(PluginParams):
    """Parameters of a forecaster that reads covariates."""

    later: ClassVar[frozenset[str]] = frozenset({"known"})

    known: tuple[str, ...] | None = Field(None, max_length=64)
    """Of the columns beside the history those that are known ahead; left out: ``data.series.covariates.known``."""


class Beside(NamedTuple):
    """Covariates of a history of t steps, without gaps.

    Attributes
    ----------
    values : ndarray float64 (t + h, k)
        Of each step and of those ahead, where only the first ``n_known`` columns may be looked at.
    n_known : int
    """

    values: AnyArray
    n_known: int


class Forecaster(Extractor):
    """The next h numbers of a row's series, in units of its own history.

    Features are the level of the history (the mean of its last season, as two numbers), its scale (``scale_of``), the
    error of a back-test (-1: there is none) and the forecast of each step, less the level and divided by the scale:
    ``HEAD`` and h numbers, whatever the method, so that blocks of several methods can be weighed against each other.

    A history may be short, constant or have gaps (on straight lines between neighbours); of a longer one than
    ``params.history`` the last steps count, wherever it comes from. Of several channels the first is forecast. What is
    further from a history than twice its range is cut; a method that fails on a history answers with the seasonal naive
    forecast.

    One whose tags say so is given covariates too: further columns of as many steps as the history, and as many more as
    are forecast for those that ``params.known`` names. A number that is missing is the last one before. A column that
    has another number of steps counts as missing, and its row has a reason.
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
    def history(self) -> str:
        """The column that is forecast."""
        return HISTORY if HISTORY in self.columns else next(iter(self.columns))

    @property
    def known(self) -> tuple[str, ...]:
        """Covariates that are known ahead."""
        named = getattr(self.params, "known", None) or ()
        return tuple(name for name in self.columns if name in named and name != self.history)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates, those that are known ahead first."""
        return (*self.known, *(name for name in self.columns if name not in (self.history, *self.known)))

    @property
    def n_features(self) -> int:
        """Level, scale and the error of the back-test, and a number a step."""
        return HEAD + self.horizon

    def prepare(self, batch: Batch) -> Prepared:
        """Histories float64 (t,) without gaps, and covariates float64 (t + h, k) where there are any.

        A row without a number has nothing to be forecast from: an error.
        """
        column = self.history
        cells = [None if cell is None else cell[self._from(cell) :] for cell in batch[column]]
        present = np.array([cell is not None and bool(np.isfinite(cell[:, 0]).any()) for cell in cells], bool)
        kept = [without_gaps(cell[:, 0]) for cell in itertools.compress(cells, present) if cell is not None]
        errors = {int(row): f"{column}: must hold a number; got none" for row in np.flatnonzero(~present)}
        if not self.covariates:
            return Prepared({HISTORY: objects(kept)}, present, errors)
        beside = [self._beside(batch, int(row), errors) for row in np.flatnonzero(present)]
        return Prepared({HISTORY: objects(kept), COVARIATES: objects(beside)}, present, errors)

    def _from(self, cell: AnyArray) -> int:
        """The first step of a history that is looked at."""
        return max(len(cell) - int(self.params.history or len(cell)), 0)

    def _beside(self, batch: Batch, row: int, errors: dict[int, str]) -> AnyArray:
        """Covariates float64 (t + h, k) of a row, of the steps that are looked at; a reason for one that does not fit
        the history.
        """
        steps, start = len(batch[self.history][row]), self._from(batch[self.history][row])
        values = np.zeros((steps + self.horizon, len(self.covariates)))
        for place, name in enumerate(self.covariates):
            cell, ahead = batch[name][row], self.horizon if name in self.known else 0
            if cell is None:
                continue
            if not steps <= len(cell) <= steps + ahead:
                most, more = (f" to {steps + ahead}", f" and up to {ahead} ahead") if ahead else ("", "")
                reason = f"{name}: must have {steps}{most} steps, as many as {self.history}{more}; got {len(cell)}"
                errors[row] = "; ".join(filter(None, [errors.get(row), reason]))
                continue
            told = np.full(len(values), np.nan)
            told[: len(cell)] = cell[:, 0]
            values[start:, place] = carried(told[start:])
        return values[start:]

    def beside(self, arrays: Mapping[str, AnyArray], row: int) -> Beside | None:
        """Covariates of a row of what ``prepare`` gave; None where there are none."""
        return Beside(arrays[COVARIATES][row], len(self.known)) if COVARIATES in arrays else None

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
        rounded = float(np.float32(level))
        return np.concatenate([[rounded, level - rounded, scale, error], (held_near(history, steps) - level) / scale])

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

    def forecast_beside(self, history: AnyArray, horizon: int, beside: Beside) -> AnyArray:
        """The same with covariates of the history and ahead, for one whose tags say that it reads them. It may fail."""
        return self.forecast(history, horizon)

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Features of the present rows, each by itself."""
        histories = arrays[HISTORY]
        features = np.zeros((len(histories), self.n_features), np.float32)
        for at, (row, history) in enumerate(zip(features, histories, strict=True)):
            known, beside = np.asarray(history, np.float64), self.beside(arrays, at)
            row[:] = self.in_units(known, self.answer(known, self.horizon, beside), self._error(known, beside))
        return features

    def _error(self, history: AnyArray, beside: Beside | None) -> float:
        """Mean absolute error of a back-test over the last steps; -1 where the history is too short for one."""
        held = min(self.horizon, len(history) // 3)
        if not self.params.backtest or len(history) - held < 2 * self.season or held < 1:
            return UNTESTED
        before = history[:-held]
        if beside is not None:
            beside = beside._replace(values=beside.values[: len(history)])
        missed = np.abs(self.answer(before, held, beside) - history[-held:]).mean()
        return float(missed / scale_of(history, self.season))

    def answer(self, history: AnyArray, horizon: int, beside: Beside | None = None) -> AnyArray:
        """What the method says, held near the history; the seasonal naive forecast where it fails."""
        try:
            with np.errstate(all="ignore"):
                told = (
                    self.forecast(history, horizon)
                    if beside is None
                    else self.forecast_beside(history, horizon, beside)
                )
                found = np.asarray(told, np.float64)
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
