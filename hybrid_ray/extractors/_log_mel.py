"""Statistics of log-mel spectra: the classical features of sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from hybrid_ray.data.sounds import require_soundfile
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.items import ItemExtractor, Items
from hybrid_ray.extractors.mels import MelParams, read_mels
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, FloatArray, Kind, State

STATISTICS = "statistics"
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_OF_BAND = len(_QUANTILES) + 3
_OF_SOUND = 4


class LogMelParams(MelParams):
    """Parameters of ``log_mel``."""


@EXTRACTORS.register("log_mel")
class LogMelExtractor(ItemExtractor):
    """Each band of a log-mel spectrum in numbers that do not ask how long the sound is.

    Of a band, in decibels over time: mean, deviation, the quantiles 0.1, 0.25, 0.5, 0.75 and 0.9, and the mean size of
    the change from a frame to the next. Of the sound: mean and deviation over time of the mean over all bands and of
    the centroid of the bands' power.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="audio", kinds=frozenset({"audio"}))
    Params: ClassVar[type[PluginParams]] = LogMelParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """One column and two, at another rate than the sounds'."""
        yield LogMelParams(rate=4000, mels=8), {"sound": "audio"}
        yield (
            LogMelParams(rate=8000, mels=5, seconds=0.1, window_ms=4, high_hz=2000),
            {"left": "audio", "right": "audio"},
        )

    def read(self, cells: Sequence[Any]) -> Items:
        """Their statistics: float32 (k, item_features)."""
        spectra, errors = read_mels(cells, self.params)
        rows = [_statistics(spectrum) for spectrum in spectra]
        return Items({STATISTICS: np.array(rows, np.float32).reshape(len(rows), self.item_features)}, errors)

    @property
    def item_features(self) -> int:
        """Statistics of each band, and of the sound."""
        return int(self.params.mels) * _OF_BAND + _OF_SOUND

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """The statistics, as they were read."""
        return np.asarray(items[STATISTICS], np.float32)

    def check(self) -> None:
        """Refuse where no sound could be read."""
        require_soundfile(self.name)

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The same extractor."""
        return cls(params, columns)


def _statistics(spectrum: FloatArray) -> AnyArray:
    """All statistics (item_features,) of a spectrum (steps, mels)."""
    levels = spectrum.astype(np.float64)
    change = np.abs(np.diff(levels, axis=0)).mean(axis=0) if len(levels) > 1 else np.zeros(levels.shape[1])
    bands = [levels.mean(axis=0), levels.std(axis=0), *np.quantile(levels, _QUANTILES, axis=0), change]
    power = 10 ** (levels / 10)
    centroid = power @ np.arange(levels.shape[1]) / power.sum(axis=1)
    loudness = levels.mean(axis=1)
    return np.concatenate([*bands, [loudness.mean(), loudness.std(), centroid.mean(), centroid.std()]])
