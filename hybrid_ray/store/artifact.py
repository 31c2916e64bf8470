"""A graph as a folder of files: saved without pickle, and checked whole before any of it is used.

    manifest.json              what it is, the digest of every file, the versions of packages; put last
    golden.json                golden rows and their outputs
    extractors/<n>/            state of each extractor: state.json, tensors.safetensors, files in native formats; what
                               copies of one extractor have in common lies with the first of them
    members/<m>/<n>/           each chain: chain.json, fusion/, model/, steps/<n>/
    decision/                  state of the decision-level fusion
    reserves/<r>/              members and decision of each reserve, alike; a chain of the ensemble is not put twice

Paths in the manifest are relative to its folder: an artifact may be moved, copied, or taken out of its store.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import ArtifactError, HybridRayError, StoreError
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.extractors.fused import FusedExtractor, FusionEntry
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.graph import Chain, Graph, Member, Reserve
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS, FUSIONS
from hybrid_ray.store.chain import pack_chain, read_chain
from hybrid_ray.store.golden import Golden, make_golden, replay
from hybrid_ray.store.manifest import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST_FILE,
    MAX_MANIFEST,
    PARITY,
    DecisionEntry,
    GoldenEntry,
    Manifest,
    MemberEntry,
    open_manifest,
    seal,
)
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import file_info, pack_state, read_state
from hybrid_ray.store.verified import SharedFiles, VerifiedFiles, extra_files, joined
from hybrid_ray.versions import versions_of

__all__ = ["CHECK", "GOLDEN_FILE", "Artifact", "Golden", "load_graph", "make_golden", "save_graph"]

GOLDEN_FILE = "golden.json"
CHECK = "golden_check"
"""Key of ``Graph.info`` that tells how the golden rows went at load: passed, none, or skipped."""

SHARED_BYTES = 2**16
"""Bytes from which a file that copies of one extractor have in common is kept once."""

_PACKAGES = (
    "hybrid-ray",
    "numpy",
    "scikit-learn",
    "torch",
    "torchvision",
    "transformers",
    "xgboost",
    "lightgbm",
    "skops",
    "safetensors",
)


def save_graph(root: StoreRoot, prefix: str, graph: Graph, golden: Golden | None) -> dict[str, Any]:
    """Put a graph below a prefix that holds nothing; the manifest is put last.

    Parameters
    ----------
    root : StoreRoot
    prefix : str
        Empty for the root itself.
    graph : Graph
    golden : Golden or None
        What ``make_golden`` gave.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    StoreError
        There is something below the prefix already, or the store cannot be written.
    ArtifactError
        A plugin's state cannot be saved without pickle.
    """
    if root.list(prefix):
        raise StoreError(f"{root.uri}/{prefix}: must be empty to save a graph into; it holds files. Give another place")
    files, parts = _pack(graph)
    if golden is not None:
        files[GOLDEN_FILE] = to_json(golden.to_json())
        parts["golden"] = {
            "file": GOLDEN_FILE,
            "mode": golden.mode,
            "rows": len(golden.rows),
            "tolerance": golden.tolerance,
        }
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": graph.name,
        "task": graph.task,
        "label": graph.label,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "columns": graph.columns,
        "classes": graph.classes,
        "extractors": parts["extractors"],
        "members": parts["members"],
        "decision": parts["decision"],
        **({"reserves": parts["reserves"]} if parts["reserves"] else {}),
        "golden": parts.get("golden"),
        "precision_tolerance": golden.precision if golden is not None else PARITY,
        "info": {key: value for key, value in graph.info.items() if key != CHECK},
        "versions": _versions(),
        "files": {path: file_info(data) for path, data in sorted(files.items())},
    }
    sealed = seal(document)
    if len(sealed) > MAX_MANIFEST:
        raise ArtifactError(f"{graph.name}: a manifest must have at most {MAX_MANIFEST} bytes; got {len(sealed)}")
    # What cannot be opened again must not be saved: a faulty plugin shows here, not when the model is needed.
    manifest = open_manifest(sealed, joined(prefix, MANIFEST_FILE))
    root.write_many({joined(prefix, path): data for path, data in files.items()})
    root.write(joined(prefix, MANIFEST_FILE), sealed)
    return manifest.model_dump(mode="json")


def load_graph(root: StoreRoot | str | Path, prefix: str = "", check: bool = True, device: str = "cpu") -> Graph:
    """The graph of an artifact, set up.

    Every digest is checked before any file is looked into; nothing is ever unpickled.

    Parameters
    ----------
    root : StoreRoot or str or Path
        A store, or the folder (or URL) of the artifact itself.
    prefix : str, default ""
        The artifact's folder in the store.
    check : bool, default True
        False does not replay the golden rows; ``graph.info["golden_check"]`` then says so. Digests are checked always.
    device : str, default "cpu"
        Where extractors are set up.

    Raises
    ------
    ArtifactError
        The artifact is damaged, holds files of its own accord, is newer than this code, needs a plugin that is not
        installed, or answers golden rows otherwise than when it was saved.
    """
    return Artifact(root, prefix).load(check, device)


class Artifact:
    """A saved graph that is opened: its manifest is checked, its other files when they are read.

    ``load_graph`` gives the whole graph; a deployment that needs one extractor asks for that one.

    Parameters
    ----------
    root : StoreRoot or str or Path
    prefix : str, default ""

    Raises
    ------
    ArtifactError
        There is no manifest, it does not hold, or there are files that it does not name.
    """

    def __init__(self, root: StoreRoot | str | Path, prefix: str = "") -> None:
        self.root = root if isinstance(root, StoreRoot) else StoreRoot(str(root))
        self.prefix = prefix
        self.where = joined(self.root.uri, prefix) if prefix else self.root.uri
        self.manifest: Manifest = self._open()
        self._files = VerifiedFiles(self.root, prefix, self.infos)
        self._chains: dict[str, Chain] = {}

    @cached_property
    def infos(self) -> dict[str, dict[str, Any]]:
        """Digest and size of each file, by path below the artifact's folder."""
        return {path: entry.model_dump() for path, entry in self.manifest.files.items()}

    @property
    def n_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size for entry in self.manifest.files.values())

    def graph(self) -> Graph:
        """The whole graph, not yet set up; every file is checked first."""
        self._files.fetch()
        manifest = self.manifest
        held: dict[str, bytes] = {}
        return Graph(
            name=manifest.name,
            task=manifest.task,
            label=manifest.label,
            columns=dict(manifest.columns),
            classes=list(manifest.classes) if manifest.classes is not None else None,
            extractors={entry.key: self.extractor(entry.key, held) for entry in manifest.extractors},
            members=self.members(),
            decision=self.decision(),
            info=dict(manifest.info),
            reserves=self.reserves(),
        )

    def load(self, check: bool = True, device: str = "cpu") -> Graph:
        """The whole graph, set up, and its golden rows replayed: see ``load_graph``."""
        graph = self.graph()
        with _loading(self.where, "extractors", self.manifest):
            graph.setup(device)
        golden = self.golden()
        if golden is None:
            graph.info[CHECK] = "none: the artifact keeps no golden rows"
        elif check:
            replay(graph, golden, self.where)
            graph.info[CHECK] = "passed"
        else:
            graph.info[CHECK] = "skipped: loaded with check=False"
        return graph

    def extractor(self, key: str, held: dict[str, bytes] | None = None) -> Extractor:
        """One extractor, not yet set up; ``held`` keeps the files that its copies share, for those that come later."""
        entry = next(entry for entry in self.manifest.extractors if entry.key == key)
        with _loading(self.where, entry.folder, self.manifest):
            plugin: type[Extractor] = EXTRACTORS.get(entry.name)
            params = plugin.Params.model_validate(entry.params)
            folder = joined(self.prefix, entry.folder)
            moved = {joined(folder, name): joined(self.prefix, path) for name, path in entry.shares.items()}
            state = read_state(SharedFiles(self._files, moved, {} if held is None else held), folder)
            if entry.fusion is None:
                return plugin.from_state(params, dict(entry.columns), state)
            fusion = FusionEntry(entry.fusion.name, entry.fusion.params)
            return FusedExtractor(
                plugin.from_state(params, fusion.behind(), state), fusion.build(), dict(entry.columns)
            )

    def members(self) -> list[Member]:
        """All members with their chains."""
        return self._members(self.manifest.members)

    def reserves(self) -> list[Reserve]:
        """All reserves with their members."""
        return [
            Reserve(
                entry.name,
                tuple(entry.lacks),
                tuple(entry.needs),
                self._members(entry.members),
                self._decision(entry.decision),
            )
            for entry in self.manifest.reserves
        ]

    def decision(self) -> DecisionFusion:
        """The decision-level fusion."""
        return self._decision(self.manifest.decision)

    def _members(self, entries: Sequence[MemberEntry]) -> list[Member]:
        members = []
        for entry in entries:
            chains = [self._chain(folder) for folder in entry.chains]
            with _loading(self.where, entry.name, self.manifest):
                members.append(Member(entry.name, Candidate(**entry.candidate), chains))
        return members

    def _chain(self, folder: str) -> Chain:
        """The chain of a folder, one object for all that name it."""
        if folder not in self._chains:
            with _loading(self.where, folder, self.manifest):
                self._chains[folder] = read_chain(self._files, joined(self.prefix, folder))
        return self._chains[folder]

    def _decision(self, entry: DecisionEntry) -> DecisionFusion:
        with _loading(self.where, entry.folder, self.manifest):
            plugin: type[DecisionFusion] = FUSIONS.get(entry.name)
            params = plugin.Params.model_validate(entry.params)
            return plugin.from_state(params, read_state(self._files, joined(self.prefix, entry.folder)))

    def golden(self) -> Golden | None:
        """The golden rows, where some were kept."""
        entry = self.manifest.golden
        if entry is None:
            return None
        document = from_json(self._files.read(joined(self.prefix, entry.file)))
        if not _is_golden(document, entry):
            raise ArtifactError(f"{self.where}/{entry.file}: must hold {entry.rows} golden rows and their outputs")
        return Golden(
            document["rows"], document["outputs"], entry.tolerance, self.manifest.precision_tolerance, entry.mode
        )

    def _open(self) -> Manifest:
        load_plugins()
        path = joined(self.prefix, MANIFEST_FILE)
        try:
            if self.root.size(path) > MAX_MANIFEST:
                raise ArtifactError(f"{self.where}: a manifest must have at most {MAX_MANIFEST} bytes; it has more")
            data = self.root.read(path)
        except FileNotFoundError:
            raise ArtifactError(
                f"{self.where}: must be the folder of a saved graph; it holds no {MANIFEST_FILE}"
            ) from None
        manifest = open_manifest(data, f"{self.where}/{MANIFEST_FILE}")
        named = {path: entry.model_dump() for path, entry in manifest.files.items()}
        extra = extra_files(self.root.list(self.prefix), self.prefix, named, [MANIFEST_FILE])
        if extra:
            raise ArtifactError(
                f"{self.where}: must hold only the files that its manifest names; got {extra[:5]} too. Take them away"
            )
        return manifest


