"""Identity of rows: 128-bit digests of what a row holds, however it is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from hybrid_ray.data.encoded import DecodeError, fetch
from hybrid_ray.data.files import state_of
from hybrid_ray.digests import KEY_BYTES, digest_json
from hybrid_ray.errors import DataError
from hybrid_ray.types import ENCODED, AnyArray, Batch, BoolArray, Kind

MISSING = -1

_blake2b = hashlib.blake2b


class FileDigests:
    """Digests of the content of files, remembered by URI, size and time of change.

    What is remembered holds no URI but its digest: a column of paths may be redacted, and a signed URL is a secret.

    Parameters
    ----------
    verify : {"stat", "content"}, default "stat"
        content: a remembered digest is not trusted; each file is read once more by this object.
    known : mapping of str to (int, str, str), optional
        What an earlier one remembered: size, stamp and hex digest by the hex digest of the URI.
    """

    def __init__(
        self, verify: Literal["stat", "content"] = "stat", known: Mapping[str, tuple[int, str, str]] | None = None
    ) -> None:
        self._known = dict(known or {})
        self._verify = verify
        self._sure: set[str] = set()

    def digest(self, uri: str) -> bytes:
        """Digest of a file's content; of its URI when it cannot be read, so that it is tried again later."""
        try:
            state = state_of(uri)
        except (DataError, OSError):
            return _unread(uri)
        key = _blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()
        held = self._known.get(key)
        trusted = self._verify == "stat" or key in self._sure
        if held is not None and trusted and held[:2] == (state.size, state.stamp):
            return bytes.fromhex(held[2])
        try:
            made = _blake2b(fetch(uri), digest_size=KEY_BYTES).digest()
        except DecodeError:
            return _unread(uri)
        self._known[key] = (state.size, state.stamp, made.hex())
        self._sure.add(key)
        return made

    def to_bytes(self) -> bytes:
        """All that is remembered, for :meth:`from_bytes`: one JSON line a file, sorted."""
        return b"".join(json.dumps([key, *held]).encode() + b"\n" for key, held in sorted(self._known.items()))

    @classmethod
    def from_bytes(cls, data: bytes, verify: Literal["stat", "content"] = "stat") -> FileDigests:
        """What :meth:`to_bytes` gave; lines that cannot be read are forgotten."""
        known: dict[str, tuple[int, str, str]] = {}
        for line in data.splitlines():
            try:
                key, size, stamp, digest = json.loads(line)
                known[str(key)] = (int(size), str(stamp), bytes.fromhex(digest).hex())
            except (ValueError, TypeError):
                continue
        return cls(verify, known)

    def __len__(self) -> int:
        return len(self._known)


def row_digests(batch: Batch, columns: Mapping[str, Kind], files: FileDigests | None) -> AnyArray:
    """Digests of rows over the values of some columns, in the order of ``columns``.

    Equal values give equal digests: an image or a sound counts by its bytes whether they lie in the table or a file.
    Names of columns do not count.

    Parameters
    ----------
    batch : Batch
        Coerced rows, (n,) each.
    columns : mapping of str to Kind
    files : FileDigests or None
        Remembers the digests of files; None: every file is read.

    Returns
    -------
    ndarray of uint8 (n, 16)
    """
    n = len(batch[next(iter(columns))]) if columns else 0
    if not n:
        return np.zeros((0, KEY_BYTES), np.uint8)
    files = files if files is not None else FileDigests()
    fixed: list[AnyArray] = []
    texts: list[list[bytes]] = []
    for name, kind in columns.items():
        values = batch[name]
        if kind == "numeric":
            fixed.append(_numbers(values))
        elif kind == "date":
            fixed.append(np.ascontiguousarray(values.astype("datetime64[ms]")).view(np.int64))
        elif kind in ENCODED:
            fixed.append(_words(values, [_file_digest(v, files) for v in values if v is not None]))
        elif kind == "series":
            fixed.append(_words(values, [_series_digest(v) for v in values if v is not None]))
        else:
            lengths, encoded = _encoded(values)
            fixed.append(lengths)
            texts.append(encoded)
    # Every row starts with a part of fixed width, lengths of its texts included: no two rows run into one another.
    words = np.column_stack(fixed).view(np.uint8).reshape(n, -1)
    salt = bytes.fromhex(digest_json(list(columns.values())))
    return np.frombuffer(_hash(words, texts, salt), np.uint8).reshape(n, KEY_BYTES)


def _hash(words: AnyArray, texts: list[list[bytes]], salt: bytes) -> bytes:
    n, width = words.shape
    heads = words.tobytes()
    starts = range(0, n * width, width)
    if not texts:
        return b"".join([_blake2b(heads[i : i + width], digest_size=KEY_BYTES, salt=salt).digest() for i in starts])
    tails = texts[0] if len(texts) == 1 else map(b"".join, zip(*texts, strict=True))
    pairs = zip(starts, tails, strict=True)
    return b"".join(
        [_blake2b(heads[i : i + width] + tail, digest_size=KEY_BYTES, salt=salt).digest() for i, tail in pairs]
    )


def _numbers(values: AnyArray) -> AnyArray:
    """Bits of float64 with one zero and one NaN."""
    plain = values.astype(np.float64) + 0.0
    plain[np.isnan(plain)] = np.nan
    return plain.view(np.int64)


def _encoded(values: AnyArray) -> tuple[AnyArray, list[bytes]]:
    """Lengths int64 (n,), -1 where missing, and UTF-8 bytes."""
    encoded = [b"" if v is None else v.encode("utf-8", "surrogatepass") for v in values]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    lengths[_absent(values)] = MISSING
    return lengths, encoded


def _absent(values: AnyArray) -> BoolArray:
    return np.fromiter((v is None for v in values), bool, len(values))


def _words(values: AnyArray, digests: Sequence[bytes]) -> AnyArray:
    """Three int64 a row: whether there is a value, and its digest; digests of the values that are there."""
    absent = _absent(values)
    words = np.zeros((len(values), KEY_BYTES // 8), np.int64)
    words[~absent] = np.frombuffer(b"".join(digests), np.int64).reshape(-1, KEY_BYTES // 8)
    return np.column_stack([np.where(absent, MISSING, 0), words])


def _series_digest(steps: AnyArray) -> bytes:
    """Digest of how many steps and channels there are, and of the numbers, with one zero and one NaN."""
    plain = np.ascontiguousarray(steps, np.float64) + 0.0
    plain[np.isnan(plain)] = np.nan
    return _blake2b(np.array(plain.shape, np.int64).tobytes() + plain.tobytes(), digest_size=KEY_BYTES).digest()


def _file_digest(value: bytes | str, files: FileDigests) -> bytes:
    return files.digest(value) if isinstance(value, str) else _blake2b(value, digest_size=KEY_BYTES).digest()


def _unread(uri: str) -> bytes:
    return _blake2b(b"unread:" + uri.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
