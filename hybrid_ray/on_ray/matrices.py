"""The matrices of a search: built by a task, kept once a node, referred to by the driver."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from hybrid_ray.data.split import Split
from hybrid_ray.digests import digest_arrays, digest_json
from hybrid_ray.on_ray.extract import FeatureSet, load_block
from hybrid_ray.on_ray.train import FoldFit
from hybrid_ray.search.counterexamples import with_counterexamples
from hybrid_ray.search.data import FoldedData
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Block, Task


@dataclass(frozen=True)
class FoldOrder:
    """Training rows, sorted by fold.

    Attributes
    ----------
    rows : ndarray of int64 (n,)
        Row numbers; within a fold in row order.
    bounds : ndarray of int64 (k + 1,)
    forward : bool
    groups : ndarray of int64 (n,) or None
        Rows of one number go together; None: every row is its own.
    """

    rows: AnyArray
    bounds: AnyArray
    forward: bool
    groups: AnyArray | None = None

    @classmethod
    def of(cls, split: Split) -> FoldOrder:
        """The order of a split's training rows."""
        training = np.flatnonzero(split.fold >= 0)
        rows = training[np.argsort(split.fold[training], kind="stable")]
        counts = np.bincount(split.fold[training])
        groups = None if split.groups is None else split.groups[rows]
        return cls(rows, np.concatenate([[0], np.cumsum(counts)]), split.forward, groups)

    def sample(self, strata: AnyArray, share: float, seed: int) -> FoldOrder:
        """A share of every fold, strata in proportion, drawn from a seed; at least two rows a fold.

        Parameters
        ----------
        strata : ndarray of int (n,)
            Stratum of each row, in this order.
        share : float
            Between 0 and 1.
        seed : int
        """
        rng = np.random.default_rng(seed)
        kept: list[AnyArray] = []
        for start, stop in itertools.pairwise(self.bounds.tolist()):
            size = stop - start
            count = min(max(int(size * share), 2), size)
            drawn = rng.permutation(size)
            drawn = drawn[np.argsort(strata[start:stop][drawn], kind="stable")]
            # Every so many-th of the rows sorted by stratum: each stratum gives its part, to within one row.
            kept.append(start + np.sort(drawn[(np.arange(count) * size) // count]))
        counts = [len(rows) for rows in kept]
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        chosen = np.concatenate(kept)
        groups = None if self.groups is None else self.groups[chosen]
        return FoldOrder(self.rows[chosen], bounds, self.forward, groups)


@dataclass(frozen=True)
class Folded:
    """A reference to a ``FoldedData`` and what the driver may know of it.

    Attributes
    ----------
    ref : ObjectRef of FoldedData
    dims : dict of str to int
        Width of each block.
    n_bytes : int
        Bytes of all its arrays.
    digest : str
    """

    ref: Any
    dims: dict[str, int]
    n_bytes: int
    digest: str


@ray.remote
def load_rows(root: StoreRoot, features: FeatureSet, rows: AnyArray) -> Block:
    """Features of some rows, from the store."""
    return load_block(root, features, rows)


@ray.remote(num_returns=2)
def _fold(
    task: Task,
    n_outputs: int,
    y: AnyArray,
    order: FoldOrder,
    digests: dict[str, str],
    frozen: tuple[str, ...],
    trained: tuple[tuple[str, int], ...],
    seed: int,
    *blocks: Block,
) -> tuple[FoldedData, dict[str, Any]]:
    copies: dict[str, dict[int, Block]] = {}
    for (name, fold), block in zip(trained, blocks[len(frozen) :], strict=True):
        copies.setdefault(name, {})[fold] = block
    n_folds = len(order.bounds) - 1
    data = FoldedData(
        task=task,
        n_outputs=n_outputs,
        y=y,
        bounds=order.bounds,
        forward=order.forward,
        frozen=dict(zip(frozen, blocks, strict=False)),
        trained={n: tuple(c.get(f, next(iter(c.values()))) for f in range(n_folds)) for n, c in copies.items()},
        digests=digests,
        groups=order.groups,
    )
    grown = 1.0
    if task == "anomaly":
        data = with_counterexamples(data, seed)
        grown = len(data.y) / len(y)
    return data, {"dims": data.dims(), "n_bytes": int(grown * sum(b.values.nbytes for b in blocks))}


def fold_data(
    task: Task,
    n_outputs: int,
    y: AnyArray,
    order: FoldOrder,
    root: StoreRoot,
    frozen: Mapping[str, FeatureSet],
    trained: Mapping[str, Mapping[int, FoldFit]],
    seed: int,
) -> Folded:
    """Build the training rows of a search from cached shards and fitted copies; the driver holds references only.

    ``seed`` draws counterexamples, where anomalies are to be found.
    """
    order_digest = digest_arrays([order.rows, order.bounds, y])
    digests = {
        name: digest_json([features.fingerprint, [key for key, _ in features.shards], order_digest])
        for name, features in frozen.items()
    }
    digests |= {
        name: digest_json([{str(fold): fit.digest for fold, fit in fits.items()}, order_digest])
        for name, fits in trained.items()
    }
    loads = [load_rows.remote(root, features, order.rows) for features in frozen.values()]
    copies = [(name, fold) for name, fits in trained.items() for fold in fits]
    blocks = [trained[name][fold].block for name, fold in copies]
    ref, facts_ref = _fold.remote(
        task, n_outputs, y, order, digests, tuple(frozen), tuple(copies), seed, *loads, *blocks
    )
    facts = ray.get(facts_ref)
    return Folded(ref, facts["dims"], facts["n_bytes"], digest_json(digests))
