"""The last state of a training that is under way, beside the fit that it will become."""

from __future__ import annotations

import uuid

from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import read_state, write_state
from hybrid_ray.store.trained import AREA
from hybrid_ray.store.verified import VerifiedFiles
from hybrid_ray.types import State

_FOLDER, _MAIN = "checkpoint", "main"


class StoreCheckpoints:
    """Checkpoints of one training in a store, on any root. Picklable.

    A state is written under a name of its own, then ``latest.json`` names it with its digests: what a killed writer
    leaves is never read.

    Parameters
    ----------
    root : StoreRoot
    key : str
        Key of the fit in the cache of trained extractors.
    part : str, default ""
        Which of the fit's trainings it is, where it has several.
    """

    def __init__(self, root: StoreRoot, key: str, part: str = "") -> None:
        self.root = root
        self.key = key
        self.prefix = f"{AREA}/{key}/{_FOLDER}/{part or _MAIN}"

    def of(self, part: str) -> StoreCheckpoints:
        """Those of a further training of the same fit."""
        return StoreCheckpoints(self.root, self.key, part)

    def load(self) -> State | None:
        """The state that was saved last; None when there is none, or it is damaged."""
        try:
            latest = from_json(self.root.read(f"{self.prefix}/latest.json"))
            prefix = f"{self.prefix}/{latest['name']}"
            return read_state(VerifiedFiles(self.root, prefix, latest["files"]).fetch(), prefix)
        except (FileNotFoundError, KeyError, TypeError, ArtifactError):
            return None

    def save(self, state: State) -> None:
        """Keep a state in place of the last one."""
        name = uuid.uuid4().hex
        infos = write_state(self.root, f"{self.prefix}/{name}", state)
        self.root.write(f"{self.prefix}/latest.json", to_json({"name": name, "files": infos}))
        self._remove(keep=name)

    def clear(self) -> None:
        """Remove them all, those of further trainings too: the fit is done."""
        self.root.delete_many(self.root.list(f"{AREA}/{self.key}/{_FOLDER}"))

    def _remove(self, keep: str) -> None:
        kept = (f"{self.prefix}/{keep}/", f"{self.prefix}/latest.json")
        self.root.delete_many(path for path in self.root.list(self.prefix) if not path.startswith(kept))
