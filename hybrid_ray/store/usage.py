"""What a store holds, and what of it nothing refers to any more."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from hybrid_ray.store import features, inputs, memos, models, runs, trained
from hybrid_ray.store.backends import Entry
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore, run_prefix

AREAS = (features.AREA, trained.AREA, memos.AREA, runs.AREA, models.AREA, inputs.AREA)
MIN_AGE_S = 3600.0
"""Seconds for which a file that nothing refers to yet is left alone: who wrote it may be about to refer to it."""
MEMO_AGE_S = 30 * 86_400.0
"""Seconds after which a memo goes: nothing refers to one, and what is still wanted is found again."""


def usage(root: StoreRoot) -> dict[str, Any]:
    """Files and bytes of each part of the store.

    Returns
    -------
    dict
        ``uri``; for each of features, trained, memos, runs, models, inputs and other ``{"files", "bytes"}``; ``total``.
    """
    counts = {area: {"files": 0, "bytes": 0} for area in (*AREAS, "other")}
    for entry in root.entries():
        area = entry.path.partition("/")[0]
        count = counts[area if area in counts else "other"]
        count["files"] += 1
        count["bytes"] += entry.size
    total = {kind: sum(count[kind] for count in counts.values()) for kind in ("files", "bytes")}
    return {"uri": root.uri, **counts, "total": total}


def gc(root: StoreRoot, keep_runs: int | None = None, min_age_s: float = MIN_AGE_S) -> dict[str, Any]:
    """Remove what no run and no model refers to.

    That is: artifacts that became no version or whose version was deleted; features and trained extractors that no run
    uses; fitted chains of finished runs; memos of a month ago; predictions and chains that a crash left without a
    record; tables that were handed over and that no run names; half-written files.
    A run that never noted what it uses (``RunStore.use``) may use anything: no features are removed while there is one.

    Parameters
    ----------
    root : StoreRoot
    keep_runs : int, optional
        Finished runs to keep, the newest; default all. The others go with all their fits.
    min_age_s : float, default 3600
        Files younger than this are left alone.

    Returns
    -------
    dict
        ``removed``: ``{"files", "bytes"}`` by area; ``total``; ``kept``: why features were left alone, or empty.
    """
    now = time.time()
    before = now - min_age_s
    doomed: dict[str, list[Entry]] = {area: [] for area in AREAS}
    listed = RunStore(root).list()
    finished = [run["run_id"] for run in listed if run["status"] == "finished"]
    dropped = set(finished[keep_runs:]) if keep_runs is not None else set()
    for run_id in root.folders(runs.AREA):
        doomed[runs.AREA] += _of_run(root, run_id, run_id in dropped, run_id in finished, before)
    doomed[models.AREA] = _artifacts(root, before)
    doomed[memos.AREA] = [e for e in root.entries(memos.AREA) if e.modified < now - max(MEMO_AGE_S, min_age_s)]
    doomed[inputs.AREA] = _inputs(root, [run["run_id"] for run in listed if run["run_id"] not in dropped], before)
    kept_runs = [run["run_id"] for run in listed if run["run_id"] not in dropped]
    used, silent = _uses(root, kept_runs)
    if not silent:
        for area in (features.AREA, trained.AREA):
            doomed[area] = _unused(root, area, used[area], before)
    for entries in doomed.values():
        root.delete_many(_records_first(entries))
    removed = {area: {"files": len(e), "bytes": sum(entry.size for entry in e)} for area, e in doomed.items()}
    removed["half-written"] = {"files": root.sweep(before), "bytes": 0}
    return {
        "removed": removed,
        "total": {kind: sum(count[kind] for count in removed.values()) for kind in ("files", "bytes")},
        "kept": f"features: run {silent} has not noted what it uses" if silent else "",
    }


def _of_run(root: StoreRoot, run_id: str, dropped: bool, finished: bool, before: float) -> list[Entry]:
    """What of a run may go: everything, its chains, or what has no record."""
    prefix = run_prefix(run_id)
    entries = root.entries(prefix)
    if dropped:
        return list(entries)
    records = Ledger(root, run_id).records().values()
    oofs = {record.oof for record in records}
    chains = set() if finished else {record.chain for record in records}

    def loose(path: str) -> bool:
        if path.startswith(f"{prefix}/oof/"):
            return path not in oofs
        return path.startswith(f"{prefix}/chains/") and "/".join(path.split("/")[:5]) not in chains

    return [entry for entry in entries if loose(entry.path) and entry.modified < before]


def _inputs(root: StoreRoot, run_ids: Iterable[str], before: float) -> list[Entry]:
    """Tables that were handed over (``inputs.keep``) and that no run's spec names."""
    store = RunStore(root)
    specs = (store.get(run_id)["record"].get("spec", {}) for run_id in run_ids)
    named = {str(spec.get("data", {}).get("path", "")).rpartition("/")[2] for spec in specs}
    entries = root.entries(inputs.AREA)
    return [e for e in entries if e.path.rpartition("/")[2] not in named and e.modified < before]


def _artifacts(root: StoreRoot, before: float) -> list[Entry]:
    """Artifacts that no version refers to."""
    held = {version.prefix for version in ModelStore(root).list()}
    loose: list[Entry] = []
    for name in root.folders(models.AREA):
        folder = f"{models.AREA}/{name}/artifacts"
        loose += _old(
            (f"{folder}/{artifact}" for artifact in root.folders(folder) if f"{folder}/{artifact}" not in held),
            root,
            before,
        )
    return loose


def _uses(root: StoreRoot, run_ids: Iterable[str]) -> tuple[dict[str, set[str]], str]:
    """What runs use by area, and the first run that has not said."""
    used: dict[str, set[str]] = {features.AREA: set(), trained.AREA: set()}
    store = RunStore(root)
    for run_id in run_ids:
        noted = store.uses(run_id)
        if noted is None:
            return used, run_id
        for area in used:
            used[area] |= noted[area]
    return used, ""


def _unused(root: StoreRoot, area: str, used: Collection[str], before: float) -> list[Entry]:
    return _old((f"{area}/{key}" for key in root.folders(area) if key not in used), root, before)


def _old(folders: Iterable[str], root: StoreRoot, before: float) -> list[Entry]:
    """Files of folders in which nothing is young."""
    found = [root.entries(folder) for folder in folders]
    return [entry for entries in found if all(e.modified < before for e in entries) for entry in entries]


def _records_first(entries: Iterable[Entry]) -> list[str]:
    """Manifests and records go before the data that they name, so that a crash leaves nothing that seems whole."""
    return sorted((entry.path for entry in entries), key=lambda path: (not path.endswith(".json"), path))
