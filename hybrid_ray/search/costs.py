"""What a prediction costs: time a row and bytes, of a fitted chain, of an extractor, of an ensemble of candidates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.graph import Chain
from hybrid_ray.store.chain import pack_chain
from hybrid_ray.types import Batch, Block, State

SINGLE_ROWS = 9
"""Rows that are predicted one by one, after one that warms up; the median counts."""
BATCH_ROWS = 64
"""Rows that are predicted together."""
BATCHES = 3


@dataclass(frozen=True)
class Cost:
    """What one prediction costs on one CPU.

    Attributes
    ----------
    latency_ms : float
        Of a row that comes alone.
    batch_ms : float
        Of a row among 64.
    size_mb : float
        Megabytes (10⁶ bytes) of what must be loaded for it.
    """

    latency_ms: float = 0.0
    batch_ms: float = 0.0
    size_mb: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.latency_ms + other.latency_ms, self.batch_ms + other.batch_ms, self.size_mb + other.size_mb)

    def times(self, n: int) -> Cost:
        """The cost of ``n`` of it."""
        return Cost(n * self.latency_ms, n * self.batch_ms, n * self.size_mb)

    def to_json(self) -> dict[str, float]:
        """A JSON-able form; ``Cost(**form)`` gives it back."""
        return asdict(self)


def measured(predict: Callable[[slice], Any], rows: int, n_bytes: int) -> Cost:
    """Time predictions of rows that lie in memory.

    Parameters
    ----------
    predict : callable
        Predicts the rows of a slice.
    rows : int
        How many there are; at least one.
    n_bytes : int
        Size of what predicts.
    """
    singles = [_seconds(predict, slice(row, row + 1)) for row in range(min(SINGLE_ROWS + 1, rows))]
    batch = min(BATCH_ROWS, rows)
    together = [_seconds(predict, slice(0, batch)) / batch for _ in range(BATCHES)]
    return Cost(1e3 * median(singles[1:] or singles), 1e3 * median(together), n_bytes / 1e6)


def chain_cost(chain: Chain, blocks: Mapping[str, Block]) -> Cost:
    """The cost of a fitted chain, without the extractors it reads, on some rows by extractor key."""
    rows = len(next(iter(blocks.values())).values)
    n_bytes = sum(len(data) for data in pack_chain(chain).values())
    return measured(lambda part: chain.predict({k: b.take(part) for k, b in blocks.items()}), rows, n_bytes)


def extractor_cost(extractor: Extractor, batch: Batch, rows: int, copies: int = 1) -> Cost:
    """The cost of an extractor that is set up, decoding included; of copies what they have in common counts once.

    Parameters
    ----------
    extractor : Extractor
    batch : mapping of str to array (rows,)
    rows : int
        At least one.
    copies : int, default 1
        Fitted copies that the graph holds.
    """
    n_bytes = _n_bytes(extractor.get_state())
    if copies == 1:
        return measured(lambda part: extractor.block(extractor.prepare(_cut(batch, part))), rows, n_bytes)
    learned = _n_bytes(extractor.learned())
    once = measured(lambda part: extractor.shared(extractor.prepare(_cut(batch, part))), rows, n_bytes - learned)
    shared = extractor.shared(extractor.prepare(batch))
    own = measured(lambda part: extractor.block(shared.take(np.arange(part.start, part.stop))), rows, learned)
    return once + own.times(copies)


@dataclass(frozen=True)
class Prices:
    """Costs from which those of an ensemble are summed.

    Attributes
    ----------
    chains : mapping of str to Cost
        Of one chain of a candidate, by the candidate's key.
    extractors : mapping of str to Cost
        Of an extractor in the graph, by its id; one that is not there is taken to cost nothing.
    folds : int
        Chains that stand for a candidate in the graph.
    """

    chains: Mapping[str, Cost]
    extractors: Mapping[str, Cost]
    folds: int

    def of(self, candidates: Sequence[Candidate]) -> Cost:
        """The cost of candidates together: every chain, and every extractor once."""
        blocks = sorted({block for candidate in candidates for block in candidate.blocks})
        total = Cost()
        for candidate in candidates:
            total += self.chains[candidate.key].times(self.folds)
        for block in blocks:
            total += self.extractors.get(block, Cost())
        return total


def _cut(batch: Batch, part: slice) -> Batch:
    return {name: values[part] for name, values in batch.items()}


def _n_bytes(state: State) -> int:
    return sum(array.nbytes for array in state.tensors.values()) + sum(len(data) for data in state.blobs.values())


def _seconds(predict: Callable[[slice], Any], part: slice) -> float:
    started = time.perf_counter()
    predict(part)
    return time.perf_counter() - started
