"""The cache of trained extractors: what one fold trained, under all that decided it."""

from __future__ import annotations

from typing import Any

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import file_info, pack_state, read_state
from hybrid_ray.store.tensors import pack_tensors, unpack_tensors
from hybrid_ray.store.verified import VerifiedFiles
from hybrid_ray.types import Block, State

AREA = "trained"
_BLOCK_FILE = "block.safetensors"


class TrainedCache:
    """Fitted extractors and their features. Picklable.

    ``trained/<key>/manifest.json`` is put last and names the folder of the rest, which is named by its content, so that
    two writers of one key do not disturb each other.

    Parameters
    ----------
    root : StoreRoot
    """

    def __init__(self, root: StoreRoot) -> None:
        self.root = root

    @staticmethod
    def key(parts: Any) -> str:
        """The key of a fit: digest of a JSON-able value with training rows, labels, fold, parameters, seed, code."""
        return digest_json(parts)

    def has(self, key: str) -> bool:
        """True when a fit is there; whether it is whole shows when it is read."""
        return self.root.exists(f"{AREA}/{key}/manifest.json")

    def get(self, key: str) -> tuple[State, Block] | None:
        """The fitted state and the features, or None for a fit that is not there or is damaged."""
        try:
            manifest = from_json(self.root.read(f"{AREA}/{key}/manifest.json"))
            if not isinstance(manifest, dict):
                return None
            prefix = f"{AREA}/{key}/{manifest['folder']}"
            files = VerifiedFiles(self.root, prefix, manifest["files"]).fetch()
            tensors = unpack_tensors(files.read(f"{prefix}/{_BLOCK_FILE}"), prefix)
            return read_state(files, f"{prefix}/state"), Block(tensors["values"], tensors["present"])
        except (FileNotFoundError, KeyError, ArtifactError):
            return None

    def put(self, key: str, state: State, block: Block) -> None:
        """Keep a fit; of two writers of one key the last one counts."""
        files = {f"state/{name}": data for name, data in pack_state(state).items()}
        files[_BLOCK_FILE] = pack_tensors({"values": block.values, "present": block.present})
        infos = {name: file_info(data) for name, data in files.items()}
        folder = digest_json(infos)
        self.root.write_many({f"{AREA}/{key}/{folder}/{name}": data for name, data in files.items()})
        self.root.write(f"{AREA}/{key}/manifest.json", to_json({"folder": folder, "files": infos}))
