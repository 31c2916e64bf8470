"""Frozen extraction on Ray Data: a row is extracted once, and nothing that is in the store is computed again."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError

from hybrid_ray.data.rejects import shown_reject, too_many_bad
from hybrid_ray.data.source import Source
from hybrid_ray.errors import HybridRayError, RunFailedError
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.dataset import PieceRead, data_context, first_shards, gather, iter_shards, read_dataset
from hybrid_ray.on_ray.extractor_worker import Count, ExtractWorker, Orders, Units
from hybrid_ray.on_ray.failures import letting_go
from hybrid_ray.on_ray.feature_set import ExtractionStats, FeatureSet, assemble, index, load_block, width
from hybrid_ray.on_ray.identities import LITTLE, Bad, Manifest, Part, Reject, Verify, read_manifest
from hybrid_ray.on_ray.resolve import Work, resolve
from hybrid_ray.on_ray.resources import ClusterView, ExtractionPlan, makespan, plan_extraction
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.progress import Progress, SilentProgress, Stage
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.store.bad_rows import BadRows
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Kind

__all__ = ["ExtractionStats", "FeatureSet", "Reject", "extract_features", "load_block"]

FEW_ROWS = 512
"""Rows for which a pool of actors is not worth its start."""
TASK_ROWS = 16_384
"""Rows of one read task, and rows that are put together in one go."""
UNITS_A_WORKER = 3
"""Units that each worker gets at least when shards are divided for balance."""
BALANCED = 0.85
"""Share of the workers' time in use below which shards are divided."""
MAX_UNIT_ROWS = 8192
"""Rows that one worker holds at once, raw and extracted; larger shards are divided."""
MAX_DEATHS = 3
"""Times an actor may die, and a unit be tried again, before the run is given up."""
ROUNDS = 3
"""Times that shards found damaged are computed again."""


def extract_features(
    cluster: Cluster,
    source: Source,
    spec: ExtractorSpec,
    kinds: Mapping[str, Kind],
    root: StoreRoot,
    *,
    shard_rows: int,
    verify: Verify = "stat",
    max_bad_fraction: float = 1.0,
    progress: Progress | None = None,
) -> FeatureSet:
    """Fill the feature cache with one frozen extractor's features of every row.

    Shards that are in the store cost a file test: nothing is decoded, no model is loaded. Of the others, only rows that
    no shard holds are computed, equal rows once. What is finished stays, whenever the run is stopped.

    Parameters
    ----------
    cluster : Cluster
    source : Source
    spec : ExtractorSpec
        Resolved: ``id`` and ``columns`` are there.
    kinds : mapping of str to Kind
        Kind of each input column.
    root : StoreRoot
    shard_rows : int
    verify : {"stat", "content"}, default "stat"
        How files of images and sounds that were seen before are known again.
    max_bad_fraction : float, default 1
        Share of rows with something unreadable above which the extraction is refused.
    progress : Progress, optional

    Raises
    ------
    BadRowsError
        Too many rows hold something unreadable.
    ResourceError
        The cluster lacks what the spec asks for.
    RunFailedError
        Workers failed; what they finished is kept.
    """
    entry = Entry.of(spec, kinds)
    extractor = entry.build()
    extractor.check()
    cache = FeatureCache(root, extractor.fingerprint())
    run = _Extraction(cluster, source, spec, entry, cache, shard_rows, max_bad_fraction)
    reporting = progress if progress is not None else SilentProgress()
    with reporting.stage("extract", source.n_rows) as stage:
        return run.run(verify, stage)


