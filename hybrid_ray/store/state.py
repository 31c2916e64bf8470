"""The state of a fitted object as files: JSON, one safetensors file, and blobs in their native formats. No pickle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.tensors import pack_tensors, unpack_tensors
from hybrid_ray.types import AnyArray, State

STATE_FILE = "state.json"
TENSOR_FILE = "tensors.safetensors"
PICKLED_SUFFIXES = (".pkl", ".pickle", ".p", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt")
"""Names that promise a pickle inside: no file of a state may have one."""

_BLOB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PICKLE_PROTOCOLS = tuple(bytes([0x80, version]) for version in range(2, 6))

FileInfo = dict[str, Any]
"""``{"sha256": hex digest, "size": bytes}`` of one file."""


class Files(Protocol):
    """Where files are read: a ``StoreRoot``, or files that are checked as they are read."""

    def read(self, path: str) -> bytes: ...  # noqa: D102
    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]: ...  # noqa: D102
    def local_path(self, path: str) -> Path | None: ...  # noqa: D102


def file_info(data: bytes) -> FileInfo:
    """Digest and size of a file's bytes."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def pack_state(state: State) -> dict[str, bytes]:
    """Files of a state, by name.

    Raises
    ------
    ArtifactError
        A blob has a name that cannot be, or holds a pickle.
    """
    files: dict[str, bytes] = {}
    for name, data in state.blobs.items():
        if not _BLOB.fullmatch(name) or name in (STATE_FILE, TENSOR_FILE):
            raise ArtifactError(f"state.blobs: must be file names of letters, digits and '_.-'; got {name[:80]!r}")
        refuse_pickle(name, data)
        files[name] = data
    if state.tensors:
        files[TENSOR_FILE] = pack_tensors(state.tensors)
    files[STATE_FILE] = to_json({"meta": state.meta, "blobs": sorted(state.blobs), "tensors": sorted(state.tensors)})
    return files


def write_state(root: StoreRoot, prefix: str, state: State) -> dict[str, FileInfo]:
    """Put a state below a prefix that nothing else uses.

    Returns
    -------
    dict of str to dict
        ``{"sha256", "size"}`` of each file, by name below the prefix.
    """
    files = pack_state(state)
    root.write_many({f"{prefix}/{name}": data for name, data in files.items()})
    return {name: file_info(data) for name, data in files.items()}


def read_state(root: Files, prefix: str) -> State:
    """The state below a prefix.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    ArtifactError
        A file is damaged, or holds a pickle.
    """
    where = f"{prefix}/{STATE_FILE}"
    head = from_json(root.read(where))
    if not isinstance(head, dict) or {"meta", "blobs", "tensors"} - head.keys() or not isinstance(head["meta"], dict):
        raise ArtifactError(f"{where}: must be the JSON head of a state; got something else")
    blobs: dict[str, bytes] = {}
    for name in head["blobs"]:
        if not isinstance(name, str) or not _BLOB.fullmatch(name):
            raise ArtifactError(f"{where}: blobs must be plain file names; got {name!r}")
        blobs[name] = root.read(f"{prefix}/{name}")
        refuse_pickle(f"{prefix}/{name}", blobs[name])
    tensors: dict[str, AnyArray] = {}
    if head["tensors"]:
        tensors = unpack_tensors(root.read(f"{prefix}/{TENSOR_FILE}"), f"{prefix}/{TENSOR_FILE}")
        if sorted(tensors) != head["tensors"]:
            raise ArtifactError(f"{prefix}/{TENSOR_FILE}: must hold the tensors that {STATE_FILE} names; got others")
    return State(meta=head["meta"], tensors=tensors, blobs=blobs, folder=root.local_path(prefix))


def refuse_pickle(path: str, data: bytes) -> None:
    """Raise ``ArtifactError`` for a file that is named like a pickle or begins like one.

    A safetensors file begins with the length of its header, which may read like a pickle's protocol: what has such a
    header is a safetensors file, whatever its first bytes.
    """
    pickled = data.startswith(_PICKLE_PROTOCOLS) and not _has_tensor_header(data)
    if path.lower().endswith(PICKLED_SUFFIXES) or pickled:
        raise ArtifactError(
            f"{path}: must not be a pickle: reading one would run what it says. Save in a native format"
        )


def _has_tensor_header(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8
