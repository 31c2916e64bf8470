"""What one pass of each extractor costs, measured on rows of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.search.costs import BATCH_ROWS, Cost, measured
from hybrid_ray.types import State


def extractor_costs(
    entries: Mapping[str, tuple[Entry, Any]], sample: pa.Table, base: str, cpus: float
) -> dict[str, Cost]:
    """Cost of each extractor on one CPU, decoding included, by its id.

    Parameters
    ----------
    entries : mapping of str to (Entry, ObjectRef of State or None)
        The state of one fitted copy for an extractor that is trained.
    sample : pyarrow.Table
        Raw rows; the first 64 count.
    base : str
        Folder that relative paths start from.
    cpus : float
        What one measurement asks of Ray.
    """
    rows = sample.slice(0, BATCH_ROWS)
    measure = _cost.options(num_cpus=cpus)
    refs = {name: measure.remote(entry, state, rows, base) for name, (entry, state) in entries.items()}
    return dict(zip(refs, ray.get(list(refs.values())), strict=True))


@ray.remote
def _cost(entry: Entry, state: State | None, sample: pa.Table, base: str) -> Cost:
    extractor = entry.build() if state is None else entry.restore(state)
    extractor.setup("cpu")
    kept = extractor.get_state()
    n_bytes = sum(array.nbytes for array in kept.tensors.values()) + sum(len(data) for data in kept.blobs.values())
    batch = coerce(sample, entry.columns, base).batch

    def extract(part: slice) -> None:
        extractor.transform({name: values[part] for name, values in batch.items()})

    return measured(extract, len(sample), n_bytes)
