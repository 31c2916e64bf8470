"""Log-mel spectra of sounds: what classical features, pictures and series of sounds are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.data.encoded import DecodeError, fetched
from hybrid_ray.data.sounds import RATES, decode_sound
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, FloatArray

FLOOR_DB = -100.0
"""Level of silence: below it nothing is told apart."""
_BLOCK = 4096
"""Frames that are transformed at once."""


class MelParams(PluginParams):
    """Parameters of log-mel spectra."""

    rate: int = Field(16_000, ge=RATES[0], le=RATES[1])
    """Samples a second that every sound is brought to."""
    seconds: float = Field(10.0, gt=0, le=600)
    """What is read of a sound at most, from its start."""
    window_ms: float = Field(25.0, gt=0, le=1000)
    """Length of a frame, milliseconds."""
    hop_ms: float = Field(10.0, gt=0, le=1000)
    """From the start of a frame to the next, milliseconds."""
    mels: int = Field(64, ge=2, le=512)
    """Bands."""
    low_hz: float = Field(20.0, ge=0, le=100_000)
    """Where the lowest band begins."""
    high_hz: float | None = Field(None, gt=0, le=200_000)
    """Where the highest band ends; left out, or above it: half the rate."""

    @property
    def hop(self) -> int:
        """Samples from the start of a frame to the next."""
        return max(round(self.rate * self.hop_ms / 1000), 1)

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return max(round(self.rate * self.window_ms / 1000), 2)

    @property
    def steps(self) -> int:
        """Frames of a sound that lasts ``seconds``."""
        return max(math.ceil(self.seconds * self.rate / self.hop), 1)


def log_mel(samples: FloatArray, params: MelParams) -> FloatArray:
    """Power in bands over time, in decibels, float32 (steps, mels), from ``FLOOR_DB`` up.

    Frame t is centred on sample t x hop of the sound, which silence surrounds, and multiplied with a periodic Hann
    window w; its power in bin k of a Fourier transform of length n, the next power of two, is |X[k]|^2 / (sum w)^2, so
    that a sine of amplitude 1 has about -6 dB. Bands are triangles of height 1, as wide as they are apart on the scale
    mel(f) = 2595 log10(1 + f / 700); a band that no bin lies in is given the nearest. The level is 10 log10(power).

    Parameters
    ----------
    samples : ndarray float32 (n,)
        At ``params.rate``.
    params : MelParams

    References
    ----------
    Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", IEEE ASSP 1980;
    O'Shaughnessy 1987 for the scale.
    """
    window, hop = params.window, params.hop
    size = 1 << (window - 1).bit_length()
    shape = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float64)
    n = -(-max(len(samples), 1) // hop)
    around = np.pad(samples.astype(np.float64), (window // 2, window + n * hop - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(around, window)[: n * hop : hop]
    bands = _bands(params.rate, size, params.mels, params.low_hz, params.high_hz)
    power = np.empty((n, params.mels))
    for start in range(0, n, _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK] * shape, size)
        power[start : start + _BLOCK] = (spectrum.real**2 + spectrum.imag**2) @ bands.T
    return (10 * np.log10(np.maximum(power / shape.sum() ** 2, 10 ** (FLOOR_DB / 10)))).astype(np.float32)


def read_mels(cells: Sequence[Any], params: MelParams) -> tuple[list[FloatArray], dict[int, str]]:
    """Log-mel spectra (steps, mels) of the cells that can be read; of the others the reason, by position."""
    found: list[FloatArray] = []
    errors: dict[int, str] = {}
    for position, cell in enumerate(fetched(cells, "audio")):
        try:
            if isinstance(cell, DecodeError):
                raise cell
            found.append(log_mel(decode_sound(cell, params.rate, params.seconds), params))
        except DecodeError as error:
            errors[position] = str(error)
    return found, errors


@lru_cache(maxsize=8)
def _bands(rate: int, size: int, mels: int, low: float, high: float | None) -> AnyArray:
    """Weights (mels, size // 2 + 1) of bins in bands."""
    top = min(high or rate / 2, rate / 2)
    edges = _hertz(np.linspace(_mel(min(low, top / 2)), _mel(top), mels + 2))
    bins = np.arange(size // 2 + 1) * rate / size
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    empty = np.flatnonzero(weights.sum(axis=1) == 0)
    weights[empty, np.abs(bins - edges[1:-1][empty, None]).argmin(axis=1)] = 1.0
    return weights


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _hertz(mel: AnyArray) -> AnyArray:
    hertz: AnyArray = 700 * (10 ** (mel / 2595) - 1)
    return hertz
