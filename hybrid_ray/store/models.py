"""The registry: versions of models, and the aliases that point at them.

    models/<name>/artifacts/<id>/           a saved graph, see hybrid_ray.store.artifact
    models/<name>/versions/<number>.json    put exclusively when the artifact is whole: this makes the version
    models/<name>/deleted/<number>.json     the version was taken away; its number is never given again
    models/<name>/aliases/<alias>/<n>.json  what the alias pointed at, move by move; the newest counts

Nothing is overwritten, so that two writers at once lose nothing, on a folder and on an object store alike.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hybrid_ray.errors import ArtifactError, HybridRayError, StoreError
from hybrid_ray.graph import Graph
from hybrid_ray.registry import nearest
from hybrid_ray.store.artifact import Artifact, load_graph, save_graph
from hybrid_ray.store.golden import Golden
from hybrid_ray.store.manifest import MANIFEST_FILE
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import StoreRoot, check_name

AREA = "models"
CHAMPION = "champion"
"""The alias that a bare model name means."""

_REF = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{0,63})(?:@(?P<alias>[A-Za-z][A-Za-z0-9_.-]{0,63})|:(?P<n>\d{1,8}))?"
)


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model.

    Attributes
    ----------
    name : str
    version : int
        From 1; 0 for an artifact in a folder, outside the registry.
    uri : str
        The artifact's folder: what ``load_graph`` takes.
    prefix : str
        The same below the store's root; empty for a folder outside it.
    created : str
        ISO time, UTC.
    digest : str
        The manifest's.
    n_bytes : int
        Bytes of the artifact's files.
    info : dict
        What ``register`` was told: run, metric, score.
    """

    name: str
    version: int
    uri: str
    prefix: str
    created: str
    digest: str
    n_bytes: int
    info: dict[str, Any]

    @property
    def ref(self) -> str:
        """What means this version for ever: ``name:version``, or the folder."""
        return f"{self.name}:{self.version}" if self.version else self.uri


