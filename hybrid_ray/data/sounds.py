"""Sound cells: decoded within bounds to one channel at one rate; samples encoded."""

from __future__ import annotations

import io
import math
import wave
from typing import TYPE_CHECKING

import numpy as np

from hybrid_ray.data.encoded import DecodeError, fetch
from hybrid_ray.errors import BadInputError
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from soundfile import SoundFile

MAX_SAMPLES = 60_000_000
"""Samples of all channels that are read of a sound at most: ten minutes of two channels at 48 kHz."""
MAX_CHANNELS = 64
RATES = (1_000, 400_000)
"""Samples a second that a sound may have, from and to."""
FORMATS = ("WAV", "WAVEX", "FLAC", "OGG")
"""Formats that are read, as libsndfile names them."""
_FULL = 32767
"""The largest 16-bit sample."""


def is_sound(head: bytes) -> bool:
    """Whether bytes start like a sound of a format that is read."""
    return (head[:4] == b"RIFF" and head[8:12] == b"WAVE") or head.startswith((b"fLaC", b"OggS"))


def require_soundfile(where: str) -> None:
    """Refuse before a run what needs soundfile where it is not installed.

    Raises
    ------
    BadInputError
    """
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: there is no libsndfile
        raise BadInputError(f"{where}: soundfile must be there to read sounds. Install hybrid-ray[audio]") from error


def decode_sound(value: bytes | str, rate: int, seconds: float) -> FloatArray:
    """The samples that a cell holds or names, float32 (n,) in about -1..1: the mean of all channels, at one rate.

    Parameters
    ----------
    value : bytes or str
        The encoded sound, a local path, or a URL of any fsspec protocol.
    rate : int
        Samples a second of what comes out; a sound of another rate is resampled (polyphase, Kaiser window).
    seconds : float
        What is read at most, from the start.

    Raises
    ------
    DecodeError
        It cannot be fetched, is no sound, is damaged, is empty, or would take more than ``MAX_SAMPLES``.
    BadInputError
        soundfile is not installed.
    """
    data = fetch(value, kind="audio")
    with _open(data) as file:
        found = int(file.samplerate)
        samples = _samples(file, seconds * found, len(data))
    mono = samples.mean(axis=1, dtype=np.float64)
    if found != rate:
        from scipy.signal import resample_poly

        shared = math.gcd(found, rate)
        mono = resample_poly(mono, rate // shared, found // shared)
    return np.asarray(mono, np.float32)


def check_sound(value: bytes | str) -> None:
    """Read a whole sound, at its own rate.

    Raises
    ------
    DecodeError
        As :func:`decode_sound` says.
    """
    data = fetch(value, kind="audio")
    with _open(data) as file:
        _samples(file, math.inf, len(data))


def probe_sound(data: bytes, seconds: float) -> None:
    """Look at the header of an encoded sound: cheap, and no proof that the rest is sound.

    Raises
    ------
    DecodeError
        It is no sound, or lasts longer than ``seconds``.
    """
    with _open(data) as file:
        if file.frames > seconds * file.samplerate:
            lasts = file.frames / file.samplerate
            raise DecodeError(f"a sound must last at most {seconds:g} seconds; got {lasts:.1f}")


def encode_wav(samples: AnyArray, rate: int) -> bytes:
    """WAV bytes, 16 bits, of samples (n,) or (n, channels) in -1..1."""
    whole = np.rint(np.clip(samples, -1, 1) * _FULL).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1 if whole.ndim == 1 else whole.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return stream.getvalue()


def _open(data: bytes) -> SoundFile:
    require_soundfile("audio")
    from soundfile import SoundFile, SoundFileError

    try:
        file = SoundFile(io.BytesIO(data))
    except (SoundFileError, TypeError, ValueError) as error:
        raise _undecodable(len(data), error) from error
    fits = file.format in FORMATS and file.channels <= MAX_CHANNELS and RATES[0] <= file.samplerate <= RATES[1]
    if not fits or file.frames <= 0:
        file.close()
        got = f"{file.format}, {file.frames} samples of {file.channels} channels at {file.samplerate} a second"
        raise DecodeError(
            f"a sound must be {', '.join(FORMATS)}, with {RATES[0]} to {RATES[1]} samples a second of at most "
            f"{MAX_CHANNELS} channels; got {got}"
        )
    return file


def _samples(file: SoundFile, most: float, n_bytes: int) -> AnyArray:
    """Samples (n, channels) from the start, 0 < n <= ``most`` or one, all finite."""
    from soundfile import SoundFileError

    frames = int(min(file.frames, max(most, 1)))
    if frames * file.channels > MAX_SAMPLES:
        raise DecodeError(f"a sound must have at most {MAX_SAMPLES} samples; got {frames} x {file.channels}")
    try:
        samples: AnyArray = file.read(frames, dtype="float32", always_2d=True)
    except (SoundFileError, ValueError, MemoryError) as error:
        raise _undecodable(n_bytes, error) from error
    if not len(samples) or not np.isfinite(samples).all():
        raise DecodeError(f"a sound must hold finite samples; got {n_bytes} bytes without")
    return samples


def _undecodable(n_bytes: int, error: Exception) -> DecodeError:
    return DecodeError(f"a sound must be decodable; got {n_bytes} bytes: {type(error).__name__}")
