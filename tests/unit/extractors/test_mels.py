"""Log-mel spectra: levels and bands by their formula, and what is made of them."""

import sys

import numpy as np
import pytest

from hybrid_ray.data.images import decode
from hybrid_ray.data.sounds import encode_wav
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.fused import FusionEntry, build_fused
from hybrid_ray.extractors.mels import FLOOR_DB, MelParams, _bands, log_mel
from hybrid_ray.fusion.spectra import MelPicture, MelPictureParams, MelSeries, MelSeriesParams

RATE = 16_000
AUDIO = {"call": "audio"}


def tone(hertz, seconds=0.5, loud=1.0):
    return (loud * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def cells(*sounds):
    held = np.empty(len(sounds), object)
    held[:] = [None if sound is None else encode_wav(sound, RATE) for sound in sounds]
    return {"call": held}


def test_a_tone_is_in_its_band_at_its_level():
    params = MelParams(mels=40)
    levels = log_mel(tone(1000), params)
    assert levels.shape == (50, 40)
    assert levels.dtype == np.float32
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 42)
    centres = 700 * (10 ** (edges[1:-1] / 2595) - 1)
    assert levels[25].argmax() == np.abs(centres - 1000).argmin()
    assert 10 * np.log10((10 ** (levels[25] / 10)).sum()) == pytest.approx(-6, abs=3)
    assert log_mel(tone(1000, loud=0.1), params)[25].max() == pytest.approx(levels[25].max() - 20, abs=0.1)


def test_the_spectrum_is_the_transform_of_each_frame():
    params = MelParams(mels=8, rate=1000, window_ms=64, hop_ms=20, low_hz=0)
    samples = np.random.default_rng(0).normal(size=205).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    padded = np.pad(samples, (32, 64))
    frames = np.stack([padded[20 * t : 20 * t + 64] * window for t in range(11)])
    power = np.abs(np.fft.rfft(frames)) ** 2 / window.sum() ** 2
    expected = 10 * np.log10(np.maximum(power @ _bands(1000, 64, 8, 0.0, None).T, 1e-10))
    np.testing.assert_allclose(log_mel(samples, params), expected, atol=1e-3)


def test_silence_is_the_floor_and_the_shortest_sound_one_frame():
    assert (log_mel(np.zeros(RATE, np.float32), MelParams()) == FLOOR_DB).all()
    assert log_mel(np.ones(1, np.float32), MelParams()).shape == (1, 64)


@pytest.mark.parametrize(("rate", "mels", "high"), [(8000, 512, None), (1000, 64, None), (16_000, 40, 4000.0)])
def test_no_band_is_empty(rate, mels, high):
    bands = _bands(rate, 512, mels, 20.0, high)
    assert (bands.sum(axis=1) > 0).all()
    assert high is None or not bands[:, int(512 * high / rate) + 1 :].any()


def test_statistics_tell_pitch_loudness_and_change():
    extractor = build_extractor("log_mel", {"mels": 16}, AUDIO)
    chirp = np.sin(2 * np.pi * (300 + 2000 * np.arange(8000) / 16_000) * np.arange(8000) / RATE)
    low, high, soft, moving = extractor.transform(cells(tone(300), tone(3000), tone(300, loud=0.1), chirp)).values
    assert high[:16].argmax() > low[:16].argmax()
    assert (low[:16] - soft[:16]).max() == pytest.approx(20, abs=0.5)
    changes = slice(7 * 16, 8 * 16)
    assert moving[changes].max() > 3 * low[changes].max()


def test_a_picture_shows_time_to_the_right_and_pitch_upwards():
    params = MelPictureParams(size=64, seconds=1.0)
    rise = np.concatenate([tone(300, 0.4), tone(4000, 0.4)])
    (picture,) = MelPicture(params).combine(cells(rise), AUDIO).values
    shades = np.asarray(decode(picture, "L"))
    early, late = shades[:, 10], shades[:, 40]
    assert early.argmax() > 40
    assert late.argmax() < 24
    assert shades[:, 60].max() == 0, "after the sound comes silence"
    (soft,) = MelPicture(params).combine(cells(0.5 * rise), AUDIO).values
    assert np.abs(np.asarray(decode(soft, "L")).astype(int) - shades).mean() < 3, "how loud it was does not matter"


def test_a_series_has_a_step_a_frame_and_a_channel_a_band():
    fusion = MelSeries(MelSeriesParams(mels=12))
    one, none, two = fusion.combine(cells(tone(300), None, tone(900, 0.2)), AUDIO).values
    assert none is None
    np.testing.assert_array_equal(one, log_mel(_heard(tone(300)), MelParams(mels=12)))
    assert two.shape == (20, 12)


def _heard(samples):
    return (np.rint(samples * 32767) / 32768).astype(np.float32)


def test_without_soundfile_a_run_is_refused_before_it_starts(monkeypatch):
    extractors = [
        build_extractor("log_mel", {}, AUDIO),
        build_fused("pixels", {}, AUDIO, FusionEntry("mel_picture")),
        build_fused("series_stats", {}, AUDIO, FusionEntry("mel_series")),
    ]
    for extractor in extractors:
        extractor.check()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for extractor, name in zip(extractors, ("log_mel", "mel_picture", "mel_series"), strict=True):
        with pytest.raises(BadInputError, match=f"{name}: soundfile must be there"):
            extractor.check()


@pytest.mark.parametrize(
    ("name", "fusion", "params"),
    [
        ("pixels", FusionEntry("mel_picture", {"size": 16}), {"size": 8}),
        ("series_stats", FusionEntry("mel_series", {"mels": 4}), {"channels": 4}),
    ],
)
def test_extractors_of_images_and_series_read_sounds(name, fusion, params):
    extractor = build_fused(name, params, AUDIO, fusion)
    extractor.setup("cpu")
    batch = cells(tone(300), None, tone(3000))
    batch["call"][1] = b"no sound"
    prepared = extractor.prepare(batch)
    assert prepared.errors == {1: "call: a sound must be decodable; got 8 bytes: LibsndfileError"}
    block = extractor.block(prepared)
    assert block.present.tolist() == [True, False, True]
    assert np.abs(block.values[0] - block.values[2]).max() > 0.1