class ModelStore:
    """Models of a store. Picklable.

    Parameters
    ----------
    root : StoreRoot
    """

    def __init__(self, root: StoreRoot) -> None:
        self.root = root

    def register(self, graph: Graph, golden: Golden | None, info: Mapping[str, Any] | None = None) -> ModelVersion:
        """Save a graph as the next version of the model it is named after.

        The artifact is loaded again and answers its golden rows before it becomes a version.

        Parameters
        ----------
        graph : Graph
        golden : Golden or None
        info : mapping, optional
            JSON-able facts to keep with the version: run id, metric, score.

        Raises
        ------
        ArtifactError
            The graph cannot be saved, or does not come back as it was; nothing is registered.
        """
        check_name(graph.name, "model name")
        prefix = f"{AREA}/{graph.name}/artifacts/{uuid.uuid4().hex}"
        try:
            manifest = save_graph(self.root, prefix, graph, golden)
            load_graph(self.root, prefix)
        except HybridRayError:
            self._remove(prefix)
            raise
        record = {
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            "prefix": prefix,
            "digest": manifest["digest"],
            "n_bytes": sum(entry["size"] for entry in manifest["files"].values()),
            "info": dict(info or {}),
        }
        number = self._versions(graph.name).append(record)
        return self._version(graph.name, number, record)

    def resolve(self, ref: str) -> ModelVersion:
        """The version that a reference means.

        Parameters
        ----------
        ref : str
            ``name`` (the champion, else the newest), ``name@alias``, ``name:version``, or an artifact's folder or URL.

        Raises
        ------
        StoreError
            There is no such model, version or alias; the message names what there is.
        ArtifactError
            The folder holds no whole artifact.
        """
        match = _REF.fullmatch(ref)
        if match is None or (
            match["name"] == ref and ref not in self.names() and (Path(ref) / MANIFEST_FILE).is_file()
        ):
            return self._folder(ref)
        name = match["name"]
        versions = {v.version: v for v in self.list(name)}
        if not versions:
            known = list(self.names())
            raise StoreError(f"model {name!r}: must be in {self.root.uri}; it holds {known}.{nearest(name, known)}")
        if match["n"] is not None:
            number: int | None = int(match["n"])
        elif match["alias"] is not None:
            number = self._alias(name, match["alias"])
            if number is None:
                held = sorted(self.aliases(name))
                raise StoreError(f"model {name!r}: {match['alias']!r} must be one of its aliases; it has {held}")
        else:
            number = self._alias(name, CHAMPION) or max(versions)
        if number not in versions:
            raise StoreError(f"model {name!r}: version {number} must be there; it has {sorted(versions)}")
        return versions[number]

    def load(self, ref: str, check: bool = True, device: str = "cpu") -> Graph:
        """The graph of a version, set up. See ``load_graph``."""
        return self.open(self.resolve(ref)).load(check, device)

    def open(self, version: ModelVersion) -> Artifact:
        """The artifact of a version, to load parts of it.

        Raises
        ------
        ArtifactError
            It is not the one that was registered.
        """
        artifact = Artifact(version.uri)
        if artifact.manifest.digest != version.digest:
            raise ArtifactError(f"{version.uri}: must be the artifact registered as {version.ref}; its digest differs")
        return artifact

    def list(self, name: str | None = None) -> Sequence[ModelVersion]:
        """All versions, or those of one model, by name and number."""
        names = [check_name(name, "model name")] if name is not None else self.names()
        return [version for each in names for version in self._listed(each)]

    def names(self) -> tuple[str, ...]:
        """Names that have versions, or had them, sorted."""
        return tuple(self.root.folders(AREA))

    def summary(self) -> Sequence[dict[str, Any]]:
        """Every version in a line.

        Returns
        -------
        list of dict
            ``name``, ``version``, ``aliases``, ``created``, ``artifact``, ``bytes``, and of what was registered with it
            ``metric``, ``score`` (out of fold) and ``run_id``, None where it was not told.
        """
        lines = []
        for name in self.names():
            aliases = self.aliases(name)
            for version in self.list(name):
                info = version.info
                lines.append(
                    {
                        "name": name,
                        "version": version.version,
                        "aliases": sorted(alias for alias, number in aliases.items() if number == version.version),
                        "created": version.created,
                        "metric": info.get("metric"),
                        "score": info.get("score", info.get("oof")),
                        "run_id": info.get("run_id"),
                        "artifact": version.uri,
                        "bytes": version.n_bytes,
                    }
                )
        return lines

    def manifest(self, ref: str) -> dict[str, Any]:
        """The manifest of a version, and its ``version``, ``aliases``, ``artifact``, and what was ``registered``."""
        version = self.resolve(ref)
        aliases = self.aliases(version.name) if version.version else {}
        return {
            **self.open(version).manifest.model_dump(mode="json"),
            "version": version.version,
            "aliases": sorted(alias for alias, number in aliases.items() if number == version.version),
            "artifact": version.uri,
            "registered": version.info,
        }

    def aliases(self, name: str) -> dict[str, int]:
        """Aliases of a model and the versions that they point at."""
        folder = f"{AREA}/{check_name(name, 'model name')}/aliases"
        found = {alias: self._alias(name, alias) for alias in self.root.folders(folder)}
        return {alias: number for alias, number in found.items() if number is not None}

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias point at a version.

        Raises
        ------
        StoreError
            There is no such version.
        """
        self._must_exist(name, version)
        self._moves(name, alias).append({"version": version, "steps_back": 0, "created": _now()})

    def swap_alias(self, name: str, alias: str, version: int, expected: int | None) -> bool:
        """Let an alias point at a version if it points at ``expected`` (None: at nothing) now.

        Returns
        -------
        bool
            False when it points elsewhere, or another writer moved it first: nothing is changed then.
        """
        self._must_exist(name, version)
        moves = self._moves(name, alias)
        last = moves.last()
        if (last[1]["version"] if last else None) != expected:
            return False
        number = last[0] + 1 if last else 1
        return moves.try_append(number, {"version": version, "steps_back": 0, "created": _now()})

    def rollback(self, name: str, alias: str = CHAMPION) -> int:
        """Let an alias point at what it pointed at before; again, and it goes one further back.

        Returns
        -------
        int
            The version that it points at now.

        Raises
        ------
        StoreError
            It never pointed at another version that is still there.
        """
        moves = self._moves(name, alias)
        while True:
            records = moves.records()
            past = _past([record for _, record in sorted(records.items())])
            there = {version.version for version in self.list(name)}
            steps = next((n for n in range(1, len(past)) if past[-1 - n] in there), None)
            if steps is None:
                raise StoreError(f"model {name!r}: {alias!r} must have pointed at another version before; it has not")
            version = past[-1 - steps]
            if moves.try_append(max(records) + 1, {"version": version, "steps_back": steps, "created": _now()}):
                return version

    def verify(self, ref: str) -> dict[str, Any]:
        """Check every digest of a version and replay its golden rows.

        Raises
        ------
        ArtifactError
            Something is not as it was saved.
        """
        version = self.resolve(ref)
        artifact = self.open(version)
        artifact.load()
        golden = artifact.manifest.golden
        return {
            "model": version.name,
            "version": version.version,
            "files": len(artifact.infos),
            "bytes": artifact.n_bytes,
            "golden_rows": golden.rows if golden is not None else 0,
        }

    def delete(self, name: str, version: int) -> None:
        """Take a version away for good.

        Raises
        ------
        StoreError
            There is none, or an alias points at it.
        """
        self._must_exist(name, version)
        held = sorted(alias for alias, number in self.aliases(name).items() if number == version)
        if held:
            raise StoreError(
                f"model {name}:{version}: no alias may point at what is deleted; {held} does. Move it first"
            )
        prefix = next(v.prefix for v in self.list(name) if v.version == version)
        self._deleted(name).try_append(version, {"created": _now()})
        self._remove(prefix)

    def _listed(self, name: str) -> Sequence[ModelVersion]:
        gone = self._deleted(name).records()
        records = self._versions(name).records()
        return [self._version(name, n, record) for n, record in records.items() if n not in gone]

    def _version(self, name: str, number: int, record: Mapping[str, Any]) -> ModelVersion:
        prefix = str(record["prefix"])
        return ModelVersion(
            name=name,
            version=number,
            uri=f"{self.root.uri}/{prefix}",
            prefix=prefix,
            created=str(record["created"]),
            digest=str(record["digest"]),
            n_bytes=int(record["n_bytes"]),
            info=dict(record.get("info", {})),
        )

    def _folder(self, ref: str) -> ModelVersion:
        artifact = Artifact(ref)
        manifest = artifact.manifest
        return ModelVersion(
            name=manifest.name,
            version=0,
            uri=artifact.root.uri,
            prefix="",
            created=manifest.created,
            digest=manifest.digest,
            n_bytes=artifact.n_bytes,
            info=dict(manifest.info),
        )

    def _must_exist(self, name: str, version: int) -> None:
        there = [v.version for v in self.list(name)]
        if version not in there:
            raise StoreError(f"model {name!r}: version {version} must be there; it has {there}")

    def _alias(self, name: str, alias: str) -> int | None:
        last = self._moves(name, alias).last()
        return int(last[1]["version"]) if last is not None else None

    def _versions(self, name: str) -> Journal:
        return Journal(self.root, f"{AREA}/{check_name(name, 'model name')}/versions")

    def _deleted(self, name: str) -> Journal:
        return Journal(self.root, f"{AREA}/{check_name(name, 'model name')}/deleted")

    def _moves(self, name: str, alias: str) -> Journal:
        return Journal(self.root, f"{AREA}/{check_name(name, 'model name')}/aliases/{check_name(alias, 'alias')}")

    def _remove(self, prefix: str) -> None:
        """The manifest goes first: what is left of an artifact that is being removed is not one."""
        paths = self.root.list(prefix)
        self.root.delete_many(sorted(paths, key=lambda path: not path.endswith(f"/{MANIFEST_FILE}")))


def _past(moves: list[dict[str, Any]]) -> list[int]:
    """What an alias points at and what it pointed at before, newest last; rolled-back moves are forgotten."""
    past: list[int] = []
    for move in moves:
        if move["steps_back"]:
            del past[-int(move["steps_back"]) :]
        elif not past or past[-1] != move["version"]:
            past.append(int(move["version"]))
    return past


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
