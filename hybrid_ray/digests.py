"""Content digests: one way to turn a value into a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KEY_BYTES = 16


def digest_bytes(data: bytes | memoryview) -> str:
    """128-bit BLAKE2b of some bytes, as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=KEY_BYTES).hexdigest()


def digest_json(value: Any) -> str:
    """Digest of a JSON-able value, the same for equal values however their keys are ordered."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=True)
    return digest_bytes(text.encode())


def digest_arrays(arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> str:
    """Digest of numeric arrays: dtype, shape and bytes, names included when they have names."""
    named = arrays.items() if isinstance(arrays, Mapping) else ((str(i), a) for i, a in enumerate(arrays))
    state = hashlib.blake2b(digest_size=KEY_BYTES)
    for name, array in sorted(named, key=lambda pair: pair[0]):
        flat = np.ascontiguousarray(array)
        state.update(f"{name}:{flat.dtype.str}:{flat.shape};".encode())
        state.update(flat.reshape(-1).view(np.uint8).data if flat.size else b"")
    return state.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    return value
