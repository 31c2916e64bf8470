"""Sound cells: decoded within bounds to one channel at one rate; whatever is broken is one kind of error."""

import io
import sys

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.data import sounds
from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.encoded import DecodeError
from hybrid_ray.data.identity import row_digests
from hybrid_ray.data.sounds import check_sound, decode_sound, encode_wav, is_sound, probe_sound, require_soundfile
from hybrid_ray.errors import BadInputError

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
WAV = encode_wav(TONE, RATE)


def saved(samples, form, rate=RATE, **options):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form, **options)
    return stream.getvalue()


@pytest.mark.parametrize(("form", "far"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.05)])
def test_formats(form, far):
    data = saved(TONE, form)
    assert is_sound(data[:16])
    np.testing.assert_allclose(decode_sound(data, RATE, 10), TONE, atol=far)
    probe_sound(data, 1.5)
    check_sound(data)


def test_channels_are_averaged_and_rates_are_one():
    both = saved(np.column_stack([TONE, -0.5 * TONE]), "WAV", subtype="FLOAT")
    np.testing.assert_allclose(decode_sound(both, RATE, 10), 0.25 * TONE, atol=1e-6)
    other = decode_sound(WAV, 11_025, 10)
    assert len(other) == 11_025
    assert np.abs(np.fft.rfft(other)).argmax() == 440
    assert np.abs(other[2000:-2000]).max() == pytest.approx(0.5, abs=0.01)


def test_no_more_is_read_than_was_asked_for(tmp_path):
    (tmp_path / "a.wav").write_bytes(WAV)
    np.testing.assert_array_equal(decode_sound(str(tmp_path / "a.wav"), RATE, 0.25), decode_sound(WAV, RATE, 9)[:2000])
    with pytest.raises(DecodeError, match=r"a sound must last at most 0\.5 seconds; got 1\.0"):
        probe_sound(WAV, 0.5)


def test_sizes_are_bounded(monkeypatch):
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 1000)
    with pytest.raises(DecodeError, match="a sound must have at most 1000 samples; got 8000 x 1"):
        decode_sound(WAV, RATE, 10)
    assert len(decode_sound(WAV, RATE, 0.1)) == 800


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "decodable; got 0 bytes"),
        (b"no sound", "decodable; got 8 bytes"),
        (WAV[:30], "must be decodable|hold finite samples|0 samples"),
        (saved(TONE[:0], "WAV"), "got WAV, 0 samples of 1 channels"),
        (saved(TONE, "AIFF"), "a sound must be WAV, WAVEX, FLAC, OGG"),
        (saved(np.full(9, np.nan), "WAV", subtype="FLOAT"), "must hold finite samples"),
        (saved(TONE, "FLAC")[:500], "a sound must"),
    ],
    ids=range(7),
)
def test_what_is_no_sound_is_refused(data, why):
    with pytest.raises(DecodeError, match=why):
        decode_sound(data, RATE, 10)


@given(st.integers(0, len(WAV) - 1), st.binary(min_size=1, max_size=8))
def test_damage_is_a_decode_error_or_none(at, noise):
    damaged = WAV[:at] + noise + WAV[at + len(noise) :]
    try:
        samples = decode_sound(damaged, RATE, 10)
    except DecodeError:
        return
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("uri", ["/nowhere/secret.wav", "memory://nowhere/secret.wav"])
def test_what_cannot_be_fetched_is_told_without_its_place(uri):
    with pytest.raises(DecodeError, match="a sound must be readable; got a file that") as caught:
        decode_sound(uri, RATE, 10)
    assert "secret" not in str(caught.value)


def test_without_soundfile_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(BadInputError, match=r"log_mel: soundfile must be there .* Install hybrid-ray\[audio\]"):
        require_soundfile("log_mel")


def test_cells_are_bytes_or_the_places_of_files(tmp_path):
    (tmp_path / "a.wav").write_bytes(WAV)
    table = pa.table({"call": ["a.wav", "data:audio/wav;base64,UklGRg==", "", None]})
    batch = coerce(table, {"call": "audio"}, str(tmp_path)).batch
    assert batch["call"].tolist() == [str(tmp_path / "a.wav"), b"RIFF", None, None]
    refused = coerce(table, {"call": "audio"}, paths=False)
    assert [error.reason for error in refused.errors] == ["not a sound: paths and URLs are not taken here, only bytes"]
    held = coerce(pa.table({"call": [WAV]}), {"call": "audio"}).batch
    one = row_digests({"call": batch["call"][:1]}, {"call": "audio"}, None)
    np.testing.assert_array_equal(one, row_digests(held, {"call": "audio"}, None))
