"""What one pass of each extractor costs, measured on rows of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.train import Entry
from hybrid_ray.search.costs import BATCH_ROWS, Cost, extractor_cost
from hybrid_ray.types import State


def extractor_costs(
    entries: Mapping[str, tuple[Entry, Any]], copies: Mapping[str, int], sample: pa.Table, base: str, cpus: float
) -> dict[str, Cost]:
    """Cost of each extractor in the graph on one CPU, decoding included, by its id.

    Parameters
    ----------
    entries : mapping of str to (Entry, ObjectRef of State or None)
        The state of one fitted copy for an extractor that is trained.
    copies : mapping of str to int
        Fitted copies that the graph holds; one of an extractor that is not there.
    sample : pyarrow.Table
        Raw rows; the first 64 count.
    base : str
        Folder that relative paths start from.
    cpus : float
        What one measurement asks of Ray.
    """
    rows = sample.slice(0, BATCH_ROWS)
    measure = _cost.options(num_cpus=cpus)
    refs = {
        name: measure.remote(entry, state, rows, base, copies.get(name, 1)) for name, (entry, state) in entries.items()
    }
    return dict(zip(refs, ray.get(list(refs.values())), strict=True))


@ray.remote
def _cost(entry: Entry, state: State | None, sample: pa.Table, base: str, copies: int) -> Cost:
    use_threads(1)
    extractor = entry.build() if state is None else entry.restore(state)
    extractor.setup("cpu")
    return extractor_cost(extractor, coerce(sample, entry.columns, base).batch, len(sample), copies)
