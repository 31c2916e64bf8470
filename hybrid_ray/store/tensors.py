"""Arrays as safetensors files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from hybrid_ray.errors import ArtifactError
from hybrid_ray.types import AnyArray

_DTYPES = {"F32": "<f4", "U8": "|u1", "BOOL": "|b1", "U32": "<u4", "U64": "<u8"}
"""Types that ``view_tensors`` reads: those of the feature cache."""


def pack_tensors(tensors: Mapping[str, AnyArray]) -> bytes:
    """Arrays as a safetensors file.

    Raises
    ------
    TypeError
        An array holds objects, texts or dates.
    """
    try:
        # safetensors writes the memory as it lies: a transposed or big-endian array would come back as another one.
        return save_tensors(
            {k: np.asarray(v, dtype=np.asarray(v).dtype.newbyteorder("<"), order="C") for k, v in tensors.items()}
        )
    except SafetensorError as error:
        raise TypeError(f"tensors: must be numeric arrays; {error}") from error


def unpack_tensors(data: bytes, where: str) -> dict[str, AnyArray]:
    """Arrays of a safetensors file, writable.

    Raises
    ------
    ArtifactError
        The bytes are not such a file.
    """
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: must be a whole safetensors file; got {len(data)} bytes: {error}") from error


def view_tensors(buffer: Any) -> dict[str, AnyArray]:
    """Arrays of a safetensors file that lie in a buffer (bytes, a memory map), without a copy.

    The reader of the package copies every array; rows of a shard are wanted one by one.

    Raises
    ------
    ValueError
        The bytes are not such a file, or not a whole one.
    """
    view = memoryview(buffer)
    places = tensor_places(view)
    beyond = sorted(name for name, place in places.items() if place.stop > len(view))
    if beyond:
        raise ValueError(f"safetensors: {beyond} must lie in the file whole; it ends after {len(view)} bytes")
    return {name: place.array(view[place.start : place.stop]) for name, place in places.items()}


class Place(NamedTuple):
    """Where an array lies in its file, and what it is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    def array(self, data: Any) -> AnyArray:
        """The array that the bytes from ``start`` to ``stop`` are."""
        if len(data) != self.stop - self.start:
            raise ValueError(f"safetensors: an array must have {self.stop - self.start} bytes; got {len(data)}")
        array: AnyArray = np.frombuffer(data, self.dtype).reshape(self.shape)
        return array


def tensor_places(head: Any) -> dict[str, Place]:
    """Where the arrays of a safetensors file are, from its first bytes.

    Raises
    ------
    ValueError
        The bytes are not the beginning of such a file, or end before its header does.
    """
    view = memoryview(head)
    start = 8 + int.from_bytes(view[:8], "little")
    if len(view) < 8 or start > len(view):
        raise ValueError(f"safetensors: must hold its header; got {len(view)} bytes")
    header = json.loads(bytes(view[8:start]))
    if not isinstance(header, dict):
        raise ValueError("safetensors: the header must be a JSON object")
    header.pop("__metadata__", None)
    places: dict[str, Place] = {}
    for name, info in header.items():
        try:
            dtype, shape = np.dtype(_DTYPES[info["dtype"]]), tuple(int(n) for n in info["shape"])
            first, last = (int(n) for n in info["data_offsets"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"safetensors: {name} must tell a known dtype, shape and place; got {info!r}") from error
        if min(shape, default=0) < 0 or first < 0 or last - first != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"safetensors: the place of {name} must suit its shape; got {info!r}")
        places[name] = Place(dtype, shape, start + first, start + last)
    return places
