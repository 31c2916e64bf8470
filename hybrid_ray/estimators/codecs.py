"""scikit-learn objects as skops bytes, under an explicit allow-list.

skops trusts every public scikit-learn estimator by default. Here nothing is trusted but what the family names: the
types in a file are listed before skops sees it.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from hybrid_ray.errors import ArtifactError

MAX_BYTES = 4 << 30
"""Unpacked size above which a file is not read."""

_SCHEMA = "schema.json"
_MAX_SCHEMA = 64 << 20
_PLAIN = frozenset(
    {
        "builtins.bool",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.bool",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.uint32",
        "numpy.uint64",
        "numpy.uint8",
    }
)
"""Containers and numbers, which run no code."""
_LOADERS = frozenset(
    {
        "CachedNode",
        "DictNode",
        "JsonNode",
        "ListNode",
        "LossNode",
        "NdArrayNode",
        "ObjectNode",
        "TreeNode",
        "TupleNode",
        "TypeNode",
    }
)
"""Kinds of entry that build data; functions, methods, partials and operators are not among them."""


def to_skops(model: Any, allowed: frozenset[str]) -> bytes:
    """A scikit-learn object as skops bytes.

    Raises
    ------
    ArtifactError
        It holds a type outside ``allowed``: it could be saved, and never loaded.
    """
    from skops.io import dumps

    data: bytes = dumps(model)
    _check_types(data, allowed)
    return data


def from_skops(data: bytes, allowed: frozenset[str]) -> Any:
    """The object of ``to_skops``.

    Parameters
    ----------
    data : bytes
    allowed : frozenset of str
        Full names of the types that it may hold, beside plain containers, numbers and arrays.

    Raises
    ------
    ArtifactError
        The bytes are not a skops file, are too large, or hold something else; nothing has been built then.
    """
    _check_types(data, allowed)
    from skops.io import loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return loads(data, trusted=sorted(allowed | _PLAIN))
    except (UntrustedTypesFoundException, TypeError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ArtifactError(f"skops: the saved object must load; got {type(error).__name__}: {error}") from error


def _check_types(data: bytes, allowed: frozenset[str]) -> None:
    types, loaders = _contents(_schema(data))
    foreign = sorted(types - allowed - _PLAIN) + sorted(loaders - _LOADERS)
    if foreign:
        raise ArtifactError(
            f"skops: a saved model may only hold types of its family; got {foreign}. Load only files you trust the "
            "origin of, and report this one"
        )


def _schema(data: bytes) -> Any:
    """The description of all that a skops file holds."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sum(sizes.values()) > MAX_BYTES or sizes.get(_SCHEMA, 0) > _MAX_SCHEMA:
                raise ArtifactError(f"skops: a saved model must be below {MAX_BYTES} bytes; got {sum(sizes.values())}")
            return json.loads(archive.read(_SCHEMA))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError) as error:
        raise ArtifactError(f"skops: the bytes must be a skops file; got {type(error).__name__}: {error}") from error


def _contents(schema: Any) -> tuple[set[str], set[str]]:
    """Full names of the types, and the kinds of entry, anywhere in a schema."""
    types: set[str] = set()
    loaders: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__loader__" in node:
                types.add(f"{node.get('__module__')}.{node.get('__class__')}")
                loaders.add(str(node.get("__loader__")))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return types, loaders
