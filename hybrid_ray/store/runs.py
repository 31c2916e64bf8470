"""Runs: what was asked, what came of it, and what of the caches they use."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import StoreError
from hybrid_ray.registry import nearest
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot

AREA = "runs"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ID_DIGITS = 16
_GIVEN_UP = "given_up.json"


def run_prefix(run_id: str) -> str:
    """Folder of a run.

    Raises
    ------
    StoreError
        The id cannot be a folder's name.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise StoreError(f"run id: must hold at most 64 letters, digits, '_', '.' and '-'; got {run_id[:80]!r}")
    return f"{AREA}/{run_id}"


class RunStore:
    """Records of runs. ``runs/<id>/run.json`` is put when a run begins, ``result.json`` when it is over.

    Parameters
    ----------
    root : StoreRoot
    """

    def __init__(self, root: StoreRoot) -> None:
        self.root = root

    @staticmethod
    def run_id(spec: Mapping[str, Any], data_digest: str, seed: int, code: str) -> str:
        """Id of a run: the same resolved spec, data, seed and code give the same id.

        Parameters
        ----------
        spec : mapping
            The resolved spec, JSON-able.
        data_digest : str
        seed : int
        code : str
            Version of the code.
        """
        return digest_json({"spec": spec, "data": data_digest, "seed": seed, "code": code})[:_ID_DIGITS]

    def fresh_id(self, run_id: str) -> str:
        """Another id for the same request: ``<id>-2``, ``<id>-3`` …; no two callers get the same."""
        number = 2
        while not self.root.create(f"{run_prefix(f'{run_id}-{number}')}/claim.json", to_json({"created": _now()})):
            number += 1
        return f"{run_id}-{number}"

    def begin(self, run_id: str, record: Mapping[str, Any]) -> bool:
        """Note that a run begins.

        Parameters
        ----------
        run_id : str
        record : mapping
            JSON-able: the resolved spec and all that is needed to go on with it.

        Returns
        -------
        bool
            False when it had begun before: what was noted then stays.
        """
        return self.root.create(
            f"{run_prefix(run_id)}/run.json", to_json({"run_id": run_id, "created": _now(), "record": dict(record)})
        )

    def begun(self, run_id: str) -> bool:
        """Whether a run of this id has begun."""
        return self.root.exists(f"{run_prefix(run_id)}/run.json")

    def use(self, run_id: str, features: Collection[str] = (), trained: Collection[str] = ()) -> None:
        """Note what a run uses of the caches, so that it is kept as long as the run.

        Parameters
        ----------
        run_id : str
        features : collection of str
            Fingerprints of feature caches.
        trained : collection of str
            Keys of trained extractors. Both add up over several calls.
        """
        note = {"features": sorted(features), "trained": sorted(trained)}
        self.root.write(f"{run_prefix(run_id)}/uses/{digest_json(note)}.json", to_json(note))

    def give_up(self, run_id: str, extractors: Mapping[str, str]) -> None:
        """Note optional extractors that a run goes without, and why: it goes without them when it is taken up again."""
        self.root.write(f"{run_prefix(run_id)}/{_GIVEN_UP}", to_json(dict(extractors)))

    def given_up(self, run_id: str) -> dict[str, str]:
        """What ``give_up`` was told last: reasons by extractor id."""
        return {name: str(why) for name, why in self._part(run_id, _GIVEN_UP).items()}

    def settle(self, run_id: str, what: str, n: int) -> int:
        """Note how much of something a run has room for, once: gives what was noted first, when it is taken up again.

        Parameters
        ----------
        run_id : str
        what : str
            A file name without its ending.
        n : int
        """
        path = f"room/{what}.json"
        self.root.create(f"{run_prefix(run_id)}/{path}", to_json({"n": n}))
        return int(self._part(run_id, path)["n"])

    def uses(self, run_id: str) -> dict[str, set[str]] | None:
        """What a run uses, as ``use`` was told; None when it was never told anything."""
        found = self.root.read_many(self.root.list(f"{run_prefix(run_id)}/uses"))
        notes = [note for data in found.values() if isinstance(note := from_json(data), dict)]
        if not notes:
            return None
        return {area: {key for note in notes for key in note.get(area, ())} for area in ("features", "trained")}

    def finish(self, run_id: str, result: Mapping[str, Any]) -> None:
        """Note that a run is over.

        Its result is what the same request gets from now on, and ``gc`` may take its fitted chains away.
        """
        self.root.write(f"{run_prefix(run_id)}/result.json", to_json({"finished": _now(), "result": dict(result)}))

    def result(self, run_id: str) -> dict[str, Any] | None:
        """The result of a run that is over, else None."""
        return self._part(run_id, "result.json").get("result")

    def get(self, run_id: str) -> dict[str, Any]:
        """``{run_id, status: finished | unfinished, created, finished, record, result}`` of a run.

        Raises
        ------
        StoreError
            There is no such run; the message names the nearest.
        """
        run = self._part(run_id, "run.json")
        if "record" not in run:
            known = sorted(self._ids())
            raise StoreError(f"run {run_id!r}: must be in {self.root.uri}; it is not.{nearest(run_id, known)}")
        return _entry(run, self._part(run_id, "result.json"))

    def list(self) -> list[dict[str, Any]]:
        """Every run, newest first.

        Returns
        -------
        list of dict
            ``run_id``, ``status``, ``created``, ``finished``, and each fact of the record and the result that is a
            number, a text or a truth.
        """
        ids = sorted(self._ids())
        names = [f"{AREA}/{run_id}/{part}" for run_id in ids for part in ("run.json", "result.json")]
        parts = {path: from_json(data) for path, data in self.root.read_many(names).items()}
        entries = []
        for run_id in ids:
            run = parts.get(f"{AREA}/{run_id}/run.json")
            if not isinstance(run, dict) or "record" not in run:
                continue
            whole = _entry(run, parts.get(f"{AREA}/{run_id}/result.json") or {})
            facts = _scalars(whole["record"]) | _scalars(whole["result"] or {})
            entries.append(facts | {k: whole[k] for k in ("run_id", "status", "created", "finished")})
        return sorted(entries, key=lambda e: (e["created"], e["run_id"]), reverse=True)

    def _ids(self) -> set[str]:
        return set(self.root.folders(AREA))

    def _part(self, run_id: str, name: str) -> dict[str, Any]:
        try:
            value = from_json(self.root.read(f"{run_prefix(run_id)}/{name}"))
        except FileNotFoundError:
            return {}
        return value if isinstance(value, dict) else {}


def _entry(run: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run["run_id"],
        "status": "finished" if "result" in result else "unfinished",
        "created": run["created"],
        "finished": result.get("finished"),
        "record": run["record"],
        "result": result.get("result"),
    }


def _scalars(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in facts.items() if isinstance(v, str | int | float | bool)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
