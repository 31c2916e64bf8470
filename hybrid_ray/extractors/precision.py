"""The number format that a pretrained network computes in.

``precision: auto`` is a wish, not a choice: :meth:`Extractor.resolve` turns it into a format that the hardware
computes natively and whose features, on a sample of rows, stay within ``MIN_COSINE`` of fp32 and do not depend on the
company a row is in. The answer is a
parameter like any other, so it is in the fingerprint, in the run's spec and in the graph's state. An extractor whose
``auto`` was never resolved computes in fp32 and has the fingerprint of fp32: no cache entry ever mixes formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from hybrid_ray.types import AnyArray, FloatArray

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Format = Literal["fp32", "bf16", "fp16"]

MIN_COSINE = 0.999
"""Smallest cosine between a row's features in a reduced format and in fp32 for the format to be accepted."""
MAX_COMPANY = 1e-4
"""How far a row's features by itself may be from those in company, by their length, for the format to be accepted."""
SAMPLE_ROWS = 16
"""Rows on which a format is judged."""


def effective(precision: Precision) -> Format:
    """The format that is computed in: ``auto`` that was never resolved is fp32."""
    return "fp32" if precision == "auto" else precision


def native_formats(device: str) -> tuple[Format, ...]:
    """Reduced formats that a device computes natively, best first; the same on every call of one machine."""
    if device == "cpu":
        return ("bf16",) if _cpu_has_bf16() else ()
    import torch

    major, _ = torch.cuda.get_device_capability()
    return ("bf16", "fp16") if major >= 8 else ("fp16",) if major >= 7 else ()


def hardware_key(device: str) -> str:
    """What a resolved choice depends on beside the extractor: a memo of ``resolve`` is kept under it."""
    return f"{device}:{'+'.join(native_formats(device)) or 'fp32'}"


@cache
def _cpu_has_bf16() -> bool:
    """True where the processor multiplies bf16 itself (AVX-512 BF16 or AMX)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def close_enough(reference: FloatArray, reduced: FloatArray) -> bool:
    """True when each row of ``reduced`` (n, d) is finite, ``MIN_COSINE`` near to ``reference``; False for no rows."""
    if not len(reference) or not np.isfinite(reduced).all():
        return False
    return bool(cosines(reference, reduced).min() >= MIN_COSINE)


def cosines(first: FloatArray, second: FloatArray) -> AnyArray:
    """Cosine of each row (n, d) of one with that of the other: 1 of two rows of zeros, 0 where one of them is."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1).astype(np.float64)
    return np.asarray(np.divide((a * b).sum(axis=1), norms, out=equal, where=norms > 0))


def one_by_one(extract: Callable[[Mapping[str, AnyArray]], FloatArray], arrays: Mapping[str, AnyArray]) -> FloatArray:
    """Features (k, d) of the first ``SAMPLE_ROWS`` of prepared rows, one at least, each extracted by itself."""
    n = min(SAMPLE_ROWS, len(next(iter(arrays.values()))))
    rows = [extract({name: array[row : row + 1] for name, array in arrays.items()}) for row in range(n)]
    return np.concatenate(rows)


def company_free(together: FloatArray, alone: FloatArray) -> bool:
    """True when each row of ``alone`` (n, d) is within ``MAX_COMPANY`` of its row of ``together``."""
    distance = np.linalg.norm(together.astype(np.float64) - alone, axis=1)
    return bool((distance <= MAX_COMPANY * np.linalg.norm(together, axis=1)).all())
