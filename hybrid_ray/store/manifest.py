"""The manifest of a saved graph: what it is, every file's digest, and the format's version.

How to bump ``FORMAT_VERSION``: raise it by one, write the function that turns a document of the version before into one
of the new version, put it into ``UPGRADES`` under the version it reads, and keep the folder that
``tests/unit/store/formats`` holds of that version: its test loads it for ever.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.state import PICKLED_SUFFIXES
from hybrid_ray.types import Kind, Task

FORMAT = "hybrid_ray.graph"
FORMAT_VERSION = 1
"""The newest artifact format that this code reads, and the one it writes."""
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST = 16 * 2**20
"""Bytes of a manifest above which it is refused unread."""
PARITY = 1e-5
"""How far two ways of prediction may differ in fp32."""
MAX_TOLERANCE = 0.02
"""How far they may differ in any precision."""

UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Format version to the function that makes the next version's document of it."""

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@=+-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.@=+-]{0,127}){0,15}")

Text = Annotated[str, StringConstraints(max_length=4096)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FileEntry(_Part):
    """One file: its digest and its bytes."""

    sha256: Digest
    size: int = Field(ge=0)


class DataFusionEntry(_Part):
    """The data-level fusion in front of an extractor."""

    name: Text
    params: dict[str, Any]


class ExtractorEntry(_Part):
    """One extractor: plugin, parameters, columns, the folder of its state, and what puts the columns together.

    ``shares`` names the files of the state that lie in the folder of another copy of it, and their paths; it is left
    out where there are none.
    """

    key: Text
    name: Text
    params: dict[str, Any]
    columns: dict[str, Kind]
    folder: Text
    shares: dict[Text, Text] = {}
    fusion: DataFusionEntry | None = None


class MemberEntry(_Part):
    """One member: its candidate and the folders of its chains."""

    name: Text
    candidate: dict[str, Any]
    chains: list[Text] = Field(min_length=1)


class DecisionEntry(_Part):
    """The decision-level fusion and the folder of its state."""

    name: Text
    params: dict[str, Any]
    weights: dict[str, float]
    folder: Text


class ReserveEntry(_Part):
    """What answers rows that lack some extractors' inputs and have all of others', by extractor key."""

    name: Text
    lacks: list[Text] = Field(min_length=1)
    needs: list[Text]
    members: list[MemberEntry] = Field(min_length=1)
    decision: DecisionEntry


class GoldenEntry(_Part):
    """The file of golden rows and how far its answers may be off."""

    file: Text
    mode: Literal["rows", "synthetic"]
    rows: int = Field(ge=1)
    tolerance: float = Field(gt=0, le=MAX_TOLERANCE)


class Manifest(_Part):
    """The whole document. ``digest`` is the sha256 of all the rest; ``reserves`` is left out where there are none."""

    format: Literal["hybrid_ray.graph"]
    format_version: int
    name: Text
    task: Task
    label: Text
    created: Text
    columns: dict[str, Kind]
    classes: list[bool | int | float | str] | None
    extractors: list[ExtractorEntry]
    members: list[MemberEntry] = Field(min_length=1)
    decision: DecisionEntry
    reserves: list[ReserveEntry] = []
    golden: GoldenEntry | None
    precision_tolerance: float = Field(gt=0, le=MAX_TOLERANCE)
    info: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, FileEntry]
    digest: Digest

    @field_validator("files")
    @classmethod
    def _safe(cls, value: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for path in value:
            if not _PATH.fullmatch(path) or path == MANIFEST_FILE:
                raise ValueError(f"paths must be relative, without '..'; got {path[:80]!r}")
            if path.lower().endswith(PICKLED_SUFFIXES):
                raise ValueError(f"no file may be a pickle; got {path!r}")
        return value

    @model_validator(mode="after")
    def _known(self) -> Self:
        keys = {entry.key for entry in self.extractors}
        for reserve in self.reserves:
            strange = {*reserve.lacks, *reserve.needs} - keys
            if strange:
                raise ValueError(f"reserve {reserve.name!r} must name extractors of the graph; got {sorted(strange)}")
        return self


def seal(document: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest: the document with its own digest."""
    plain = _finite(dict(document))
    return _canonical(plain | {"digest": _digest(plain)})


def open_manifest(
    data: bytes,
    where: str,
    upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = UPGRADES,
    newest: int = FORMAT_VERSION,
) -> Manifest:
    """Check and parse the bytes of a manifest.

    Parameters
    ----------
    data : bytes
    where : str
        For messages.
    upgrades : mapping of int to callable, default UPGRADES
        How older documents become newer ones.
    newest : int, default FORMAT_VERSION
        The version to arrive at.

    Raises
    ------
    ArtifactError
        It is no manifest, is newer than this code, was changed, or holds what it may not.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: must be a manifest in JSON; {error}. Restore it from a copy") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or document.get("format") != FORMAT:
        raise ArtifactError(f"{where}: must be the manifest of a {FORMAT}; it is something else")
    if version > newest:
        raise ArtifactError(
            f"{where}: format_version must be at most {newest}; got {version}: it was saved by a newer hybrid_ray "
            f"({document.get('versions', {}).get('hybrid-ray', 'unknown')}). Install that version"
        )
    body = {key: value for key, value in document.items() if key != "digest"}
    # The bytes are compared too: a changed blank or a doubled key would leave the values as they are.
    if document.get("digest") != _digest(body) or _canonical(document) != data:
        raise ArtifactError(f"{where}: must be as it was saved; its digest differs. Restore it from a copy")
    while version < newest:
        if version not in upgrades:
            raise ArtifactError(f"{where}: format_version {version} must be one that this code reads; it is not")
        document = upgrades[version](document)
        version += 1
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise ArtifactError(f"{where}: must follow the format; {faults}") from error


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()


def _finite(value: Any) -> Any:
    """Plain values for JSON, which knows no NaN: such a number of the info becomes null."""
    if isinstance(value, np.generic):
        return _finite(value.item())
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
