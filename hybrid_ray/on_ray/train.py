"""Trained extractors on Ray: one fit a fold, kept under all that decided it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import ray

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.identity import FileDigests, row_digests
from hybrid_ray.data.source import Piece, Source, read_piece
from hybrid_ray.digests import digest_arrays, digest_json
from hybrid_ray.extractors.base import Extractor, FitContext, build_extractor
from hybrid_ray.extractors.fused import FusionEntry, build_fused
from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.trained import TrainedCache
from hybrid_ray.types import AnyArray, Block, Kind, Prepared, State

Verify = Literal["stat", "content"]


@dataclass(frozen=True)
class Entry:
    """An extractor of the resolved spec, as tasks need it.

    Attributes
    ----------
    id : str
    name : str
        Registered name of the plugin.
    params : dict
    columns : dict of str to Kind
    fusion : FusionEntry or None
        Puts the columns together before the extractor reads them.
    """

    id: str
    name: str
    params: dict[str, Any]
    columns: dict[str, Kind]
    fusion: FusionEntry | None = None

    @classmethod
    def of(cls, spec: ExtractorSpec, kinds: Mapping[str, Kind]) -> Entry:
        """The entry of a resolved extractor spec (id and columns are there)."""
        assert spec.id is not None
        assert spec.columns is not None
        params = spec.params.model_dump(mode="json")
        if spec.fusion is None:
            return cls(spec.id, spec.name, params, {c: kinds[c] for c in spec.columns})
        # In the order of names: rows are known again whatever order the spec names their columns in.
        fusion = FusionEntry(spec.fusion.name, spec.fusion.params.model_dump(mode="json"))
        return cls(spec.id, spec.name, params, {c: kinds[c] for c in sorted(spec.columns)}, fusion)

    def build(self) -> Extractor:
        """The extractor, not yet set up."""
        load_plugins()
        if self.fusion is not None:
            return build_fused(self.name, self.params, self.columns, self.fusion)
        return build_extractor(self.name, self.params, self.columns)

    def restore(self, state: State) -> Extractor:
        """A fitted copy from its state, set up on the CPU."""
        extractor = self.build().with_state(state)
        extractor.setup("cpu")
        return extractor


@dataclass(frozen=True)
class RawRows:
    """Prepared rows of one extractor, in pieces that lie in the object store.

    Attributes
    ----------
    entry : Entry
    parts : tuple of ObjectRef
        Each a ``Prepared``, in row order.
    digests : ndarray of uint8 (n, 16)
        Identity of every row.
    rejects : tuple of (row, column, reason)
    """

    entry: Entry
    parts: tuple[Any, ...]
    digests: AnyArray
    rejects: tuple[tuple[int, str, str], ...]


@ray.remote(num_returns=2)
def _prepare_piece(source: Source, piece: Piece, entry: Entry, shard_rows: int, verify: Verify) -> tuple[Prepared, Any]:
    """Decode one piece; also its row digests and its rejects."""
    extractor = entry.build()
    files = FileDigests(verify)
    prepared: list[Prepared] = []
    digests: list[AnyArray] = []
    rejects: list[tuple[int, str, str]] = []
    row = piece.start
    for table in read_piece(source, piece, list(entry.columns), shard_rows):
        coerced = coerce(table, entry.columns, source.base)
        part = extractor.prepare(coerced.batch)
        prepared.append(part)
        digests.append(row_digests(coerced.batch, entry.columns, files))
        rejects += [(row + e.row, e.column, e.reason) for e in coerced.errors]
        rejects += [(row + r, "+".join(entry.columns), why) for r, why in part.errors.items()]
        row += len(table)
    return Prepared.concat(prepared), (np.concatenate(digests), rejects)


def prepare_rows(source: Source, entry: Entry, shard_rows: int, verify: Verify) -> RawRows:
    """Prepare every row of a source for one extractor, a task a piece; arrays stay in the object store."""
    bare = source.bare()
    refs = [_prepare_piece.remote(bare, piece, entry, shard_rows, verify) for piece in source.pieces]
    sides = ray.get([side for _, side in refs])
    return RawRows(
        entry=entry,
        parts=tuple(part for part, _ in refs),
        digests=np.concatenate([digests for digests, _ in sides]),
        rejects=tuple(reject for _, rejects in sides for reject in rejects),
    )


@ray.remote
def _take(rows: AnyArray, *parts: Prepared) -> Prepared:
    return Prepared.concat(parts).take(rows)


@dataclass(frozen=True)
class FoldFit:
    """One fitted copy of a trained extractor.

    Attributes
    ----------
    state : ObjectRef of State
    block : ObjectRef of Block
        Features of all training rows, sorted by fold; those of rows outside the fit are what the copy predicts.
    digest : str
        All that decided the fit.
    cached : bool
        True when it came from the store.
    """

    state: Any
    block: Any
    digest: str
    cached: bool


@ray.remote(num_returns=3)
def _fit(
    entry: Entry,
    prepared: Prepared,
    y: AnyArray,
    rows: AnyArray,
    context: FitContext,
    key: str,
    root: StoreRoot | None,
    device: str,
) -> tuple[State, Block, bool]:
    """Fit one copy on ``rows`` of the training rows and extract all of them."""
    cache = TrainedCache(root) if root is not None else None
    found = cache.get(key) if cache is not None else None
    if found is not None:
        return found[0], found[1], True
    extractor = entry.build()
    extractor.setup(device)
    extractor.fit(prepared.take(rows), y[rows], context)
    extractor.setup(device)
    state, block = extractor.get_state(), extractor.block(prepared)
    if cache is not None:
        cache.put(key, state, block)
    return state, block, False


class Place(NamedTuple):
    """Where a fit runs: what it asks of Ray, and the device that it trains on."""

    cpus: float
    gpus: float = 0.0
    device: str = "cpu"


class FoldTrainer:
    """Fits one trained extractor on the folds of the training rows.

    Parameters
    ----------
    raw : RawRows
    order : ndarray of int (n,)
        Row numbers of the training rows, sorted by fold.
    y : ndarray (n,)
        Class codes or floats, in that order.
    context : FitContext
    root : StoreRoot or None
        Where fits are kept; None for an extractor that is quicker to fit than to read.
    place : Place
        What one fit asks for.
    """

    def __init__(
        self, raw: RawRows, order: AnyArray, y: AnyArray, context: FitContext, root: StoreRoot | None, place: Place
    ) -> None:
        self.raw = raw
        self.order = order
        self.context = context
        self.root = root
        self.place = place
        self._y = ray.put(y)
        self._prepared = _take.remote(order, *raw.parts)
        self._base = {
            "fingerprint": raw.entry.build().fingerprint(),
            "rows": digest_arrays([raw.digests[order]]),
            "labels": digest_arrays([y]),
            "context": [context.task, context.n_outputs, context.seed],
        }

    def fit(self, fold: int, training: Sequence[slice]) -> FoldFit:
        """Fit the copy of a fold on the rows (positions in ``order``) of its training slices; returns at once."""
        rows = np.concatenate([np.arange(s.start, s.stop) for s in training])
        key = digest_json(self._base | {"fold": fold, "training": digest_arrays([rows])})
        context = replace(self.context, seed=self.context.seed + fold + 1)
        state, block, cached = _fit.options(num_cpus=self.place.cpus, num_gpus=self.place.gpus).remote(
            self.raw.entry, self._prepared, self._y, rows, context, key, self.root, self.place.device
        )
        return FoldFit(state, block, key, cached)


def settle(fits: Mapping[int, FoldFit]) -> dict[int, FoldFit]:
    """Wait for fits; ``cached`` is then a bool."""
    return {fold: replace(fit, cached=bool(ray.get(fit.cached))) for fold, fit in fits.items()}


@ray.remote
def _extract_rows(entry: Entry, state: State, rows: AnyArray, *parts: Prepared) -> Block:
    return entry.restore(state).block(Prepared.concat(parts).take(rows))


def extract_rows(raw: RawRows, fit: FoldFit, rows: AnyArray) -> Any:
    """Features of some rows by one fitted copy: an ObjectRef of Block."""
    return _extract_rows.remote(raw.entry, fit.state, rows, *raw.parts)