@dataclass
class _Extraction:
    """One call of :func:`extract_features`."""

    cluster: Cluster
    source: Source
    spec: ExtractorSpec
    entry: Entry
    cache: FeatureCache
    shard_rows: int
    max_bad_fraction: float

    def run(self, verify: Verify, stage: Stage) -> FeatureSet:
        start = time.monotonic()
        stage.note(self.entry.id)
        self._check_resources()
        columns = self.entry.columns
        with self._explained(lambda: 0):
            manifest = read_manifest(
                self.source, self.cache, columns, self.shard_rows, verify, num_cpus=lambda: self._task_cpus
            )
        bad = self._bad(manifest)
        computed, deduplicated = self._fill(manifest, bad.rows, stage)
        if computed:
            self._bad_rows.compact()
            bad = self._bad(manifest)
        return FeatureSet(
            id=self.entry.id,
            fingerprint=self.cache.fingerprint,
            shards=tuple(zip(manifest.keys, manifest.rows.tolist(), strict=True)),
            n_features=width(self.cache, manifest.keys[0]),
            stats=ExtractionStats(
                rows=manifest.n_rows,
                cached=manifest.n_rows - computed - deduplicated,
                computed=computed,
                deduplicated=deduplicated,
                bad=bad.rows,
                seconds=time.monotonic() - start,
            ),
            rejects=tuple(bad.rejects),
        )

    # ------------------------------------------------------------------ plan

    def _check_resources(self) -> None:
        """Refuse what the cluster can never give before anything is read; nothing asked, nothing to look up."""
        if self.spec.resources.num_gpus or self.spec.resources.num_cpus or self.spec.resources.min_workers > 1:
            self._plan(self.source.n_rows)

    @cached_property
    def _view(self) -> ClusterView:
        return self.cluster.view()

    @property
    def _task_cpus(self) -> float:
        """CPUs of a task that lasts seconds."""
        return min(1.0, max(self._view.cpus / 2, LITTLE))

    def _plan(self, rows: int) -> ExtractionPlan:
        asked = self.spec.resources
        units = max(-(-rows // (asked.batch_size or FEW_ROWS)), 1)
        gpu = EXTRACTORS.get(self.entry.name).tags.gpu
        return plan_extraction(self._view, gpu=gpu, asked=asked, units=units, where=f"extractors[{self.entry.id}]")

    # ------------------------------------------------------------------ fill

    def _fill(self, manifest: Manifest, bad: int, stage: Stage) -> tuple[int, int]:
        """Make every shard of the manifest be in the store; rows computed, and rows equal to those."""
        known = self.cache.known_shards()
        missed = manifest.missed(known)
        stage.advance(manifest.n_rows - int(manifest.rows[missed].sum()))
        if not missed:
            return 0, 0
        self.cluster.check_store(self.cache.root)
        computed = deduplicated = 0
        for turn in range(ROUNDS):
            self._index(manifest)
            work = resolve(self.cache, manifest, missed, self.cache.known_shards())
            if turn == 0:
                deduplicated = work.deduplicated
                stage.advance(work.cached + work.deduplicated)
            rows = work.rows(manifest)
            if rows:
                self._compute(manifest, work, rows, bad, stage)
                computed += rows
            self._assemble(manifest, work)
            missed = manifest.missed(self.cache.known_shards())
            if not missed:
                return computed, deduplicated
        raise RunFailedError(
            f"extractor {self.entry.id}: every shard must be in the store at the end; {len(missed)} of "
            f"{len(manifest.keys)} are damaged again and again. Check the disk of {self.cache.root.uri}"
        )

    def _compute(self, manifest: Manifest, work: Work, rows: int, bad: int, stage: Stage) -> None:
        plan = self._plan(rows)
        reads = self._reads(manifest, work, rows, plan)
        orders = Orders(
            entry=self.entry,
            cache=self.cache,
            base=self.source.base,
            device=plan.device,
            threads=plan.threads,
            batch_size=plan.batch_size,
            decoders=plan.decoders,
        )
        few = rows <= FEW_ROWS
        results = self._in_one_task(reads, orders, plan) if few else self._in_a_pool(reads, orders, plan)
        done = 0
        # Closed here and now, not with the traceback: the pool holds the cluster's CPUs.
        with self._explained(lambda: done), warnings.catch_warnings(), closing(results):
            warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
            for count in results:
                count.check()
                done += count.rows
                stage.advance(count.rows)
                bad += count.bad
                if bad > self.max_bad_fraction * manifest.n_rows:
                    bad = self._bad(manifest).rows  # a row that is bad twice was counted twice

    def _reads(self, manifest: Manifest, work: Work, rows: int, plan: ExtractionPlan) -> list[PieceRead]:
        """What is read of each piece; shards are divided where whole ones would leave workers idle."""
        whole = [int(manifest.rows[number]) for number, mask in work.todo.items() if mask is None]
        gathered = range(0, rows - sum(whole), self.shard_rows)
        sizes = whole + [min(self.shard_rows, rows - sum(whole) - start) for start in gathered]
        split = rows < BALANCED * plan.actors * makespan(sizes, plan.actors) or self.shard_rows > MAX_UNIT_ROWS
        size = min(self.shard_rows, MAX_UNIT_ROWS)
        size = min(-(-rows // (plan.actors * UNITS_A_WORKER)), size) if split else size
        firsts = [*first_shards(self.source, self.shard_rows), len(manifest.keys)]
        reads: list[PieceRead] = []
        for piece, first, stop in zip(self.source.pieces, firsts, firsts[1:], strict=False):
            todo = {number: work.todo[number] for number in range(first, stop) if number in work.todo}
            if todo:
                reads.append(PieceRead(piece, first, Units(todo, _parts_of(manifest, todo), size, split)))
        return reads

    def _in_one_task(self, reads: Sequence[PieceRead], orders: Orders, plan: ExtractionPlan) -> Generator[Count]:
        task = _compute_here.options(num_cpus=plan.cpus, num_gpus=plan.gpus)
        yield from ray.get(task.remote(self.source.bare(), list(reads), orders, self.shard_rows))

    def _in_a_pool(self, reads: Sequence[PieceRead], orders: Orders, plan: ExtractionPlan) -> Generator[Count]:
        """Units through Ray Data: read tasks, then a pool of actors that write what they compute."""
        # A GPU's actor decodes the next unit while it computes one; a CPU has nothing to overlap.
        calls = 2 if plan.device == "cuda" else 1
        limits = ray.data.ExecutionOptions()
        limits.resource_limits = ray.data.ExecutionResources(
            cpu=plan.actors * plan.cpus + plan.readers * plan.read_cpus, gpu=plan.actors * plan.gpus or None
        )
        # A block a unit: blocks are cut where they reach this size, and a unit is one row.
        with data_context({"target_max_block_size": 1, "execution_options": limits}), letting_go():
            dataset = read_dataset(
                self.source,
                list(self.entry.columns),
                self.shard_rows,
                gather(reads, TASK_ROWS),
                num_cpus=plan.read_cpus,
                readers=plan.readers,
            ).map_batches(
                ExtractWorker,
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=plan.actors,
                    max_tasks_in_flight_per_actor=2 * calls,
                    max_concurrent_calls_per_actor=calls,
                    enable_true_multi_threading=calls > 1,
                ),
                fn_constructor_args=(orders,),
                num_cpus=plan.cpus,
                num_gpus=plan.gpus or None,
                max_restarts=MAX_DEATHS,
                max_task_retries=MAX_DEATHS,
            )
            for counts in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from (Count(**row) for row in counts.to_pylist())

    def _assemble(self, manifest: Manifest, work: Work) -> None:
        """Put together the missed shards that were not computed whole, from rows that the cache has by now."""
        self._index(manifest)
        known = self.cache.known_shards()
        left = [number for number in work.missed if manifest.keys[number] not in known]
        if not left:
            return
        shared = ray.put(known)
        task = assemble.options(num_cpus=self._task_cpus)
        ray.get(
            [
                task.remote(self.cache, shared, {n: manifest.keys[n] for n in some}, _parts_of(manifest, some))
                for some in _batches(left, manifest.rows, TASK_ROWS)
            ]
        )
        self._index(manifest)

    def _index(self, manifest: Manifest) -> None:
        """Make what was written known to the row index; a killed run may have left some to do."""
        if any(part.far for part in manifest.parts):
            ray.get(index.remote(self.cache))
        else:
            self.cache.repair_index()

    # ------------------------------------------------------------------ faults

    @property
    def _bad_rows(self) -> BadRows:
        return BadRows(self.cache.root, self.cache.fingerprint)

    def _bad(self, manifest: Manifest) -> Bad:
        """Rows that are known to be unreadable; DataError when they are too many."""
        columns = "+".join(self.entry.columns)
        bad = manifest.bad(self._bad_rows.read(), columns)
        if bad.rows > self.max_bad_fraction * manifest.n_rows:
            shown = [shown_reject(reject, self.source.data.redact) for reject in bad.rejects]
            raise too_many_bad(bad.rows, manifest.n_rows, self.max_bad_fraction, shown)
        return bad

    @contextmanager
    def _explained(self, done: Callable[[], int]) -> Iterator[None]:
        """Turn what Ray raises into an error of ours that says what was kept."""
        try:
            yield
        except RunFailedError as error:
            raise RunFailedError(self._kept(str(error), done())) from error
        except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            if isinstance(cause, HybridRayError):
                raise cause from None
            line = (str(cause).strip().splitlines() or [""])[0]
            raise RunFailedError(self._kept(f"{type(cause).__name__}: {line}", done())) from error

    def _kept(self, got: str, rows: int) -> str:
        return (
            f"extractor {self.entry.id}: its workers must not fail; got {got}. {rows} rows that were computed are "
            "kept: the same command goes on from there"
        )


@ray.remote(max_retries=MAX_DEATHS)
def _compute_here(source: Source, reads: Sequence[PieceRead], orders: Orders, shard_rows: int) -> list[Count]:
    """Compute a few rows in one task."""
    worker = ExtractWorker(orders)
    counts: list[Count] = []
    for read in reads:
        assert isinstance(read.transform, Units)
        columns = list(orders.entry.columns)
        shards = iter_shards(source, read.piece, read.first_shard, columns, shard_rows)
        counts += [worker.compute(unit) for unit in read.transform.units(shards)]
    return counts


def _parts_of(manifest: Manifest, numbers: Collection[int]) -> dict[int, Part]:
    """Where the digests of some shards are; what lies in this process is cut down to them."""
    by_part: dict[int, list[int]] = {}
    for number in numbers:
        by_part.setdefault(int(manifest.part_of[number]), []).append(number)
    parts: dict[int, Part] = {}
    for position, some in by_part.items():
        part = manifest.parts[position]
        if not part.far:
            table = part.held
            part = Part(table.filter(pa.compute.is_in(table["shard"], pa.array(some, pa.int64()))), far=False)
        parts |= dict.fromkeys(some, part)
    return parts


def _batches(numbers: Sequence[int], sizes: AnyArray, rows: int) -> Iterator[list[int]]:
    """Shard numbers in runs of about so many rows."""
    held: list[int] = []
    count = 0
    for number in numbers:
        held.append(number)
        count += int(sizes[number])
        if count >= rows:
            yield held
            held, count = [], 0
    if held:
        yield held
