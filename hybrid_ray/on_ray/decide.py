"""Choices of an extractor that are left to the machine, made once on the kind of worker that will extract."""

from __future__ import annotations

from contextlib import suppress

import ray
from pydantic import ValidationError

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.source import Piece, Source, read_piece
from hybrid_ray.digests import digest_json
from hybrid_ray.extractors.precision import hardware_key
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.resources import ExtractionPlan
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.params import PluginParams
from hybrid_ray.store.memos import Memos
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Batch

SAMPLE_ROWS = 64
"""Rows on which an extractor chooses."""


def decide(entry: Entry, source: Source, root: StoreRoot, plan: ExtractionPlan) -> PluginParams:
    """Parameters with every choice made, see ``Extractor.resolve``.

    An answer that the hardware decides is remembered in the store under the undecided extractor and the hardware, so
    that later runs neither load the network for it nor choose otherwise because other rows came first.
    """
    task = _decide.options(num_cpus=plan.cpus, num_gpus=plan.gpus)
    decided: PluginParams = ray.get(task.remote(entry, source.bare(), source.pieces[0], root, plan))
    return decided


@ray.remote
def _decide(entry: Entry, source: Source, piece: Piece, root: StoreRoot, plan: ExtractionPlan) -> PluginParams:
    use_threads(plan.threads)
    extractor = entry.build()
    if extractor.decided_by_rows:
        return extractor.resolve(_sample(entry, source, piece), plan.device)
    memos = Memos(root, "decided")
    key = digest_json([extractor.fingerprint(), hardware_key(plan.device)])
    known = memos.get(key)
    if known is not None:
        with suppress(ValidationError):  # Written by another version: choose again.
            chosen = extractor.Params.model_validate_json(known)
            # What the fingerprint leaves out (where the weights lie) is this run's own.
            left_out = set(extractor.Params.model_fields) - set(extractor.identity())
            return chosen.model_copy(update={name: getattr(extractor.params, name) for name in left_out})
    decided = extractor.resolve(_sample(entry, source, piece), plan.device)
    memos.put(key, decided.model_dump_json().encode())
    return decided


def _sample(entry: Entry, source: Source, piece: Piece) -> Batch:
    table = next(read_piece(source, piece, list(entry.columns), SAMPLE_ROWS))
    return coerce(table, entry.columns, source.base).batch
