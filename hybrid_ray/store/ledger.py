"""The fit ledger of a run: the one source of truth of a search."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from hybrid_ray.digests import digest_bytes
from hybrid_ray.errors import ArtifactError, StoreError
from hybrid_ray.graph import Chain
from hybrid_ray.store.chain import CHAIN_FILE, pack_chain, write_packed
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import run_prefix
from hybrid_ray.store.tensors import pack_tensors, unpack_tensors
from hybrid_ray.types import AnyArray


@dataclass(frozen=True)
class FitRecord:
    """One finished fit: a candidate on one fold.

    Attributes
    ----------
    key : str
        Digest of features, rows, fold, candidate, seed and code.
    candidate : dict
        ``Candidate.to_json()``.
    fold : int
    score : float
    seconds : float
    rows : int
        Rows predicted out of fold.
    oof : str
        Path of the out-of-fold predictions in the store; ``Ledger.put`` sets it.
    chain : str
        Prefix of the fitted chain in the store, for ``read_chain``; empty when it was not kept. ``Ledger.put`` sets it.
        Chains that no graph is made of may be removed later: the record is good without.
    cost : dict of str to float
        What a prediction of the fitted chain costs, where it was measured.
    """

    key: str
    candidate: dict[str, Any]
    fold: int
    score: float
    seconds: float
    rows: int
    oof: str = ""
    chain: str = ""
    cost: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> FitRecord | None:
        """The record of a JSON value; None for anything else."""
        if not isinstance(value, dict):
            return None
        try:
            record = cls(**value)
        except TypeError:
            return None
        texts = (record.key, record.oof, record.chain)
        numbers = (record.fold, record.score, record.seconds, record.rows)
        whole = all(isinstance(v, str) for v in texts) and all(isinstance(v, int | float) for v in numbers)
        return record if whole and isinstance(record.candidate, dict) and isinstance(record.cost, dict) else None


class Ledger:
    """Finished fits of one run. Picklable; workers write to it, a resumed search reads it first.

    The predictions (and the chain, where it is kept) are put first under names made of their content or key, the record
    last: a record that is seen is whole, and what a crash left behind is never looked at.

    Parameters
    ----------
    root : StoreRoot
    run_id : str
    """

    def __init__(self, root: StoreRoot, run_id: str) -> None:
        self.root = root
        self.run_id = run_id
        self._prefix = run_prefix(run_id)

    def get(self, key: str) -> FitRecord | None:
        """The record of a fit, or None when it was not finished."""
        try:
            return self._parse(key, self.root.read(self._path(key)))
        except FileNotFoundError:
            return None

    def put(self, record: FitRecord, oof: AnyArray, chain: Chain | None = None) -> FitRecord:
        """Keep a finished fit.

        Parameters
        ----------
        record : FitRecord
        oof : ndarray (rows, n_outputs)
        chain : Chain, optional
            The fitted chain, for a graph that bags folds.

        Returns
        -------
        FitRecord
            The record with the places of both.
        """
        data = pack_tensors({"oof": oof})
        oof_path = f"{self._prefix}/oof/{digest_bytes(data)}.safetensors"
        chain_prefix = ""
        if chain is not None:
            files = pack_chain(chain)
            chain_prefix = f"{self._prefix}/chains/{record.key}/{digest_bytes(files[CHAIN_FILE])}"
            write_packed(self.root, chain_prefix, files)
        self.root.write(oof_path, data)
        record = replace(record, oof=oof_path, chain=chain_prefix)
        self.root.write(self._path(record.key), to_json(asdict(record)))
        return record

    def oof(self, key: str) -> AnyArray:
        """Out-of-fold predictions (rows, n_outputs) of a finished fit.

        Raises
        ------
        KeyError
            The fit was not finished.
        StoreError
            Its file is lost or damaged. The record is dropped, so that the same run does the fit again.
        """
        record = self.get(key)
        if record is None:
            raise KeyError(key)
        try:
            data = self.root.read(record.oof)
            if digest_bytes(data) != record.oof.rpartition("/")[2].removesuffix(".safetensors"):
                raise ArtifactError(f"{record.oof}: must hold what its name says; its digest differs")
            return np.asarray(unpack_tensors(data, record.oof)["oof"])
        except (FileNotFoundError, ArtifactError) as error:
            self.root.delete(self._path(key))
            raise StoreError(
                f"{record.oof}: the out-of-fold predictions of fit {key[:8]} must be there as they were written; "
                "they are lost or damaged. Run the same command again: it does this fit again"
            ) from error

    def records(self) -> dict[str, FitRecord]:
        """All finished fits by key, in the order of keys: one listing, and reads side by side."""
        paths = self.root.list(f"{self._prefix}/fits")
        found = self.root.read_many(paths)
        keys = {path: path.rpartition("/")[2].removesuffix(".json") for path in paths}
        parsed = {keys[path]: self._parse(keys[path], found[path]) for path in paths if path in found}
        return {key: record for key, record in parsed.items() if record is not None}

    def _path(self, key: str) -> str:
        return f"{self._prefix}/fits/{key}.json"

    @staticmethod
    def _parse(key: str, data: bytes) -> FitRecord | None:
        record = FitRecord.from_json(from_json(data))
        return record if record is not None and record.key == key else None
