from pathlib import Path

import numpy as np
import pytest

from hybrid_ray.extractors.precision import close_enough, company_free, effective, hardware_key, native_formats


def test_unresolved_auto_is_fp32():
    assert [effective(p) for p in ("auto", "fp32", "bf16", "fp16")] == ["fp32", "fp32", "bf16", "fp16"]


def test_a_cpu_has_bf16_when_its_flags_say_so():
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    has = "avx512_bf16" in flags.split() or "amx_bf16" in flags.split()
    assert native_formats("cpu") == (("bf16",) if has else ())
    assert hardware_key("cpu") == ("cpu:bf16" if has else "cpu:fp32")


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        (lambda f: f, True),
        (lambda f: f * 0.5, True),
        (lambda f: f + 0.01 * np.abs(f).mean(), True),
        (lambda f: np.roll(f, 1, axis=1), False),
        (lambda f: np.where(np.arange(len(f))[:, None] == 3, f[::-1], f), False),
        (lambda f: np.where(f == f[0, 0], np.inf, f), False),
        (lambda f: np.where(f == f[0, 0], np.nan, f), False),
        (lambda f: f * 0, False),
    ],
)
def test_every_row_must_stay_near(change, accepted):
    features = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    assert close_enough(features, change(features).astype(np.float32)) is accepted


def test_rows_of_zeros_agree_with_zeros_only():
    zeros = np.zeros((2, 4), np.float32)
    assert close_enough(zeros, zeros)
    assert not close_enough(zeros, zeros + 1)


def test_no_rows_decide_nothing():
    assert not close_enough(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))


def test_company_may_change_a_row_by_a_ten_thousandth_of_its_length():
    features = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    assert company_free(features, features * np.float32(1 + 5e-5))
    changed = features.copy()
    changed[5] *= np.float32(1 + 2e-4)
    assert not company_free(features, changed)
    assert company_free(np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32))