def _pack(graph: Graph) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files by path, and the manifest's entries for extractors, members and decision."""
    files: dict[str, bytes] = {}
    extractors = []
    folders: dict[str, str] = {}
    for number, (key, extractor) in enumerate(graph.extractors.items()):
        folder = f"extractors/{number}"
        packed = pack_state(extractor.get_state())
        first = folders.setdefault(key.partition("@")[0], folder)
        shares = {name: f"{first}/{name}" for name, data in packed.items() if _is_there(files, f"{first}/{name}", data)}
        files |= {f"{folder}/{name}": data for name, data in packed.items() if name not in shares}
        params = extractor.params.model_dump(mode="json")
        entry = {"key": key, "name": extractor.name, "params": params, "columns": extractor.columns, "folder": folder}
        # Named only where there is one: code that knows of none reads every other graph.
        if isinstance(extractor, FusedExtractor):
            entry["fusion"] = asdict(extractor.entry)
        extractors.append(entry | ({"shares": shares} if shares else {}))
    packed_chains: dict[int, str] = {}
    parts: dict[str, Any] = {
        "extractors": extractors,
        "members": _pack_members(graph.members, "members", files, packed_chains),
        "decision": _pack_decision(graph.decision, "decision", files),
        "reserves": [],
    }
    for number, reserve in enumerate(graph.reserves):
        folder = f"reserves/{number}"
        parts["reserves"].append(
            {
                "name": reserve.name,
                "lacks": list(reserve.lacks),
                "needs": list(reserve.needs),
                "members": _pack_members(reserve.members, f"{folder}/members", files, packed_chains),
                "decision": _pack_decision(reserve.decision, f"{folder}/decision", files),
            }
        )
    return files, parts


