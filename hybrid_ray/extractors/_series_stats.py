"""Statistics of series: the classical baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.items import ItemExtractor, Items
from hybrid_ray.extractors.signals import OfChannels, StepParams, read_series
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind, State

STATISTICS = "statistics"
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_LAGS = (1, 2, 4, 8, 16)
_BANDS = 8
_OF_CHANNEL = len(_QUANTILES) + len(_LAGS) + _BANDS + 12


class SeriesStatsParams(StepParams):
    """Parameters of ``series_stats``."""


@EXTRACTORS.register("series_stats")
class SeriesStatsExtractor(OfChannels, ItemExtractor):
    """Each channel in numbers that do not ask how long the series is, and how channels go together.

    Of a channel: quantiles, mean, deviation, skewness and kurtosis, first and last value, slope, size of the steps,
    crossings of the mean, share of missing numbers, autocorrelation at lags 1 to 16; share of the power in eight bands
    of an octave each, spectral entropy. Of each pair of the first eight channels their correlation. Missing numbers are
    taken on a straight line between their neighbours.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="series", kinds=frozenset({"series"}), costly=False)
    Params: ClassVar[type[PluginParams]] = SeriesStatsParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Two channels, in one column and in two."""
        yield SeriesStatsParams(channels=2), {"signal": "series"}
        shaped = SeriesStatsParams(channels=2, window=20, resample=12, difference=1, lags=(1,))
        yield shaped, {"left": "series", "right": "series"}

    def read(self, cells: Sequence[Any]) -> Items:
        """Their statistics: float32 (k, item_features)."""
        series, errors = read_series(cells, self.n_channels, self.params)
        rows = [_statistics(steps) for steps in series]
        return Items({STATISTICS: np.array(rows, np.float32).reshape(len(rows), self.item_features)}, errors)

    @property
    def item_features(self) -> int:
        """Statistics of each channel and each pair, and the length."""
        paired = min(self.n_read, _PAIRED)
        return self.n_read * _OF_CHANNEL + paired * (paired - 1) // 2 + 1

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """The statistics, as they were read."""
        return np.asarray(items[STATISTICS], np.float32)

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The same extractor."""
        return cls(params, columns)


_PAIRED = 8
"""Channels whose correlations are given."""
_LARGEST = 1e30
"""What a statistic is held at: features must be finite in float32."""


def _statistics(steps: FloatArray) -> AnyArray:
    """All statistics (item_features,) of a series (t, c)."""
    values = steps.astype(np.float64)
    missing = np.isnan(values)
    filled = np.column_stack([_filled(values[:, j], missing[:, j]) for j in range(values.shape[1])])
    own = [_of_channel(filled[:, j], missing[:, j]) for j in range(values.shape[1])]
    together = _correlations(filled[:, :_PAIRED])
    found = np.concatenate([*own, together, [np.log1p(len(values))]])
    return np.clip(np.nan_to_num(found, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST), -_LARGEST, _LARGEST)


def _filled(x: AnyArray, missing: AnyArray) -> AnyArray:
    """A channel with its gaps on straight lines; zeros where nothing is there."""
    if not missing.any():
        return x
    if missing.all():
        return np.zeros(len(x))
    at = np.arange(len(x))
    return np.interp(at, at[~missing], x[~missing])


def _of_channel(x: AnyArray, missing: AnyArray) -> AnyArray:
    n, mean, std = len(x), x.mean(), x.std()
    z = (x - mean) / std if std > 0 else np.zeros(n)
    changes = np.diff(x)
    at = np.arange(n) - (n - 1) / 2
    slope = float(at @ (x - mean) / (at @ at)) if n > 1 else 0.0
    crossings = float((np.diff(np.sign(z)) != 0).mean()) if n > 1 else 0.0
    size, spread = (np.abs(changes).mean(), changes.std()) if n > 1 else (0.0, 0.0)
    shape = [mean, std, (z**3).mean(), (z**4).mean(), x[0], x[-1], slope, size, spread, crossings, missing.mean()]
    lagged = [float(z[lag:] @ z[:-lag] / n) if n > lag else 0.0 for lag in _LAGS]
    return np.concatenate([np.quantile(x, _QUANTILES), shape, lagged, _spectrum(z)])


def _spectrum(z: AnyArray) -> AnyArray:
    """Shares of the power in bands of an octave each, from the highest down, and the entropy of the spectrum."""
    power = np.abs(np.fft.rfft(z))[1:] ** 2
    total = power.sum()
    if not total:
        return np.zeros(_BANDS + 1)
    shares = power / total
    # Octaves below half the sampling rate: the same band means the same pace whatever the length.
    octave = np.floor(-np.log2(np.arange(1, len(power) + 1) * 2 / max(len(z), 2))).clip(0, _BANDS - 1).astype(np.int64)
    held = shares[shares > 0]
    entropy = -float(held @ np.log(held)) / np.log(max(len(power), 2))
    return np.append(np.bincount(octave, shares, _BANDS), entropy)


def _correlations(x: AnyArray) -> AnyArray:
    centred = x - x.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(norms > 0, norms, 1.0)
    upper = np.triu_indices(x.shape[1], 1)
    return np.asarray((unit.T @ unit)[upper])
