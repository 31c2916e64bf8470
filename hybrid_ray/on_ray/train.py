"""Trained extractors on Ray: one fit a fold, kept under all that decided it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from hybrid_ray.on_ray.cluster import usable_device, use_threads
from hybrid_ray.on_ray.tune_extractor import Further, Here, Known, Spread
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.store.checkpoints import StoreCheckpoints
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.trained import TrainedCache
from hybrid_ray.types import AnyArray, Block, Kind, Prepared, State

Verify = Literal["stat", "content"]
Device = Literal["cpu", "cuda"]


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

    @property
    def spreads(self) -> bool:
        """True when its training can be resumed and spread."""
        load_plugins()
        return EXTRACTORS.get(self.name).tags.spreads

    @property
    def shares(self) -> bool:
        """True when its fits have work in common that is done before them."""
        load_plugins()
        plugin: type[Extractor] = EXTRACTORS.get(self.name)
        return plugin.before_fits is not Extractor.before_fits

    def restore(self, state: State, device: str = "cpu") -> Extractor:
        """A fitted copy from its state, set up on a device."""
        extractor = self.build().with_state(state)
        extractor.setup(device)
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
    sizes : tuple of int
        Rows of each part.
    """

    entry: Entry
    parts: tuple[Any, ...]
    digests: AnyArray
    rejects: tuple[tuple[int, str, str], ...]
    sizes: tuple[int, ...]

    def take(self, rows: AnyArray) -> Any:
        """An ObjectRef of ``Prepared`` of some rows, in the order of their numbers given (k,); a task a piece.

        No process holds more than what was taken and one piece.
        """
        starts = np.cumsum([0, *self.sizes])
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        bounds = np.searchsorted(ordered, starts)
        taken = []
        for i, part in enumerate(self.parts):
            inner = ordered[bounds[i] : bounds[i + 1]] - starts[i]
            if len(inner) == self.sizes[i] and (inner == np.arange(len(inner))).all():
                taken.append(part)
            elif len(inner):
                taken.append(_take.remote(inner, part))
        if not taken:
            taken = [_take.remote(np.zeros(0, np.int64), self.parts[0])]
        places = np.empty(len(rows), np.int64)
        places[order] = np.arange(len(rows))
        return _join.remote(places, *taken)


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
        sizes=tuple(len(digests) for digests, _ in sides),
    )


@ray.remote
def _take(rows: AnyArray, part: Prepared) -> Prepared:
    return part.take(rows)


@ray.remote
def _join(places: AnyArray, *parts: Prepared) -> Prepared:
    """Parts one after another, then row ``places[i]`` of that as row i."""
    joined = parts[0] if len(parts) == 1 else Prepared.concat(parts)
    return joined if (places == np.arange(len(places))).all() else joined.take(places)