def _pack_members(
    members: Sequence[Member], folder: str, files: dict[str, bytes], folders: dict[int, str]
) -> list[dict[str, Any]]:
    """Entries of members; adds the files of chains to ``files``, and where each lies to ``folders``, by ``id``."""
    entries = []
    for number, member in enumerate(members):
        for n, chain in enumerate(member.chains):
            if id(chain) not in folders:
                own = folders[id(chain)] = f"{folder}/{number}/{n}"
                files |= {f"{own}/{path}": data for path, data in pack_chain(chain).items()}
        chains = [folders[id(chain)] for chain in member.chains]
        entries.append({"name": member.name, "candidate": member.candidate.to_json(), "chains": chains})
    return entries


def _pack_decision(decision: DecisionFusion, folder: str, files: dict[str, bytes]) -> dict[str, Any]:
    """The entry of a decision-level fusion; adds its files to ``files``."""
    files |= {f"{folder}/{name}": data for name, data in pack_state(decision.get_state()).items()}
    return {
        "name": decision.name,
        "params": decision.params.model_dump(mode="json"),
        "weights": decision.weights,
        "folder": folder,
    }


def _is_there(files: Mapping[str, bytes], path: str, data: bytes) -> bool:
    """True for a large file that is already packed under a path, byte for byte; small ones are not worth a detour."""
    return len(data) >= SHARED_BYTES and files.get(path) == data


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | versions_of(_PACKAGES)


@contextmanager
def _loading(where: str, part: str, manifest: Manifest) -> Iterator[None]:
    """One clear error for whatever plugins and the packages behind them say of bytes that they cannot take."""
    try:
        yield
    except ArtifactError:
        raise
    except HybridRayError as error:
        raise ArtifactError(f"{where}: {part}: {error}") from error
    except Exception as error:  # the edge to foreign code: skops, xgboost, lightgbm and plugins raise as they like
        said = " ".join(str(error).split())[:300]
        raise ArtifactError(
            f"{where}: {part} must be loadable; got {type(error).__name__}: {said}.{_version_note(manifest.versions)}"
        ) from error


def _version_note(saved: Mapping[str, str]) -> str:
    here = _versions()
    differ = [f"{name} {held} (here {here.get(name)})" for name, held in saved.items() if here.get(name) != held]
    return f" It was saved with {', '.join(differ)}" if differ else ""


def _is_golden(document: Any, entry: GoldenEntry) -> bool:
    if not isinstance(document, dict):
        return False
    rows, outputs = document.get("rows"), document.get("outputs")
    return (
        isinstance(rows, list)
        and isinstance(outputs, list)
        and len(rows) == len(outputs) == entry.rows
        and all(isinstance(row, dict) for row in rows)
        and all(isinstance(v, int | float) for values in outputs for v in values)
    )