@ray.remote(num_returns=2)
def _before_fits(entry: Entry, prepared: Prepared, most_bytes: int, place: Place) -> tuple[Prepared, float]:
    """The rows with what all fits have in common done; also the seconds that it took."""
    use_threads(place.threads)
    extractor = entry.build()
    extractor.setup(usable_device(place.device))
    began = time.monotonic()
    return extractor.before_fits(prepared, most_bytes), time.monotonic() - began


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
    extract_s : float
        Seconds that making ``block`` took; 0 where that came from the store.
    """

    state: Any
    block: Any
    digest: str
    cached: bool
    extract_s: float = 0.0


class _Done(NamedTuple):
    """Whether a fit came from the store, and what its features took."""

    cached: bool
    extract_s: float = 0.0


@ray.remote(num_returns=3)
def _fit(
    entry: Entry,
    prepared: Prepared,
    y: AnyArray,
    rows: AnyArray,
    context: FitContext,
    key: str,
    root: StoreRoot | None,
    wanted: Device,
    learned: dict[str, AnyArray] | None = None,
    allowed_s: float | None = None,
) -> tuple[State, Block, _Done]:
    """Fit one copy on ``rows`` of the training rows, or take what was learned, and extract all of them."""
    cache = TrainedCache(root) if root is not None else None
    found = cache.get(key) if cache is not None else None
    if found is not None:
        return found[0], found[1], _Done(cached=True)
    checkpoints = StoreCheckpoints(root, key) if root is not None and entry.spreads else None
    device = usable_device(wanted)
    if entry.spreads:
        here = Here(checkpoints, device, allowed_s)
        conduct = here if learned is None else Known(learned)
        context = replace(context, conduct=conduct, conductors=Further(checkpoints, device))
    use_threads(context.threads)
    extractor = entry.build()
    extractor.setup(device)
    extractor.fit(prepared.take(rows), y[rows], context)
    extractor.setup(device)
    began = time.monotonic()
    state, block = extractor.learned(), extractor.block(prepared)
    extract_s = time.monotonic() - began
    own = extractor.cross_fitted(prepared.take(rows), y[rows], context)
    if own is not None:
        block.values[rows] = own.values
    if cache is not None:
        cache.put(key, state, block)
    if checkpoints is not None:
        checkpoints.clear()
    return state, block, _Done(cached=False, extract_s=extract_s)


@ray.remote(num_cpus=0)
def _learn(
    entry: Entry,
    prepared: Prepared,
    y: AnyArray,
    rows: AnyArray,
    context: FitContext,
    conduct: Spread,
    after: Any,
) -> dict[str, AnyArray]:
    """What the workers of one training learned; waits for ``after``, the fit before it, whose CPUs they need as well.

    Without CPUs: its workers have theirs, and this only waits for them.
    """
    learned: dict[str, AnyArray] = {}

    def keep(training: Any) -> dict[str, AnyArray]:
        learned.update(conduct(training))
        raise _Learned

    try:
        entry.build().fit(prepared.take(rows), y[rows], replace(context, conduct=keep))
    except _Learned:
        return learned
    raise AssertionError(f"{entry.name}: an extractor that spreads must call FitContext.conduct")


@ray.remote
def _extract(entry: Entry, state: State, prepared: Prepared, place: Place) -> Block:
    use_threads(place.threads)
    return entry.restore(state, usable_device(place.device)).block(prepared)


class _Learned(Exception):
    """What a training learned is there: the rest of ``fit`` is not for the process that waited for it."""


class Place(NamedTuple):
    """Where a fit runs: what one worker asks of Ray, its device and threads, and how many workers there are."""

    cpus: float
    gpus: float = 0.0
    device: Device = "cpu"
    workers: int = 1
    threads: int = 1


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
    shared_bytes : int, default 0
        Bytes of the object store that what all fits have in common may take.
    note : callable, optional
        Told the key of each fit that the store keeps, before the fit begins: its checkpoints are in use from then on.
    """

    def __init__(
        self,
        raw: RawRows,
        order: AnyArray,
        y: AnyArray,
        context: FitContext,
        root: StoreRoot | None,
        place: Place,
        shared_bytes: int = 0,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.raw = raw
        self.order = order
        self.context = context
        self.root = root
        self.place = place
        self._shared_bytes, self.note = shared_bytes, note
        self._y = ray.put(y)
        self._prepared = raw.take(order)
        self._shared: Any = None
        self._shared_s: Any = None
        self._last_fit: Any = None
        self._tasks: list[Any] = []
        self._base = {
            "fingerprint": raw.entry.build().fingerprint(),
            "rows": digest_arrays([raw.digests[order]]),
            "labels": digest_arrays([y]),
            "context": [context.task, context.n_outputs, context.seed],
        }
        if context.groups is not None:
            self._base["groups"] = digest_arrays([context.groups])

    def fit(self, fold: int, training: Sequence[slice | AnyArray], allowed_s: float | None = None) -> FoldFit:
        """Fit the copy of a fold on its training rows (positions in ``order``, or slices of them); returns at once.

        A training of one worker whose passes show that it would take more than ``allowed_s`` seconds ends with
        ``TooSlowError``.
        """
        rows, key = self._rows_and_key(fold, training)
        context = self.context.on(rows, self.context.seed + fold + 1)
        if self.root is not None:
            self.note(key)
        there = self._has(key)
        prepared = self._prepared if there else self.rows()
        learned = None if there or self.place.workers == 1 else self._team(prepared, rows, context, key)
        place = self.place
        state, block, cached = _fit.options(num_cpus=place.cpus, num_gpus=place.gpus).remote(
            self.raw.entry, prepared, self._y, rows, context, key, self.root, place.device, learned, allowed_s
        )
        self._tasks.append(cached)
        if learned is not None:
            self._last_fit = cached
        return FoldFit(state, block, key, cached)

    def stop(self) -> None:
        """End what was begun and is not done; what it saved stays in the store."""
        for task in self._tasks:
            ray.cancel(task, force=True)
        self._tasks.clear()
        self._shared = self._shared_s = self._last_fit = None

    def known(self, fold: int, training: Sequence[slice | AnyArray]) -> bool:
        """True when the store has the fit of a fold."""
        return self._has(self._rows_and_key(fold, training)[1])

    def _rows_and_key(self, fold: int, training: Sequence[slice | AnyArray]) -> tuple[AnyArray, str]:
        rows = np.concatenate([np.arange(len(self.order))[part] for part in training])
        return rows, digest_json(self._base | {"fold": fold, "training": digest_arrays([rows])})

    def _has(self, key: str) -> bool:
        return self.root is not None and TrainedCache(self.root).has(key)

    @property
    def shared_s(self) -> float:
        """Seconds that what all fits have in common took, once a fit has ended; 0 where it was not done."""
        return 0.0 if self._shared_s is None else float(ray.get(self._shared_s))

    def rows(self) -> Any:
        """The training rows with what all fits have in common done, once, by the first fit that is not in the store."""
        if not self.raw.entry.shares:
            return self._prepared
        if self._shared is None:
            self._shared, self._shared_s = _before_fits.options(
                num_cpus=self.place.cpus, num_gpus=self.place.gpus
            ).remote(self.raw.entry, self._prepared, self._shared_bytes, self.place)
            self._tasks.append(self._shared)
        return self._shared

    def extract(self, fits: Mapping[str, FoldFit], rows: AnyArray) -> dict[str, Any]:
        """Features of some rows (row numbers) by fitted copies: an ObjectRef of Block for each, by its key."""
        entry, place = self.raw.entry, self.place
        prepared = self.raw.take(rows)
        if entry.shares and len(fits) > 1:
            prepared, _ = _before_fits.options(num_cpus=place.cpus, num_gpus=place.gpus).remote(
                entry, prepared, self._shared_bytes, place
            )
        extract = _extract.options(num_cpus=place.cpus, num_gpus=place.gpus)
        return {key: extract.remote(entry, fit.state, prepared, place) for key, fit in fits.items()}

    def _team(self, prepared: Any, rows: AnyArray, context: FitContext, key: str) -> Any:
        """What a team of workers learns, once the fit of the team before it is done."""
        checkpoints = StoreCheckpoints(self.root, key) if self.root is not None else None
        conduct = Spread(checkpoints, self.place.workers, self.place.cpus, self.place.gpus)
        team = _learn.remote(self.raw.entry, prepared, self._y, rows, context, conduct, self._last_fit)
        self._tasks.append(team)
        return team


def turns(places: Mapping[str, Place]) -> list[list[str]]:
    """Extractors, in groups of those that may train at the same time: all of one worker, then one team at a time.

    The workers of a team begin together or not at all. Were other fits or another team begun meanwhile, each could have
    some of the places that it needs, and Ray Train gives up a team that waits for long (``teams.STARTS``).

    Parameters
    ----------
    places : mapping of str to Place
        Where each extractor is fitted.
    """
    alone = [name for name, place in places.items() if place.workers == 1]
    return [alone, *([name] for name, place in places.items() if place.workers > 1)]


def settle(fits: Mapping[int, FoldFit], told: Callable[[], None] = lambda: None) -> dict[int, FoldFit]:
    """Wait for fits; ``cached`` is then a bool, and ``extract_s`` is known. ``told`` is called for each in turn."""
    settled = {}
    for fold, fit in fits.items():
        settled[fold] = replace(fit, **ray.get(fit.cached)._asdict())
        told()
    return settled
